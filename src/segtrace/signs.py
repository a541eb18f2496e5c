"""Tests of paired differences against 0 that turn their signs around: the permutation test, and Wilcoxon's.

Under the null hypothesis each difference is as likely as its opposite. The permutation test compares the sum of the
differences with the sums under all assignments of signs (Fisher), or under as many drawn ones; Wilcoxon's does the
same with signed ranks. All columns share the drawn signs, and sums are exact, so ties count rightly and the result
is the same bytes on every machine.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from segtrace.resampling import MANTISSA, Array

#: Up to so many differences that are not 0, all 2ⁿ assignments of signs are enumerated.
ENUMERATED = 16
#: Assignments drawn for more.
DRAWN = 10_000
SEED = 0
#: SciPy has the exact distribution of Wilcoxon's statistic without ties; used up to so many differences.
RANKS_ENUMERATED = 50
_DIGITS = 40
_COLUMNS = 64


def steady(differences: Array) -> Array:
    """``differences`` (cases, columns) rounded to 40 binary digits of the greatest of each column.

    So the noise of subtraction (10⁻¹⁶) breaks no tie: 0.3 − 0.2 and 0.2 − 0.1 are equal.
    """
    # All the digits that a sum of so many cases leaves room for, where that is fewer.
    digits = min(_DIGITS, MANTISSA - 1 - math.ceil(math.log2(max(len(differences), 2))))
    power = np.frexp(np.abs(differences).max(axis=0, initial=0.0))[1]
    return np.ldexp(np.rint(np.ldexp(differences, digits - power)), power - digits)


@lru_cache(maxsize=2)
def _signs(cases: int, drawn: int) -> Array:
    """Assignments of signs, (assignments, cases): half of all, the other half being their opposites, or drawn ones."""
    if cases <= ENUMERATED:
        numbers = np.arange(2 ** (cases - 1), dtype=np.int64)
        minus = (numbers[:, None] >> np.arange(cases)) & 1 == 1
    else:
        bits = np.random.Generator(np.random.PCG64([SEED, cases, 1])).bytes(math.ceil(drawn * cases / 8))
        minus = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=drawn * cases) == 1
    return np.where(minus.reshape(-1, cases), -1.0, 1.0)


def _as_great(columns: Array, *, drawn: int = DRAWN) -> NDArray[np.int64]:
    """How many assignments of signs give a sum of ``columns`` (cases, columns) as far from 0 as the one observed."""
    found = np.empty(columns.shape[1], dtype=np.int64)
    for start in range(0, columns.shape[1], _COLUMNS):
        part = columns[:, start : start + _COLUMNS]
        sums = np.abs(_signs(len(part), drawn) @ part)
        # Sums that differ by no more than what the terms were rounded by are equal.
        step = np.ldexp(1.0, np.frexp(np.abs(part).max(axis=0))[1] - _DIGITS)
        found[start : start + _COLUMNS] = (sums >= np.abs(part.sum(axis=0)) - len(part) * step).sum(axis=0)
    return found


def permutation(columns: Array, *, drawn: int = DRAWN) -> tuple[Array, list[str]]:
    """(two-sided p (columns,), how each was found) of ``columns`` (cases, columns), rounded by :func:`steady`.

    ``exact`` enumerates all assignments of signs of the differences that are not 0; ``drawn`` draws as many as the
    argument says, of which p is (1 + as great) / (1 + drawn), never 0 (Phipson and Smyth, "Permutation p-values
    should never be zero", Statistical Applications in Genetics and Molecular Biology 9 (2010)).
    """
    apart = np.count_nonzero(columns, axis=0)
    few = apart <= ENUMERATED
    p = np.ones(columns.shape[1])
    for count in sorted(set(apart[few].tolist()) - {0}):
        chosen = np.flatnonzero(apart == count)
        kept = np.array([columns[columns[:, column] != 0.0, column] for column in chosen]).T
        p[chosen] = _as_great(kept) / 2.0 ** (count - 1)
    if not few.all():
        p[~few] = (1.0 + _as_great(columns[:, ~few], drawn=drawn)) / (1.0 + drawn)
    return p, ["exact" if enumerated else "drawn" for enumerated in few]


def wilcoxon(columns: Array) -> tuple[Array, list[str]]:
    """(two-sided p (columns,), how each was found) of Wilcoxon's signed-rank test, as :func:`permutation` says.

    Zeros are left out (Wilcoxon's way), ties share their mean rank, no correction for continuity. ``exact``: from
    the distribution of the statistic (up to 50 differences without ties), or with ties from all assignments of
    signs (up to 16); ``approximate``: from the normal distribution with the variance corrected for ties.
    """
    from scipy import stats

    ranks = ranked(columns)
    apart = np.count_nonzero(columns, axis=0)
    whole = np.arange(1, len(columns) + 1)[:, None] <= apart  # the ranks that there are without ties
    tied = (
        np.sort(np.where(columns != 0.0, np.abs(ranks), np.inf), axis=0)
        != np.arange(1, len(columns) + 1)[:, None]
    )
    tied = (tied & whole).any(axis=0)
    tabled = ~tied & (apart > 0) & (apart <= RANKS_ENUMERATED)
    enumerated = tied & (apart <= ENUMERATED)
    normal = (apart > 0) & ~tabled & ~enumerated
    p = np.ones(columns.shape[1])
    for chosen, method in ((tabled, "exact"), (normal, "asymptotic")):
        if chosen.any():
            p[chosen] = stats.wilcoxon(
                columns[:, chosen], zero_method="wilcox", correction=False, method=method, axis=0
            ).pvalue
    p[enumerated] = permutation(ranks[:, enumerated])[0]
    # Twelve digits: the last ones of an exponential differ between processors.
    return np.array([float(f"{value:.12g}") for value in p]), [
        "approximate" if approximate else "exact" for approximate in normal
    ]


def ranked(columns: Array) -> Array:
    """Signed ranks of the magnitudes of each column's differences, (cases, columns); 0 for a difference of 0."""
    from scipy import stats

    magnitudes = np.where(columns == 0.0, np.nan, np.abs(columns))
    ranks = stats.rankdata(magnitudes, axis=0, nan_policy="omit")
    return np.where(columns == 0.0, 0.0, np.sign(columns) * ranks)


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's method (Scandinavian Journal of Statistics 6 (1979))."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(ps, method="holm")[1]] if ps else []
