"""Intervals of the means of an experiment: over cases (BCa, percentile), and over trainings and cases."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from segtrace.aggregation import CaseValue, Cell, RunValues, mean
from segtrace.bootstrap import LEVEL, bounds, grouped, nested_bounds
from segtrace.samples import too_small

#: What there is to say of trainings, by how many a method has.
ONE_TRAINING = "One training a method: how much training again would change is unknown."
_FEW_TRAININGS = 5
Key = TypeVar("Key")


def rows(
    cells: Mapping[Cell, Sequence[CaseValue]], runs: RunValues, *, labels: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Rows of the ``intervals`` table: every method, label and metric, by each kind of interval.

    ``cells`` and ``runs`` are the same scores, by case and by run; ``labels`` names labels, 0 among them.
    """
    known = {
        cell: [value.value for value in values if value.value is not None] for cell, values in cells.items()
    }
    ends = of_cases(known) | _of_trainings(known, runs)
    found = []
    for cell, values in known.items():
        method, label, metric = cell
        small, seeds = too_small(values), trainings(runs[cell])
        for kind in ("bca", "percentile", "hierarchical"):
            low, high = ends.get((cell, kind), (None, None))
            notes = [small, of_trainings(seeds) if kind == "hierarchical" else ""]
            found.append(
                {
                    "method": method,
                    "label": label,
                    "label_name": labels[label],
                    "metric": metric,
                    "kind": kind,
                    "level": LEVEL,
                    "cases": len(values),
                    "seeds": len({seed for case in runs[cell].values() for _, seed in case}),
                    "mean": mean(values) if values else None,
                    "low": low,
                    "high": high,
                    "note": " ".join(note for note in notes if note),
                }
            )
    return found


def trainings(cases: Mapping[str, Mapping[tuple[int, int], Any]]) -> int:
    """Trainings behind a cell: the runs (fold, seed) of the fold that has the fewest."""
    of_fold: dict[int, set[int]] = {}
    for runs in cases.values():
        for fold, seed in runs:
            of_fold.setdefault(fold, set()).add(seed)
    return min((len(seeds) for seeds in of_fold.values()), default=0)


def of_trainings(count: int) -> str:
    """What so many trainings a method allow to be said, in words; empty where there are enough."""
    if count <= 1:
        return ONE_TRAINING
    if count < _FEW_TRAININGS:
        return (
            f"With {count} trainings a method the interval over cases and seeds is a rough estimate of what training again "
            "would change."
        )
    return ""


def with_bounds(
    summary: Iterable[Mapping[str, Any]], intervals: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of ``summary`` with the ends of their BCa interval as ``low`` and ``high``."""
    ends = {
        (row["method"], row["label"], row["metric"]): {"low": row["low"], "high": row["high"]}
        for row in intervals
        if row["kind"] == "bca"
    }
    return [{**row, **ends[row["method"], row["label"], row["metric"]]} for row in summary]


def of_cases(known: Mapping[Key, Sequence[float]]) -> dict[tuple[Key, str], tuple[float, float]]:
    """(key, kind) → ends of the BCa and percentile interval of the mean of the key's values, one a case.

    Keys with as many cases are resampled together. Those with fewer than two have none.
    """
    found: dict[tuple[Key, str], tuple[float, float]] = {}
    for cases, chosen in grouped({cell: len(values) for cell, values in known.items()}).items():
        if cases < 2:
            continue
        ends = bounds(np.array([known[cell] for cell in chosen]).T)
        for column, cell in enumerate(chosen):
            found[cell, "bca"] = float(ends.bca_low[column]), float(ends.bca_high[column])
            found[cell, "percentile"] = (
                float(ends.percentile_low[column]),
                float(ends.percentile_high[column]),
            )
    return found


def _of_trainings(
    known: Mapping[Cell, Sequence[float]], runs: RunValues
) -> dict[tuple[Cell, str], tuple[float, float]]:
    """(cell, "hierarchical") → ends of its interval; cells of a method with the same cases are drawn together."""
    groups = {}
    for cell, values in known.items():
        if len(values) > 1 and trainings(runs[cell]) > 1:
            defined = tuple(case for case, of_run in runs[cell].items() if _defined(of_run.values()))
            groups[cell] = (len(values), cell[0], defined)
    found = {}
    # In the order of the number of cases, so that each draw is made once.
    for (_, _, cases), chosen in sorted(grouped(groups).items(), key=lambda group: group[0][:2]):
        names = sorted({run for case in cases for run in runs[chosen[0]][case]})
        filled = np.full((len(cases), len(names), len(chosen)), np.nan)
        for column, cell in enumerate(chosen):
            for row, case in enumerate(cases):
                of_run = runs[cell][case]
                # A run without a value takes the mean of the others, so that the case's mean stays what it is.
                centre = mean(_defined(of_run.values()))
                for run, entry in of_run.items():
                    filled[row, names.index(run), column] = centre if entry.value is None else entry.value
        low, high = nested_bounds(filled, [fold for fold, _ in names])
        for column, cell in enumerate(chosen):
            found[cell, "hierarchical"] = float(low[column]), float(high[column])
    return found


def _defined(entries: Iterable[Any]) -> list[float]:
    return [entry.value for entry in entries if entry.value is not None]
