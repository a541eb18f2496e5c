"""Where a page's numbers come from: data, digests, runs, environment, and the commands to redo it."""

import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from segtrace import digests, layout, tables
from segtrace.errors import SegtraceError
from segtrace.files import json_text, read_json, sha256_file
from segtrace.report.subject import Subject

LOCK = Path("envs/requirements.lock")
#: Packages whose versions decide numbers; the others are in the lock.
PACKAGES = (
    "torch",
    "monai",
    "numpy",
    "scipy",
    "simpleitk",
    "safetensors",
    "einops",
    "pillow",
    "pandas",
    "snakemake",
    "dvc",
)


def _json(path: Path) -> dict[str, Any] | None:
    return dict(read_json(path)) if path.is_file() else None


def roles(subject: Subject) -> list[dict[str, Any]]:
    """Cases and subjects of each role, by fold; empty where the split is not on this machine."""
    path = layout.split(subject.experiment.dataset, subject.experiment.protocol)
    if not path.is_file():
        return []
    split = tables.read("split", path)
    made = []
    for fold in subject.folds:
        part = split[split["fold"] == fold]
        counts = {
            role: {"cases": len(rows), "subjects": int(rows["subject"].nunique())}
            for role in ("train", "val", "test")
            for rows in [part[part["role"] == role]]
        }
        made.append({"fold": fold, **counts})
    return made


def data_notes(subject: Subject) -> dict[str, Any]:
    """What a reader must know of the data: notes, excluded cases, remarks of the index, local edits."""
    name = subject.experiment.dataset
    receipt = _json(layout.receipt(name)) or {}
    remarks: list[dict[str, str]] = []
    if layout.cases(name).is_file():
        index = tables.read("cases", layout.cases(name))
        told = index[index["notes"] != ""]
        remarks = [
            {"case": case, "note": note} for case, note in zip(told["case"], told["notes"], strict=True)
        ]
    edits = receipt.get("local_edits") or []
    return {
        "notes": [*subject.dataset.notes, *subject.experiment.notes],
        "excluded": dict(subject.dataset.exclude),
        "remarks": remarks,
        "edits": [edit if isinstance(edit, str) else json_text(edit).strip() for edit in edits],
        "archives": _archives(receipt),
        "receipt": layout.receipt(name).is_file(),
    }


def _archives(receipt: dict[str, Any]) -> list[str]:
    """The receipt's archives, each with its checksum."""
    entries = receipt.get("archives") or []
    if isinstance(entries, dict):
        entries = [
            {"archive": key, **(value if isinstance(value, dict) else {"sha256": value})}
            for key, value in entries.items()
        ]
    made = []
    for entry in entries:
        if isinstance(entry, dict):
            name = entry.get("archive") or entry.get("name") or entry.get("file")
            made.append(f"{name}: sha256 {entry.get('sha256', 'not recorded')}")
        else:
            made.append(str(entry))
    return made


def data_digest(subject: Subject) -> str | None:
    """Digest over the digests of all indexed cases; None where the index is not on this machine."""
    path = layout.cases(subject.experiment.dataset)
    if not path.is_file():
        return None
    index = tables.read("cases", path)
    return digests.digest([[case, own] for case, own in zip(index["case"], index["digest"], strict=True)])


def split_digest(subject: Subject) -> str | None:
    """Digest of the split's rows; None where it is not on this machine."""
    path = layout.split(subject.experiment.dataset, subject.experiment.protocol)
    if not path.is_file():
        return None
    split = tables.read("split", path)
    return digests.digest(split.astype(str).to_numpy().tolist())


