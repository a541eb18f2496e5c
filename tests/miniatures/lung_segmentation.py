"""Montgomery and Shenzhen together: two styles of mask names, palettes, greys in a mask, radiographs without one."""

import io
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from miniatures import Expected, box, noise, picture, write_zip


def palette(grey: np.ndarray) -> bytes:
    """A PNG whose pixels are indices into a palette of greys, darkest last."""
    image = Picture.fromarray(255 - grey).convert("P")
    image.putpalette([value for value in range(255, -1, -1) for _ in range(3)])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def build(folder: Path) -> dict[str, Expected]:
    """Two of each source with a mask, and one of Shenzhen without; the last mask of Shenzhen holds greys."""
    top, size = "Lung Segmentation", (44, 40)
    lungs = np.maximum(box(size, (8, 30), (5, 15), value=255), box(size, (8, 30), (22, 34), value=255))
    soft = lungs.copy()
    soft[7, 5:15], soft[30, 5:15] = 127, 128  # a row that does not count, a row that does
    expected = {}
    files = {
        f"{top}/.ipynb_checkpoints/Montgomery-checkpoint.ipynb": b"{}",
        f"{top}/NLM-ChinaCXRSet-ReadMe.docx": b"x",
    }
    for number, (case, group) in enumerate(
        {
            "MCUCXR_0001_0": "montgomery_normal",
            "MCUCXR_0104_1": "montgomery_tuberculosis",
            "CHNCXR_0001_0": "shenzhen_normal",
            "CHNCXR_0327_1": "shenzhen_tuberculosis",
        }.items()
    ):
        shenzhen, grey = case.startswith("CHN"), case == "CHNCXR_0327_1"
        radiograph = noise(*size, seed=number)
        files[f"{top}/CXR_png/{case}.png"] = palette(radiograph) if shenzhen else picture(radiograph, "PNG")
        files[f"{top}/masks/{case}{'_mask' if shenzhen else ''}.png"] = picture(
            soft if grey else lungs, "PNG"
        )
        files[f"{top}/ClinicalReadings/{case}.txt"] = b"normal\n"
        expected[case] = Expected(
            size[::-1],
            {1: 484 + 10 * grey},
            group=group,
            notes=f"{case}_mask.png: 4 grey values, cut at 127.5" if grey else "",
        )
    for place in ("CXR_png", "test"):
        files[f"{top}/{place}/CHNCXR_0025_0.png"] = palette(noise(*size, seed=8))
    files[f"__MACOSX/{top}/masks/._MCUCXR_0001_0.png"] = b"\0\5\x16\7"
    write_zip(folder / "Lung_Segmentation.zip", files)
    return expected
