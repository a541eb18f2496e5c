"""Distances between the borders of two masks, computed once, and what is read from them.

A border voxel is a voxel of the mask with a face neighbour outside it; outside the image is outside
the mask. HD95 is the greater of the two directed 95th percentiles (linear interpolation), as in MONAI and
in Maier-Hein et al., "Metrics reloaded", Nature Methods 21 (2024); packages that pool both directions
or weigh surface elements by area give values some per cent apart, so only equal definitions compare.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

#: Above this fraction of border voxels in the box, a distance transform is quicker than a tree.
DENSE = 0.05


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


def bounding_box(mask: np.ndarray) -> tuple[slice, ...] | None:
    """The smallest box that holds all true voxels of ``mask``, (D, H, W) or (H, W); None if there are none."""
    box = []
    for axis in range(mask.ndim):
        # narrowing the mask axis by axis lets each pass read less than the one before
        rest = tuple(other for other in range(mask.ndim) if other != axis)
        held = np.flatnonzero(mask[tuple(box)].any(axis=rest))
        if not held.size:
            return None
        box.append(slice(int(held[0]), int(held[-1]) + 1))
    return tuple(box)


def border(mask: np.ndarray) -> np.ndarray:
    """The border voxels of a boolean mask, of its shape: the mask without its face-connected erosion.

    A voxel at the edge of the array is border; an empty mask has none.
    """
    inside = mask.copy()
    for axis in range(mask.ndim):
        forward, backward = _part(mask.ndim, axis, slice(1, None)), _part(mask.ndim, axis, slice(None, -1))
        inside[backward] &= mask[forward]
        inside[forward] &= mask[backward]
        inside[_part(mask.ndim, axis, 0)] = False
        inside[_part(mask.ndim, axis, -1)] = False
    return mask & ~inside


def _part(dimensions: int, axis: int, index: slice | int) -> tuple[slice | int, ...]:
    return tuple(index if number == axis else slice(None) for number in range(dimensions))


def surface_distances(
    prediction: np.ndarray, reference: np.ndarray, *, spacing: Sequence[float]
) -> SurfaceDistances | None:
    """The border distances of two boolean masks of one shape, (D, H, W) or (H, W); None if either is empty.

    ``spacing`` is in array order, (z, y, x) or (y, x), and gives the unit: millimetres, or ones for
    voxels. Raises :class:`ValueError` for masks of different shape and for a spacing that is not positive.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction of shape {prediction.shape}, reference of shape {reference.shape}")
    if len(spacing) != prediction.ndim or min(spacing) <= 0:
        raise ValueError(f"spacing {tuple(spacing)} for masks of {prediction.ndim} dimensions")
    box = bounding_box(prediction | reference)
    if box is None:
        return None
    return border_distances(border(prediction[box]), border(reference[box]), spacing=spacing)


def border_distances(
    prediction: np.ndarray, reference: np.ndarray, *, spacing: Sequence[float]
) -> SurfaceDistances | None:
    """As :func:`surface_distances`, from the borders themselves (:func:`border`, cropped alike)."""
    here, there = int(prediction.sum()), int(reference.sum())
    if not here or not there:
        return None
    if max(here, there) > DENSE * prediction.size:
        return SurfaceDistances(
            _to_mask(reference, prediction, spacing), _to_mask(prediction, reference, spacing)
        )
    scale = np.asarray(spacing, float)
    points = [np.argwhere(mask) * scale for mask in (prediction, reference)]
    # a voxel of both borders is at distance zero, and needs no search
    alone = [np.argwhere(mask) * scale for mask in (prediction & ~reference, reference & ~prediction)]
    return SurfaceDistances(
        _to_points(points[1], alone[0], count=here), _to_points(points[0], alone[1], count=there)
    )


def _to_mask(target: np.ndarray, source: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Sorted distances from the true voxels of ``source`` to the nearest of ``target``, by distance transform."""
    return np.sort(distance_transform_edt(~target, sampling=spacing)[source])


def _to_points(target: np.ndarray, source: np.ndarray, *, count: int) -> np.ndarray:
    """Sorted distances from ``source`` points (M, n) to the nearest of ``target``; zeros fill up to ``count``."""
    result = np.zeros(count)
    if len(source):
        tree = cKDTree(target, balanced_tree=False, compact_nodes=False)  # quicker to build, same answers
        result[count - len(source) :] = np.sort(tree.query(source)[0])
    return result


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
