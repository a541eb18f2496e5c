"""The chains of a page's numbers: from the tables to the archives, with checksums from the records beside the files.

One chain a run, not one a number: the numbers link to it, and say which cell of which table they are.
What all runs share (split, prepared cases, raw files, archives) stands once.
"""

from pathlib import Path
from typing import Any

from segtrace import layout
from segtrace.errors import SegtraceError
from segtrace.files import read_json
from segtrace.report.subject import Subject


def of_method(method: str) -> str:
    """The anchor of a method's chain: what its means link to."""
    return f"chain-{method}"


def of_run(method: str, fold: int, seed: int) -> str:
    """The anchor of a run's chain: what a value of one case links to."""
    return f"{of_method(method)}-fold-{fold}-seed-{seed}"


def chains(subject: Subject) -> dict[str, Any]:
    """Everything that the section shows: ``methods`` with their ``runs``, ``tables``, and what is ``shared``.

    Each file has the checksum that its record states; an empty one where there is no record on this machine.
    """
    folder = layout.results(subject.name)
    scored = _content(folder / "metrics.json").get("scores_sha256", {})
    return {
        "folder": str(folder),
        "tables": [
            _file(folder / "summary.csv", "means over cases"),
            _file(folder / "per_case.csv", "scores of every case and run, joined"),
        ],
        "methods": [
            {
                "id": of_method(method),
                "method": method,
                "title": configured.title,
                "runs": [_run(subject, run, scored) for run in subject.runs if run.method == method],
            }
            for method, configured in subject.methods.items()
        ],
        "shared": _shared(subject),
        "archives": _archives(subject),
    }


def _run(subject: Subject, run: layout.RunName, scored: dict[str, str]) -> dict[str, Any]:
    """The files between a run's scores and its weights, and whether each was made from the next."""
    scores = layout.scores(run, subject.variant)
    predictions = layout.predictions(run, subject.variant) / "predictions.csv"
    weights = layout.run(run) / layout.WEIGHTS[subject.variant.checkpoint]
    files = [_file(scores, "scores"), _file(predictions, "predictions"), _file(weights, "checkpoint")]
    files[0]["sha256"] = scored.get(str(scores), files[0]["sha256"])
    used = _record(predictions).get("inputs", {}).get("weights", "")
    problem = ""
    if used and files[2]["sha256"] and used != files[2]["sha256"]:
        problem = f"the predictions were made with other weights: sha256 {used}"
    return {
        "id": of_run(run.method, run.fold, run.seed),
        "fold": run.fold,
        "seed": run.seed,
        "files": files,
        "problem": problem,
    }


def _shared(subject: Subject) -> list[dict[str, str]]:
    """Split, prepared cases, index and receipt, each with the gate that judged it."""
    dataset, recipe, protocol = (
        subject.experiment.dataset,
        subject.experiment.recipe,
        subject.experiment.protocol,
    )
    return [
        _file(layout.split(dataset, protocol), "split") | {"gate": "gate-split"},
        _file(layout.prepared(dataset, recipe) / "prepared.csv", "prepared cases")
        | {"gate": "gate-prepared"},
        _file(layout.cases(dataset), "index of the raw files") | {"gate": "gate-raw"},
        _file(layout.receipt(dataset), "receipt of the raw files") | {"gate": ""},
    ]


def _archives(subject: Subject) -> list[dict[str, str]]:
    """The archives that the raw files were unpacked from, as the receipt has them."""
    entries = _content(layout.receipt(subject.experiment.dataset)).get("archives") or []
    return [
        {"file": str(entry.get("archive", "")), "sha256": str(entry.get("sha256", ""))}
        for entry in entries
        if isinstance(entry, dict)
    ]


def _file(path: Path, what: str) -> dict[str, str]:
    return {"what": what, "file": str(path), "sha256": str(_record(path).get("sha256", ""))}


def _record(path: Path) -> dict[str, Any]:
    """The provenance record beside a file; empty where there is none."""
    return _content(path.with_name(path.name + ".prov.json"))


def _content(path: Path) -> dict[str, Any]:
    """A JSON object's content; empty where the file is not on this machine. Raises SegtraceError if damaged."""
    if not path.is_file():
        return {}
    found = read_json(path)
    if not isinstance(found, dict):
        raise SegtraceError(f"{path}: a JSON object is expected, this is a {type(found).__name__}")
    return found
