"""From a label map on the oriented or the prepared grid to a file on the native or the prepared grid.

The way back is that of ``prepare`` in reverse: after :mod:`segtrace.predict.restore` has interpolated onto the
oriented grid, an exact permutation and flip of axes leads to the native one. Where nothing was resampled, no
voxel is interpolated.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segtrace import images
from segtrace.errors import SegtraceError
from segtrace.geometry import SAME_DIRECTION, Grid, format_numbers
from segtrace.predict.cases import stored_grids


def write_native(path: Path, label: np.ndarray, record: Mapping[str, Any]) -> None:
    """Write a label map (D, H, W) or (H, W), uint8 on the oriented grid of a case's ``record``, on its native grid."""
    _, oriented, native = stored_grids(record)
    images.write_label(path, reorder(label, oriented, native), native)


def write_prepared(path: Path, label: np.ndarray, record: Mapping[str, Any]) -> None:
    """Write a label map on the prepared grid as it is."""
    images.write_label(path, label, stored_grids(record)[0])


WRITERS = {"native": write_native, "prepared": write_prepared}


def label_bytes(name: str, label: np.ndarray, grid: Grid) -> bytes:
    """The bytes that :func:`segtrace.images.write_label` writes to a file of that ``name``."""
    return images.png_bytes(label) if name.endswith(".png") else images.nifti_bytes(label, grid)


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
