"""CHAOS CT slice by slice, for networks that take pictures: each slice a case, each patient a subject.

Layout and traps are those of :mod:`segtrace.datasets.chaos_ct`; the mask of the k-th slice by name is the k-th mask by
name. That a mask fits is judged on each slice: Hounsfield values inside are those of a liver.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import images
from segtrace.datasets import REFETCH, Case, _chaos, _dicom, chaos_ct, check_options
from segtrace.errors import SegtraceError

#: Masks of fewer pixels are not judged: the dome of a liver is mixed with the lung around it (case 1: 40 HU).
JUDGED_PIXELS = 3000


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """All slices, ids such as ``ct_01_017``: patient, place by name from 0. Faults are those of the volumes."""
    check_options(options, known=())
    return [
        Case(case=f"{volume.case}_{place:03d}", subject=volume.subject, images=(image,), labels=(label,))
        for volume in chaos_ct.cases(root, options)
        for place, (image, label) in enumerate(zip(volume.images, volume.labels, strict=True))
    ]


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The slice in Hounsfield units."""
    return _dicom.read_slice(root / case.images[0])


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The label map: 1 liver. Raises unless the mask is black and one grey, and lies on tissue that can be liver."""
    image, path = read_image(root, case, options), root / case.labels[0]
    values = sitk.GetArrayViewFromImage(image)
    (greys,) = _chaos.stacked(root, case.labels, (1, *values.shape))
    levels = np.unique(greys)
    if len(levels[levels > 0]) > 1:
        raise SegtraceError(
            f"{path}: a mask with the grey levels {levels[:8].tolist()}; expected black and one other. {REFETCH}"
        )
    liver = greys > 0
    low, high = chaos_ct.LIVER_HU
    if np.count_nonzero(liver) >= JUDGED_PIXELS and not low <= (mean := float(values[liver].mean())) <= high:
        raise SegtraceError(
            f"{path}: mean inside the liver mask is {mean:.1f} HU, expected {low:g} to {high:g}: mask and slice "
            "do not fit. Fetch the case again, or exclude it"
        )
    return images.from_array(liver.astype(np.uint8), images.grid_of(image)), []
