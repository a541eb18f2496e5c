"""Intervals of the means of an experiment: bootstrap over cases (BCa, percentile), and over trainings and cases.

The arithmetic is this module's own, where SciPy has ``scipy.stats.bootstrap``, for three reasons: all means of an
experiment and all differences between its methods share one draw of the cases (:mod:`segtrace.compare.resampling`),
the result is the same bytes on every machine, and thousands of columns take seconds. It is tested against
``scipy.stats.bootstrap`` (methods ``BCa`` and ``percentile``) fed with the same distribution of means.

BCa (bias-corrected and accelerated): Efron, "Better bootstrap confidence intervals", JASA 82 (1987). Of a mean, the
jackknife's acceleration is its skewness over 6 √n, so nothing has to be left out in turn.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from segtrace.aggregation import CaseValue, Cell, RunValues, mean
from segtrace.compare.resampling import Array, draws, exact
from segtrace.samples import SAMPLES, SEED, skewness, too_small

LEVEL = 0.95
#: Columns that are resampled together: what bounds the memory.
_COLUMNS = 128
#: Positions among the ordered samples are rounded to multiples of 2 to the power −26, so that the last digit of a
#: logarithm or exponential, which differs between processors, does not reach a table.
_STEPS = 2.0**26


#: What there is to say of trainings, by how many a method has.
ONE_TRAINING = "One training a method: how much training again would change is unknown."
_FEW_TRAININGS = 5


Key = TypeVar("Key")
Group = TypeVar("Group", bound=Hashable)


@dataclass(frozen=True)
class Bounds:
    """Ends of the intervals of each column's mean, (columns,)."""

    bca_low: Array
    bca_high: Array
    percentile_low: Array
    percentile_high: Array


@lru_cache(maxsize=1)
def shared_draws(cases: int, samples: int, *, seed: int) -> Array:
    """:func:`segtrace.compare.resampling.draws`, kept until another number of cases is asked for."""
    return draws(cases, samples, seed=seed)


def bounds(values: Array, *, samples: int = SAMPLES, seed: int = SEED, level: float = LEVEL) -> Bounds:
    """Intervals of the mean of each column of ``values`` (cases, columns), all resampled by the same draws.

    A column whose values are all equal has that value as its interval. Raises ValueError for fewer than two
    cases, of which there is no interval, and where a value is not finite.
    """
    cases, columns = values.shape
    if cases < 2:
        raise ValueError(f"{cases} cases have no interval; at least 2 are needed")
    drawn = shared_draws(cases, samples, seed=seed)
    found = np.empty((4, columns))
    for start in range(0, columns, _COLUMNS):
        chosen = slice(start, start + _COLUMNS)
        part = exact(values[:, chosen])
        resampled = np.ascontiguousarray(((drawn @ part) / cases).T)
        ends, varied = _ends(resampled, part, level=level)
        found[:, chosen] = np.where(varied, ends, values[0, chosen])
    return Bounds(*found)


def _ends(resampled: Array, values: Array, *, level: float) -> tuple[Array, NDArray[np.bool_]]:
    """(ends of BCa and percentile (4, columns), whether a column varies) of ``values`` (cases, columns).

    ``resampled`` are the samples' means (columns, samples); they are sorted in place.
    """
    tail = (1.0 - level) / 2.0
    centre = values.sum(axis=0) / len(values)  # a sum without rounding, like those of the samples
    below = (resampled < centre[:, None]).sum(axis=1) + (resampled <= centre[:, None]).sum(axis=1)
    resampled.sort(axis=1)
    varied = values.max(axis=0) > values.min(axis=0)
    bias = ndtri(np.where(varied, below / (2.0 * resampled.shape[1]), 0.5))
    accelerated = np.array([skewness(column) for column in values.T.tolist()]) / (
        6.0 * math.sqrt(len(values))
    )
    ends = []
    for z in (float(ndtri(tail)), -float(ndtri(tail))):
        moved = bias + z
        ends.append(quantiles(resampled, ndtr(bias + moved / (1.0 - accelerated * moved))))
    ends += [quantiles(resampled, np.full(len(centre), share)) for share in (tail, 1.0 - tail)]
    return np.array(ends), varied


def quantiles(ordered: Array, shares: Array) -> Array:
    """The quantile ``shares[i]`` of each row of ``ordered`` (rows, samples), by linear interpolation."""
    last = ordered.shape[1] - 1
    position = np.clip(np.rint(shares * last * _STEPS) / _STEPS, 0.0, last)
    below = np.minimum(np.floor(position).astype(np.int64), max(last - 1, 0))
    rows = np.arange(len(ordered))
    low, high = ordered[rows, below], ordered[rows, np.minimum(below + 1, last)]
    return low + (high - low) * (position - below)


def nested_bounds(
    values: Array, folds: Sequence[int], *, samples: int = SAMPLES, seed: int = SEED, level: float = LEVEL
) -> tuple[Array, Array]:
    """(low, high), each (columns,): percentile intervals of the mean when both trainings and cases are drawn.

    ``values`` is (cases, runs, columns), NaN where a run does not score a case; ``folds`` names the fold of each
    run. In every sample the cases are drawn, and of each fold as many of its runs as it has; every drawn run scores
    the same drawn cases, as the real ones do (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1
    (2007)). Raises ValueError for fewer than two cases.
    """
    cases, _, columns = values.shape
    if cases < 2:
        raise ValueError(f"{cases} cases have no interval; at least 2 are needed")
    scored = ~np.isnan(values)
    # A case is the mean of its runs: drawn c times, a run adds c times its value over the number of runs.
    shares = np.where(scored, values, 0.0) / scored.sum(axis=1, keepdims=True)
    drawn = shared_draws(cases, samples, seed=seed)
    total = np.zeros((samples, columns))
    for position, fold in enumerate(sorted(set(folds))):
        own = [run for run, of_fold in enumerate(folds) if of_fold == fold]
        rows = scored[:, own].any(axis=(1, 2))
        runs = draws(len(own), samples, seed=seed + 1 + position)
        for count, run in zip(runs.T, own, strict=True):
            total += count[:, None] * (drawn[:, rows] @ exact(shares[:, run])[rows])
    ordered = np.sort(np.ascontiguousarray((total / cases).T), axis=1)
    tail = (1.0 - level) / 2.0
    varied = np.nanmax(values, axis=(0, 1)) > np.nanmin(values, axis=(0, 1))
    low, high = (
        np.where(varied, quantiles(ordered, np.full(columns, share)), np.nanmin(values, axis=(0, 1)))
        for share in (tail, 1.0 - tail)
    )
    return low, high


def rows(
    cells: Mapping[Cell, Sequence[CaseValue]], runs: RunValues, *, labels: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Rows of the ``intervals`` table: every method, label and metric, by each kind of interval.

    ``cells`` and ``runs`` are the same scores, by case and by run; ``labels`` names labels, 0 among them.
    """
    known = {
        cell: [value.value for value in values if value.value is not None] for cell, values in cells.items()
    }
    ends = _of_cases(known) | _of_trainings(known, runs)
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
            f"With {count} trainings a method this is a rough estimate of what training again would change."
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


def grouped(keys: Mapping[Key, Group]) -> dict[Group, list[Key]]:
    """Group → its keys, in their order."""
    found: dict[Group, list[Key]] = {}
    for key, group in keys.items():
        found.setdefault(group, []).append(key)
    return found


def _of_cases(known: Mapping[Cell, Sequence[float]]) -> dict[tuple[Cell, str], tuple[float, float]]:
    """(cell, kind) → ends of its interval over cases; cells with as many cases are resampled together."""
    found = {}
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
