"""Montgomery: 138 chest radiographs with a mask of each lung (Jaeger et al. 2014, doi:10.3978/j.issn.2223-4292.2014.11.20).

Layout: ``MontgomerySet/CXR_png/MCUCXR_NNNN_G.png`` (8-bit grey, 4020 x 4892 or 4892 x 4020), and masks of the
same name in ``ManualMask/leftMask`` and ``ManualMask/rightMask`` (1 bit), which are united; G is 0 for normal and
1 for tuberculosis. ``ClinicalReadings`` hold age and sex: they are not read, and nothing of them enters a table.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import images
from segtrace.datasets import REFETCH, Case, check_options
from segtrace.datasets._pictures import read_grey, read_mask
from segtrace.datasets._radiographs import listing, unpaired
from segtrace.errors import raise_all

FOLDER = "MontgomerySet"
_NAME = re.compile(r"(?P<id>MCUCXR_\d{4}_[01])\.png")
_GROUPS = {"0": "normal", "1": "tuberculosis"}


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """All images with the masks of both lungs, sorted by name; missing and unexpected files are one error."""
    check_options(options, known=())
    problems: list[str] = []
    pictures = listing(root, f"{FOLDER}/CXR_png", _NAME, problems)
    left = listing(root, f"{FOLDER}/ManualMask/leftMask", _NAME, problems)
    right = listing(root, f"{FOLDER}/ManualMask/rightMask", _NAME, problems)
    problems += unpaired(root, pictures, left, "left mask") + unpaired(root, pictures, right, "right mask")
    raise_all(problems, heading=f"{root}: not the layout of Montgomery", remedy=REFETCH)
    return [
        Case(
            case=name,
            subject=name[:-2],
            images=(pictures[name],),
            labels=(left[name], right[name]),
            group=_GROUPS[name[-1]],
        )
        for name in sorted(pictures)
    ]


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The radiograph in grey."""
    return images.picture_image(read_grey(root / case.images[0]))


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """Both lungs as 1. Pixels that both masks hold are noted; a mask that is empty or of another size is an error."""
    lungs, problems = [], []
    for file in case.labels:
        found, _ = read_mask(root / file, image=root / case.images[0])
        lungs.append(found)
        if not found.any():
            problems.append(f"{root / file}: an empty mask")
    raise_all(problems, heading=f"{case.case}: each lung has a mask", remedy=REFETCH)
    both = int((lungs[0] & lungs[1]).sum())
    notes = [f"{both} pixels are in the masks of both lungs"] if both else []
    return images.picture_image((lungs[0] | lungs[1]).astype(np.uint8)), notes
