"""Distances between the borders of two label maps, computed once for all labels, and what is read from them.

A border voxel is a voxel of a mask with a face neighbour outside it; outside the image is outside
the mask. HD95 is the greater of the two directed 95th percentiles (linear interpolation), as in MONAI and
in Maier-Hein et al., "Metrics reloaded", Nature Methods 21 (2024); packages that pool both directions
or weigh surface elements by area give values some per cent apart, so only equal definitions compare.

How: most border voxels of a usable prediction lie within a few voxels of the reference's border. So
neighbours are tried from near to far, for the border voxels of all labels together, and the first that
is on the other border is the nearest there is, exactly. What finds none nearby is asked of a k-d tree.
No distance transform is needed: in dense noise the neighbours answer nearly everything.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree

#: How far the neighbours reach along each axis, in voxels, by number of axes; and how many there are at most.
REACH = {2: 7, 3: 4}
NEIGHBOURS = 150
#: Below this share of open voxels found by a neighbour, asking a tree for all of them is quicker.
LEAST_YIELD = 0.004


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances from each border voxel of one mask to the nearest of the other, sorted, in both directions.

    ``to_reference`` has one value a border voxel of the prediction, ``to_prediction`` one a border voxel
    of the reference; the unit is that of the spacing.
    """

    to_reference: np.ndarray
    to_prediction: np.ndarray

    def scaled(self, factor: float) -> "SurfaceDistances":
        """The same distances in another unit."""
        return SurfaceDistances(self.to_reference * factor, self.to_prediction * factor)


@dataclass(frozen=True, eq=False)
class Border:
    """The border voxels of all labels of a map, padded by the reach on every side."""

    labels: np.ndarray
    """The padded map, 0 where there is no border."""
    places: np.ndarray
    """Flat indices into ``labels`` of its border voxels, ascending."""
    values: np.ndarray
    """The label of each place."""


def bounding_box(mask: np.ndarray) -> tuple[slice, ...] | None:
    """The smallest box that holds all voxels of ``mask``, (D, H, W) or (H, W), that are not 0; None without any."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        # narrowing the mask axis by axis lets each pass read less than the one before
        rest = tuple(other for other in range(mask.ndim) if other != axis)
        held = np.flatnonzero(mask[tuple(box)].any(axis=rest))
        if not held.size:
            return None
        box.append(slice(int(held[0]), int(held[-1]) + 1))
    return tuple(box)


def border(labels: np.ndarray) -> Border:
    """The borders of a label map or mask, (D, H, W) or (H, W): each label without its face-connected erosion."""
    padded = np.pad(labels, REACH[labels.ndim])
    edge = np.zeros(padded.shape, bool)
    for axis in range(padded.ndim):
        after = (slice(None),) * axis + (slice(1, None),)
        before = (slice(None),) * axis + (slice(None, -1),)
        differs = padded[after] != padded[before]
        edge[after] |= differs
        edge[before] |= differs
    padded *= edge
    places = np.flatnonzero(padded != 0)
    return Border(padded, places, padded.ravel()[places])


def surface_distances(
    prediction: np.ndarray, reference: np.ndarray, *, spacing: Sequence[float]
) -> SurfaceDistances | None:
    """The border distances of two boolean masks of one shape, (D, H, W) or (H, W); None if either is empty.

    ``spacing`` is in array order, (z, y, x) or (y, x), and gives the unit: millimetres, or ones for
    voxels. Raises :class:`ValueError` for masks of different shape and for a spacing that is not positive.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction of shape {prediction.shape}, reference of shape {reference.shape}")
    box = bounding_box(prediction | reference)
    if box is None:
        return None
    borders = [border(mask[box].view(np.uint8)) for mask in (prediction, reference)]
    return border_distances(borders[0], borders[1], labels=[1], spacing=spacing)[1]


def border_distances(
    prediction: Border, reference: Border, *, labels: Iterable[int], spacing: Sequence[float]
) -> dict[int, SurfaceDistances | None]:
    """The distances of each of ``labels`` between two maps' borders (:func:`border`, cropped alike).

    None for a label that one of the maps has not. ``spacing`` as in :func:`surface_distances`.
    """
    step = tuple(float(size) for size in spacing)
    if len(step) != prediction.labels.ndim or min(step) <= 0:
        raise ValueError(f"spacing {step} for masks of {prediction.labels.ndim} dimensions")
    to_reference = _directed(prediction, reference, step)
    to_prediction = _directed(reference, prediction, step)
    found: dict[int, SurfaceDistances | None] = {}
    for label in labels:
        one = to_reference[prediction.values == label]
        two = to_prediction[reference.values == label]
        found[label] = SurfaceDistances(np.sort(one), np.sort(two)) if len(one) and len(two) else None
    return found


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


def _directed(source: Border, target: Border, spacing: tuple[float, ...]) -> np.ndarray:
    """Distance of each place of ``source`` to the nearest of its label in ``target``; infinite where it has none."""
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


def _far(
    places: np.ndarray, others: np.ndarray, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> np.ndarray:
    """Distance from each of ``places`` to the nearest of ``others``, flat indices of ``shape``, by a k-d tree."""
    scale = np.asarray(spacing)
    here = np.stack(np.unravel_index(places, shape), 1)
    there = np.stack(np.unravel_index(others, shape), 1)
    tree = cKDTree(there * scale, balanced_tree=False, compact_nodes=False)  # quicker to build, same answers
    _, nearest = tree.query(here * scale)
    # from whole steps, so that a distance has the same bits wherever in the image it is measured
    lengths: np.ndarray = np.sqrt((((here - there[nearest]) * scale) ** 2).sum(1))
    return lengths


def hausdorff(distances: SurfaceDistances, *, percentile: float = 95.0) -> float:
    """The greater of the two directed ``percentile`` values, in the unit of the distances.

    Percentiles are interpolated linearly; 100 gives the Hausdorff distance itself.
    """
    return max(
        _percentile(values, percentile) for values in (distances.to_reference, distances.to_prediction)
    )


def _percentile(ordered: np.ndarray, percentile: float) -> float:
    position = (len(ordered) - 1) * percentile / 100
    low = math.floor(position)
    below, above = float(ordered[low]), float(ordered[min(low + 1, len(ordered) - 1)])
    return below + (above - below) * (position - low)
