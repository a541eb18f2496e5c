"""What readers of two-dimensional data sets share: grey pictures, and masks that say yes or no."""

from pathlib import Path
from typing import Literal

import numpy as np

from segtrace import images
from segtrace.errors import SegtraceError

#: Weights of red, green and blue in a grey value (ITU-R BT.601), for pictures whose channels differ.
_GREY = np.array([0.299, 0.587, 0.114])


def read_grey(path: Path) -> np.ndarray:
    """A picture as greys (H, W) in its own type, without alpha; colours that differ are weighted (ITU-R BT.601), float32."""
    return grey_of(images.read_picture(path))


def grey_of(pixels: np.ndarray) -> np.ndarray:
    """:func:`read_grey` for pixels (H, W) or (H, W, C)."""
    pixels = colours_of(pixels)
    if pixels.ndim == 2:
        return pixels
    same = (pixels == pixels[..., :1]).all()
    return np.ascontiguousarray(pixels[..., 0] if same else (pixels @ _GREY).astype(np.float32))


def colours_of(pixels: np.ndarray) -> np.ndarray:
    """A picture without its alpha: (H, W) greys or (H, W, 3) colours."""
    if pixels.ndim == 2:
        return pixels
    return pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]


def mask_greys(path: Path) -> np.ndarray:
    """A mask's greys (H, W) as they are stored, without alpha; raises :class:`SegtraceError` for colours."""
    pixels = colours_of(images.read_picture(path))
    if pixels.ndim == 2:
        return pixels
    if (pixels != pixels[..., :1]).any():
        raise SegtraceError(f"{path}: a mask with colours; its red, green and blue must be equal")
    return pixels[..., 0]


def read_mask(
    path: Path, *, image: Path, greys: Literal["error", "threshold"] = "error"
) -> tuple[np.ndarray, list[str]]:
    """A mask as bool (H, W), and notes on what had to be decided.

    Black is 0; white is 1 or the greatest value of the file's type (255, 65535). With ``greys="threshold"`` a
    mask with values between them is cut at half of the greatest value, which is noted. Raises
    :class:`SegtraceError`, naming the file, for colours, for greys otherwise, and for another size than ``image``.
    """
    mask, notes = read_mask_alone(path, greys=greys)
    height, width = mask.shape
    expected = images.picture_size(image)
    if expected != (width, height):
        raise SegtraceError(
            f"{path}: has {width}x{height} and its image {expected[0]}x{expected[1]}; "
            "mend the file, or exclude the case in the data set's YAML file"
        )
    return mask, notes


def read_mask_alone(
    path: Path, *, greys: Literal["error", "threshold"] = "error"
) -> tuple[np.ndarray, list[str]]:
    """:func:`read_mask` for a mask of any size."""
    pixels = mask_greys(path)
    values, white = np.unique(pixels), int(np.iinfo(pixels.dtype).max)
    if set(values.tolist()) <= {0, 1} or set(values.tolist()) <= {0, white}:
        return pixels > 0, []
    if greys == "threshold":
        return pixels > white / 2, [f"{path.name}: {len(values)} grey values, cut at {white / 2:g}"]
    raise SegtraceError(
        f"{path}: a mask with {len(values)} grey values {values[:6].tolist()}; expected black and white"
    )
