"""Trained runs that segment together: folds or seeds of one data set, recipe and number of classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrace import files, layout
from segtrace.background import classes_of
from segtrace.errors import SegtraceError, raise_all
from segtrace.sliding import inference_of


@dataclass(frozen=True)
class Trained:
    """A trained run: its resolved configuration, which of its checkpoints, and that file with its checksum."""

    run: dict[str, Any]
    checkpoint: str
    weights: Path
    sha256: str


def run_json(name: layout.RunName, weights: Path) -> dict[str, Any]:
    """The run's resolved configuration; raises :class:`SegtraceError` unless it is trained."""
    path = layout.run(name) / "run.json"
    absent = [str(part) for part in (path, weights) if not part.is_file()]
    if absent:
        raise SegtraceError(f"{', '.join(absent)}: no such file; train the run first: segtrace train {name}")
    resolved: dict[str, Any] = files.read_json(path)
    if resolved.get("run") != str(name):
        raise SegtraceError(f"{path}: describes the run {resolved.get('run')!r}, expected {str(name)!r}")
    return resolved


def load(texts: Sequence[str], *, checkpoint: str = "last") -> list[Trained]:
    """The runs that ``texts`` name, sorted: an ensemble is the same in any order.

    Raises :class:`SegtraceError` that lists all that are no runs, given twice or not trained, and all in which
    runs do not fit together.
    """
    found, problems = {}, []
    for text in texts:
        try:
            name = layout.parse_run(text)
            weights = layout.run(name) / layout.WEIGHTS[checkpoint]
            run = run_json(name, weights)
        except SegtraceError as error:
            problems.append(str(error))
            continue
        if str(name) in found:
            problems.append(f"{name}: given twice")
        found[str(name)] = Trained(run, checkpoint, weights, files.sha256_file(weights))
    trained = [found[name] for name in sorted(found)]
    for one in trained[1:]:
        first, other = _alike(trained[0].run), _alike(one.run)
        problems += [
            f"{key}: {first[key]} in {trained[0].run['run']}, {other[key]} in {one.run['run']}"
            for key in first
            if first[key] != other[key]
        ]
    raise_all(problems, heading="these runs cannot segment together" if len(texts) > 1 else "cannot predict")
    return trained


def _alike(run: dict[str, Any]) -> dict[str, Any]:
    """What must be the same for all runs of an ensemble."""
    spec = run["network"]
    return {
        "data set": run["dataset"],
        "recipe": run["recipe"],
        "labels": run["labels"],
        **{f"network.{key}": spec[key] for key in ("in_channels", "spatial_dims")},
        "classes": classes_of(run),
        **{f"inference.{key}": value for key, value in inference_of(run).items()},
    }
