"""A small project with results, made without training: scores of ellipses against shifted ellipses."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segtrace import files, layout, tables
from segtrace.geometry import Grid, format_numbers

LABELS = {1: "organ", 2: "nodule"}


def ellipse(shape: tuple[int, ...], centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    """A filled ellipse as a mask."""
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radii, strict=True)) <= 1


def label_map(shape: tuple[int, ...], *, shift: float, nodule: bool, seed: int) -> np.ndarray:
    """An organ and perhaps a nodule beside it, both moved by ``shift`` voxels along the last axis."""
    draw = np.random.default_rng(seed)
    centre = np.array(shape) / 2 + draw.uniform(-2, 2, len(shape))
    centre[-1] += shift
    made = np.zeros(shape, np.uint8)
    made[ellipse(shape, tuple(centre), tuple(n / 4 for n in shape))] = 1
    if nodule:
        centre[-1] += shape[-1] / 4
        made[ellipse(shape, tuple(centre), tuple(max(1.5, n / 10) for n in shape))] = 2
    return made


def score_rows(
    keys: dict[str, Any], case: str, reference: np.ndarray, prediction: np.ndarray, spacing: float
):
    """Rows of the scores table; the distance is a stand-in, in voxels one per voxel of shift."""
    diagonal = float(np.linalg.norm(reference.shape))
    for label in LABELS:
        r, p = reference == label, prediction == label
        tp, fp, fn = int((r & p).sum()), int((p & ~r).sum()), int((r & ~p).sum())
        both = r.any() and p.any()
        hd = abs(float(np.argwhere(p)[:, -1].mean() - np.argwhere(r)[:, -1].mean())) if both else math.nan
        yield keys | {
            "case": case,
            "label": label,
            "tp": tp,
            "fp": fp,
            "fn": fn,
            "tn": int(r.size - tp - fp - fn),
            "dice": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0,
            "iou": tp / (tp + fp + fn) if tp + fp + fn else 1.0,
            "precision": tp / (tp + fp) if tp + fp else math.nan,
            "recall": tp / (tp + fn) if tp + fn else math.nan,
            "accuracy": (r.size - fp - fn) / r.size,
            "nsd": 0.5 if both else float(not (r.any() or p.any())),
            "nsd_tolerance_mm": 1.5,
            "nsd_tolerance_voxel": math.nan,
            "hd95_mm": hd * spacing,
            "hd95_voxel": hd,
            "hd_mm": 2 * hd * spacing,
            "hd_voxel": 2 * hd,
            "assd_mm": hd * spacing / 2,
            "assd_voxel": hd / 2,
            "worst_mm": diagonal * spacing,
            "worst_voxel": diagonal,
            "reason": "" if both else "a mask is empty",
        }


class Project:
    """A project folder with everything that a page reads."""

    def __init__(
        self,
        *,
        methods: tuple[str, ...] = ("alpha", "beta"),
        cases: int = 4,
        seeds: tuple[int, ...] = (0,),
        shape: tuple[int, ...] = (12, 20, 24),
        title: str = "Toy: ellipses",
        note: str = "Ellipses only.",
        pictures: bool = True,
        epochs: int = 3,
        leaks: int = 0,
    ) -> None:
        self.methods, self.seeds, self.shape = methods, seeds, shape
        self.cases = [f"case_{i:03d}" for i in range(cases)]
        self.spacing = 2.0
        n = len(shape)
        unit = tuple(float(i == j) for i in range(n) for j in range(n))
        self.grid = Grid(tuple(reversed(shape)), (self.spacing,) * n, (0.0,) * n, unit)
        self.references = {
            case: label_map(shape, shift=0, nodule=i % 4 != 3, seed=i) for i, case in enumerate(self.cases)
        }
        self._configuration(title=title, note=note)
        for m, method in enumerate(methods):
            for seed in seeds:
                self._run(method, seed, shift=0.6 + m + seed / 3, pictures=pictures, epochs=epochs)
        self._data(leaks)

    def _configuration(self, *, title: str, note: str) -> None:
        dataset = {
            "title": title,
            "dimensions": len(self.shape),
            "modality": "synthetic",
            "licence": "none",
            "reader": "toy",
            "labels": LABELS,
            "channels": ["grey"],
            "recipes": {"r": {"source": "as drawn"}},
            "protocols": {"p": {"kind": "grouped_random", "test_fraction": 0.5, "validation_fraction": 0.1}},
            "notes": [note],
            "exclude": {"case_999": "broken <file>"},
        }
        experiment = {"title": title, "dataset": "toy", "recipe": "r", "protocol": "p", "training": "t"}
        texts = {
            "config.yaml": {"experiments": ["toy"], "seeds": list(self.seeds)},
            "datasets/toy.yaml": dataset,
            "training/t.yaml": {"epochs": 3, "learning_rate": 0.1},
            "budgets/smoke.yaml": {"title": "minutes on two cores"},
            "experiments/toy.yaml": experiment | {"methods": list(self.methods)},
        } | {f"methods/{m}.yaml": {"title": f"The method {m}", "network": "unet"} for m in self.methods}
        for name, value in texts.items():
            files.write_json(Path("config") / name, value)  # JSON is YAML

    def run_name(self, method: str, seed: int = 0) -> layout.RunName:
        return layout.RunName("toy", "r", "p", method, "smoke", 0, seed)

    def scores_path(self, method: str, seed: int = 0) -> Path:
        return layout.scores(self.run_name(method, seed), layout.Variant())

    def _run(self, method: str, seed: int, *, shift: float, pictures: bool, epochs: int) -> None:
        run = self.run_name(method, seed)
        keys = {**vars(run), **vars(layout.Variant())}
        rows, listed = [], []
        folder = layout.predictions(run, layout.Variant())
        for i, case in enumerate(self.cases):
            own = shift * (1 + (i * 7 % 5) / 3)
            prediction = label_map(self.shape, shift=own, nodule=i % 3 != 2, seed=i)
            rows += score_rows(keys, case, self.references[case], prediction, self.spacing)
            if pictures:
                from segtrace import images

                name = f"{case}.nii.gz" if len(self.shape) == 3 else f"{case}.png"
                images.write_label(folder / name, prediction, self.grid)
                listed.append({"case": case, "file": name, "sha256": "0" * 64, "digest": "0" * 16})
        tables.write("scores", rows, layout.scores(run, layout.Variant()))
        if pictures:
            tables.write("predictions", listed, folder / "predictions.csv")
        history = [
            {
                "epoch": e,
                "step": e * 10,
                "learning_rate": 0.1,
                "loss": 1 / e + shift / 10,
                "val_dice": math.nan if e % 2 else 1 - 0.5 / e - shift / 20,
            }
            for e in range(1, epochs + 1)
        ]
        tables.write("history", history, layout.run(run) / "history.csv")
        files.write_json(
            layout.run(run) / "run.json",
            {
                "run": str(run),
                "threads": 2,
                "training": {"epochs": epochs},
                "cases": {"train": ["train_0", "train_1"], "val": ["val_0"]},
                "digests": {
                    "data": "d" * 16,
                    "code": "c" * 16,
                    "configuration": "f" * 16,
                    "environment": "none",
                },
                "machine": {"device": "cpu", "processor": "toy processor", "torch": "2.13.0"},
            },
        )

    def _data(self, leaks: int) -> None:
        index, split = [], []
        for i, case in enumerate([*self.cases, "train_0", "train_1", "val_0"]):
            reference = self.references.get(case, next(iter(self.references.values())))
            counts = {str(v): int((reference == v).sum()) for v in (0, *LABELS)}
            index.append(
                {
                    "dataset": "toy",
                    "case": case,
                    "subject": f"s{i}",
                    "group": "",
                    "side": "",
                    "images": "[]",
                    "labels": "[]",
                    "image_sha256": "a" * 64,
                    "label_sha256": "b" * 64,
                    "pixels_sha256": "a" * 64,
                    "fingerprint": "0" * 16,
                    "duplicate_group": case,
                    "digest": "e" * 16,
                    "dimensions": len(self.shape),
                    "channels": 1,
                    "dtype": "float32",
                    "size": format_numbers(self.grid.size),
                    "spacing_mm": format_numbers(self.grid.spacing_mm),
                    "origin_mm": format_numbers(self.grid.origin_mm),
                    "direction": format_numbers(self.grid.direction),
                    "intensity_min": 0.0,
                    "intensity_max": 1.0,
                    "voxels": files.json_text(counts).strip(),
                    "components": "{}",
                    "centroids_mm": "{}",
                    "notes": "second mask resized" if i == 1 else "",
                }
            )
            role = "test" if case in self.references else ("val" if case == "val_0" else "train")
            split.append({"case": case, "subject": f"s{i}", "cluster": f"s{i}", "fold": 0, "role": role})
        tables.write("cases", index, layout.cases("toy"))
        tables.write("split", split, layout.split("toy", "p"))
        expectations = {
            "number of cases": {"passed": True, "expected": {"min_value": 1, "max_value": 9}, "observed": 7},
            "components of nodule": {
                "passed": False,
                "expected": {"column": "components_2", "max_value": 3},
                "observed": {"judged": 7, "failed": 1, "cases": [{"case": "case_001", "value": 5}]},
            },
        }
        gate = {"gate": "toy", "passed": False, "expectations": expectations}
        files.write_json(layout.index("toy") / "gate.json", gate)
        told = {
            "gate": "split toy/p",
            "passed": True,
            "expectations": {
                "fold 0, test: fraction of the cases": {
                    "passed": True,
                    "expected": {"column": "test_0", "min_value": 0.25, "max_value": 0.75},
                    "observed": 0.5,
                }
            },
            "split": {
                "protocol": "p",
                "kind": "grouped_random",
                "words": "random split of whole groups",
                "published": leaks > 0,
                "folds": [
                    {
                        "train": 2,
                        "val": 1,
                        "test": len(self.cases),
                        "leaks": leaks,
                        "scored": "test",
                        "shared": leaks,
                    }
                ],
                "leaks": [f"fold 0: subject s{i} lies in train: a; test: <b>" for i in range(leaks)],
            },
        }
        files.write_json(layout.split_gate("toy", "p"), told)
        receipt = {
            "archives": [{"archive": "toy.zip", "sha256": "9" * 64}],
            "local_edits": ["case_001.nii.gz"],
        }
        files.write_json(layout.receipt("toy"), receipt)
        layout.raw("toy").mkdir(parents=True, exist_ok=True)

    def image(self, case: str) -> np.ndarray:
        draw = np.random.default_rng(5)
        return (self.references[case] * 60 + draw.normal(40, 12, self.shape)).astype(np.float32)[None]

    def charts(self) -> set[str]:
        """The names of all charts that the page must have, as its tables say; of costs none is known."""
        found = {f"points-{label}-{metric}" for label in (0, *LABELS) for metric in ("dice", "hd95_mm")}
        found |= {f"curve-{field}" for field in ("loss", "val_dice", "learning_rate")}
        found |= {f"agreement-{label}-{method}" for label in LABELS for method in self.methods}
        if len(self.methods) < 2:
            return found
        results = layout.results("toy")
        for row in tables.read("ranks", results / "ranks.csv").itertuples():
            if row.metric in ("dice", "hd95_mm"):
                key = f"{row.label}-{row.metric}"
                found |= {f"blobs-{key}-{row.scheme}", f"schemes-{key}"}
                found |= {f"tau-{key}"} if row.tau == row.tau else set()
        for row in tables.read("tests", results / "tests.csv").itertuples():
            if row.metric in ("dice", "hd95_mm"):
                key = f"{row.label}-{row.metric}"
                found |= {f"differences-{key}"} if row.difference == row.difference else set()
                found |= {f"significance-{key}"} if row.permutation_holm == row.permutation_holm else set()
        return found

    @staticmethod
    def folded(chart: str) -> bool:
        """Whether a chart is not drawn until its label is unfolded: ranks and volumes but for the first label."""
        return chart.startswith("agreement-2-") or bool(
            re.match(r"(blobs|schemes|tau|differences|significance)-[12]-", chart)
        )

    def reader(self, name: str) -> Any:
        """Stands in for a data set's reader: the cases are in memory."""
        from segtrace import images

        return SimpleNamespace(
            cases=lambda root, options: [SimpleNamespace(case=case) for case in self.cases],
            read_image=lambda root, entry, options: images.from_array(self.image(entry.case), self.grid),
            read_label=lambda root, entry, options: (
                images.from_array(self.references[entry.case], self.grid),
                [],
            ),
        )


@pytest.fixture(scope="session")
def project_type() -> type[Project]:
    """The class itself, for fixtures that live longer than a test."""
    return Project


@pytest.fixture
def make_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Project]:
    """Make a project in a folder of its own and go there; pictures read its cases from memory."""
    monkeypatch.chdir(tmp_path)

    def make(**options: Any) -> Project:
        project = Project(**options)
        from segtrace import datasets

        monkeypatch.setattr(datasets, "reader", project.reader)
        return project

    return make
