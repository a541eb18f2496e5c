"""Duplicates among cases: pairs that show one image, and the groups that they form.

A copy is an image with the same bytes (``bytes``) or the same decoded pixels (``pixels``). Groups are the connected
components of all pairs, so copies of copies belong together.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

#: Kinds of duplicates, the surest first.
KINDS = ("bytes", "pixels", "near")


def copies(rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, int, str]]:
    """(place, place, kind) of images that are equal: each with the first of its equals, in order.

    ``rows`` are those of ``cases``. Of many equal images the pairs with the first tell all: equality is transitive.
    """
    found: dict[tuple[int, int], str] = {}
    for kind, column in (("bytes", "image_sha256"), ("pixels", "pixels_sha256")):
        first: dict[str, int] = {}
        for place, row in enumerate(rows):
            start = first.setdefault(row[column], place)
            if start != place:
                found.setdefault((start, place), kind)
    return sorted((one, other, kind) for (one, other), kind in found.items())


def groups(cases: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[str]:
    """For each case the name of its group: the first case, in sorted order, of its connected component."""
    joined = np.array([*pairs], dtype=int).reshape(-1, 2)
    size = len(cases)
    graph = sparse.coo_array((np.ones(len(joined), bool), (joined[:, 0], joined[:, 1])), shape=(size, size))
    _, component = sparse.csgraph.connected_components(graph, directed=False)
    names: dict[int, str] = {}
    for case, number in zip(cases, component.tolist(), strict=True):
        names[number] = min(names.get(number, case), case)
    return [names[number] for number in component.tolist()]
