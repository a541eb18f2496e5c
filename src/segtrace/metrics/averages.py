"""The means of an experiment by every named way of averaging, from the voxel counts that its scores hold.

Published tables average in ways that give different numbers from equal label maps: over cases; over batches of
images, IoU being pooled within a batch; or from one confusion matrix of all voxels. All are computed here from
the same true and false positives and negatives, so that a published number meets the one made as it was.

A case that a run lacks counts as worst, as in :mod:`segtrace.aggregation`: its reference is missed altogether.
Sums are whole numbers or correctly rounded, so results are the same on every machine.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segtrace.aggregation import (
    METRICS,
    PREDICTION_MISSING,
    Cell,
    Entry,
    RunValues,
    deviation,
    mean,
)
from segtrace.metrics import counts as counting
from segtrace.metrics.counts import Counts
from segtrace.regions import without

#: Metrics that follow from counts, and so from counts of many cases added up.
POOLED: Mapping[str, Callable[[Counts], float | None]] = {
    "dice": counting.dice,
    "iou": counting.iou,
    "precision": counting.precision,
    "recall": counting.recall,
    "accuracy": counting.accuracy,
}
#: Metrics that published programs average over batches.
BATCHED = ("dice", "iou")
#: What those programs add to both parts of the ratio.
SMOOTH = 1e-5

#: The scores of one run: case → label → row.
Run = Mapping[str, Mapping[int, Mapping[str, Any]]]
#: Case → (fold, seed) → value.
Cases = Mapping[str, Mapping[tuple[int, int], Entry]]


@dataclass(frozen=True)
class Average:
    """A mean over ``units`` (cases, batches, runs, folds or seeds); ``missing`` cases counted as worst in it."""

    aggregation: str
    mean: float | None
    sd: float | None
    units: int
    missing: int


def averages(
    scores: Iterable[Mapping[str, Any]], *, values: RunValues, labels: Sequence[int], batch: int
) -> dict[Cell, list[Average]]:
    """The means of every method, label (0: mean of ``labels`` without regions) and metric, by each aggregation in turn.

    ``scores`` are rows of the ``per_case`` table, ``values`` what :func:`segtrace.aggregation.run_values` makes of
    them, and ``batch`` is how many images ``per_batch`` pools.

    ``per_case`` is the mean over cases; ``per_fold`` and ``per_seed`` the mean over folds and over seeds of the
    mean over cases within each. ``pooled`` (of metrics that follow from counts) is the mean over runs of the
    metric of all voxels of a run's cases together; ``per_batch`` (Dice and IoU) see :func:`of_batches`.
    """
    scored = _runs(completed(scores))
    found: dict[Cell, list[Average]] = {}
    for cell, cases in values.items():
        method, label, metric = cell
        missing = sum(any(entry.missing for entry in entries.values()) for entries in cases.values())
        own = [run for (of, _, _), run in sorted(scored.items()) if of == method]
        part = without(labels) if label == 0 else [label]
        known = _of_cases(runs.values() for runs in cases.values())
        found[cell] = [
            _average("per_case", known, missing),
            _average("per_fold", _of_parts(cases, known, 0), missing),
            _average("per_seed", _of_parts(cases, known, 1), missing),
        ]
        if metric in BATCHED:
            found[cell].append(_batched(own, metric, labels=part, batch=batch, missing=missing))
        if metric in POOLED:
            pooled = [_pooled(run, metric, labels=part) for run in own]
            found[cell].append(_average("pooled", [p for p in pooled if p is not None], missing))
    return found


def _of_cases(cases: Iterable[Iterable[Entry]]) -> list[float]:
    """The value of each case that has one: the mean over its runs."""
    known = [[entry.value for entry in runs if entry.value is not None] for runs in cases]
    return [values[0] if len(values) == 1 else mean(values) for values in known if values]


def _of_parts(cases: Cases, known: Sequence[float], position: int) -> list[float]:
    """The mean over cases within each fold (``position`` 0) or seed (1) in which a case has a value.

    ``known`` are the values of all cases together: those of a single fold or seed.
    """
    names = sorted({run[position] for runs in cases.values() for run in runs})
    if len(names) == 1:
        return [mean(known)] if known else []
    divided = [
        _of_cases([entry for run, entry in runs.items() if run[position] == name] for runs in cases.values())
        for name in names
    ]
    return [mean(values) for values in divided if values]


def completed(scores: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """``scores`` and a row for every case and label that a run lacks and another run of its fold has.

    Rows without a prediction have the counts of an empty one: the whole reference is missed.
    """
    rows = [dict(row) for row in scores]
    found = {(r["method"], r["fold"], r["seed"], r["case"], r["label"]) for r in rows}
    of_fold: dict[int, dict[tuple[str, int], Mapping[str, Any]]] = {}
    for row in rows:
        of_fold.setdefault(row["fold"], {}).setdefault((row["case"], row["label"]), row)
        if PREDICTION_MISSING in str(row.get("reason", "")):
            row.update(_missed(row))
    for method, fold, seed in sorted({key[:3] for key in found}):
        for (case, label), other in sorted(of_fold[fold].items(), key=lambda item: item[0]):
            if (method, fold, seed, case, label) not in found:
                rows.append(
                    {**other, **dict.fromkeys(METRICS), "method": method, "seed": seed, **_missed(other)}
                )
    return list(rows)


def _missed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tp": 0,
        "fp": 0,
        "fn": row["tp"] + row["fn"],
        "tn": row["fp"] + row["tn"],
        "reason": PREDICTION_MISSING,
    }


def _runs(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int, int], Run]:
    """(method, fold, seed) → its scores, cases in the order of their ids."""
    found: dict[tuple[str, int, int], dict[str, dict[int, Mapping[str, Any]]]] = {}
    for row in sorted(rows, key=lambda row: str(row["case"])):
        run = found.setdefault((row["method"], row["fold"], row["seed"]), {})
        run.setdefault(row["case"], {})[row["label"]] = row
    return dict(found)


def _average(aggregation: str, values: Sequence[float], missing: int) -> Average:
    return Average(aggregation, mean(values) if values else None, deviation(values), len(values), missing)


def _counts(row: Mapping[str, Any]) -> Counts:
    return Counts(row["tp"], row["fp"], row["fn"], row["tn"])


def _pooled(run: Run, metric: str, *, labels: Sequence[int]) -> float | None:
    """The metric of all voxels of a run's cases; of several labels the mean of those that have a value."""
    found = [of_all([_counts(case[label]) for case in run.values()], metric=metric) for label in labels]
    known = [value for value in found if value is not None]
    return mean(known) if known else None


