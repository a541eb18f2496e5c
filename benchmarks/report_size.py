"""Size of a report of 12 methods × 600 cases, seconds to build it, milliseconds to its first paint.

    python benchmarks/report_size.py [--dimensions 2|3] [--methods 12] [--cases 600] [--folder FOLDER] [--browser .browser]

Nothing is trained: images and references are those of an embedded data set, a prediction is its reference moved by a
draw of its method, and its distances are drawn beside its counts. Everything else is the project's own: the
tables by `segtrace compare`, the page by `segtrace report`. Five folds, so that every case is tested once a method.
With --browser (the folder that `make test-browser` fills) the first paint is measured by tests/browser/check.mjs.
The bars: at most 25 MB, 60 s on two cores, 2 s.
"""

import argparse
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SEED = 20260101
FOLDS = 5
EPOCHS = 200
DATASETS = {2: ("phantom2d", {"frames": 3}), 3: ("phantom3d", {"scans": 2})}
BARS = {"size": 25.0, "build": 60.0, "paint": 2.0}


def configure(dimensions: int, *, methods: int, cases: int) -> tuple[str, list[str]]:
    """Write a project's configuration here; gives the data set's name and the methods."""
    import yaml

    from segtrace import files

    name, per_subject = DATASETS[dimensions]
    dataset = yaml.safe_load((ROOT / f"config/datasets/{name}.yaml").read_text(encoding="utf-8"))
    each = next(iter(per_subject.values()))
    dataset["options"] |= {**per_subject, "subjects": -(-cases // each)}
    dataset["protocols"] = {
        "folds": {"kind": "k_fold", "folds": FOLDS, "validation_fraction": 0.1, "seed": 0}
    }
    names = [f"method_{place:02d}" for place in range(1, methods + 1)]
    experiment = {"dataset": name, "recipe": next(iter(dataset["recipes"])), "protocol": "folds"}
    experiment |= {"title": f"{methods} methods, {cases} cases", "training": "none", "methods": names}
    experiment["folds"] = list(range(FOLDS))
    written: dict[str, Any] = {
        f"datasets/{name}": dataset,
        "experiments/large": experiment,
        "training/none": {"epochs": EPOCHS, "learning_rate": 0.01},
        "budgets/smoke": {"title": "nothing is trained"},
        "config": {"experiments": ["large"], "seeds": [0]},
    } | {f"methods/{method}": {"title": f"Draws of {method}", "network": "unet"} for method in names}
    for path, content in written.items():
        files.write_json(Path("config") / f"{path}.yaml", content)
    return name, names


def moved(reference: np.ndarray, draw: np.random.Generator, *, error: float) -> np.ndarray:
    """A prediction: the reference rolled by a few voxels; now and then without its last label, or empty."""
    shift = tuple(round(step) for step in draw.normal(0, error, reference.ndim))
    made = np.roll(reference, shift, axis=tuple(range(reference.ndim)))
    if draw.random() < 0.02 * error:
        made = np.where(made == reference.max(), 0, made)
    return np.where(draw.random() < 0.002, 0, made).astype(np.uint8)


def score(
    reference: np.ndarray, prediction: np.ndarray, draw: np.random.Generator, *, physical: bool
) -> dict[str, Any]:
    """A row's metrics from two masks: overlaps from the counts, distances from the draw."""
    tp = int((reference & prediction).sum())
    fp, fn = int(prediction.sum()) - tp, int(reference.sum()) - tp
    both = bool(tp + fn) and bool(tp + fp)
    hd95 = float(draw.gamma(2.0, 2.0)) if both else math.nan
    diagonal = float(np.linalg.norm(reference.shape))
    distances = {"hd95": hd95, "hd": 1.5 * hd95, "assd": hd95 / 3, "worst": diagonal}
    return {
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": reference.size - tp - fp - fn,
        "dice": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0,
        "iou": tp / (tp + fp + fn) if tp + fp + fn else 1.0,
        "precision": tp / (tp + fp) if tp + fp else math.nan,
        "recall": tp / (tp + fn) if tp + fn else math.nan,
        "accuracy": 1 - (fp + fn) / reference.size,
        "nsd": float(draw.beta(8, 2)) if both else float(not (tp + fp + fn)),
        "nsd_tolerance_mm": 1.0 if physical else math.nan,
        "nsd_tolerance_voxel": math.nan if physical else 1.0,
        **{f"{key}_voxel": value for key, value in distances.items()},
        **{f"{key}_mm": value if physical else math.nan for key, value in distances.items()},
        "reason": "" if both else "a mask is empty",
    }


def make_runs(name: str, methods: list[str]) -> None:
    """Predictions, scores, histories and run.json of every method and fold."""
    from segtrace import datasets, files, images, layout, tables
    from segtrace.config import load, runs

    dataset, experiment = load.dataset(name), load.experiment("large")
    variant, reader = runs.variant_of(experiment), datasets.reader(name)
    root = layout.raw(name)
    references = {}
    for entry in reader.cases(root, dataset.options):
        image = reader.read_label(root, entry, dataset.options)[0]
        references[entry.case] = (images.label_array(image, where=entry.case), images.grid_of(image))
    split = tables.read("split", layout.split(name, "folds"))
    ending = "png" if dataset.dimensions == 2 else "nii.gz"
    for run in runs.runs_of("large", budget="smoke", seeds=[0]):
        number = methods.index(run.method)
        draw = np.random.default_rng([SEED, number, run.fold])
        rows, listed = [], []
        folder = layout.predictions(run, variant)
        for case in sorted(split.loc[(split.fold == run.fold) & (split.role == "test"), "case"]):
            reference, grid = references[case]
            prediction = moved(reference, draw, error=1.0 + number / 3)
            path = folder / f"{case}.{ending}"
            images.write_label(path, prediction, grid)
            listed.append(
                {"case": case, "file": path.name, "sha256": files.sha256_file(path), "digest": "0" * 16}
            )
            for label in sorted(dataset.labels):
                measured = score(
                    reference == label, prediction == label, draw, physical=dataset.spacing_known
                )
                rows.append({**vars(run), **vars(variant), "case": case, "label": label, **measured})
        tables.write("predictions", listed, folder / "predictions.csv")
        tables.write("scores", rows, layout.scores(run, variant))
        history = [
            {
                "epoch": epoch,
                "step": 10 * epoch,
                "learning_rate": 0.01,
                "loss": float(2 / math.sqrt(epoch) + draw.normal(0, 0.05)),
                "val_dice": math.nan if epoch % 10 else float(0.9 - 0.5 / epoch + draw.normal(0, 0.01)),
            }
            for epoch in range(1, EPOCHS + 1)
        ]
        tables.write("history", history, layout.run(run) / "history.csv")
        files.write_json(
            layout.run(run) / "run.json",
            {
                "run": str(run),
                "threads": 2,
                "training": {"epochs": EPOCHS},
                "cases": {"train": [], "val": []},
                "digests": dict.fromkeys(("data", "code", "configuration", "environment"), "0" * 16),
                "machine": {"device": "none"},
            },
        )


def command(*words: str) -> float:
    """Seconds of one command of the project, in a process of its own on two cores."""
    start = time.monotonic()
    cores = sorted(os.sched_getaffinity(0))[:2]
    done = subprocess.run(
        [sys.executable, "-m", "segtrace", *words],
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"segtrace {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
    return time.monotonic() - start


def first_paint(page: Path, modules: Path) -> float:
    """Seconds until the first content is painted, the median of three fresh browsers."""
    browser = next(found for name in ("chromium", "google-chrome") if (found := shutil.which(name)))
    script, out = ROOT / "tests/browser/check.mjs", Path("paint.json").resolve()
    words = ["node", str(script), "--paint", str(out), str(modules), browser, *[str(page)] * 3]
    subprocess.run(words, check=True)
    found = json.loads(out.read_text(encoding="utf-8"))
    texts = [row["figure"] for row in found if row["check"] == "first paint"]
    return sorted(float(text.split("content ")[1].split(" ms")[0]) for text in texts)[1] / 1000


def main() -> None:
    """Make the project, time its commands, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dimensions", type=int, choices=sorted(DATASETS), default=2)
    parser.add_argument("--methods", type=int, default=12)
    parser.add_argument("--cases", type=int, default=600)
    parser.add_argument("--folder", type=Path, help="keep the project there (default: a temporary folder)")
    parser.add_argument("--browser", type=Path, help="the folder that make test-browser fills: .browser")
    chosen = parser.parse_args()
    modules = chosen.browser.resolve() if chosen.browser else None
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        name, methods = configure(chosen.dimensions, methods=chosen.methods, cases=chosen.cases)
        for words in (("acquire", name), ("index", name), ("split", name, "folds")):
            print(f"segtrace {' '.join(words)}: {command(*words):.1f} s", flush=True)
        make_runs(name, methods)
        compare = command("compare", "large")
        seconds = command("report", "large")
        page = folder / "reports/large/index.html"
        size = page.stat().st_size / 1e6
        print(
            f"\n{chosen.methods} methods × {chosen.cases} cases in {chosen.dimensions}-D, on {platform.machine()}, two cores\n"
        )
        print("| what | measured | bar |\n|---|---|---|")
        print(f"| size of the page | {size:.1f} MB | {BARS['size']:g} MB |")
        print(f"| segtrace report | {seconds:.1f} s | {BARS['build']:g} s |")
        print(f"| segtrace compare, before it | {compare:.1f} s | |")
        if modules:
            print(f"| first paint | {first_paint(page, modules):.2f} s | {BARS['paint']:g} s |")


if __name__ == "__main__":
    main()
