"""What corrupted images cost a method: the drop of its mean Dice, case by case, from the clean images.

A case's drop is its value on the clean image minus that on the corrupted one, both as every table has them: the mean over
the case's runs, a missing prediction counted as worst.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from segtrace.aggregation import CaseValue, Cell, mean

#: The metric that a drop is of.
METRIC = "dice"


@dataclass(frozen=True)
class Drop:
    """Of a method and label under one corruption: the cases' values on clean and on corrupted images, in one order."""

    cases: tuple[str, ...]
    clean: tuple[float, ...]
    values: tuple[float, ...]
    missing: int
    """Cases that some run of either lacks, counted as worst there."""

    @property
    def drops(self) -> list[float]:
        """The value on the clean image minus that on the corrupted one, of each case."""
        return [clean - value for clean, value in zip(self.clean, self.values, strict=True)]

    @property
    def statistics(self) -> dict[str, float | int | None]:
        """Columns of the ``robustness`` table: ``cases``, ``missing``, ``clean``, ``mean`` and ``drop``."""
        known = bool(self.cases)
        return {
            "cases": len(self.cases),
            "missing": self.missing,
            "clean": mean(self.clean) if known else None,
            "mean": mean(self.values) if known else None,
            "drop": mean(self.drops) if known else None,
        }


def drops(
    clean: Mapping[Cell, Iterable[CaseValue]], corrupted: Mapping[Cell, Iterable[CaseValue]]
) -> dict[tuple[str, int], Drop]:
    """(method, label) → its drop, over the cases in which both have a value.

    ``clean`` and ``corrupted`` are what :func:`segtrace.aggregation.values_of_cells` returns; order is that of ``clean``.
    """
    found = {}
    for (method, label, metric), values in clean.items():
        if metric != METRIC:
            continue
        other = {value.case: value for value in corrupted.get((method, label, metric), ())}
        pairs = [
            (value.case, value.value, other[value.case].value, value.missing or other[value.case].missing)
            for value in values
            if value.case in other
        ]
        known = [(case, a, b, lost) for case, a, b, lost in pairs if a is not None and b is not None]
        found[method, label] = Drop(
            cases=tuple(case for case, *_ in known),
            clean=tuple(a for _, a, _, _ in known),
            values=tuple(b for _, _, b, _ in known),
            missing=sum(lost for *_, lost in known),
        )
    return found
