"""Agreement of predicted with reference volumes: differences, their mean and the limits of agreement.

Bland & Altman, "Statistical methods for assessing agreement between two methods of clinical measurement", Lancet
327 (1986) 307–310, and "Measuring agreement in method comparison studies", Statistical Methods in Medical Research
8 (1999) 135–160.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segtrace import aggregation, layout, tables
from segtrace.geometry import parse_numbers
from segtrace.report.subject import Subject

#: Half the width of the limits of agreement, in standard deviations: 95 % of a normal distribution.
WIDTH = 1.96


@dataclass(frozen=True)
class Limits:
    """Mean difference and limits of agreement of ``cases`` differences, each as (value, low, high).

    The ends are those of 95 % intervals. They are None where there are fewer than two cases.
    """

    cases: int
    sd: float | None
    mean: tuple[float, float | None, float | None]
    lower: tuple[float, float, float] | None
    upper: tuple[float, float, float] | None


def limits(differences: Sequence[float]) -> Limits:
    """Mean difference and limits of agreement of at least one difference.

    The intervals are from Student's t with n − 1 degrees of freedom. The standard error of the mean is s/√n
    (1986), that of a limit s·√(1/n + 1.96²/(2(n − 1))) (1999, section 2.2). They suppose that the differences
    are normally distributed and do not change with the size of what is measured, which the plot shows.
    """
    centre = aggregation.mean(differences)
    sd = aggregation.deviation(differences)
    if sd is None:
        return Limits(len(differences), None, (centre, None, None), None, None)
    from scipy.stats import t

    n = len(differences)
    quantile = float(t.ppf(0.975, n - 1))
    of_mean = quantile * sd / math.sqrt(n)
    of_limit = quantile * sd * math.sqrt(1 / n + WIDTH**2 / (2 * (n - 1)))
    lower, upper = centre - WIDTH * sd, centre + WIDTH * sd
    return Limits(
        cases=n,
        sd=sd,
        mean=(centre, centre - of_mean, centre + of_mean),
        lower=(lower, lower - of_limit, lower + of_limit),
        upper=(upper, upper - of_limit, upper + of_limit),
    )


@dataclass(frozen=True)
class Scale:
    """The unit of volumes: its name, and how many voxels' volumes (mm³, mm², or 1) make one."""

    unit: str
    size: float
    of_case: Mapping[str, float] | None
    """The volume of a voxel of each case, in mm³ or mm²; None where voxels are counted."""


def scale(subject: Subject) -> Scale | None:
    """How volumes are measured on the grid of the scores; None where the table with the spacings is missing.

    In three dimensions millilitres, in two mm²; voxels or pixels where the images have no physical scale.
    """
    solid = subject.dataset.dimensions == 3
    if not subject.dataset.spacing_known:
        return Scale("voxels" if solid else "pixels", 1.0, None)
    dataset = subject.experiment.dataset
    if subject.variant.grid == "native":
        table, path = "cases", layout.cases(dataset)
    else:
        table, path = "prepared", layout.prepared(dataset, subject.experiment.recipe) / "prepared.csv"
    if not path.is_file():
        return None
    found = tables.read(table, path)
    volumes = {
        case: math.prod(parse_numbers(spacing)[: subject.dataset.dimensions])
        for case, spacing in zip(found["case"], found["spacing_mm"], strict=True)
    }
    return Scale("ml", 1000.0, volumes) if solid else Scale("mm²", 1.0, volumes)


@dataclass(frozen=True)
class Pair:
    """Predicted and reference volume of a case, in the unit of the scale."""

    case: str
    predicted: float
    reference: float

    @property
    def difference(self) -> float:
        """Predicted − reference: above 0 where too much is marked."""
        return self.predicted - self.reference

    @property
    def mean(self) -> float:
        """The mean of both."""
        return (self.predicted + self.reference) / 2


def pairs(
    scores: Iterable[Mapping[str, Any]], *, measured: Scale, missing: Iterable[tuple[str, str]]
) -> dict[tuple[str, int], tuple[list[Pair], int]]:
    """(method, label) → its pairs by case, and how many cases were left out.

    ``scores`` are rows of ``per_case``; a case's predicted volume is the mean over its runs. A case of
    ``missing`` (method, case), which at least one run did not predict, is left out, as is one without spacing.
    """
    without = set(missing)
    predicted: dict[tuple[str, int], dict[str, list[float]]] = {}
    reference: dict[tuple[int, str], float] = {}
    left_out: dict[tuple[str, int], set[str]] = {}
    for row in scores:
        key, case = (row["method"], row["label"]), row["case"]
        voxel = 1.0 if measured.of_case is None else measured.of_case.get(case)
        of_key = predicted.setdefault(key, {})
        if (row["method"], case) in without or voxel is None:
            left_out.setdefault(key, set()).add(case)
            continue
        of_key.setdefault(case, []).append((row["tp"] + row["fp"]) * voxel / measured.size)
        reference[row["label"], case] = (row["tp"] + row["fn"]) * voxel / measured.size
    return {
        key: (
            [
                Pair(case, aggregation.mean(values), reference[key[1], case])
                for case, values in sorted(by_case.items())
            ],
            len(left_out.get(key, ())),
        )
        for key, by_case in predicted.items()
    }
