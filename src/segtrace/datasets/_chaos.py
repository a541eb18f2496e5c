"""What CHAOS CT and CHAOS MR share: folders of DICOM slices beside folders of PNG masks, paired by sorted names.

Layout: ``Train_Sets/{CT,MR}/NUMBER/...``. Each slice has a SeriesInstanceUID of its own, so no reader of DICOM
series finds a volume; masks have no place in the patient, they follow the names of the slices, which run
against the positions in some cases. CT and MR of one number are different people. The archive's unlabelled
test sets are not read.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segtrace.datasets._pictures import mask_greys
from segtrace.errors import SegtraceError, raise_all

TOP = "Train_Sets"


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts names by the numbers in them: ``i9.dcm`` before ``i10.dcm``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def patients(root: Path, modality: str) -> tuple[list[int], list[str]]:
    """Numbers of the patients below ``Train_Sets/MODALITY``, sorted, and what is wrong with that folder."""
    folder = root / TOP / modality
    if not folder.is_dir():
        return [], [f"{folder}: no such folder"]
    names = [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    strange = sorted(name for name in names if not re.fullmatch(r"[1-9]\d*", name))
    problems = [f"{folder / name}: a patient's folder is named by a number" for name in strange]
    if not names:
        problems.append(f"{folder}: no patients")
    return sorted(int(name) for name in set(names) - set(strange)), problems


def pairs(
    root: Path, slices: str, masks: str, *, mask: re.Pattern[str]
) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    """Slices ``*.dcm`` of one folder and masks of another, both naturally sorted and relative to ``root``, and faults.

    ``mask`` is what a mask's whole name looks like.
    """
    problems, found = [], []
    for folder, ending in ((slices, ".dcm"), (masks, ".png")):
        place = root / folder
        names = [p.name for p in place.iterdir() if not p.name.startswith(".")] if place.is_dir() else []
        chosen = sorted((n for n in names if n.lower().endswith(ending)), key=natural)
        if not chosen:
            problems.append(f"{place}: no files *{ending}")
        found.append(tuple(f"{folder}/{name}" for name in chosen))
    problems += [
        f"{root / name}: not the name of a mask ({mask.pattern})"
        for name in found[1]
        if not mask.fullmatch(Path(name).name)
    ]
    if not problems and len(found[0]) != len(found[1]):
        problems.append(f"{root / slices}: {len(found[0])} slices, but {len(found[1])} masks in {masks}")
    return found[0], found[1], problems


def stacked(root: Path, names: Sequence[str], shape: tuple[int, int, int]) -> np.ndarray:
    """The masks (D, H, W) in the greys that are stored; each that cannot be read or has another size is named."""
    planes, problems = [], []
    for name in names:
        try:
            pixels = mask_greys(root / name)
        except SegtraceError as error:
            problems.append(str(error))
            continue
        if pixels.shape != shape[1:]:
            problems.append(
                f"{root / name}: {pixels.shape[1]}x{pixels.shape[0]} pixels, its slices have {shape[2]}x{shape[1]}"
            )
        planes.append(pixels)
    raise_all(problems, heading=f"{(root / names[0]).parent}: masks do not fit their slices")
    return np.stack(planes)
