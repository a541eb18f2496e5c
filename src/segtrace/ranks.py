"""Ranks of methods by their cases' values, in three ways, and how alike two rankings are.

The schemes are those of challenge reports (Wiesenfarth et al., "Methods and open-source toolkit for analyzing and
visualizing challenge results", Scientific Reports 11 (2021)):

* ``aggregate_then_rank``: the mean over cases, then ranks of the means;
* ``rank_then_aggregate``: ranks within each case, then ranks of the mean ranks;
* ``test_then_rank``: one-sided Wilcoxon signed-rank tests of every ordered pair of methods, adjusted together by
  Holm's method; then ranks by the number of significant wins.

Equal ones share the least rank, as in a competition: 1, 2, 2, 4.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from segtrace.aggregation import DISTANCES, mean

Array = NDArray[np.float64]
#: Level at which a win is significant, of all pairs of methods together.
ALPHA = 0.05
#: Most cases for which a test is exact; the number of sign assignments is then a whole number for a double.
EXACT = 50


def better(values: Array, metric: str) -> Array:
    """``values`` turned so that more is better: distances change their sign."""
    return -values if metric in DISTANCES else values


def competition(merits: Array | NDArray[np.int64]) -> NDArray[np.int64]:
    """Ranks along the last axis of ``merits`` (…, methods), of which more is better; ties share the least rank."""
    above = merits[..., None, :] > merits[..., :, None]
    found: NDArray[np.int64] = 1 + above.sum(axis=-1)
    return found


def means(values: Array, metric: str) -> tuple[Array, NDArray[np.int64]]:
    """Aggregate, then rank: (mean over cases, rank) of each method; ``values`` are (cases, methods)."""
    found = np.array([mean(column.tolist()) for column in values.T])
    return found, competition(better(found, metric))


def mean_ranks(values: Array, metric: str) -> tuple[Array, NDArray[np.int64]]:
    """Rank, then aggregate: (mean of the ranks within cases, rank of that)."""
    sums = competition(better(values, metric)).sum(axis=0)
    return sums / len(values), competition(-sums)


def wins(values: Array, metric: str) -> tuple[Array, NDArray[np.int64]]:
    """Test, then rank: (number of methods that a method is significantly better than, rank by it).

    Every ordered pair is a hypothesis, two for each pair of methods.
    """
    merits = better(values, metric)
    methods = merits.shape[1]
    pairs = [(a, b) for a in range(methods) for b in range(methods) if a != b]
    significant = holm(np.array([signed_rank_p(apart(merits[:, a], merits[:, b])) for a, b in pairs]))
    found = np.bincount([a for (a, _), won in zip(pairs, significant, strict=True) if won], minlength=methods)
    return found.astype(np.float64), competition(found)


def apart(first: Array, second: Array) -> Array:
    """``first`` − ``second`` to 10 decimals, so that the noise of subtraction breaks no tie: 0.3 − 0.2 is 0.2 − 0.1."""
    found: Array = np.round(first - second, 10)
    return found


def signed_rank_p(differences: Array) -> float:
    """p-value of Wilcoxon's one-sided signed-rank test that ``differences`` lie above 0.

    Cases without a difference are left out, and equal absolute differences share the mean of their ranks. Up to
    :data:`EXACT` cases all assignments of signs to these ranks are counted, so that ties need no approximation
    (SciPy enumerates them one by one, for at most 13 cases); of more it is the normal approximation.
    """
    from scipy import stats

    known = differences[differences != 0]
    if not len(known):
        return 1.0
    if len(known) > EXACT:
        return float(stats.wilcoxon(known, alternative="greater", method="asymptotic").pvalue)
    doubled = np.rint(2 * stats.rankdata(np.abs(known))).astype(int)
    ways = np.zeros(doubled.sum() + 1)  # whole numbers up to 2**EXACT
    ways[0] = 1
    for rank in doubled:
        ways[rank:] += ways[:-rank].copy()
    return float(ways[doubled[known > 0].sum() :].sum() / 2.0 ** len(known))


def holm(p_values: Array) -> NDArray[np.bool_]:
    """Which of the hypotheses are rejected at :data:`ALPHA` together (Holm, Scand. J. Statist. 6 (1979))."""
    order = np.argsort(p_values, kind="stable")
    below = p_values[order] <= ALPHA / np.arange(len(p_values), 0, -1)
    rejected = np.zeros(len(p_values), dtype=np.bool_)
    rejected[order] = np.logical_and.accumulate(below)
    return rejected


def tau(ranks: NDArray[np.int64], others: NDArray[np.int64]) -> Array:
    """Kendall's tau-b between one ranking (methods) and each of ``others`` (samples, methods); as SciPy's.

    NaN where all methods share a rank in either of the two.
    """
    first, second = np.triu_indices(len(ranks), 1)
    own = np.sign(ranks[first] - ranks[second])
    theirs = np.sign(others[:, first] - others[:, second])
    agreement = (theirs * own).sum(axis=1)
    untied, theirs_untied = np.count_nonzero(own), np.count_nonzero(theirs, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = agreement / np.sqrt(untied) / np.sqrt(theirs_untied)
    return np.clip(found, -1.0, 1.0)


#: Scheme → (what ranks are by, rank) of each method, from values (cases, methods) and the metric.
SCHEMES: dict[str, Callable[[Array, str], tuple[Array, NDArray[np.int64]]]] = {
    "aggregate_then_rank": means,
    "rank_then_aggregate": mean_ranks,
    "test_then_rank": wins,
}