def records(subject: Subject) -> list[dict[str, Any]]:
    """Phase → what its provenance records say: code, configuration and environment digests, in phase order."""
    experiment = subject.experiment
    folders: list[Path] = [
        Path("data/raw"),
        layout.index(experiment.dataset),
        layout.prepared(experiment.dataset, experiment.recipe),
        layout.prepared(experiment.dataset, experiment.recipe) / "batches",
        Path("data/splits") / experiment.dataset,
        *(layout.run(run) for run in subject.runs),
        *(layout.predictions(run, subject.variant) for run in subject.runs),
        *(layout.scores(run, subject.variant).parent for run in subject.runs),
        layout.results(subject.name),
    ]
    wanted = {
        "acquire": f"{experiment.dataset}.",
        "split": f"{experiment.protocol}.",
        "score": f"{subject.variant}.",
    }
    found: dict[str, list[dict[str, Any]]] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.prov.json")):
            record = read_json(path)
            if path.name.startswith(wanted.get(record.get("phase", ""), "")):
                found.setdefault(str(record.get("phase")), []).append(record)
    made = []
    for phase in [name for name in digests.PHASE_ROOTS if name != "report"]:
        entries = found.get(phase, [])
        keys = ("code", "configuration", "environment")
        count = len({entry.get("job") for entry in entries})  # a job has a record beside each of its outputs
        made.append({"phase": phase, "count": count} | {key: _distinct(entries, key) for key in keys})
    return made


def _distinct(entries: Iterable[dict[str, Any]], key: str) -> list[str]:
    """The different values of a record's part, those with parts of their own as one digest."""
    values = [entry[key] for entry in entries if entry.get(key)]
    return sorted({value if isinstance(value, str) else digests.digest(value) for value in values})


def run_rows(subject: Subject) -> list[dict[str, Any]]:
    """One row a run: its ``run.json`` and the end of its history."""
    made = []
    for run in subject.runs:
        resolved = _json(layout.run(run) / "run.json")
        row: dict[str, Any] = {"run": str(run), "method": run.method, "fold": run.fold, "seed": run.seed}
        if resolved is not None:
            training = resolved.get("training", {})
            row |= {
                "found": True,
                "epochs": training.get("epochs"),
                "threads": resolved.get("threads"),
                "cases": {role: len(cases) for role, cases in resolved.get("cases", {}).items()},
                "digests": resolved.get("digests", {}),
                "machine": machine(resolved),
                "parameters": resolved.get("parameters"),
                "json": json_text(resolved),
            }
        history = layout.run(run) / "history.csv"
        row["history"] = tables.read("history", history).to_dict("records") if history.is_file() else []
        made.append(row)
    return made


def machine(resolved: dict[str, Any]) -> list[str]:
    """What a run was computed on, as it recorded it."""
    told = resolved.get("machine") or {}
    return [f"{key} {told[key]}" for key in sorted(told)]


def environment(runs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The environment that the runs recorded, and the versions that the lock with that digest pins."""
    recorded = sorted(
        {run["digests"]["environment"] for run in runs if run.get("digests", {}).get("environment")}
    )
    current = digests.environment_digest(LOCK)
    pins: list[str] = []
    if recorded == [current]:
        versions = {name.lower(): version for name, version in digests.pins(LOCK).items()}
        pins = [f"{name} {versions[name]}" for name in PACKAGES if name in versions]
    return {"recorded": recorded, "current": current, "pins": pins, "python": platform.python_version()}


def commands(subject: Subject) -> dict[str, list[str]]:
    """The commands that make this page again: all at once, and phase by phase."""
    experiment, variant = subject.experiment, subject.variant
    seeds = ",".join(map(str, subject.seeds))
    asked = f"--budget {subject.budget_name} --seeds {seeds}"
    together = (
        f"snakemake --cores 2 --config experiments={subject.name} budget={subject.budget_name} seeds={seeds}"
    )
    single = [
        f"segtrace acquire {experiment.dataset}",
        f"segtrace index {experiment.dataset}",
        f"segtrace prepare {experiment.dataset} {experiment.recipe}",
        f"segtrace validate {experiment.dataset} {experiment.recipe}",
        f"segtrace split {experiment.dataset} {experiment.protocol}",
    ]
    for run in subject.runs:
        single += [
            f"segtrace train {run}",
            f"segtrace predict {run} {variant}",
            f"segtrace score {run} {variant}",
        ]
    single += [f"segtrace compare {subject.name} {asked}", f"segtrace report {subject.name} {asked}"]
    return {"together": [together], "single": single}


def table_files(subject: Subject) -> list[dict[str, str]]:
    """The tables behind the page, with their checksums."""
    folder = layout.results(subject.name)
    names = ("summary.csv", "per_case.csv", "metrics.json")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise SegtraceError(f"{folder}: {', '.join(missing)} is missing; run segtrace compare {subject.name}")
    return [{"file": str(folder / name), "sha256": sha256_file(folder / name)} for name in names]
