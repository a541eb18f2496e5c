"""MM-WHS 2017, CT: seven structures of the heart in 20 volumes; layout and traps in :mod:`segtrace.datasets._mmwhs`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from segtrace.datasets import Case, _mmwhs, check_options


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """The labelled cases, sorted by name; files without partner are one error."""
    check_options(options, known=())
    return _mmwhs.cases(root, "ct")


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The volume in Hounsfield units."""
    return _mmwhs.read_image(root, case)


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The label map: 1 to 7 as in :data:`segtrace.datasets._mmwhs.VALUES`."""
    return _mmwhs.read_label(root, case)
