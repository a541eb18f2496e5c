"""CHAOS CT: the liver in portal-venous CT of 20 living donors (Kavur et al., doi:10.1016/j.media.2020.101950).

Layout: ``Train_Sets/CT/NUMBER/{DICOM_anon/*.dcm, Ground/*.png}``; slices are named ``i0000,0000b.dcm`` or
``IMG-0002-00001.dcm``, masks ``liver_GT_000.png`` or ``liver_000.png``. Masks follow the sorted names of the
slices, which in some cases run from head to feet: the volume keeps the order of the names (its third axis
then points down), and that masks and slices fit is judged by the mean Hounsfield value inside the mask.
Slice distances come from positions: the tag SliceThickness says 3.2 mm where slices lie 2.0 mm apart.
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

_MASK = re.compile(r"liver_(GT_)?\d+\.png")
#: Range of the mean Hounsfield value of a liver with contrast agent, generously; wrongly paired masks give less.
LIVER_HU = (50.0, 200.0)


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """All patients, ids such as ``ct_01``; missing folders and unequal numbers of slices and masks are one error."""
    check_options(options, known=())
    numbers, problems = _chaos.patients(root, "CT")
    found = []
    for number in numbers:
        folder = f"{_chaos.TOP}/CT/{number}"
        slices, masks, faults = _chaos.pairs(root, f"{folder}/DICOM_anon", f"{folder}/Ground", mask=_MASK)
        problems += faults
        found.append(Case(case=f"ct_{number:02d}", subject=f"ct_{number}", images=slices, labels=masks))
    raise_all(problems, heading=f"{root}: not the layout of CHAOS CT", remedy=REFETCH)
    return found


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The volume in Hounsfield units, slices in the order of their names."""
    return _dicom.read_slices([root / name for name in case.images], order="given")


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The label map: 1 liver. Raises unless a mask is black and one grey, and lies on tissue that can be liver."""
    image = read_image(root, case, options)
    grid = images.grid_of(image)
    depth, height, width = grid.array_shape
    greys = _chaos.stacked(root, case.labels, (depth, height, width))
    values = np.unique(greys)
    folder = (root / case.labels[0]).parent
    if len(values[values > 0]) > 1:
        raise SegtraceError(
            f"{folder}: masks with the grey levels {values[:8].tolist()}; expected black and one other. {REFETCH}"
        )
    liver = greys > 0
    _check_pairing(sitk.GetArrayViewFromImage(image), liver, folder)
    return images.from_array(liver.astype(np.uint8), grid), []


def _check_pairing(values: np.ndarray, liver: np.ndarray, folder: Path) -> None:
    """Refuse masks that do not lie on liver, or less so than on the slices in reverse; both arrays are (D, H, W)."""
    if not liver.any():
        return  # an empty mask is the index's matter
    low, high = LIVER_HU
    mean, turned = float(values[liver].mean()), float(values[::-1][liver].mean())
    if not low <= mean <= high or mean < turned <= high:
        raise SegtraceError(
            f"{folder}: mean inside the liver masks is {mean:.1f} HU, with the slices in reverse {turned:.1f} HU; "
            f"expected {low:g} to {high:g}, and less in reverse: masks and slices do not fit. Fetch the case again, "
            "or exclude it"
        )
