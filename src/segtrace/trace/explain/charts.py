"""What the charts and tables of ranks, paired tests, volumes and costs on a page are drawn from."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from segtrace import layout
from segtrace.trace import jobs
from segtrace.trace.cells import KEYS
from segtrace.trace.explain.facts import Facts
from segtrace.trace.jobs import Job

#: Adds a number to what an element is drawn from: file, keys of the row, column, what it is.
Add = Callable[..., None]


def add_sources(add: Add, name: str, experiment: str, scored: Sequence[Job], facts: Facts) -> bool:
    """Add what the figure or table ``name`` is drawn from; whether it is one that this module knows.

    ``scored`` are the scorings of the experiment.
    """
    if match := re.fullmatch(r"(blobs|schemes|tau)-(\d+)-(\w+?)(?:-(\w+))?", name):
        wanted = {"label": match[2], "metric": match[3]} | ({"scheme": match[4]} if match[4] else {})
        _rows(add, "ranks", experiment, facts, wanted, column="tau" if match[1] == "tau" else "rank")
    elif match := re.fullmatch(r"(significance|differences)-(\d+)-(\w+)", name):
        column = "difference" if match[1] == "differences" else "permutation_holm"
        wanted = {"label": match[2], "metric": match[3]}
        _rows(add, "tests", experiment, facts, wanted, column=column)
    elif match := re.fullmatch(r"agreement-(\d+)(?:-(.+))?", name):
        _volumes(add, experiment, facts, scored, label=match[1], method=match[2])
    elif name == "cost-of-each-method" or re.fullmatch(r"cost-\w+", name):
        for job in scored:
            run = jobs.run_of(job)
            add(layout.run(run) / "run.json", {}, None, what=f"network and machine of {run}")
        if name != "cost-of-each-method":
            main = "1" if len({row["label"] for row in _table("summary", experiment, facts)}) == 1 else "0"
            _rows(add, "summary", experiment, facts, {"label": main, "metric": "dice"}, column="mean")
    elif match := re.fullmatch(r"robustness-([a-z]+)", name):
        wanted = {"label": "0", "corruption": match[1]}  # of a single label, the mean is the label's
        _rows(add, "robustness", experiment, facts, wanted, column="mean")
    elif name == "convergence-of-each-method":
        for job in scored:
            run = jobs.run_of(job)
            add(layout.run(run) / "history.csv", {}, "val_dice", what=f"validation Dice of {run}, each epoch")
    else:
        return False
    return True


def _table(kind: str, experiment: str, facts: Facts) -> Sequence[Mapping[str, str]]:
    return facts.rows(layout.results(experiment) / f"{kind}.csv")


def _rows(
    add: Add, kind: str, experiment: str, facts: Facts, wanted: Mapping[str, Any], *, column: str
) -> None:
    """The column of all rows of one of the experiment's tables that have these values."""
    for row in _table(kind, experiment, facts):
        if all(row[key] == value for key, value in wanted.items()):
            keys = {key: row[key] for key in KEYS[kind]}
            told = ", ".join(value for key, value in keys.items() if key not in wanted)
            add(
                layout.results(experiment) / f"{kind}.csv",
                keys,
                column,
                what=f"{column} of {told}: {row[column] or 'unknown'}",
            )


def _volumes(
    add: Add, experiment: str, facts: Facts, scored: Sequence[Job], *, label: str, method: str | None
) -> None:
    """The counts of voxels of each case, and the table with the voxels' sizes."""
    for row in _table("per_case", experiment, facts):
        if row["label"] == label and method in (None, row["method"]):
            keys = {key: row[key] for key in KEYS["per_case"]}
            told = ", ".join(f"{key} {value}" for key, value in keys.items() if key != "label")
            add(
                layout.results(experiment) / "per_case.csv",
                keys,
                None,
                what=f"{told}: {row['tp']} + {row['fp']} voxels predicted, {row['tp']} + {row['fn']} in the reference",
            )
    run, grid = jobs.run_of(scored[0]), jobs.variant_of(scored[0]).grid
    table = (
        layout.cases(run.dataset)
        if grid == "native"
        else layout.prepared(run.dataset, run.recipe) / "prepared.csv"
    )
    add(table, {}, None, what="spacing of each case")
