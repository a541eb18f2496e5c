"""Pictures of cases: an image slice with the contours of reference and prediction, as small PNGs.

Volumes are turned to their nearest anatomical axes and shown the radiological way (patient's left on
the right of the picture, anterior and superior up), in each plane at the slice with most reference.
Pixels are drawn at their physical shape.
"""

import base64
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from PIL import Image
from scipy import ndimage

from segtrace import images

#: Longest side of a picture in pixels: of images and the axial plane, and of the other two planes.
SIDE, SIDE_OTHER = 340, 220
REFERENCE_COLOUR, PREDICTION_COLOUR = (86, 180, 233), (255, 140, 0)
#: Planes of an array (z, y, x) in LPS, axis by axis.
PLANES = ("axial", "coronal", "sagittal")


@dataclass(frozen=True)
class Picture:
    """One slice: ``png`` as a data address, its plane and place, and its size in pixels."""

    png: str
    plane: str
    place: int
    slices: int
    width: int
    height: int

    @property
    def caption(self) -> str:
        """Which slice it is."""
        return f"{self.plane}, slice {self.place + 1} of {self.slices}" if self.plane else ""


def pictures_of(image: sitk.Image, reference: sitk.Image, prediction: sitk.Image) -> Iterator[Picture]:
    """The slices of one case to show: the picture itself, or one slice a plane of a volume."""
    volume = image.GetDimension() == 3
    image, reference, prediction = (oriented(item) for item in (image, reference, prediction))
    grey = displayed(images.to_array(image))
    masks = [voxels(item) for item in (reference, prediction)]
    if not volume:
        spacing = images.grid_of(image).array_spacing_mm
        yield _picture(grey, *masks, spacing=spacing, side=SIDE)
        return
    spacing = images.grid_of(image).array_spacing_mm
    for axis, plane in enumerate(PLANES):
        place = most_labelled(masks[0] if masks[0].any() else masks[1], axis=axis)
        cut = [np.take(array, place, axis=axis) for array in (grey, *masks)]
        if plane != "axial":  # superior up
            cut = [array[::-1] for array in cut]
        in_plane = tuple(s for a, s in enumerate(spacing) if a != axis)
        yield _picture(
            *cut,
            spacing=in_plane,
            side=SIDE_OTHER if axis else SIDE,
            plane=plane,
            place=place,
            slices=grey.shape[axis],
        )


def oriented(item: sitk.Image) -> sitk.Image:
    """A volume turned to its nearest anatomical axes (x to the left, y back, z up); a 2-D image as it is.

    One picture a plane needs one orientation; voxels are only reordered, never resampled.
    """
    return sitk.DICOMOrient(item, "LPS") if item.GetDimension() == 3 else item


def voxels(item: sitk.Image) -> np.ndarray:
    """The values of a label map, (D, H, W) or (H, W)."""
    array = sitk.GetArrayFromImage(item)
    return np.asarray(array[0] if array.ndim > item.GetDimension() else array)


def displayed(array: np.ndarray) -> np.ndarray:
    """An image (C, D, H, W) or (C, H, W) for the eye: uint8, (..., 3) for three channels, else the first.

    Grey values are stretched between the 0.5th and 99.5th percentile of the image.
    """
    coloured = array.shape[0] == 3 and array.ndim == 3
    shown = (np.moveaxis(array, 0, -1) if coloured else array[0]).astype(float)
    low, high = grey_range(shown)
    scaled = np.clip((shown - low) / max(high - low, 1e-12), 0, 1)
    return np.asarray((scaled * 255).round().astype(np.uint8))


def grey_range(shown: np.ndarray) -> tuple[float, float]:
    """The values that are drawn black and white: the 0.5th and 99.5th percentile."""
    low, high = np.percentile(shown, (0.5, 99.5))
    return float(low), float(high)


def most_labelled(mask: np.ndarray, *, axis: int) -> int:
    """The slice along ``axis`` with most voxels of ``mask``; the middle one of equals, or of an empty mask."""
    area = (mask > 0).sum(axis=tuple(a for a in range(mask.ndim) if a != axis))
    equals = np.flatnonzero(area == area.max())
    return int(equals[len(equals) // 2])


def window(mask: np.ndarray) -> tuple[slice, ...]:
    """The part of a slice to show: the labelled box with a margin, at least half of each side."""
    found = ndimage.find_objects((mask > 0).astype(np.uint8))
    if not found:
        return tuple(slice(0, n) for n in mask.shape)
    parts = []
    for box, size in zip(found[0], mask.shape, strict=True):
        length = min(size, max(2 * (box.stop - box.start), math.ceil(size / 2)))
        start = min(max(0, (box.start + box.stop - length) // 2), size - length)
        parts.append(slice(start, start + length))
    return tuple(parts)


def contours(mask: np.ndarray) -> np.ndarray:
    """Pixels of ``mask`` (H, W) that border on another value within the picture, two pixels wide."""
    edge = np.zeros(mask.shape, bool)
    for label in np.unique(mask[mask > 0]):
        part = mask == label
        edge |= part & ~ndimage.binary_erosion(part, iterations=2, border_value=1)
    return edge


def _picture(
    grey: np.ndarray,
    reference: np.ndarray,
    prediction: np.ndarray,
    *,
    spacing: Sequence[float],
    side: int,
    plane: str = "",
    place: int = 0,
    slices: int = 1,
) -> Picture:
    """Draw one slice, (H, W) or (H, W, 3), at its physical shape, ``side`` pixels long."""
    if plane:
        part = window((reference > 0) | (prediction > 0))
        grey, reference, prediction = grey[part], reference[part], prediction[part]
    extent = [n * s for n, s in zip(reference.shape, spacing, strict=True)]
    height, width = (max(1, round(length / max(extent) * side)) for length in extent)
    base = np.array(Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR))
    rows = (np.arange(height) + 0.5) * reference.shape[0] // height
    columns = (np.arange(width) + 0.5) * reference.shape[1] // width
    nearest = np.ix_(rows.astype(int), columns.astype(int))
    # The prediction is dashed, so that a reference under it stays visible.
    dashes = (np.add.outer(np.arange(height), np.arange(width)) // 5) % 2 == 0
    lines = np.zeros((height, width), np.uint8)
    lines[contours(reference[nearest])] = 1
    lines[contours(prediction[nearest]) & dashes] = 2
    png = png_address(base, lines)
    return Picture(png=png, plane=plane, place=place, slices=slices, width=width, height=height)


def png_address(base: np.ndarray, lines: np.ndarray) -> str:
    """A picture, (H, W) or (H, W, 3), with lines (1 reference, 2 prediction), as a ``data:`` address of a PNG.

    Grey pictures have 62 greys and the two colours, which halves their size.
    """
    colours = (REFERENCE_COLOUR, PREDICTION_COLOUR)
    if base.ndim == 2:
        drawn = Image.fromarray(
            np.where(lines > 0, 61 + lines, base.astype(np.uint16) * 61 // 255).astype(np.uint8)
        )
        drawn.putpalette(
            [grey * 255 // 61 for grey in range(62) for _ in range(3)] + [*colours[0], *colours[1]]
        )
    else:
        painted = base.copy()
        for value, colour in enumerate(colours, 1):
            painted[lines == value] = colour
        drawn = Image.fromarray(painted)
    buffer = io.BytesIO()
    drawn.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
