"""All experiments together: their means as one JSON file, the histories of their runs as one table, and how soon each
run reached what it ended with.

The first two are the files that ``dvc metrics`` and ``dvc plots`` read, since both name files and no patterns.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from segtrace import convergence, layout, tables
from segtrace.files import read_json


def metrics(experiments: Sequence[str]) -> dict[str, Any]:
    """Means of all experiments as nested numbers: experiment → method → label → metric."""
    found: dict[str, Any] = {}
    for name in experiments:
        content: Mapping[str, Any] = read_json(layout.results(name) / "metrics.json")
        found[name] = content.get(name, {})
    return found


def histories(runs: Mapping[str, Sequence[layout.RunName]]) -> list[dict[str, Any]]:
    """Rows of the ``histories`` table: every epoch of every run of every experiment, in that order."""
    return [
        {
            "experiment": experiment,
            "run": str(run),
            "method": run.method,
            "fold": run.fold,
            "seed": run.seed,
            **{str(key): value for key, value in row.items()},
        }
        for experiment, names in runs.items()
        for run in names
        for row in tables.read("history", layout.run(run) / "history.csv").to_dict("records")
    ]


def converged(histories: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the ``convergence`` table: one a run of every experiment, from the rows of ``histories``, in their order."""
    runs: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in histories:
        runs.setdefault(tuple(row[key] for key in _RUN), []).append(row)
    return [
        {**dict(zip(_RUN, run, strict=True)), **asdict(convergence.of_history(rows))}
        for run, rows in runs.items()
    ]


_RUN = ("experiment", "run", "method", "fold", "seed")
