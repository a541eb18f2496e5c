"""MSD Task04 Hippocampus: 260 labelled T1 volumes, layout of :mod:`segtrace.datasets._msd`.

The numbers have gaps: the others are the unlabelled test cases.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from segtrace.datasets import Case, _msd, check_options

FOLDER = "Task04_Hippocampus"


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """The labelled cases, sorted by name; missing and unlisted files are one error."""
    check_options(options, known=())
    return _msd.cases(root, FOLDER)


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The T1 volume."""
    return _msd.read_image(root, case)


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The label map: 1 anterior, 2 posterior."""
    return _msd.read_label(root, case), []