def of_all(counts: Sequence[Counts], *, metric: str) -> float | None:
    """The metric of all voxels of several cases of one label; Dice and IoU are 1 where all masks are empty."""
    every = Counts(*(sum(getattr(c, key) for c in counts) for key in ("tp", "fp", "fn", "tn")))
    found = POOLED[metric](every)
    return 1.0 if found is None and metric in BATCHED else found


def of_batches(counts: Sequence[Counts], *, batch: int, metric: str) -> list[tuple[float, int]]:
    """(value, images) of every batch of ``batch`` images of one label, in the order given.

    As in the published programs of UNeXt and LV-UNet: the IoU of a batch is that of its pixels together, with
    :data:`SMOOTH` added to both parts, and its Dice follows as 2 IoU / (1 + IoU). The programs then average
    with the number of images as weights.
    """
    found = []
    for start in range(0, len(counts), batch):
        part = counts[start : start + batch]
        tp = sum(c.tp for c in part)
        union = tp + sum(c.fp + c.fn for c in part)
        iou = (tp + SMOOTH) / (union + SMOOTH)
        found.append((iou if metric == "iou" else 2 * iou / (1 + iou), len(part)))
    return found


def _batched(runs: Sequence[Run], metric: str, *, labels: Sequence[int], batch: int, missing: int) -> Average:
    """The mean over runs of the weighted mean over batches; ``sd`` is over all batches, unweighted."""
    of_runs, every = [], []
    for run in runs:
        listed = [
            of_batches([_counts(case[label]) for case in run.values()], batch=batch, metric=metric)
            for label in labels
        ]
        batches = [(mean([value for value, _ in found]), found[0][1]) for found in zip(*listed, strict=True)]
        of_runs.append(math.fsum(value * size for value, size in batches) / len(run))
        every += [value for value, _ in batches]
    return Average("per_batch", mean(of_runs) if of_runs else None, deviation(every), len(every), missing)
