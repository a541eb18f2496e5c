"""Montgomery: a mask of each lung in 1 bit, both orientations, Thumbs.db, AppleDouble, readings with age and sex."""

from pathlib import Path

import numpy as np

from miniatures import Expected, box, noise, picture, write_zip

READING = "Patient's Sex: F\nPatient's Age: 061Y\nnormal\n"


def build(folder: Path) -> dict[str, Expected]:
    """Three images, one wide; in one the two masks overlap."""
    top = "MontgomerySet"
    files = {
        f"{top}/CXR_png/Thumbs.db": b"\xd0\xcf\x11\xe0",
        f"{top}/NLM-MontgomeryCXRSet-ReadMe.pdf": b"%PDF",
    }
    expected = {}
    for number, (name, shape, end) in enumerate(
        [("MCUCXR_0001_0", (48, 40), 18), ("MCUCXR_0017_0", (40, 48), 22), ("MCUCXR_0104_1", (48, 40), 18)]
    ):
        left, right = box(shape, (5, 30), (4, end)), box(shape, (5, 30), (20, 36))
        files[f"{top}/CXR_png/{name}.png"] = picture(noise(*shape, seed=number), "PNG")
        files[f"{top}/ManualMask/leftMask/{name}.png"] = picture(left.astype(bool), "PNG")
        files[f"{top}/ManualMask/rightMask/{name}.png"] = picture(right.astype(bool), "PNG")
        files[f"{top}/ClinicalReadings/{name}.txt"] = READING.encode()
        files[f"__MACOSX/{top}/CXR_png/._{name}.png"] = b"\0\5\x16\7"
        expected[name] = Expected(
            (shape[1], shape[0]),
            {1: int(np.logical_or(left, right).sum())},
            subject=name[:-2],
            group="tuberculosis" if name.endswith("_1") else "normal",
            notes="50 pixels are in the masks of both lungs" if end == 22 else "",
        )
    write_zip(folder / "NLM-MontgomeryCXRSet.zip", files)
    return expected
