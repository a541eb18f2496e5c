"""Names that are joined by pairs, and by what they share: connected components."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import sparse


def groups(names: Sequence[str], joined: Iterable[tuple[str, str]]) -> list[str]:
    """For each name that of its group: the first, in sorted order, of its connected component.

    ``joined`` are pairs of names that belong together.
    """
    place = {name: number for number, name in enumerate(names)}
    ends = np.array([[place[one], place[other]] for one, other in joined], dtype=int).reshape(-1, 2)
    shape = (len(names), len(names))
    graph = sparse.coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=shape)
    _, component = sparse.csgraph.connected_components(graph, directed=False)
    first: dict[int, str] = {}
    for name, number in zip(names, component.tolist(), strict=True):
        first[number] = min(first.get(number, name), name)
    return [first[number] for number in component.tolist()]
