"""ISIC challenges 2016, 2017 and 2018, task 1: dermoscopic images with one lesion mask each.

Papers: Gutman et al., arXiv:1605.01397 (2016); Codella et al., arXiv:1710.05006 (2017); Codella et al.,
arXiv:1902.03368 (2018). Each archive unpacks to a folder of its name: images ``ISIC_0000000.jpg``, masks
``ISIC_0000000_segmentation.png`` (2016: ``_Segmentation.png``). Image folders also hold superpixels
(``ISIC_0000000_superpixels.png``), tables and texts, which are not read. Ids are global: the same id in two years is the same
image. No patient or lesion is named: each image is its own subject, and which images show one lesion is a
matter of pixels.

Options: ``year`` (2016, 2017 or 2018) and ``sides``, the owner's sides to read (all of that year by default).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import images
from segtrace.datasets import REFETCH, Case, check_options
from segtrace.datasets._pictures import read_mask
from segtrace.errors import SegtraceError, raise_all

#: Year → side → folder of the images and folder of the masks.
FOLDERS = {
    2016: {
        "training": ("ISBI2016_ISIC_Part1_Training_Data", "ISBI2016_ISIC_Part1_Training_GroundTruth"),
        "test": ("ISBI2016_ISIC_Part1_Test_Data", "ISBI2016_ISIC_Part1_Test_GroundTruth"),
    },
    2017: {
        "training": ("ISIC-2017_Training_Data", "ISIC-2017_Training_Part1_GroundTruth"),
        "validation": ("ISIC-2017_Validation_Data", "ISIC-2017_Validation_Part1_GroundTruth"),
        "test": ("ISIC-2017_Test_v2_Data", "ISIC-2017_Test_v2_Part1_GroundTruth"),
    },
    2018: {
        "training": ("ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth"),
        "validation": ("ISIC2018_Task1-2_Validation_Input", "ISIC2018_Task1_Validation_GroundTruth"),
        "test": ("ISIC2018_Task1-2_Test_Input", "ISIC2018_Task1_Test_GroundTruth"),
    },
}
_IMAGE = re.compile(r"(?P<id>ISIC_\d{7})\.jpg")
_MASK = re.compile(r"(?P<id>ISIC_\d{7})_[Ss]egmentation\.png")
#: What lies beside the images and is neither image nor mask.
_BESIDE = re.compile(r"\..*|ISIC_\d{7}_superpixels\.png|.*\.(csv|txt)")


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """All images of the wanted sides with their masks, ids such as ``ISIC_0000000``, sorted.

    An id on two sides is two cases of one subject; the one of the later side is named ``ID_SIDE``. Missing folders, files of
    foreign names, and images or masks without partner are one error.
    """
    sides = _sides(options)
    problems: list[str] = []
    found: dict[str, Case] = {}
    for side, (images_in, masks_in) in sides.items():
        pictures = _files(root, images_in, _IMAGE, what="image 'ISIC_0000000.jpg'", problems=problems)
        masks = _files(root, masks_in, _MASK, what="mask 'ISIC_0000000_segmentation.png'", problems=problems)
        if pictures is None or masks is None:
            continue
        problems += [f"{root / pictures[i]}: has no mask" for i in sorted(pictures.keys() - masks.keys())]
        problems += [
            f"{root / masks[i]}: a mask without an image" for i in sorted(masks.keys() - pictures.keys())
        ]
        for identity in pictures.keys() & masks.keys():
            name = f"{identity}_{side}" if identity in found else identity
            found[name] = Case(name, identity, (pictures[identity],), (masks[identity],), side=side)
    raise_all(problems, heading=f"{root}: not the layout of ISIC {options['year']}, task 1", remedy=REFETCH)
    return [found[name] for name in sorted(found)]


def _sides(options: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Side → its two folders, for the wanted sides of the wanted year."""
    check_options(options, known=("year", "sides"))
    year = options.get("year")
    if year not in FOLDERS:
        raise SegtraceError(f"option year of isic is {year!r}; it can be {', '.join(map(str, FOLDERS))}")
    known = FOLDERS[year]
    wanted = options.get("sides", list(known))
    if not isinstance(wanted, list) or not wanted or not set(map(str, wanted)) <= set(known):
        raise SegtraceError(
            f"option sides of isic is {wanted!r}; for {year} it is a list of some of {', '.join(known)}"
        )
    return {side: folders for side, folders in known.items() if side in wanted}


def _files(
    root: Path, folder: str, pattern: re.Pattern[str], *, what: str, problems: list[str]
) -> dict[str, str] | None:
    """Id → file relative to ``root``; what does not fit is added to ``problems``. None without the folder."""
    if not (root / folder).is_dir():
        problems.append(f"{root / folder}: no such folder")
        return None
    result: dict[str, str] = {}
    for path in sorted((root / folder).iterdir()):
        match = pattern.fullmatch(path.name)
        if match is None:
            if not _BESIDE.fullmatch(path.name):
                problems.append(f"{path}: no {what}")
        elif match["id"] in result:
            problems.append(f"{path}: a second mask beside {root / result[match['id']]}")
        else:
            result[match["id"]] = f"{folder}/{path.name}"
    return result


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The image as published: red, green and blue, uint8."""
    return images.picture_image(images.read_picture(root / case.images[0]))


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """1 lesion. A mask that is not black and white, or not of the image's size, is an error."""
    mask, notes = read_mask(root / case.labels[0], image=root / case.images[0])
    return images.picture_image(mask.astype(np.uint8)), notes
