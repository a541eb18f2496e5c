"""Whether a sample of cases is large enough for the interval of its mean: one rule for tables and pages."""

import math
from collections.abc import Sequence

import numpy as np

#: Bootstrap samples of the cases that intervals and ranks are from, and the seed of their draws.
SAMPLES = 10_000
SEED = 0
#: Below this many cases a nominal 95 % interval of the mean of skewed values covers less than 93 % in the samples
#: that do not look skewed themselves: docs/results/intervals.md.
FEWEST = 50
#: Cochran's rule for a skewed population: more cases than this times the squared skewness. Cochran, "Sampling
#: Techniques", 3rd edition (1977), section 2.15.
PER_SQUARED_SKEWNESS = 25


def skewness(values: Sequence[float]) -> float:
    """Sample skewness, the third central moment over the second to the power 1.5; 0 where all values are equal."""
    deviations = np.asarray(values, dtype=np.float64) - math.fsum(values) / len(values)
    squares = math.fsum((deviations * deviations).tolist())
    if squares == 0.0:
        return 0.0
    cubes = math.fsum((deviations * deviations * deviations).tolist())
    return math.sqrt(len(values)) * cubes / (squares * math.sqrt(squares))


def too_small(values: Sequence[float]) -> str:
    """Why an interval of the mean of ``values`` does not hold what it says, in words; empty where it does.

    ``values`` are one number a case: of a method, or the differences between two. No rule sees what the sample
    does not show: with n cases, a kind of failure in up to 3/n of all cases may be absent from it.
    """
    if not values:
        return "No case has a value."
    if len(values) == 1:
        return "There is one case, which has no interval."
    if len(values) < FEWEST:
        return f"The sample is small ({len(values)} cases): below {FEWEST} a 95 % interval covers less than it says."
    found = skewness(values)
    needed = math.floor(PER_SQUARED_SKEWNESS * found * found) + 1
    if len(values) < needed:
        return (
            f"The values are skewed ({found:.1f}), and {len(values)} cases are too few for a trustworthy interval: "
            f"that takes about {needed} cases."
        )
    return ""
