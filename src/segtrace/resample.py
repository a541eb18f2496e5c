"""Grids and resampling: the geometry of preparation.

Pixel-centre convention: a voxel's position is its centre, so an image of n voxels of spacing s covers
n·s millimetres, half a voxel beyond its outer centres. A change of size or spacing keeps the centre of
the covered box; with a target size it keeps the box itself.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import interpolation as interpolation_of
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid, places_along
from segtrace.images import grid_of

#: Spacings that differ by less than this over the whole image (in voxels) are the same spacing.
SAME_VOXELS = 1e-2
#: Beyond this ratio of new to old spacing, an image is smoothed before it is sampled (if so asked).
ANTIALIAS_ABOVE = 1.5


def orient(image: sitk.Image, orientation: str | None) -> sitk.Image:
    """The image with its axes permuted and flipped to ``orientation``; no voxel is resampled.

    The code names where each index axis (x, y, z) runs *to*: in RAS, x grows to the patient's right,
    y to the front, z to the head. Of an oblique image, the nearest axes are taken and the obliqueness stays.
    """
    if orientation is None:
        return image
    if image.GetDimension() != 3:
        raise SegtraceError(
            f"orientation {orientation!r} asked for, but the image has {image.GetDimension()} dimensions"
        )
    if sorted(_AXIS.get(letter, "?") for letter in orientation) != ["x", "y", "z"]:
        raise SegtraceError(f"orientation {orientation!r} is no code of three axes such as RAS or LPS")
    if sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection()) == orientation:
        return image
    return sitk.DICOMOrient(image, orientation)


_AXIS = {"R": "x", "L": "x", "A": "y", "P": "y", "S": "z", "I": "z"}


def target_grid(grid: Grid, recipe: Mapping[str, Any]) -> Grid:
    """The grid that ``recipe`` (its ``spacing_mm`` or ``size``) asks for, over the same field of view.

    With a spacing, the size is the field of view over the spacing, rounded, at least 1; what rounding
    adds or takes is shared by both ends. ``grid`` itself is returned if nothing changes.
    """
    key = "spacing_mm" if recipe.get("spacing_mm") is not None else "size"
    wanted = recipe.get(key)
    if wanted is None:
        return grid
    if len(wanted) != grid.dimensions:
        raise SegtraceError(
            f"{key} {list(wanted)} has {len(wanted)} values, the image {grid.dimensions} axes"
        )
    new_size, new_spacing = [], []
    for axis in range(grid.dimensions):
        n, s = grid.size[axis], grid.spacing_mm[axis]
        if key == "spacing_mm":
            target = float(wanted[axis])
            same = abs(s - target) * n <= SAME_VOXELS * target
            new_size.append(n if same else max(1, math.floor(n * s / target + 0.5)))
            new_spacing.append(s if same else target)
        else:
            target_size = int(wanted[axis])
            new_size.append(target_size)
            new_spacing.append(s if target_size == n else n * s / target_size)
    if tuple(new_size) == grid.size and tuple(new_spacing) == grid.spacing_mm:
        return grid
    direction = np.asarray(grid.direction, float).reshape(grid.dimensions, -1)
    old_half = np.asarray(grid.spacing_mm) * (np.asarray(grid.size) - 1) / 2
    new_half = np.asarray(new_spacing) * (np.asarray(new_size) - 1) / 2
    origin = np.asarray(grid.origin_mm) + direction @ (old_half - new_half)
    return Grid(
        size=tuple(new_size),
        spacing_mm=tuple(new_spacing),
        origin_mm=tuple(float(value) for value in origin),
        direction=grid.direction,
    )


def _is_coarser(image: sitk.Image, grid: Grid) -> list[bool]:
    """For each index axis, whether ``grid`` samples it so much more coarsely that it has to be smoothed."""
    return [
        new / old > ANTIALIAS_ABOVE and size >= 4  # the recursive filter needs four samples
        for new, old, size in zip(grid.spacing_mm, image.GetSpacing(), image.GetSize(), strict=True)
    ]


def _smooth(image: sitk.Image, grid: Grid) -> np.ndarray:
    """The voxels, smoothed along the axes that ``grid`` samples much more coarsely, so that no detail aliases.

    The width is that of Cardoso et al., Scale factor point spread function matching (MICCAI 2015): a
    Gaussian that turns a voxel of the old spacing into one of the new, both taken as widths at half maximum.
    """
    fwhm = 2 * math.sqrt(2 * math.log(2))
    for axis, coarser in enumerate(_is_coarser(image, grid)):
        if coarser:
            old, new = image.GetSpacing()[axis], grid.spacing_mm[axis]
            gaussian = sitk.RecursiveGaussianImageFilter()
            gaussian.SetDirection(axis)
            gaussian.SetSigma(math.sqrt(new**2 - old**2) / fwhm)
            image = gaussian.Execute(image)
    return sitk.GetArrayFromImage(image)


def resample_image(image: sitk.Image, grid: Grid, *, interpolation: str, antialias: bool) -> np.ndarray:
    """The image on ``grid``, float32 (C, D, H, W) or (C, H, W); exact where ``grid`` is its own.

    ``interpolation`` is ``linear`` or ``bspline`` (cubic); ``antialias`` smooths along the axes first. Raises
    :class:`SegtraceError` if the directions of image and grid differ.
    """
    own = grid_of(image)
    if own == grid:
        return np.array(_channels(image), np.float32, order="C")
    positions = places_along(own, grid)
    if antialias and any(_is_coarser(image, grid)):
        values = np.stack([_smooth(channel, grid) for channel in _single(image)])
    else:
        values = _channels(image)
        if not np.can_cast(values.dtype, np.float32, "safe"):
            values = values.astype(np.float32)
    sample = interpolation_of.linear if interpolation == "linear" else interpolation_of.cubic
    return np.ascontiguousarray(sample(values, positions), np.float32)


def _channels(image: sitk.Image) -> np.ndarray:
    """A view of the voxels, (C, D, H, W) or (C, H, W)."""
    array = sitk.GetArrayViewFromImage(image)
    return np.moveaxis(array, -1, 0) if image.GetNumberOfComponentsPerPixel() > 1 else array[None]


def _single(image: sitk.Image) -> Iterator[sitk.Image]:
    """The channels, each an image of float32."""
    count = image.GetNumberOfComponentsPerPixel()
    for number in range(count):
        yield sitk.Cast(
            sitk.VectorIndexSelectionCast(image, number) if count > 1 else image, sitk.sitkFloat32
        )


def resample_label(label: sitk.Image, grid: Grid, *, interpolation: str, labels: Sequence[int]) -> np.ndarray:
    """The label map on ``grid``, uint8 (D, H, W) or (H, W); exact where ``grid`` is its own.

    ``nearest`` takes the nearest voxel's label. ``vote`` samples each label's own mask (background
    included) linearly and takes the largest; of equal ones, the lower label. Raises
    :class:`SegtraceError` if the directions of label map and grid differ.
    """
    values = sitk.GetArrayViewFromImage(label).astype(np.uint8)
    own = grid_of(label)
    if own == grid:
        return values
    positions = places_along(own, grid)
    if interpolation == "nearest":
        return np.ascontiguousarray(interpolation_of.nearest(values, positions))
    listed = np.zeros(256, np.uint8)
    listed[list(labels)] = labels
    return interpolation_of.vote(np.take(listed, values), positions)
