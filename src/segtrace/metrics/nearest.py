"""How far each surface element of one map is from the nearest of its label in another: exact distances.

Most border voxels of a usable prediction lie within a few voxels of the reference's border. So neighbours
are tried from near to far, for the border voxels of all labels together, and the first that is on the
other border is the nearest there is, exactly. What finds none nearby is asked of a k-d tree. No distance
transform is needed: in dense noise the neighbours answer nearly everything.
"""

from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree

from segtrace.metrics.borders import REACH, Border

#: How many neighbours are tried at most.
NEIGHBOURS = 150
#: Below this share of open voxels found by a neighbour, asking a tree for all of them is quicker.
LEAST_YIELD = 0.004


def nearest(source: Border, target: Border, *, spacing: tuple[float, ...]) -> np.ndarray:
    """Distance of each place of ``source`` to the nearest of its label in ``target``; infinite where it has none.

    Both borders are of maps cropped alike; ``spacing`` is in array order and gives the unit.
    """
    result = np.full(len(source.places), np.inf)
    waiting = np.flatnonzero(np.isin(source.values, np.unique(target.values)))
    places, values = source.places[waiting], source.values[waiting]
    steps, lengths = _neighbours(spacing)
    strides = np.cumprod((1, *target.labels.shape[:0:-1]))[::-1]
    moves, looked_up = steps @ strides, target.labels.ravel()
    first = 0
    while first < len(moves) and len(waiting):
        last = first
        hit = np.zeros(len(waiting), bool)
        while last < len(moves) and lengths[last] <= lengths[first] * (1 + 1e-12):  # all that are equally far
            hit |= looked_up[places + moves[last]] == values
            last += 1
        hits = int(np.count_nonzero(hit))
        gain = hits / len(waiting) / (last - first)
        if hits:
            result[waiting[hit]] = lengths[first]
            rest = ~hit
            waiting, places, values = waiting[rest], places[rest], values[rest]
        first = last
        if gain < LEAST_YIELD and first > 2 * len(spacing):
            break
    for label in np.unique(values):
        mine = values == label
        others = target.places[target.values == label]
        result[waiting[mine]] = _far(places[mine], others, target.labels.shape, spacing)
    return result


@lru_cache(maxsize=64)
def _neighbours(spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Steps (n, axes) to neighbours from near to far and their lengths; between them no nearer one is left out."""
    axes, reach = len(spacing), REACH[len(spacing)]
    along = np.arange(-reach, reach + 1)
    steps = np.stack(np.meshgrid(*[along] * axes, indexing="ij"), -1).reshape(-1, axes)
    lengths = np.sqrt(((steps * np.asarray(spacing)) ** 2).sum(1))
    # beyond the first voxel out of reach, nearer ones could be missing
    known = np.flatnonzero(lengths < (reach + 1) * min(spacing) * (1 - 1e-9))
    order = known[np.argsort(lengths[known], kind="stable")][:NEIGHBOURS]
    return steps[order], lengths[order]


def _far(
    places: np.ndarray, others: np.ndarray, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> np.ndarray:
    """Distance from each of ``places`` to the nearest of ``others``, flat indices of ``shape``, by a k-d tree."""
    scale = np.asarray(spacing)
    here = np.stack(np.unravel_index(places, shape), 1)
    there = np.stack(np.unravel_index(others, shape), 1)
    tree = cKDTree(there * scale, balanced_tree=False, compact_nodes=False)  # quicker to build, same answers
    _, found = tree.query(here * scale)
    # from whole steps, so that a distance has the same bits wherever in the image it is measured
    lengths: np.ndarray = np.sqrt((((here - there[found]) * scale) ** 2).sum(1))
    return lengths
