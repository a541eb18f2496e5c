"""Cells computed again from the scores of the runs, and in words how they follow from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segtrace.aggregation import (
    DISTANCES,
    PREDICTION_MISSING,
    CaseValue,
    Cell,
    best_constants,
    statistics,
    values_of_cells,
)
from segtrace.metrics import counts as counting
from segtrace.regions import is_region, without
from segtrace.samples import SAMPLES, SEED
from segtrace.trace import jobs
from segtrace.trace.explain.facts import Facts
from segtrace.trace.jobs import Job

Key = Cell
_TEXTS = (
    "dataset",
    "recipe",
    "protocol",
    "role",
    "method",
    "budget",
    "checkpoint",
    "grid",
    "corruption",
    "case",
)
_WHOLE = ("fold", "seed", "label", "tp", "fp", "fn", "tn")


@dataclass(frozen=True)
class Recomputed:
    """An experiment's numbers, from the scores: ``cells`` by method, label and metric, then by column."""

    cells: dict[Key, dict[str, Any]] = field(default_factory=dict)
    values: dict[Key, list[CaseValue]] = field(default_factory=dict)
    labels: tuple[int, ...] = ()
    runs: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Method → (fold, seed) of its runs."""
    scored: dict[str, int] = field(default_factory=dict)
    """Method → how many of its runs score one case, at most."""


def scorings(experiment: str, facts: Facts) -> list[Job]:
    """The scorings that an experiment's tables were made from: those of the record, else the configured ones."""
    made = facts.record(jobs.outputs(Job("compare", experiment))[0])
    if made is not None and isinstance(made["inputs"].get("scores"), dict):
        return [jobs.of_file(path) for path in made["inputs"]["scores"]]
    return jobs.scored(experiment, facts.config)


def experiment_cells(experiment: str, facts: Facts) -> Recomputed:
    """The cells of an experiment's summary, from the scores files as they are now; empty if they cannot be had.

    Computed once for each :class:`Facts`. Scores that are missing or damaged are told by their own step.
    """
    key = ("recomputed", experiment)
    if key not in facts.kept:
        try:
            facts.kept[key] = compute(
                [
                    score(row)
                    for job in scorings(experiment, facts)
                    for row in facts.rows(jobs.outputs(job)[0])
                ]
            )
        except (KeyError, ValueError, TypeError, ZeroDivisionError):
            facts.kept[key] = Recomputed()
    found: Recomputed = facts.kept[key]
    return found


def values_of(made: Sequence[Job], facts: Facts) -> dict[Key, list[CaseValue]]:
    """The values of the scores of some scorings, by method, label and metric; empty if they cannot be had."""
    try:
        rows = [score(row) for job in made for row in facts.rows(jobs.outputs(job)[0])]
        methods = list(dict.fromkeys(row["method"] for row in rows))
        return values_of_cells(rows, methods=methods, labels=sorted({row["label"] for row in rows}))
    except (KeyError, ValueError, TypeError, ZeroDivisionError):
        return {}


def score(row: Mapping[str, str]) -> dict[str, Any]:
    """A row of scores with numbers for text; an empty cell is None."""
    return {key: _number(key, text) for key, text in row.items()}


def _number(key: str, text: str) -> Any:
    if key in _TEXTS or key == "reason":
        return text
    if key in _WHOLE:
        return int(text)
    return float(text) if text else None


