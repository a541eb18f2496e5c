"""CHAOS MR, of the archive that :mod:`miniatures.chaos_ct` builds."""

from pathlib import Path

from miniatures import Expected, write_zip
from miniatures.chaos_ct import ARCHIVE, SHAPE, files


def build(folder: Path) -> dict[str, Expected]:
    """Two patients with three images each."""
    write_zip(folder / ARCHIVE, files())
    return {
        f"mr_{patient:02d}_{group}": Expected(
            tuple(reversed(SHAPE)),
            {1: 64, 2: 27, 3: 27, 4: 8},
            subject=f"mr_{patient}",
            group=group,
            spacing_mm=(1.5, 1.25, 6.0),
            notes="1 pixels of grey 64 read as label 1 (exactly 63)" if patient == 1 else "",
        )
        for patient in (1, 2)
        for group in ("t1_in", "t1_out", "t2_spir")
    }
