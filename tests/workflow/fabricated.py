"""A finished project whose files are made up: quick to make, and in every table and record as a real one.

Raw files, arrays, weights and label maps are arbitrary bytes, for what is tested reads their checksums
alone. The experiment's tables are made by the real functions from made-up scores.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from workflow_helpers import ROOT

from segtrace import layout, tables
from segtrace.cli import main
from segtrace.config import load, runs
from segtrace.files import sha256_file, write_json
from segtrace.trace import jobs, record
from segtrace.trace.jobs import OVERVIEW, Job

DATASET, RECIPE, PROTOCOL = "phantom3d", "iso2", "random"
METHODS = ("unet3d_tiny", "dynunet_tiny_3d")
ROLES = {"c0": "test", "c1": "train", "c2": "val", "c3": "test", "c4": "train", "c5": "test"}
ARCHIVE = {
    "archive": "made_up.tar",
    "bytes": 4,
    "sha256": "ab" * 32,
    "origin": "published",
    "verified_by": "sha256",
}


def fabricate(path: Path, *, archive: bool = True) -> Path:
    """Make the project in ``path``, which must be the working directory; its root."""
    shutil.copytree(ROOT / "config", path / "config")
    shutil.copytree(ROOT / "envs", path / "envs")
    (path / "config/config.yaml").write_text(
        "experiments: [made]\nbudget: smoke\nseeds: [0, 1]\ntraining_threads: 1\n"
    )
    (path / "config/experiments/made.yaml").write_text(
        f"title: Made up\ndataset: {DATASET}\nrecipe: {RECIPE}\nprotocol: {PROTOCOL}\ntraining: demo_3d\n"
        f"methods: [{', '.join(METHODS)}]\n"
    )
    _acquired(archive)
    _indexed()
    _prepared()
    _split()
    variant = runs.variant_of(load.experiment("made"))
    for run in runs.runs_of("made", budget="smoke", seeds=[0, 1]):
        _trained(run)
        _predicted(run, variant)
        _scored(run, variant)
    _compared()
    return path


def _bytes(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return hashlib.sha256(text.encode()).hexdigest()


def _csv(path: Path, rows: list[dict[str, Any]]) -> None:
    def cell(value: Any) -> str:
        text = "" if value is None else str(value)
        return '"' + text.replace('"', '""') + '"' if '"' in text or "," in text else text

    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(rows[0]), *(",".join(cell(value) for value in row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def _record(job: Job, **more: Any) -> None:
    record.write(job, record.begin(job), **more)


def _acquired(archive: bool) -> None:
    files = {}
    for case in ROLES:
        for kind in ("image", "label"):
            name = f"{kind}s/{case}.nii.gz"
            files[name] = [len(f"{kind} {case}"), _bytes(layout.raw(DATASET) / name, f"{kind} {case}")]
    receipt = {
        "dataset": DATASET,
        "licence": {},
        "files": files,
        "local_edits": [],
        "archives": [ARCHIVE] if archive else [],
        "generator": None if archive else {"code": "0123456789abcdef", "options": {"seed": 0}},
    }
    write_json(layout.receipt(DATASET), receipt)
    _record(jobs.acquire(DATASET))


def _indexed() -> None:
    rows = []
    for number, case in enumerate(ROLES):
        images, labels = f"images/{case}.nii.gz", f"labels/{case}.nii.gz"
        rows.append(
            {
                "dataset": DATASET,
                "case": case,
                "subject": f"s{number}",
                "images": json.dumps([images]),
                "labels": json.dumps([labels]),
                "image_sha256": hashlib.sha256((layout.raw(DATASET) / images).read_bytes()).hexdigest(),
                "label_sha256": hashlib.sha256((layout.raw(DATASET) / labels).read_bytes()).hexdigest(),
                "duplicate_group": case,
                "digest": f"{number:016x}",
            }
        )
    _csv(layout.cases(DATASET), rows)
    columns = "first,second,kind,hamming,correlation,transform,mask_dice,contradiction"
    layout.duplicates(DATASET).write_text(f"{columns}\nc0,c1,near,2,0.95,none,0.9,\n")
    write_json(
        layout.index(DATASET) / "gate.json",
        {"passed": True, "expectations": {"number of cases": {"observed": 6}}},
    )
    _record(jobs.index(DATASET))


def _prepared() -> None:
    every = []
    for batch in range(load.dataset(DATASET).batches):
        rows = []
        for case in ROLES:
            if layout.batch_of(case, load.dataset(DATASET).batches) == batch:
                stem = layout.prepared(DATASET, RECIPE)
                sums = {
                    kind: _bytes(stem / f"{case}.{kind}.npy", f"array {kind} {case}")
                    for kind in ("image", "label")
                }
                write_json(stem / f"{case}.json", {"case": case})
                rows.append(
                    {"case": case, "batch": batch, "digest": f"{batch:016x}"}
                    | {f"{kind}_sha256": value for kind, value in sums.items()}
                )
        _csv(layout.batch_table(DATASET, RECIPE, batch), rows)
        own = (layout.prepared(DATASET, RECIPE) / f"{row['case']}.json" for row in rows)
        _record(jobs.prepare(DATASET, RECIPE, batch), unlisted={path: sha256_file(path) for path in own})
        every += rows
    folder = layout.prepared(DATASET, RECIPE)
    _csv(folder / "prepared.csv", sorted(every, key=lambda row: row["case"]))
    _csv(folder / "mask_checks.csv", [{"case": case, "label": 1, "volume_change": 0.01} for case in ROLES])
    write_json(
        folder / "gate.json", {"passed": True, "expectations": {"no structure is lost": {"observed": 0}}}
    )
    _record(jobs.validate(DATASET, RECIPE))


def _split() -> None:
    rows = [
        {"case": case, "subject": f"s{n}", "cluster": f"s{n}", "fold": 0, "role": role}
        for n, (case, role) in enumerate(ROLES.items())
    ]
    _csv(layout.split(DATASET, PROTOCOL), rows)
    write_json(
        layout.split_gate(DATASET, PROTOCOL),
        {
            "passed": True,
            "expectations": {"fold 0: no cluster on two sides": {"observed": 0}},
            "split": {
                "protocol": PROTOCOL,
                "words": "made up",
                "published": False,
                "folds": [{"train": 2, "val": 1, "test": 3, "leaks": 0, "scored": "test", "shared": 0}],
                "leaks": [],
            },
        },
    )
    _record(jobs.split(DATASET, PROTOCOL))


def _trained(run: layout.RunName) -> None:
    folder = layout.run(run)
    for name in layout.WEIGHTS.values():
        _bytes(folder / name, f"{name} of {run}")
    tables.write(
        "history",
        [
            {
                "epoch": e,
                "step": e,
                "learning_rate": 0.01,
                "loss": 1 / (e + 2),
                "val_dice": None if e == 1 else 0.3,
            }
            for e in (1, 2)
        ],
        folder / "history.csv",
    )
    resolved = runs.resolve(run, threads=1)
    cases = {role: [case for case, its in ROLES.items() if its == role] for role in ("train", "val")}
    write_json(folder / "run.json", resolved | {"cases": cases, "machine": {"device": "cpu"}})
    _record(jobs.train(run))


def _predicted(run: layout.RunName, variant: layout.Variant) -> None:
    folder = layout.predictions(run, variant)
    rows = []
    for case, role in ROLES.items():
        if role == "test" and not (case == "c5" and run.method == METHODS[1] and run.seed == 1):
            sha256 = _bytes(folder / f"{case}.nii.gz", f"label map of {case} by {run}")
            rows.append({"case": case, "file": f"{case}.nii.gz", "sha256": sha256, "digest": "0" * 16})
    _csv(folder / "predictions.csv", rows)
    _record(jobs.predict(run, variant))


def _scored(run: layout.RunName, variant: layout.Variant) -> None:
    """Made-up counts: case c3 lacks label 3 in reference and prediction, c0's label 2 is never found."""
    predicted = {row["case"] for row in _read(layout.predictions(run, variant) / "predictions.csv")}
    rows = []
    for number, case in enumerate(case for case, role in ROLES.items() if role == "test"):
        for label in (1, 2, 3):
            reference = 0 if (case, label) == ("c3", 3) else 100 * label + number
            found = 0 if reference == 0 or (case, label) == ("c0", 2) else reference - 7 * (run.seed + 1)
            tp = found * 3 // 4 if run.method == METHODS[0] else found // 2
            fp, fn = found - tp, reference - tp
            tn = 1000 - tp - fp - fn
            missing = case not in predicted
            both = reference == 0 and found == 0
            distance = 1.0 + label / 8 + number if reference and found and not missing else None
            rows.append(
                {**vars(run), **vars(variant), "case": case, "label": label}
                | {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
                | {
                    "dice": 0.0 if missing else 1.0 if both else 2 * tp / (2 * tp + fp + fn),
                    "iou": 0.0 if missing else 1.0 if both else tp / (tp + fp + fn),
                    "precision": 0.0 if missing else tp / found if found else None,
                    "recall": 0.0 if missing else tp / reference if reference else None,
                    "accuracy": 0.0 if missing else (tp + tn) / 1000,
                    "nsd": 0.0 if missing else 1.0 if both else 0.75 if found and reference else 0.0,
                    "nsd_tolerance_mm": 1.0,
                    "nsd_tolerance_voxel": None,
                    "hd95_mm": None if distance is None else 2 * distance,
                    "hd95_voxel": distance,
                    "hd_mm": None if distance is None else 3 * distance,
                    "hd_voxel": None if distance is None else 1.5 * distance,
                    "assd_mm": None if distance is None else distance,
                    "assd_voxel": None if distance is None else distance / 2,
                    "worst_mm": 40.0,
                    "worst_voxel": 20.0,
                    "reason": "prediction missing"
                    if missing
                    else "both empty"
                    if both
                    else ""
                    if found
                    else "prediction empty",
                }
            )
    tables.write("scores", rows, layout.scores(run, variant))
    _record(jobs.score(run, variant))


def _read(path: Path) -> list[dict[str, str]]:
    lines = [line.split(",") for line in path.read_text().splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def _compared() -> None:
    """The command itself makes the tables; their records are those of the other made-up files."""
    for arguments in (["compare", "made"], ["compare"]):
        assert main(arguments) == 0
    _record(Job("compare", "made"))
    _record(Job("overview", OVERVIEW))
