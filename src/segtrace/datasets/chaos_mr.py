"""CHAOS MR: liver, kidneys and spleen in T1-DUAL and T2-SPIR of 20 people (Kavur et al., doi:10.1016/j.media.2020.101950).

Layout: ``Train_Sets/MR/NUMBER/T1DUAL/{DICOM_anon/{InPhase,OutPhase}/*.dcm, Ground/*.png}`` and
``.../T2SPIR/{DICOM_anon/*.dcm, Ground/*.png}``. A case is one image of a patient: T1 in phase, T1 out of phase
or T2, which is its group; both phases of T1 were taken together and share one set of masks. All cases of a
patient have one subject, and so stay on one side of a split. Masks hold a grey a label, not always exactly.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import images
from segtrace.datasets import REFETCH, Case, _chaos, _dicom, check_options
from segtrace.errors import SegtraceError, raise_all

#: Group → folder of the sequence and folder of its slices.
SEQUENCES = {
    "t1_in": ("T1DUAL", "DICOM_anon/InPhase"),
    "t1_out": ("T1DUAL", "DICOM_anon/OutPhase"),
    "t2_spir": ("T2SPIR", "DICOM_anon"),
}
#: Label → the grey it should have, and the least and greatest that are taken for it.
GREYS = {1: (63, 55, 70), 2: (126, 110, 135), 3: (189, 175, 200), 4: (252, 240, 255)}
_MASK = re.compile(r".*\d+\.png")


def _wanted(options: Mapping[str, Any]) -> list[str]:
    check_options(options, known=("sequences",))
    wanted = options.get("sequences", list(SEQUENCES))
    if not isinstance(wanted, list) or not wanted or not set(wanted) <= set(SEQUENCES):
        raise SegtraceError(
            f"option sequences of chaos_mr is {wanted!r}; it is a list of {', '.join(SEQUENCES)}"
        )
    return [name for name in SEQUENCES if name in wanted]


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """All images of all patients, ids such as ``mr_01_t1_in``; missing folders and slices are one error.

    The option ``sequences`` restricts them to some of ``t1_in``, ``t1_out`` and ``t2_spir``.
    """
    wanted = _wanted(options)
    numbers, problems = _chaos.patients(root, "MR")
    found = []
    for number in numbers:
        for sequence in wanted:
            folder, place = SEQUENCES[sequence]
            top = f"{_chaos.TOP}/MR/{number}/{folder}"
            slices, masks, faults = _chaos.pairs(root, f"{top}/{place}", f"{top}/Ground", mask=_MASK)
            problems += [fault for fault in faults if fault not in problems]  # phases share their masks
            found.append(
                Case(
                    case=f"mr_{number:02d}_{sequence}",
                    subject=f"mr_{number}",
                    images=slices,
                    labels=masks,
                    group=sequence,
                )
            )
    raise_all(problems, heading=f"{root}: not the layout of CHAOS MR", remedy=REFETCH)
    return found


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The volume, slices in the order of their names."""
    return _dicom.read_slices([root / name for name in case.images], order="given")


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The label map: 1 liver, 2 right kidney, 3 left kidney, 4 spleen; greys beside the exact ones are noted."""
    grid = images.grid_of(read_image(root, case, options))
    depth, height, width = grid.array_shape
    greys = _chaos.stacked(root, case.labels, (depth, height, width))
    label, notes = np.zeros(greys.shape, np.uint8), []
    foreign = set(np.unique(greys).tolist()) - {0}
    for value, (exact, low, high) in GREYS.items():
        inside = (greys >= low) & (greys <= high)
        label[inside] = value
        near = sorted(grey for grey in foreign if low <= grey <= high)
        foreign -= set(near)
        if set(near) - {exact}:
            count = int((inside & (greys != exact)).sum())
            others = ", ".join(str(grey) for grey in near if grey != exact)
            notes.append(f"{count} pixels of grey {others} read as label {value} (exactly {exact})")
    if foreign:
        counts = ", ".join(f"{grey} ({int((greys == grey).sum())} pixels)" for grey in sorted(foreign)[:8])
        bands = ", ".join(f"{low} to {high}" for _, low, high in GREYS.values())
        raise SegtraceError(
            f"{(root / case.labels[0]).parent}: masks with the grey levels {counts}; expected 0 and {bands}. {REFETCH}"
        )
    return images.from_array(label, grid), notes
