"""Grids and resampling: the geometry of preparation.

Pixel-centre convention: a voxel's position is its centre, so an image of n voxels of spacing s covers
n·s millimetres, half a voxel beyond its outer centres. A change of size or spacing keeps the centre of
the covered box; with a target size it keeps the box itself.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace.errors import SegtraceError
from segtrace.geometry import Grid
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


def _sample(image: sitk.Image, grid: Grid, interpolator: int) -> sitk.Image:
    """``image`` at the positions of ``grid``; half a voxel beyond the outer centres, the edge's value."""
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(grid.size)
    resampler.SetOutputSpacing(grid.spacing_mm)
    resampler.SetOutputOrigin(grid.origin_mm)
    resampler.SetOutputDirection(grid.direction)
    resampler.SetInterpolator(interpolator)
    resampler.SetUseNearestNeighborExtrapolator(True)
    return resampler.Execute(image)


def _smooth(image: sitk.Image, grid: Grid) -> sitk.Image:
    """Smooth along the axes that ``grid`` samples much more coarsely, so that no fine detail aliases.

    The width is that of Cardoso et al., Scale factor point spread function matching (MICCAI 2015): a
    Gaussian that turns a voxel of the old spacing into one of the new, both taken as widths at half maximum.
    """
    fwhm = 2 * math.sqrt(2 * math.log(2))
    for axis, (old, new) in enumerate(zip(image.GetSpacing(), grid.spacing_mm, strict=True)):
        if (
            new / old > ANTIALIAS_ABOVE and image.GetSize()[axis] >= 4
        ):  # the recursive filter needs four samples
            gaussian = sitk.RecursiveGaussianImageFilter()
            gaussian.SetDirection(axis)
            gaussian.SetSigma(math.sqrt(new**2 - old**2) / fwhm)
            image = gaussian.Execute(image)
    return image


def resample_image(image: sitk.Image, grid: Grid, *, interpolation: str, antialias: bool) -> np.ndarray:
    """The image on ``grid``, float32 (C, D, H, W) or (C, H, W); exact where ``grid`` is its own.

    ``interpolation`` is ``linear`` or ``bspline`` (cubic). The direction of both grids must be the same
    for ``antialias``, which smooths along the image's axes. Channels are worked on one by one.
    """
    same = grid_of(image) == grid
    channels = []
    for number in range(image.GetNumberOfComponentsPerPixel()):
        vector = image.GetNumberOfComponentsPerPixel() > 1
        channel = sitk.VectorIndexSelectionCast(image, number) if vector else image
        channel = sitk.Cast(channel, sitk.sitkFloat32)
        if not same:
            if antialias:
                channel = _smooth(channel, grid)
            channel = _sample(
                channel, grid, sitk.sitkLinear if interpolation == "linear" else sitk.sitkBSpline
            )
        channels.append(sitk.GetArrayFromImage(channel))
    return np.stack(channels)


def resample_label(label: sitk.Image, grid: Grid, *, interpolation: str, labels: Sequence[int]) -> np.ndarray:
    """The label map on ``grid``, uint8 (D, H, W) or (H, W); exact where ``grid`` is its own.

    ``nearest`` takes the nearest voxel's label. ``vote`` samples each label's own mask (background
    included) linearly and takes the largest; of equal ones, the lower label.
    """
    label = sitk.Cast(label, sitk.sitkUInt8)
    if grid_of(label) == grid:
        return sitk.GetArrayFromImage(label)
    if interpolation == "nearest":
        return sitk.GetArrayFromImage(_sample(label, grid, sitk.sitkNearestNeighbor))
    winner = np.zeros(grid.array_shape, np.uint8)
    best = np.full(grid.array_shape, -1.0, np.float32)
    for value in [0, *sorted(labels)]:  # one mask at a time: memory does not grow with the labels
        mask = sitk.Cast(sitk.Equal(label, value), sitk.sitkFloat32)
        share = sitk.GetArrayFromImage(_sample(mask, grid, sitk.sitkLinear))
        ahead = share > best + 1e-6  # above rounding, so that equal shares stay a tie
        winner[ahead] = value
        best[ahead] = share[ahead]
    return winner
