"""MSD Task01 BrainTumour: 484 labelled gliomas in four MR channels, layout of :mod:`segtrace.datasets._msd`.

Files are 4-D, 240 x 240 x 155 x 4 at 1 mm: FLAIR, T1w, T1gd, T2w. Labels are 1 edema, 2 non-enhancing tumour,
3 enhancing tumour, in another order than in BraTS itself (1 non-enhancing, 2 edema, 4 enhancing).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from segtrace.datasets import Case, _msd, check_options

FOLDER = "Task01_BrainTumour"


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """The labelled cases, sorted by name; missing and unlisted files are one error."""
    check_options(options, known=())
    return _msd.cases(root, FOLDER)


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The four channels: FLAIR, T1w, T1gd, T2w."""
    return _msd.read_image(root, case)


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The label map: 1 edema, 2 non-enhancing tumour, 3 enhancing tumour."""
    return _msd.read_label(root, case), []
