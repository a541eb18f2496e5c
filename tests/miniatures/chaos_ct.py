"""CHAOS, one archive for CT and MR: a series for each slice, two styles of names, reversed slices, patients' data.

CT 1: named head to feet, as the real case 1; CT 2: the other style of names, feet to head; CT 10: unpadded numbers.
MR 1: three images, greys beside the exact ones; MR 2: both phases of T1 share the masks.
"""

from pathlib import Path

import numpy as np
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from dicom_slices import dicom
from miniatures import Expected, box, noise, picture, write_zip

TOP = "Train_Sets"
SHAPE = (12, 14, 16)
ARCHIVE = "CHAOS_Train_Sets.zip"


def files() -> dict[str, bytes]:
    """The content of the archive: path → bytes."""
    content = {
        f"{TOP}/definitions.txt": b"labels\n",
        "__MACOSX/Train_Sets/CT/1/DICOM_anon/._i0000,0000b.dcm": b"\0",
    }
    styles = {  # patient → names of slices and of masks, distance of slices, kind of file
        1: ("i{:04d},0000b.dcm", 0, "liver_GT_{:03d}.png", -2.0, ImplicitVRLittleEndian),
        2: ("IMG-0002-{:05d}.dcm", 1, "liver_{:03d}.png", 3.0, ImplicitVRLittleEndian),
        10: ("{}.dcm", 1, "liver_GT_{}.png", -3.2, RLELossless),
    }
    for patient, (slices, first, masks, step, syntax) in styles.items():
        liver = box(SHAPE, (2, 7), (3, 9), (4, 10)).astype(bool)
        values = 1000 + noise(*SHAPE, seed=patient).astype(np.uint16) % 40  # soft tissue around
        values[liver] += 110
        for k in range(SHAPE[0]):
            header = dicom(
                values[k],
                position=(-8, -7, 100 + k * step),
                spacing_mm=(0.75, 0.75),
                intercept=-1000.0,
                syntax=syntax,
            )
            mask = liver[k] if patient == 1 else liver[k].astype(np.uint8) * 255
            content[f"{TOP}/CT/{patient}/DICOM_anon/{slices.format(k + first)}"] = header
            content[f"{TOP}/CT/{patient}/Ground/{masks.format(k)}"] = picture(mask, "PNG")
    for patient in (1, 2):
        for sequence, folders in (("T1DUAL", ("InPhase", "OutPhase")), ("T2SPIR", ("",))):
            for k in range(SHAPE[0]):
                for n, folder in enumerate(folders):
                    name = (
                        f"{folder}/IMG-0004-{2 * k + 1 + n:05d}.dcm"
                        if folder
                        else f"IMG-0002-{k + 1:05d}.dcm"
                    )
                    content[f"{TOP}/MR/{patient}/{sequence}/DICOM_anon/{name}"] = dicom(
                        noise(*SHAPE[1:], seed=100 * patient + 10 * len(folders) + n + 1000 * k).astype(
                            np.uint16
                        ),
                        position=(-8, -7, 50 - 6.0 * k),
                        spacing_mm=(1.5, 1.25),
                        modality="MR",
                    )
                mask = _organs(exact=patient == 2)[k]
                name = f"IMG-{4 if sequence == 'T1DUAL' else 2:04d}-{k + 1:05d}.png"
                content[f"{TOP}/MR/{patient}/{sequence}/Ground/{name}"] = picture(mask, "PNG")
    return content


def _organs(*, exact: bool) -> np.ndarray:
    """Greys (D, H, W) of four organs; the liver has a pixel beside the exact grey unless ``exact``."""
    greys = box(SHAPE, (1, 5), (1, 5), (1, 5), value=63) + box(SHAPE, (5, 8), (1, 4), (1, 4), value=126)
    greys += box(SHAPE, (5, 8), (1, 4), (6, 9), value=189) + box(SHAPE, (8, 10), (1, 3), (1, 3), value=252)
    if not exact:
        greys[1, 1, 1] = 64
    return greys


def build(folder: Path) -> dict[str, Expected]:
    """Three CT cases."""
    write_zip(folder / ARCHIVE, files())
    size, voxels = tuple(reversed(SHAPE)), {1: 5 * 6 * 6}
    return {
        f"ct_{patient:02d}": Expected(size, voxels, subject=f"ct_{patient}", spacing_mm=(0.75, 0.75, step))
        for patient, step in ((1, 2.0), (2, 3.0), (10, 3.2))
    }
