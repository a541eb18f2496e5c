"""Wilcoxon's signed-rank statistic in all bootstrap samples at once.

A sample draws each case some number of times, so its ranks need no sorting: with the cases in the order of their
absolute differences, the ranks of a case follow from how many draws came before. One pass over the cases adds up
the statistic of all samples, in whole and half numbers that a floating type holds exactly.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def exact_type(cases: int) -> type[np.floating[Any]]:
    """The shortest floating type that holds every sum of ranks of ``cases`` draws exactly.

    Twice a rank sum is at most ``cases`` (``cases`` + 1), and a product on the way 2 ``cases``².
    """
    return np.float32 if 2 * (cases + 1) ** 2 <= 2**24 else np.float64


def scores(differences: NDArray[np.float64], columns: Floats) -> NDArray[np.float64]:
    """Standard scores of the statistic, (samples, pairs), above 0 where the first of a pair is better.

    ``differences`` are (cases, pairs); ``columns`` how often each case is drawn, (cases, samples), of
    :func:`exact_type`. Cases without a difference are left out (Wilcoxon 1945), equal absolute differences
    share the mean of their ranks, and the variance is corrected for them; there is no correction for
    continuity. These are SciPy's ``wilcoxon(method="asymptotic", zero_method="wilcox")``. A sample without any
    difference has a score of 0.
    """
    repeats = _repeats(columns)
    return np.stack([_scores(pair, columns, repeats) for pair in differences.T], axis=1)


def _scores(
    differences: NDArray[np.float64], columns: Floats, repeats: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The scores of one pair; ``repeats`` is the sum of c³ − c over the cases, c being how often each is drawn."""
    sizes = np.abs(differences)
    order = np.argsort(sizes, kind="stable")
    starts = np.flatnonzero(np.diff(sizes[order], prepend=-1.0))
    zero = np.zeros(columns.shape[1])
    ties = repeats.copy()
    # Half a draw before the first makes a case's rank the mean of what lies before it and after it.
    before = np.full(columns.shape[1], 0.5, dtype=columns.dtype)
    after, ranks, twice = np.empty_like(before), np.empty_like(before), np.zeros_like(before)
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True):
        members = order[start:end]
        group = columns[members[0]] if len(members) == 1 else columns[members].sum(axis=0)
        if sizes[members[0]] == 0.0:
            zero += group
            ties -= _repeats(columns[members])
            continue
        np.add(before, group, out=after)
        winners = members[differences[members] > 0]
        if len(winners):
            won = group if len(winners) == len(members) else columns[winners].sum(axis=0)
            np.add(before, after, out=ranks)
            np.multiply(ranks, won, out=ranks)
            np.add(twice, ranks, out=twice)
        if len(members) > 1:
            ties += _repeats(group[None]) - _repeats(columns[members])
        before, after = after, before
    n = len(order) - zero
    variance = (2 * n * (n + 1) * (2 * n + 1) - ties) / 3  # 16 times that of the statistic
    excess = 2 * twice.astype(np.float64) - n * (n + 1)  # 4 times
    return np.divide(excess, np.sqrt(variance), out=np.zeros_like(n), where=n > 0)


def _repeats(counts: Floats) -> NDArray[np.float64]:
    """Sum of c³ − c over the rows of ``counts``, in each column."""
    whole = counts.astype(np.float64)
    found: NDArray[np.float64] = (whole * (whole * whole - 1)).sum(axis=0)
    return found
