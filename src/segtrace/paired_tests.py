"""Paired tests of a mean difference by flipping the signs of the cases' differences, and Holm's correction."""

from collections.abc import Sequence

import numpy as np

#: Ways to flip the signs that are all tried; with more, so many are drawn.
FLIPS = 2**13
SEED = 0


def sign_flips(differences: Sequence[float]) -> float:
    """Two-sided p of the mean of ``differences``, one a case; exact where all flips are tried."""
    from scipy.stats import permutation_test

    if len(differences) < 2:
        return 1.0
    found = permutation_test(
        (np.array(differences),),
        lambda values, axis: values.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=FLIPS,
        rng=np.random.default_rng(SEED),
    )
    return float(found.pvalue)


def least_p(cases: int) -> float:
    """The least p that :func:`sign_flips` can give for so many cases."""
    return max(2.0 ** (1 - cases), 1 / (FLIPS + 1)) if cases > 1 else 1.0


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p of each of ``ps``."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(ps, method="holm")[1]] if len(ps) else []
