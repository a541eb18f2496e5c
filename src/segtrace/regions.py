"""Regions: unions of labels that are scored beside the labels, such as the whole tumour of BraTS.

A region's number tells it from a label wherever it stands, in a table of any age and without the configuration
that made it: labels are the values of 8-bit maps, regions are numbered from :data:`FIRST` on. A region is never
part of label 0, the mean of the labels.
"""

from collections.abc import Iterable

#: The least number of a region.
FIRST = 1000


def is_region(number: int) -> bool:
    """Whether a number in the column ``label`` of a table is that of a region."""
    return number >= FIRST


def enters(number: int, of: int) -> bool:
    """Whether scores of the label or region ``number`` enter a value of ``of``: its own, or 0, the mean of labels."""
    return number == of or (of == 0 and not is_region(number))


def without(numbers: Iterable[int]) -> list[int]:
    """The numbers that are no region's, in their order."""
    return [number for number in numbers if not is_region(number)]
