"""Shenzhen: palettes and RGB of equal colours, Thumbs.db, third-party masks in grey and of half size, one image without."""

import io
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from miniatures import Expected, box, noise, picture, write_zip


def palette(array: np.ndarray) -> bytes:
    """A PNG of (H, W) greys with a grey palette, as 635 of the 662 images are stored."""
    image = Picture.fromarray(array).convert("P", palette=Picture.Palette.ADAPTIVE)
    image.putdata(array.ravel().tolist())
    image.putpalette([value for grey in range(256) for value in (grey, grey, grey)])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def build(folder: Path) -> dict[str, Expected]:
    """Four images, three with a mask: black and white, with grey edges, of half the image's size."""
    top, shape = "ChinaSet_AllFiles", (40, 44)
    lungs = box(shape, (8, 32), (4, 18)) + box(shape, (8, 32), (24, 40))
    soft = lungs * 255
    soft[8, 4:18], soft[31, 4:18] = 100, 180  # of 28 edge pixels, the 14 lighter ones stay
    pictures = {
        "CHNCXR_0001_0": palette(noise(*shape)),
        "CHNCXR_0002_0": picture(np.dstack([noise(*shape, seed=1)] * 3), "PNG"),
        "CHNCXR_0025_0": palette(noise(*shape, seed=2)),
        "CHNCXR_0327_1": palette(noise(*shape, seed=3)),
    }
    files = {f"{top}/CXR_png/{name}.png": data for name, data in pictures.items()}
    files[f"{top}/CXR_png/Thumbs.db"] = b"\xd0\xcf\x11\xe0"
    files[f"{top}/ClinicalReadings/CHNCXR_0001_0.txt"] = b"male 45yrs\nnormal"
    files[f"__MACOSX/{top}/CXR_png/._CHNCXR_0001_0.png"] = b"\0\5\x16\7"
    write_zip(folder / "ChinaSet_AllFiles.zip", files)
    masks = {
        "CHNCXR_0001_0": lungs.astype(bool),
        "CHNCXR_0002_0": soft,
        "CHNCXR_0327_1": lungs[::2, ::2] * 255,
    }
    write_zip(
        folder / "shcxr-lung-mask.zip",
        {f"mask/mask/{name}_mask.png": picture(array, "PNG") for name, array in masks.items()},
    )
    whole = int(lungs.sum())
    return {
        "CHNCXR_0001_0": Expected((44, 40), {1: whole}, subject="CHNCXR_0001", group="normal"),
        "CHNCXR_0002_0": Expected(
            (44, 40),
            {1: whole - 14},
            subject="CHNCXR_0002",
            group="normal",
            notes="4 grey values, cut at 127.5",
        ),
        "CHNCXR_0327_1": Expected(
            (44, 40),
            {1: whole},
            subject="CHNCXR_0327",
            group="tuberculosis",
            notes="has 22x20 and its image 44x40; each pixel stands for 2x2",
        ),
    }
