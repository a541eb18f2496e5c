"""Every mean that two tables have in common: how far it moved, and whether that is more than chance.

Differences are paired, new − old, over the cases that both sides have; the policy for undefined distances is that of
:func:`segtrace.aggregation.comparable`. A test flips the signs of the cases' differences: chance means which cases
happened to be scored. It does not cover what another seed of a training would have given.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segtrace import signs
from segtrace.aggregation import (
    DISTANCES,
    METRICS,
    CaseValue,
    Cell,
    first_metrics,
    mean,
    paired_matrix,
    statistics,
)
from segtrace.bootstrap import bounds, grouped
from segtrace.regions import without
from segtrace.samples import too_small
from segtrace.trace.diff.rows import Scores

EQUAL, CHANCE, MORE, FEW = "no change", "within chance", "more than chance", "too few cases to tell"
VERDICTS = (EQUAL, CHANCE, MORE, FEW)
#: A corrected p below this is more than chance.
ALPHA = 0.05


@dataclass(frozen=True)
class Pairs:
    """A mean of both sides before it is judged: the differences of the cases that both have."""

    experiment: str
    method: str
    label: int
    label_name: str
    metric: str
    old: float
    new: float
    differences: tuple[float, ...]
    left_out: int
    """Cases of either side that cannot be compared: the other lacks them, or neither has a value."""


@dataclass(frozen=True)
class Mean:
    """A mean of both sides, judged. ``low`` to ``high`` is the 95 % interval (BCa) of ``difference``, new − old."""

    experiment: str
    method: str
    label: int
    label_name: str
    metric: str
    old: float
    new: float
    cases: int
    differ: int
    """Cases whose difference is not 0: those alone can tell anything."""
    left_out: int
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    better: str
    """'old', 'new' or 'neither': the side with the better mean difference."""
    verdict: str
    note: str
    """Why the interval is not to be trusted, where that is so."""


def compared(
    old: Scores, new: Scores, *, experiment: str, metrics: Sequence[str] | None = None
) -> list[Pairs]:
    """The means that two tables have in common: methods × labels (0, their mean, if there are several) × metrics.

    ``metrics`` None stands for those that pages show first, and an empty sequence for all.
    """
    before, after = old.cells(), new.cells()
    found = []
    for cell, values in after.items():
        method, label, metric = cell
        if metric not in _wanted(metrics, old, new) or cell not in before or _only_label(label, old, new):
            continue
        means = statistics(before[cell])["mean"], statistics(values)["mean"]
        if None in means:
            continue
        differences, left_out = _differences(before[cell], values, metric=metric)
        name = new.names.get(label, old.names.get(label, str(label)))
        found.append(Pairs(experiment, method, label, name, metric, *means, differences, left_out))
    return found


def _wanted(metrics: Sequence[str] | None, old: Scores, new: Scores) -> Sequence[str]:
    if metrics is None:
        return first_metrics(old.subject()["metric"] & new.subject()["metric"])
    return metrics or METRICS


def _only_label(label: int, old: Scores, new: Scores) -> bool:
    """Whether this is the mean of one label, which would be the same comparison twice."""
    return label == 0 and len(without(old.labels)) == len(without(new.labels)) == 1


def _differences(
    old: Sequence[CaseValue], new: Sequence[CaseValue], *, metric: str
) -> tuple[tuple[float, ...], int]:
    """New − old of the cases that both have, and the number of cases left out."""
    sides = [{value.case: value for value in values} for values in (old, new)]
    both = sorted(sides[0].keys() & sides[1].keys())
    cells: Mapping[Cell, Sequence[CaseValue]] = {
        (side, 0, metric): [values[case] for case in both]
        for side, values in zip(("old", "new"), sides, strict=True)
    }
    cases, matrix, _ = paired_matrix(cells, methods=("old", "new"), label=0, metric=metric)
    every = sides[0].keys() | sides[1].keys()
    return tuple((matrix[:, 1] - matrix[:, 0]).tolist()), len(every) - len(cases)


def judged(found: Sequence[Pairs]) -> list[Mean]:
    """All means with interval, p and verdict; Holm's correction is over all of them that are not equal in every case.

    Equal means take no part in it: a test by signs is valid given the sizes of the differences, and there is none.
    """
    tested = [pairs for pairs in found if _differ(pairs)]
    ps, ends = _tested([pairs.differences for pairs in tested])
    corrected = signs.holm(ps)
    least = signs.holm([2.0 ** (1 - _differ(pairs)) for pairs in tested])
    place = {id(pairs): position for position, pairs in enumerate(tested)}
    result = []
    for pairs in found:
        at = place.get(id(pairs))
        if at is None:
            result.append(_mean(pairs, EQUAL if pairs.differences else FEW))
            continue
        verdict = MORE if corrected[at] <= ALPHA else CHANCE
        if least[at] > ALPHA:  # not even if all that differ had moved one way
            verdict = FEW
        result.append(_mean(pairs, verdict, p=ps[at], p_holm=corrected[at], ends=ends[at]))
    return result


def _tested(
    differences: Sequence[Sequence[float]],
) -> tuple[list[float], list[tuple[float, float] | None]]:
    """(p of the permutation test, 95 % interval of the mean) of each list; those of as many cases go together."""
    ps = [1.0] * len(differences)
    ends: list[tuple[float, float] | None] = [None] * len(differences)
    # So many draws that the least p there is stays below ALPHA when it is corrected for all.
    drawn = max(signs.DRAWN, 2 * math.ceil(len(differences) / ALPHA))
    for cases, positions in grouped({at: len(values) for at, values in enumerate(differences)}).items():
        columns = np.array([differences[at] for at in positions]).T
        permuted, _ = signs.permutation(signs.steady(columns), drawn=drawn)
        made = bounds(columns) if cases > 1 else None
        for column, at in enumerate(positions):
            ps[at] = float(permuted[column])
            if made is not None:
                ends[at] = float(made.bca_low[column]), float(made.bca_high[column])
    return ps, ends


def _differ(pairs: Pairs) -> int:
    return (
        int(np.count_nonzero(signs.steady(np.array(pairs.differences)[:, None]))) if pairs.differences else 0
    )


def _mean(
    pairs: Pairs,
    verdict: str,
    *,
    p: float | None = None,
    p_holm: float | None = None,
    ends: tuple[float, float] | None = None,
) -> Mean:
    values = pairs.differences
    difference = mean(values) if values else None
    gain = 0.0 if difference is None else (-difference if pairs.metric in DISTANCES else difference)
    return Mean(
        experiment=pairs.experiment,
        method=pairs.method,
        label=pairs.label,
        label_name=pairs.label_name,
        metric=pairs.metric,
        old=pairs.old,
        new=pairs.new,
        cases=len(values),
        differ=_differ(pairs),
        left_out=pairs.left_out,
        difference=difference,
        low=ends[0] if ends else (0.0 if verdict == EQUAL else None),
        high=ends[1] if ends else (0.0 if verdict == EQUAL else None),
        p=p,
        p_holm=p_holm,
        better="new" if gain > 0 else "old" if gain < 0 else "neither",
        verdict=verdict,
        note="" if verdict == EQUAL else too_small(values),
    )
