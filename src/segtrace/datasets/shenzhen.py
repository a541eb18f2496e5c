"""Shenzhen: chest radiographs (Jaeger et al. 2014, doi:10.3978/j.issn.2223-4292.2014.11.20) with third-party lung masks.

Layout: ``ChinaSet_AllFiles/CXR_png/CHNCXR_NNNN_G.png`` (662, as palettes or RGB of equal colours; G is 0 for normal
and 1 for tuberculosis), and the masks ``CHNCXR_NNNN_G_mask.png`` in any folder (``mask/mask`` in the copy on Kaggle).
566 images have a mask; the 96 others are known and left out by id. ``ClinicalReadings`` hold age and sex: they are not read.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import images
from segtrace.datasets import REFETCH, Case, check_options
from segtrace.datasets._pictures import read_grey, read_mask_alone
from segtrace.datasets._radiographs import fit, found_anywhere, listing, unpaired
from segtrace.datasets.lung_segmentation import WITHOUT_MASK
from segtrace.errors import SegtraceError, raise_all

FOLDER = "ChinaSet_AllFiles/CXR_png"
_IMAGE = re.compile(r"(?P<id>CHNCXR_\d{4}_[01])\.png")
_MASK = re.compile(r"(?P<id>CHNCXR_\d{4}_[01])_mask\.png")
_GROUPS = {"0": "normal", "1": "tuberculosis"}
NO_MASK = "no mask of it was published"


def _files(root: Path, options: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Images and masks by id; every fault in one error."""
    check_options(options, known=("grey_masks",))
    if options.get("grey_masks", "error") not in ("error", "threshold"):
        raise SegtraceError(
            f"option grey_masks of shenzhen is {options['grey_masks']!r}; it can be 'error' or 'threshold'"
        )
    problems: list[str] = []
    pictures = listing(root, FOLDER, _IMAGE, problems)
    masks = found_anywhere(root, "CHNCXR_*_mask.png", _MASK, problems)
    if masks:
        with_mask = {
            name: path for name, path in pictures.items() if name in masks or name not in WITHOUT_MASK
        }
        problems += unpaired(root, with_mask, masks, "mask")
    else:
        problems.append(
            f"{root}: no file CHNCXR_NNNN_G_mask.png in any folder; the masks are a second archive"
        )
    raise_all(problems, heading=f"{root}: not the layout of Shenzhen with masks", remedy=REFETCH)
    return pictures, masks


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """The images that have a mask, sorted by name.

    Unexpected files, masks without an image, and images without a mask other than the 96 known ones are one error.
    """
    pictures, masks = _files(root, options)
    return [
        Case(
            case=name,
            subject=name[:-2],
            images=(pictures[name],),
            labels=(masks[name],),
            group=_GROUPS[name[-1]],
        )
        for name in sorted(masks)
    ]


def left_out(root: Path, options: Mapping[str, Any]) -> dict[str, str]:
    """The images there of which no mask was published."""
    pictures, masks = _files(root, options)
    return dict.fromkeys(sorted(pictures.keys() - masks.keys()), NO_MASK)


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The radiograph in grey."""
    return images.picture_image(read_grey(root / case.images[0]))


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """Both lungs as 1; grey values as the option ``grey_masks`` says (``error``, or ``threshold``: cut at half of white)."""
    path = root / case.labels[0]
    lungs, notes = read_mask_alone(path, greys=options.get("grey_masks", "error"))
    lungs, fitted = fit(lungs, images.picture_size(root / case.images[0]), where=path)
    return images.picture_image(lungs.astype(np.uint8)), notes + fitted
