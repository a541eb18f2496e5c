"""Intervals of means by the bootstrap, over cases (BCa, percentile), and over trainings and cases.

The arithmetic is this module's own, where SciPy has ``scipy.stats.bootstrap``, for three reasons: all means of an
experiment and all differences between its methods share one draw of the cases (:mod:`segtrace.resampling`),
the result is the same bytes on every machine, and thousands of columns take seconds. It is tested against
``scipy.stats.bootstrap`` (methods ``BCa`` and ``percentile``) fed with the same distribution of means.

BCa (bias-corrected and accelerated): Efron, "Better bootstrap confidence intervals", JASA 82 (1987). Of a mean, the
jackknife's acceleration is its skewness over 6 √n, so nothing has to be left out in turn.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from segtrace.resampling import Array, draws, exact
from segtrace.samples import SAMPLES, SEED, skewness

LEVEL = 0.95
#: Columns that are resampled together: what bounds the memory.
_COLUMNS = 128
#: Positions among the ordered samples are rounded to multiples of 2 to the power −26, so that the last digit of a
#: logarithm or exponential, which differs between processors, does not reach a table.
_STEPS = 2.0**26

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
    """:func:`segtrace.resampling.draws`, kept until another number of cases is asked for."""
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
    share = position - below
    # From the nearer end, so that rounding never passes either of them.
    return np.where(share < 0.5, low + (high - low) * share, high - (high - low) * (1.0 - share))


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
        of_fold = drawn if rows.all() else drawn[:, rows]
        runs = draws(len(own), samples, seed=seed + 1 + position)
        for count, run in zip(runs.T, own, strict=True):
            total += count[:, None] * (of_fold @ exact(shares[:, run])[rows])
    ordered = np.sort(np.ascontiguousarray((total / cases).T), axis=1)
    tail = (1.0 - level) / 2.0
    varied = np.nanmax(values, axis=(0, 1)) > np.nanmin(values, axis=(0, 1))
    low, high = (
        np.where(varied, quantiles(ordered, np.full(columns, share)), np.nanmin(values, axis=(0, 1)))
        for share in (tail, 1.0 - tail)
    )
    return low, high


def grouped(keys: Mapping[Key, Group]) -> dict[Group, list[Key]]:
    """Group → its keys, in their order."""
    found: dict[Group, list[Key]] = {}
    for key, group in keys.items():
        found.setdefault(group, []).append(key)
    return found
