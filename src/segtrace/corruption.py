"""Corrupted images: what a prepared image looks like under noise, blur, another contrast or another scale.

A corruption is made in memory, after preparation, so no array is stored and no network is trained anew. Its strength
is in units of the prepared image itself, so one number means the same for every recipe:

* ``noise``: white Gaussian noise, its standard deviation a share of the channel's own;
* ``blur``: a Gaussian of so many voxels, along every axis;
* ``contrast``: distances from the channel's mean times a factor;
* ``scale``: resampled to a factor times as many voxels along every axis, over the same field of view: structures take a
  factor times the voxels that the network was trained on. What it says is put back on the grid that is scored.

Noise and contrast stay between the least and the greatest value of the clean channel, as a device saturates
(the practice of Hendrycks and Dietterich, ICLR 2019). Noise is a function of case, corruption and strength
alone: all methods, folds and seeds see the same corrupted image.
"""

import hashlib
import json

import numpy as np

from segtrace import layout
from segtrace.geometry import Grid


def corrupted(image: np.ndarray, grid: Grid, name: str, *, case: str) -> tuple[np.ndarray, Grid]:
    """``image`` (C, D, H, W) or (C, H, W), float32 on ``grid``, corrupted as ``name`` says, and its grid.

    ``name`` is that of a variant's corruption, such as ``noise_0.1``, or ``none``. Raises
    :class:`segtrace.errors.SegtraceError` for another.
    """
    if name == "none":
        return image, grid
    kind, strength = layout.parse_corruption(name)
    if kind == "scale":
        return _scaled(image, grid, strength)
    made = np.empty_like(image, dtype=np.float32)
    for number, channel in enumerate(image):
        match kind:
            case "noise":
                noise = _noise(channel.shape, case, name, number)
                changed = channel + np.float32(strength * float(np.std(channel, dtype=np.float64))) * noise
            case "contrast":
                centre = np.float32(np.mean(channel, dtype=np.float64))
                changed = centre + np.float32(strength) * (channel - centre)
            case _:
                changed = _smoothed(channel, strength)
        made[number] = np.clip(changed, channel.min(), channel.max())
    return made, grid


def _noise(shape: tuple[int, ...], case: str, name: str, channel: int) -> np.ndarray:
    """Standard normal numbers of ``shape``, float32: a function of the arguments alone."""
    text = json.dumps(["corruption", case, name, channel], separators=(",", ":"), ensure_ascii=False)
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=key)).standard_normal(shape, dtype=np.float32)


def _smoothed(channel: np.ndarray, sigma: float | tuple[float, ...]) -> np.ndarray:
    """A Gaussian of ``sigma`` voxels, of all axes or of each; edge values go on beyond the image."""
    from scipy import ndimage

    smoothed: np.ndarray = ndimage.gaussian_filter(channel, sigma, mode="nearest", output=np.float32)
    return smoothed


def _scaled(image: np.ndarray, grid: Grid, factor: float) -> tuple[np.ndarray, Grid]:
    """The image at ``factor`` times as many voxels along each axis, at least one, over the same field of view.

    Linear between voxel centres. Along axes that become coarser by r, the image is first smoothed by a Gaussian of
    (r − 1) / 2 voxels, as scikit-image's ``resize`` does, so that fine detail does not turn into false patterns.
    """
    from scipy import ndimage

    shape = tuple(max(1, round(side * factor)) for side in grid.array_shape)
    ratios = np.array([old / new for old, new in zip(grid.array_shape, shape, strict=True)])
    first = (ratios - 1) / 2  # where the first new voxel lies, in old voxels from 0
    sigma = tuple(float(max(0.0, (ratio - 1) / 2)) for ratio in ratios)
    made = np.empty((len(image), *shape), np.float32)
    for number, channel in enumerate(image):
        source = _smoothed(channel, sigma) if any(sigma) else channel
        ndimage.affine_transform(
            source, ratios, offset=first, output=made[number], order=1, mode="nearest", prefilter=False
        )
    spacing = tuple(s * float(r) for s, r in zip(grid.spacing_mm, ratios[::-1], strict=True))
    origin = tuple(float(value) for value in grid.world(first))
    return made, Grid(tuple(reversed(shape)), spacing, origin, grid.direction)
