"""MM-WHS MR: 421 in mr_train_1010, labels along the borders of mr_train_1002; images and labels in two folders."""

from pathlib import Path

import numpy as np

from miniatures import Expected, noise, write_zip
from miniatures.mmwhs_ct import COUNTS, LPS, RAI, SHAPE, heart, volume


def build(folder: Path) -> dict[str, Expected]:
    """Three cases; the borders of 1002 are those of the patient, whatever the order of its axes."""
    spacing = (0.8, 0.8, 1.0)
    scan = noise(*SHAPE).astype(np.int16)
    borders = heart()
    borders[0:2], borders[:, 0:3], borders[:, :, -2:] = (
        500,
        600,
        420,
    )  # below, at the back and right in RAI axes
    mistaken = heart()
    mistaken[mistaken == 420] = np.where(np.arange((mistaken == 420).sum()) < 3, 421, 420)
    files = {}
    for number, label, direction in ((1001, heart(), LPS), (1002, borders, RAI), (1010, mistaken, LPS)):
        image = volume(scan + np.int16(number % 1000), direction, spacing)
        files[f"MR/imagesTraining/mr_train_{number}_image.nii.gz"] = image
        files[f"MR/labelsTraining/mr_train_{number}_label.nii.gz"] = volume(label, direction, spacing)
    write_zip(folder / "mr_train.zip", files)
    size = tuple(reversed(SHAPE))
    spurious = int((borders != 0).sum()) - sum(COUNTS.values())
    return {
        "mr_train_1001": Expected(size, COUNTS, spacing_mm=spacing),
        "mr_train_1002": Expected(
            size, COUNTS, spacing_mm=spacing, notes=f"{spurious} voxels of spurious labels along the borders"
        ),
        "mr_train_1010": Expected(
            size, COUNTS, spacing_mm=spacing, notes="3 voxels of value 421 read as 420"
        ),
    }
