"""The figures that papers state, recomputed from the cells of their own tables.

Arithmetic is exact (fractions). A printed number stands for all numbers that round to it, so that a figure
recomputed from printed cells has an interval; the figure that the paper states has one too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from segtrace.config import load
from segtrace.config.models import Claim, Experiment
from segtrace.config.published_models import Term, parts
from segtrace.errors import SegtraceError, advice


@dataclass(frozen=True)
class Bounds:
    """A number and the interval in which the unrounded one lies."""

    value: Fraction
    low: Fraction
    high: Fraction


@dataclass(frozen=True)
class Verdict:
    """A claim with what its terms give; ``low`` and ``high`` bound it by the rounding of the terms."""

    claim: Claim
    recomputed: float
    low: float
    high: float
    agrees: Literal["yes", "within rounding", "no"]
    """``yes``: to the printed decimals; ``within rounding``: only for some unrounded terms."""
    shown: str
    """``recomputed`` to the decimals of the printed figure and one more where it differs."""


def as_printed(text: str, *, part: Literal["value", "spread"] = "value") -> Bounds:
    """A printed number, ``factor`` of its own unit included, with the interval that rounds to it.

    Raises :class:`ValueError` for text without that part.
    """
    value, spread, factor = parts(text)
    number = value if part == "value" else spread
    if not number:
        raise ValueError(f"{text!r} has no {part}")
    half = Fraction(1, 2 * 10 ** len(number.partition(".")[2]))
    middle, unit = Fraction(number), Fraction(factor)
    return Bounds(middle * unit, (middle - half) * unit, (middle + half) * unit)


def bounds_of(term: Term) -> Bounds:
    """The number of a claim's term; one that is given with its source is exact.

    Raises :class:`SegtraceError` for a cell that there is none of, or that is empty.
    """
    if term.number is not None:
        exact = Fraction(str(term.number))
        return Bounds(exact, exact, exact)
    experiment, row, column = str(term.experiment), str(term.row), str(term.column)
    cell = _cell(experiment, load.experiment(experiment), row=row, column=column)
    try:
        return as_printed(cell, part=term.part)
    except ValueError as error:
        raise SegtraceError(
            f"config/experiments/{experiment}.yaml: row {row!r}, column {column!r}: {error}"
        ) from None


def _cell(name: str, experiment: Experiment, *, row: str, column: str) -> str:
    where = f"config/experiments/{name}.yaml"
    if experiment.published is None:
        raise SegtraceError(f"{where}: no published values, which a claim refers to")
    rows = {found.name: found for found in experiment.published.rows}
    columns = [found.name for found in experiment.published.columns]
    if row not in rows:
        raise SegtraceError(f"{where}: no row {row!r}; {advice(row, list(rows))}")
    if column not in columns:
        raise SegtraceError(f"{where}: no column {column!r}; {advice(column, columns)}")
    return rows[row].cells[columns.index(column)]


def recompute(claim: Claim) -> Verdict:
    """A claim's figure from its terms, and whether the printed one agrees.

    Raises :class:`SegtraceError` where a term names a cell that there is none of, or divides by 0.
    """
    try:
        found = _operate(claim.operation, [bounds_of(term) for term in claim.terms])
    except SegtraceError as error:
        raise SegtraceError(f"config/papers: claim {claim.claim!r} of {claim.where}: {error}") from None
    except ZeroDivisionError:
        raise SegtraceError(
            f"config/papers: claim {claim.claim!r} of {claim.where}: a term to divide by may be 0"
        ) from None
    scale = Fraction(str(claim.scale))
    edges = sorted([found.low * scale, found.high * scale])
    found = Bounds(found.value * scale, edges[0], edges[1])
    printed = as_printed(claim.printed)
    number, _, factor = parts(claim.printed)
    decimals = len(number.partition(".")[2])
    agrees = _agrees(found, printed, relation=claim.relation)
    if agrees != "yes" or claim.relation != "equal":
        decimals += 1
    shown = _rounded(found.value / Fraction(factor), decimals)
    return Verdict(claim, float(found.value), float(found.low), float(found.high), agrees, shown)


def _rounded(value: Fraction, decimals: int) -> str:
    """``value`` to so many decimals, halves away from 0, as papers round."""
    steps = math.floor(abs(value) * 10**decimals + Fraction(1, 2))
    shown = f"{steps // 10**decimals}.{steps % 10**decimals:0{decimals}d}" if decimals else str(steps)
    return f"-{shown}" if value < 0 and steps else shown


def _agrees(
    found: Bounds, printed: Bounds, *, relation: Literal["equal", "less_than", "more_than"]
) -> Literal["yes", "within rounding", "no"]:
    if relation == "less_than":
        sure, possible = found.value < printed.value, found.low < printed.value
    elif relation == "more_than":
        sure, possible = found.value > printed.value, found.high > printed.value
    else:
        sure = printed.low <= found.value <= printed.high
        possible = found.low <= printed.high and printed.low <= found.high
    return "yes" if sure else "within rounding" if possible else "no"


def _operate(operation: str, terms: Sequence[Bounds]) -> Bounds:
    pairs = list(zip(terms[::2], terms[1::2], strict=False))
    match operation:
        case "value":
            return terms[0]
        case "difference":
            return _minus(*pairs[0])
        case "mean_difference":
            return _mean([_minus(first, second) for first, second in pairs])
        case "mean":
            return _mean(terms)
        case "ratio":
            return _over(*pairs[0])
        case "percent_more":
            ratio = _over(*pairs[0])
            return Bounds(*(100 * (edge - 1) for edge in (ratio.value, ratio.low, ratio.high)))
        case "percent_less":
            ratio = _over(*pairs[0])
            return Bounds(*(100 * (1 - edge) for edge in (ratio.value, ratio.high, ratio.low)))
        case "sample_variance":
            return _variance(terms)
    raise ValueError(f"no operation {operation!r}")


def _minus(first: Bounds, second: Bounds) -> Bounds:
    return Bounds(first.value - second.value, first.low - second.high, first.high - second.low)


def _over(first: Bounds, second: Bounds) -> Bounds:
    if second.low <= 0 <= second.high:
        raise ZeroDivisionError
    edges = [a / b for a in (first.low, first.high) for b in (second.low, second.high)]
    return Bounds(first.value / second.value, min(edges), max(edges))


def _mean(terms: Sequence[Bounds]) -> Bounds:
    n = len(terms)
    return Bounds(
        sum((term.value for term in terms), Fraction()) / n,
        sum((term.low for term in terms), Fraction()) / n,
        sum((term.high for term in terms), Fraction()) / n,
    )


def _variance(terms: Sequence[Bounds]) -> Bounds:
    """Sample variance (n − 1). Its root is a norm of the deviations, so that rounding moves the root by no more
    than the norm of the roundings: the interval is safe, and a little wide.
    """
    if len(terms) < 2:
        raise SegtraceError("sample_variance needs at least two terms")
    n = len(terms)
    centre = _mean(terms).value
    value = sum(((term.value - centre) ** 2 for term in terms), Fraction()) / (n - 1)
    reach = math.sqrt(sum(((term.high - term.value) ** 2 for term in terms), Fraction()) / (n - 1))
    root = math.sqrt(value)
    return Bounds(value, Fraction(max(0.0, root - reach)) ** 2, Fraction(root + reach) ** 2)
