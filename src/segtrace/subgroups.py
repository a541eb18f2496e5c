"""Subgroups of a data set's cases: the class that the owner published of each, such as benign, malignant and normal.

A reader puts the class into the column ``group`` of the index. An experiment has subgroups where the cases that it
scores are of at least two classes.
"""

import csv
from collections.abc import Iterable, Mapping

from segtrace import layout
from segtrace.aggregation import CaseValue, Cell

#: The subgroup of cases of which no class is published, where others have one.
UNNAMED = "(none)"


def classes(dataset: str) -> dict[str, str]:
    """Case → its published class, empty where there is none; nothing where the index is not on this machine."""
    path = layout.cases(dataset)
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as handle:
        return {row["case"]: row.get("group") or "" for row in csv.DictReader(handle)}


def names(of_cases: Mapping[str, str], cases: Iterable[str]) -> list[str]:
    """The subgroups that ``cases`` are of, sorted, :data:`UNNAMED` last; none unless there are at least two."""
    found = {of_cases.get(case, "") for case in cases}
    if len(found) < 2:
        return []
    return sorted(found - {""}) + ([UNNAMED] if "" in found else [])


def divided(
    cells: Mapping[Cell, Iterable[CaseValue]], of_cases: Mapping[str, str]
) -> dict[tuple[str, Cell], list[CaseValue]]:
    """(subgroup, cell) → the values of its cases, for every cell and every subgroup of all cases in ``cells``.

    Cells keep their order; of each, the subgroups are in the order of :func:`names`.
    """
    listed = {cell: list(values) for cell, values in cells.items()}
    known = names(of_cases, {value.case for values in listed.values() for value in values})
    return {
        (name, cell): [value for value in values if (of_cases.get(value.case) or UNNAMED) == name]
        for cell, values in listed.items()
        for name in known
    }
