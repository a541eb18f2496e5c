"""Chest radiographs of Montgomery and Shenzhen with lung masks, in the layout of the combined public copy.

Papers: Jaeger et al., doi:10.3978/j.issn.2223-4292.2014.11.20 (radiographs); Stirenko et al., arXiv:1803.01199 (masks of
Shenzhen). Layout, below ``Lung Segmentation/`` or ``data/Lung Segmentation/``: ``CXR_png/MCUCXR_0001_0.png`` (Montgomery)
with ``masks/MCUCXR_0001_0.png``, and ``CXR_png/CHNCXR_0001_0.png`` (Shenzhen) with
``masks/CHNCXR_0001_0_mask.png``. The last digit is 0 for normal, 1 for tuberculosis. Of Shenzhen, 96 radiographs have no
mask; ``test/`` holds them once more and is not read. Images are greys or palettes. Resized copies have masks with greys.

Option ``grey_masks``: ``threshold`` (cut at half of white, noted) or ``error``.
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
from segtrace.errors import SegtraceError, raise_all

ROOTS = ("Lung Segmentation", "data/Lung Segmentation")
IMAGES, MASKS = "CXR_png", "masks"
_NAME = re.compile(r"(?P<id>(?P<source>MCU|CHN)CXR_(?P<number>\d{4})_(?P<finding>[01]))(?P<mask>_mask)?\.png")
_SOURCES = {"MCU": "montgomery", "CHN": "shenzhen"}
_FINDINGS = {"0": "normal", "1": "tuberculosis"}
#: Radiographs of Shenzhen for which no mask was published: finding → ranges of numbers, ends included.
_WITHOUT = {
    "0": ((25, 25), (36, 40), (65, 65), (181, 220)),
    "1": ((336, 336), (341, 360), (481, 500), (502, 502), (505, 505), (560, 565)),
}
#: Their ids: dropped where they have no mask. Any other image without one is an error.
WITHOUT_MASK = frozenset(
    f"CHNCXR_{number:04d}_{finding}"
    for finding, ranges in _WITHOUT.items()
    for first, last in ranges
    for number in range(first, last + 1)
)


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """All radiographs that have a mask, sorted, ids such as ``CHNCXR_0001_0``; images of ``WITHOUT_MASK`` are dropped.

    The group is source and finding, for example ``shenzhen_tuberculosis``. Missing folders, files of foreign names, and
    images or masks without partner are one error.
    """
    check_options(options, known=("grey_masks",))
    if options.get("grey_masks", "error") not in ("threshold", "error"):
        raise SegtraceError(
            f"option grey_masks of lung_segmentation is {options['grey_masks']!r}; it can be 'threshold' or 'error'"
        )
    top = next((name for name in ROOTS if (root / name).is_dir()), ROOTS[0])
    problems: list[str] = []
    pictures = _files(root, f"{top}/{IMAGES}", masks=False, problems=problems)
    masks = _files(root, f"{top}/{MASKS}", masks=True, problems=problems)
    if pictures and masks:
        bare = pictures.keys() - masks.keys() - WITHOUT_MASK
        problems += [f"{root / pictures[i]}: has no mask" for i in sorted(bare)]
        problems += [
            f"{root / masks[i]}: a mask without an image" for i in sorted(masks.keys() - pictures.keys())
        ]
    raise_all(problems, heading=f"{root}: not the layout of the lung masks", remedy=REFETCH)
    return [
        Case(name, name, (pictures[name],), (masks[name],), group=_group(name))
        for name in sorted(pictures.keys() & masks.keys())
    ]


def _group(name: str) -> str:
    return f"{_SOURCES[name[:3]]}_{_FINDINGS[name[-1]]}"


def _files(root: Path, folder: str, *, masks: bool, problems: list[str]) -> dict[str, str]:
    """Id → file relative to ``root``; what does not fit is added to ``problems``."""
    if not (root / folder).is_dir():
        problems.append(f"{root / folder}: no such folder")
        return {}
    result = {}
    for path in sorted((root / folder).iterdir()):
        if path.name.startswith("."):
            continue
        match = _NAME.fullmatch(path.name)
        suffixed = masks and match is not None and match["source"] == "CHN"
        if match is None or (match["mask"] is not None) != suffixed:
            what = (
                "mask 'MCUCXR_0001_0.png' or 'CHNCXR_0001_0_mask.png'"
                if masks
                else "image 'MCUCXR_0001_0.png'"
            )
            problems.append(f"{path}: no {what}")
        else:
            result[match["id"]] = f"{folder}/{path.name}"
    return result


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The radiograph in grey."""
    return images.picture_image(read_grey(root / case.images[0]))


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """1 lung (both lungs together). Greys are cut at half of white or an error, as the option ``grey_masks`` says."""
    mask, notes = read_mask(
        root / case.labels[0], image=root / case.images[0], greys=options.get("grey_masks", "error")
    )
    return images.picture_image(mask.astype(np.uint8)), notes
