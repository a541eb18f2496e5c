"""What pictures on a page share: colours of labels, and arrays and pictures as small text, byte for byte the same."""

import base64
import io
import zlib

import numpy as np
from PIL import Image

#: Colours of labels on grey images, in the order of their values; after the last one they begin again.
LABEL_COLOURS = (
    (255, 140, 0),
    (86, 180, 233),
    (240, 228, 66),
    (0, 190, 130),
    (230, 110, 190),
    (150, 130, 255),
    (255, 90, 80),
    (120, 220, 220),
    (190, 220, 90),
    (220, 170, 120),
)


def colour(position: int) -> str:
    """The colour of the label in this place of the data set's labels, as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*LABEL_COLOURS[position % len(LABEL_COLOURS)])


def pale(position: int) -> str:
    """The same hue, nearly white: for the reference, which must differ from a prediction on top of it."""
    red, green, blue = (
        round(255 - (255 - part) * 0.35) for part in LABEL_COLOURS[position % len(LABEL_COLOURS)]
    )
    return f"#{red:02x}{green:02x}{blue:02x}"


def packed(array: np.ndarray) -> str:
    """The bytes of an array in C order as a raw deflate stream (RFC 1951) in base64."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15, 9)
    return base64.b64encode(packer.compress(np.ascontiguousarray(array).tobytes()) + packer.flush()).decode()


def unpacked(text: str, dtype: type = np.uint8) -> np.ndarray:
    """The values that :func:`packed` was given, one after the other."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text), -15), dtype)


def png(picture: Image.Image) -> str:
    """A picture as a ``data:`` address of a PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def reduced(array: np.ndarray, steps: tuple[int, ...]) -> np.ndarray:
    """Means of blocks of ``steps`` values along the first axes, rounded; the last block may be smaller."""
    total: np.ndarray = array.astype(np.float32)
    for axis, step in enumerate(steps):
        if step > 1:
            starts = np.arange(0, array.shape[axis], step)
            counts = np.diff(np.append(starts, array.shape[axis]))
            shape = [1] * array.ndim
            shape[axis] = len(counts)
            total = np.add.reduceat(total, starts, axis=axis) / counts.reshape(shape).astype(np.float32)
    return np.rint(total).astype(array.dtype) if array.dtype.kind == "u" else total
