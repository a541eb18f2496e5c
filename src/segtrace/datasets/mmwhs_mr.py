"""MM-WHS 2017, MR: seven structures of the heart in 20 volumes; layout and traps in :mod:`segtrace.datasets._mmwhs`.

Value 421 in mr_train_1010 stands for 420. In mr_train_1002 spurious labels lie along the volume's borders: the
option ``mr_train_1002_border`` says whether they are cleared.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from segtrace.datasets import Case, _mmwhs


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """The labelled cases, sorted by name; files without partner are one error."""
    _mmwhs.border_choice(options)
    return _mmwhs.cases(root, "mr")


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The volume; intensities have no common scale."""
    return _mmwhs.read_image(root, case)


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The label map: 1 to 7 as in :data:`segtrace.datasets._mmwhs.VALUES`."""
    return _mmwhs.read_label(root, case, border=_mmwhs.border_choice(options))
