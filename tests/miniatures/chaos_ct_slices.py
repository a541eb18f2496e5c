"""CHAOS CT slice by slice, of the archive that :mod:`miniatures.chaos_ct` builds."""

from pathlib import Path

from miniatures import Expected, write_zip
from miniatures.chaos_ct import ARCHIVE, SHAPE, files


def build(folder: Path) -> dict[str, Expected]:
    """Three patients of twelve slices each, five of which show a liver of 6 x 6 pixels."""
    write_zip(folder / ARCHIVE, files())
    return {
        f"ct_{patient:02d}_{k:03d}": Expected(
            (SHAPE[2], SHAPE[1]),
            {1: 36 if 2 <= k < 7 else 0},
            subject=f"ct_{patient}",
            spacing_mm=(0.75, 0.75),
        )
        for patient in (1, 2, 10)
        for k in range(SHAPE[0])
    }
