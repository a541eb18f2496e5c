"""JSRT with SCR: raw 12-bit images in big-endian 16 bit, GIF masks in 1 bit and with palettes, folders with spaces."""

import io
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from miniatures import Expected, box, write_zip

NAMES = ("JPCNN093", "JPCLN002")
#: Object → its box in a mask of 1024 x 1024; clavicles lie over the lungs, as in a chest.
PLACES = {
    "right lung": ((200, 800), (150, 450)),
    "left lung": ((200, 800), (560, 860)),
    "heart": ((500, 750), (450, 600)),
    "right clavicle": ((190, 230), (200, 480)),
    "left clavicle": ((190, 230), (540, 820)),
}


def gif(array: np.ndarray, *, palette: bool) -> bytes:
    """A GIF of (H, W) zeros and ones: as 1 bit, or with a palette of black and white in which 1 is white."""
    buffer = io.BytesIO()
    if palette:
        image = Picture.fromarray(array).convert("P")
        image.putdata(array.ravel().tolist())
        image.putpalette([0, 0, 0, 255, 255, 255])
        image.save(buffer, "GIF")
    else:
        Picture.fromarray(array.astype(bool)).save(buffer, "GIF")
    return buffer.getvalue()


def raw(number: int) -> bytes:
    """An image of 2048 x 2048 values from 0 to 4095, big-endian without a header."""
    rows, columns = np.mgrid[:2048, :2048]
    return ((rows * 2 + columns + number) % 4096).astype(">u2").tobytes()


def build(folder: Path) -> dict[str, Expected]:
    """Two images with the masks of all five objects, in the folders of their folds."""
    files = {f"All247images/{name}.IMG": raw(number) for number, name in enumerate(NAMES)}
    write_zip(folder / "All247images.zip", files)
    masks = {"__MACOSX/._masks": b"\0\5\x16\7"}
    for number, name in enumerate(NAMES):
        fold = "fold1" if int(name[-3:]) % 2 else "fold2"
        for thing, place in PLACES.items():
            masks[f"{fold}/masks/{thing}/{name}.gif"] = gif(
                box((1024, 1024), *place), palette=bool(number % 2)
            )
    write_zip(folder / "masks.zip", masks)
    return {
        name: Expected(
            (2048, 2048),
            {1: 4 * 2 * 600 * 300},
            group="nodule" if name.startswith("JPCLN") else "no nodule",
            side="fold1" if int(name[-3:]) % 2 else "fold2",
            spacing_mm=(0.175, 0.175),
        )
        for name in NAMES
    }