def compute(rows: Sequence[Mapping[str, Any]]) -> Recomputed:
    """All cells of a summary from rows of scores."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    labels = sorted({row["label"] for row in rows})
    constants = best_constants(rows, labels=labels)
    runs = {m: sorted({(r["fold"], r["seed"]) for r in rows if r["method"] == m}) for m in methods}
    values = values_of_cells(rows, methods=methods, labels=labels)
    cells: dict[Key, dict[str, Any]] = {
        (method, label, metric): {
            **statistics(found),
            "constant": constants.get((label, metric)),
            "seeds": len({seed for _, seed in runs[method]}),
            "folds": len({fold for fold, _ in runs[method]}),
        }
        for (method, label, metric), found in values.items()
    }
    folds = {
        fold: {row["case"] for row in rows if row["fold"] == fold} for fold in {row["fold"] for row in rows}
    }
    cases = {row["case"] for row in rows}
    scored = {
        method: max(sum(case in folds[fold] for fold, _ in found) for case in cases)
        for method, found in runs.items()
    }
    return Recomputed(cells, values, tuple(labels), runs, scored)


def same(cell: Any, again: Any) -> bool:
    """Whether a cell, as a table holds it, is a value exactly: as text or as a number; an empty one is unknown."""
    if cell in ("", None) or again in ("", None):
        return cell in ("", None) and again in ("", None)
    if str(cell) == str(again):
        return True
    try:
        return float(cell) == float(again)
    except (TypeError, ValueError):
        return False


#: Overlap → how it follows from the counts of a row of scores.
FORMULAS = {
    "dice": "2 tp / (2 tp + fp + fn)",
    "iou": "tp / (tp + fp + fn)",
    "precision": "tp / (tp + fp)",
    "recall": "tp / (tp + fn)",
    "accuracy": "(tp + tn) / (tp + fp + fn + tn)",
}


#: Surface metric, without its unit → how it follows from the distances between the border voxels of both masks.
SURFACES = {
    "hd95": "the greater of the two directed 95th percentiles of the distances between border voxels",
    "hd": "the greatest distance from a border voxel of one mask to the border of the other",
    "assd": "the mean distance from the border voxels of both masks to the border of the other",
    "nsd": "the share of the border voxels of both masks within a tolerance of the border of the other",
}


_UNITS = {"mm": "mm", "voxel": "voxels"}


def of_surfaces(row: Mapping[str, str], column: str) -> str:
    """In words, how a surface metric of a row of scores comes about; empty for another column."""
    name, _, unit = column.partition("_")
    if column not in DISTANCES and column != "nsd":
        return ""
    tolerance = [
        f"{row[f'nsd_tolerance_{key}']} {word}"
        for key, word in _UNITS.items()
        if row.get(f"nsd_tolerance_{key}")
    ]
    told = f", in {_UNITS[unit]}" if unit else f": {tolerance[0]}" if tolerance else ""
    return f"{column} = {SURFACES[name]}{told}"


def from_counts(row: Mapping[str, str]) -> dict[str, float | None]:
    """The overlaps of a row of scores, from its voxel counts; none for a case without a prediction.

    Where both masks are empty, Dice and IoU are 1; an overlap that does not exist is None.
    """
    if PREDICTION_MISSING in row.get("reason", ""):
        return {}
    counts = counting.Counts(*(int(row[key]) for key in ("tp", "fp", "fn", "tn")))
    found = {
        "dice": counting.dice(counts),
        "iou": counting.iou(counts),
        "precision": counting.precision(counts),
        "recall": counting.recall(counts),
        "accuracy": counting.accuracy(counts),
    }
    both_empty = {name: 1.0 for name in ("dice", "iou") if found[name] is None}
    return found | both_empty


def label_names(experiment: str, facts: Facts) -> dict[str, int]:
    """Name → number of an experiment's labels, 0 being their mean, as its summary has them."""
    table = jobs.outputs(Job("compare", experiment))[0]
    found = {row["label_name"]: int(row["label"]) for row in facts.rows(table) if row.get("label_name")}
    return found or {"mean": 0}


def sentences(column: str, key: Key, made: Recomputed, *, name: str = "") -> list[str]:
    """In words, how a cell of the summary follows from the scores; ``name`` is that of the label."""
    method, label, metric = key
    cell, runs = made.cells[key], made.runs[method]
    if column == "constant":
        return [_of_a_constant(metric, len({value.case for value in made.values[key]}))]
    if column in ("low", "high"):
        return [_OF_AN_INTERVAL, *sentences("mean", key, made, name=name)]
    if column in ("seeds", "folds"):
        return [f"number of different {column} of the runs of {method}, of which there are {len(runs)}"]
    kind = "region" if is_region(label) else "label"
    name = name.removeprefix("region ") if is_region(label) else name
    what = f"{metric} of {kind} {label}" + (f" ({name})" if name else "")
    what = what if label else f"mean over {len(without(made.labels))} labels of {metric}"
    if made.scored[method] > 1:
        what = f"mean over the case's runs (up to {made.scored[method]}) of the {what}"
    told = [
        f"{_WORDS[column]} over {cell['cases']} cases of the {what}"
        if column in _WORDS
        else f"{_COUNTED.get(column, column)}; the value of a case is the {what}"
    ]
    told += [f"{cell['undefined']} cases are left out: no value in any run"] if cell["undefined"] else []
    told += [f"in {cell['as_worst']} cases an undefined distance counts as the image diagonal"] * bool(
        cell["as_worst"]
    )
    told += [f"{cell['missing']} cases lack a score in some run, and count as worst there"] * bool(
        cell["missing"]
    )
    return told


_WORDS = {
    "mean": "mean",
    "sd": "sample standard deviation (n − 1)",
    "low": "lower end of the 95 % bootstrap interval (BCa) of the mean",
    "high": "upper end of the 95 % bootstrap interval (BCa) of the mean",
    "median": "median",
    "minimum": "minimum",
    "maximum": "maximum",
}
_COUNTED = {
    "cases": "number of cases that have a value",
    "undefined": "number of cases left out, for the metric has no value in any run",
    "as_worst": "number of cases in which an undefined distance counts as the image diagonal",
    "missing": "number of cases without a score in at least one run, counted as worst there",
}


_OF_AN_INTERVAL = (
    f"end of the 95 % interval of the mean (BCa), from {SAMPLES:,} bootstrap samples of the cases, drawn with seed {SEED}; "
    "it is not drawn again here, and stands in intervals.csv too"
)


def _of_a_constant(metric: str, cases: int) -> str:
    if metric not in ("dice", "iou"):
        return "empty: the best constant prediction is computed for dice and iou alone"
    return (
        f"the best of the means over {cases} cases of giving every voxel one value (nothing, or one of the labels), "
        "from the voxel counts of the scores; no prediction enters it"
    )
