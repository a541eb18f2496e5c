"""Preparing one image in memory: oriented, resampled, scaled, with the grids that map a prediction back.

Shared by ``prepare``, which stores the result, and by ``predict``, which segments new images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import images, intensity, resample
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid


@dataclass(frozen=True)
class Prepared:
    """A prepared case in memory. ``native`` is the file's grid, ``oriented`` the same voxels reordered."""

    image: np.ndarray
    label: np.ndarray | None
    native: Grid
    oriented: Grid
    grid: Grid
    volumes_before_mm3: dict[str, float]
    volumes_after_mm3: dict[str, float]
    intensity: list[dict[str, Any]]


def prepare_arrays(
    image: sitk.Image, label: sitk.Image | None, recipe: Mapping[str, Any], *, labels: Sequence[int]
) -> Prepared:
    """Prepare one case; ``recipe`` is a :class:`segtrace.config.models.Recipe` as a mapping.

    Order: orientation, resampling (image and label onto one grid), channels, intensity. The image comes out
    float32 (C, D, H, W) or (C, H, W), the label uint8 without the channel axis. Where the recipe changes
    no spacing and no size, no voxel is interpolated. Raises :class:`SegtraceError` for an image with
    values that are not finite, and where image and label lie on different grids.
    """
    native = images.grid_of(image)
    if label is not None:
        apart = native.differences(images.grid_of(label))
        if apart:
            raise SegtraceError(f"image and label differ: {'; '.join(apart)}")
        # within the tolerance, the image's grid is taken for both
        label = images.from_array(sitk.GetArrayViewFromImage(label).astype(np.uint8), native)
    image = resample.orient(image, recipe["orientation"])
    oriented = images.grid_of(image)
    grid = resample.target_grid(oriented, recipe)
    array = resample.resample_image(
        image, grid, interpolation=recipe["image_interpolation"], antialias=recipe["antialias"]
    )
    if not np.isfinite(array).all():
        bad = int(array.size - np.isfinite(array).sum())
        raise SegtraceError(f"the image has {bad} values that are not finite")
    if recipe.get("channels") is not None:
        array = array[list(recipe["channels"])]
    array, notes = intensity.apply(array, recipe["intensity"])
    mask, before, after = None, {}, {}
    if label is not None:
        before = _volumes(sitk.GetArrayViewFromImage(label), native, labels)
        mask = resample.resample_label(
            resample.orient(label, recipe["orientation"]),
            grid,
            interpolation=recipe["label_interpolation"],
            labels=labels,
        )
        after = _volumes(mask, grid, labels)
    return Prepared(array, mask, native, oriented, grid, before, after, notes)


def _volumes(label: np.ndarray, grid: Grid, labels: Sequence[int]) -> dict[str, float]:
    return {
        str(value): float(np.count_nonzero(label == value) * grid.voxel_volume_mm3)
        for value in sorted(labels)
    }
