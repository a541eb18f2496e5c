"""From class probabilities on the prepared grid to a label map file on the native or the prepared grid.

The way back is that of ``prepare`` in reverse: linear interpolation of each class onto the oriented
grid, then an exact permutation and flip of axes onto the native one. Where nothing was resampled, no voxel
is interpolated. Interpolating probabilities instead of labels keeps borders smooth and small labels alive
(Isensee et al., nnU-Net, Nature Methods 18 (2021), resample softmax outputs likewise).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import images
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid, format_numbers
from segtrace.predict.cases import stored_grids

#: Elements of two direction matrices that differ by less than this are the same.
SAME_DIRECTION = 1e-4
#: How far outside the prepared field of view, in prepared voxels, a voxel still has its edge's value:
#: rounding the size to whole voxels can cut off this much.
EDGE_VOXELS = 0.5


def write_native(path: Path, probabilities: np.ndarray, record: Mapping[str, Any]) -> None:
    """Write the most probable label on the native grid; ``probabilities`` are (K, D, H, W) or (K, H, W)."""
    prepared, oriented, native = stored_grids(record)
    label = reorder(labels_on(probabilities, prepared, oriented), oriented, native)
    images.write_label(path, label, native)


def write_prepared(path: Path, probabilities: np.ndarray, record: Mapping[str, Any]) -> None:
    """Write the most probable label on the prepared grid, as :func:`write_native`."""
    grid = stored_grids(record)[0]
    images.write_label(path, labels_on(probabilities, grid, grid), grid)


WRITERS = {"native": write_native, "prepared": write_prepared}


def labels_on(probabilities: np.ndarray, prepared: Grid, target: Grid) -> np.ndarray:
    """The most probable label on ``target``, uint8 (D, H, W) or (H, W); of equal ones, the lowest.

    ``probabilities`` are (K, D, H, W) or (K, H, W) on ``prepared``; ``target`` has the same direction. Each
    class is sampled linearly, one at a time, so that memory does not grow with the classes. Voxels
    outside the prepared field of view are background.
    """
    if probabilities.shape[1:] != prepared.array_shape:
        raise SegtraceError(
            f"probabilities of shape {probabilities.shape} do not fit the prepared grid of size {format_numbers(prepared.size)}"
        )
    if prepared == target:
        return probabilities.argmax(axis=0).astype(np.uint8)
    winner = np.zeros(target.array_shape, np.uint8)
    best: np.ndarray | None = None
    for label, share in enumerate(probabilities):
        sampled = _sample(share, prepared, target)
        if best is None:
            best = sampled
            continue
        ahead = sampled > best
        winner[ahead] = label
        np.maximum(best, sampled, out=best)
    for axis, inside in enumerate(_covered(prepared, target)):
        winner[(slice(None),) * axis + (~inside,)] = 0
    return winner


def _sample(share: np.ndarray, grid: Grid, target: Grid) -> np.ndarray:
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(target.size)
    resampler.SetOutputSpacing(target.spacing_mm)
    resampler.SetOutputOrigin(target.origin_mm)
    resampler.SetOutputDirection(target.direction)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetUseNearestNeighborExtrapolator(True)
    image = images.from_array(np.ascontiguousarray(share, dtype=np.float32), grid)
    return sitk.GetArrayFromImage(resampler.Execute(image))


def _covered(prepared: Grid, target: Grid) -> Sequence[np.ndarray]:
    """For each array axis of ``target``, which of its positions lie in the prepared field of view."""
    n = prepared.dimensions
    if np.abs(np.subtract(prepared.direction, target.direction)).max() > SAME_DIRECTION:
        raise ValueError(f"grids of different direction: {prepared.direction} and {target.direction}")
    direction = np.asarray(target.direction, float).reshape(n, n)
    offset = direction.T @ np.subtract(target.origin_mm, prepared.origin_mm)  # mm along the index axes
    result = []
    for axis in reversed(range(n)):
        place = (offset[axis] + np.arange(target.size[axis]) * target.spacing_mm[axis]) / prepared.spacing_mm[
            axis
        ]
        reach = 0.5 + EDGE_VOXELS + 1e-6
        result.append((place >= -reach) & (place <= prepared.size[axis] - 1 + reach))
    return result


def reorder(array: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """(D, H, W) or (H, W) voxels of ``source`` in the order of ``target``: the same places, axes permuted and flipped.

    No voxel is interpolated. Raises :class:`SegtraceError` if the two grids do not hold the same places.
    """
    n = source.dimensions
    turn = np.asarray(source.direction, float).reshape(n, n).T @ np.asarray(target.direction, float).reshape(
        n, n
    )
    steps = np.rint(turn)  # column j: the source axis, with sign, that target axis j follows
    if np.abs(turn - steps).max() > SAME_DIRECTION or not (np.abs(steps).sum(axis=0) == 1).all():
        raise SegtraceError(
            f"directions {format_numbers(source.direction)} and {format_numbers(target.direction)} "
            "differ by more than an order of axes"
        )
    axes = [int(np.abs(steps[:, j]).argmax()) for j in range(n)]
    flipped = [j for j in range(n) if steps[axes[j], j] < 0]
    # array axes run the other way round: axis j of (x, y, z) is axis n - 1 - j of (z, y, x)
    result = array.transpose([n - 1 - axes[n - 1 - place] for place in range(n)])
    result = np.flip(result, axis=tuple(n - 1 - j for j in flipped))
    _check_places(source, target, axes=axes, flipped=flipped)
    return np.ascontiguousarray(result)


def _check_places(source: Grid, target: Grid, *, axes: Sequence[int], flipped: Sequence[int]) -> None:
    n = source.dimensions
    corner = np.zeros(n)  # the source index (x, y, z) of the target's first voxel
    for j in flipped:
        corner[axes[j]] = source.size[axes[j]] - 1
    origin = source.matrix() @ corner + np.asarray(source.origin_mm)
    direction = np.asarray(target.direction, float)
    moved = Grid(
        size=tuple(source.size[axes[j]] for j in range(n)),
        spacing_mm=tuple(source.spacing_mm[axes[j]] for j in range(n)),
        origin_mm=tuple(float(value) for value in origin),
        direction=tuple(float(value) for value in direction),
    )
    apart = moved.differences(target)
    if apart:
        raise SegtraceError(f"the oriented and the native grid are not the same voxels: {'; '.join(apart)}")
