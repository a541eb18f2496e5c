"""Intervals of a mean over cases: BCa and percentile bootstrap of many columns of values at once.

The arithmetic is this module's own, where SciPy has ``scipy.stats.bootstrap``, for three reasons: all means of an
experiment and all differences between its methods share one draw of the cases (:mod:`segtrace.resampling`),
the result is the same bytes on every machine, and thousands of columns take seconds. It is tested against
``scipy.stats.bootstrap`` (methods ``BCa`` and ``percentile``) fed with the same distribution of means.

BCa (bias-corrected and accelerated): Efron, "Better bootstrap confidence intervals", JASA 82 (1987). Of a mean, the
jackknife's acceleration is its skewness over 6 √n, so nothing has to be left out in turn.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from segtrace.resampling import Array, draws, exact
from segtrace.samples import skewness

#: Bootstrap samples behind every interval.
SAMPLES = 10_000
#: Seed of the cases' draws.
SEED = 0
LEVEL = 0.95
#: Columns that are resampled together: what bounds the memory.
_COLUMNS = 128
#: Positions among the ordered samples are rounded to multiples of 2 to the power −26, so that the last digit of a
#: logarithm or exponential, which differs between processors, does not reach a table.
_STEPS = 2.0**26


@dataclass(frozen=True)
class Bounds:
    """Ends of the intervals of each column's mean, (columns,)."""

    bca_low: Array
    bca_high: Array
    percentile_low: Array
    percentile_high: Array


def bounds(values: Array, *, samples: int = SAMPLES, seed: int = SEED, level: float = LEVEL) -> Bounds:
    """Intervals of the mean of each column of ``values`` (cases, columns), all resampled by the same draws.

    A column whose values are all equal has that value as its interval. Raises ValueError for fewer than two
    cases, of which there is no interval, and where a value is not finite.
    """
    cases, columns = values.shape
    if cases < 2:
        raise ValueError(f"{cases} cases have no interval; at least 2 are needed")
    drawn = draws(cases, samples, seed=seed)
    found = np.empty((4, columns))
    for start in range(0, columns, _COLUMNS):
        chosen = slice(start, start + _COLUMNS)
        part = exact(values[:, chosen])
        resampled = np.ascontiguousarray(((drawn @ part) / cases).T)
        found[:, chosen] = _ends(resampled, part, level=level)
    return Bounds(*found)


def _ends(resampled: Array, values: Array, *, level: float) -> Array:
    """Ends of BCa and percentile, (4, columns), from the samples' means (columns, samples), which are sorted."""
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
    return np.where(varied, np.array(ends), values[0])


def quantiles(ordered: Array, shares: Array) -> Array:
    """The quantile ``shares[i]`` of each row of ``ordered`` (rows, samples), by linear interpolation."""
    last = ordered.shape[1] - 1
    position = np.clip(np.rint(shares * last * _STEPS) / _STEPS, 0.0, last)
    below = np.minimum(np.floor(position).astype(np.int64), max(last - 1, 0))
    rows = np.arange(len(ordered))
    low, high = ordered[rows, below], ordered[rows, np.minimum(below + 1, last)]
    return low + (high - low) * (position - below)
