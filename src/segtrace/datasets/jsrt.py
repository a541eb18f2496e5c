"""JSRT: 247 chest radiographs (Shiraishi et al. 2000, doi:10.2214/ajr.174.1.1740071) with the outlines of SCR (van
Ginneken et al. 2006, doi:10.1016/j.media.2005.02.002).

Images: ``JPCLNNNN.IMG`` (a nodule) and ``JPCNNNNN.IMG`` (none) in any folder: 2048 x 2048 values of 16 bit without a
header, big-endian, of which 12 bit are used, and inverted: film density, bone dark. They are turned to 4095 - value.
Pixels are 0.175 mm wide. Masks: ``masks/OBJECT/NAME.gif`` in any folder, 1024 x 1024, for ``left lung``, ``right lung``,
``heart``, ``left clavicle`` and ``right clavicle`` of the patient; each mask pixel stands for 2 x 2 image pixels. The
owner's two folds are the images of odd and of even number, whether or not the masks lie in ``fold1`` and ``fold2``.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import images
from segtrace.datasets import REFETCH, Case, check_options
from segtrace.datasets._pictures import read_mask_alone
from segtrace.datasets._radiographs import fit, found_anywhere
from segtrace.errors import SegtraceError, raise_all, some

SIDE = 2048
#: Greatest value of 12 bit.
WHITE = 4095
SPACING_MM = 0.175
#: What the option ``objects`` can be → the objects in the order in which they are laid over one another: where two
#: overlap (clavicles lie over lungs, the heart may touch both), the later one stays. Equal numbers are one label.
OBJECTS: dict[str, dict[str, int]] = {
    "lungs": {"right lung": 1, "left lung": 1},
    "all": {"right lung": 1, "left lung": 2, "heart": 3, "right clavicle": 4, "left clavicle": 5},
}
_GROUPS = {"JPCLN": "nodule", "JPCNN": "no nodule"}
_IMAGE = re.compile(r"(?P<id>JPC[LN]N\d{3})\.IMG", re.IGNORECASE)
_MASK = re.compile(r"(?P<id>JPC[LN]N\d{3})\.(?:gif|tif|tiff|png)", re.IGNORECASE)


def _objects(options: Mapping[str, Any]) -> dict[str, int]:
    choice = options.get("objects", "lungs")
    if choice not in OBJECTS:
        raise SegtraceError(f"option objects of jsrt is {choice!r}; it can be 'lungs' or 'all'")
    return OBJECTS[choice]


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """All images with the masks of the chosen objects, sorted by name; images or masks that lack are one error."""
    check_options(options, known=("objects",))
    problems: list[str] = []
    pictures = found_anywhere(root, "JPC*.*", _IMAGE, problems)
    masks = {
        name: found_anywhere(root, f"masks/{name}/JPC*.*", _MASK, problems) for name in _objects(options)
    }
    if not pictures:
        problems.append(f"{root}: no image JPCLNNNN.IMG or JPCNNNNN.IMG in any folder; {_there(root)}")
    for name, found in masks.items():
        if not found:
            problems.append(f"{root}: no mask masks/{name}/NAME.gif in any folder; {_there(root)}")
            continue
        problems += [
            f"{root / pictures[case]}: has no mask '{name}'"
            for case in sorted(pictures.keys() - found.keys())
        ]
        problems += [
            f"{root / found[case]}: a mask without an image"
            for case in sorted(found.keys() - pictures.keys())
        ]
        problems += [
            f"{root / path}: lies in {_fold_of(path)}; its number belongs to {_fold(case)}"
            for case, path in sorted(found.items())
            if _fold_of(path) not in ("", _fold(case))
        ]
    raise_all(problems, heading=f"{root}: not the layout of JSRT with SCR", remedy=REFETCH)
    return [
        Case(
            case=name,
            subject=name,
            images=(pictures[name],),
            labels=tuple(found[name] for found in masks.values()),
            group=_GROUPS[name[:5]],
            side=_fold(name),
        )
        for name in sorted(pictures)
    ]


def _there(root: Path) -> str:
    return f"the folder holds {some(sorted(path.name for path in root.iterdir()), 8) or 'nothing'}"


def _fold(name: str) -> str:
    """The owner's fold of an image: odd numbers are fold1, even ones fold2."""
    return "fold1" if int(name[-3:]) % 2 else "fold2"


def _fold_of(path: str) -> str:
    """The fold that a mask's folders name, if they do."""
    return next((part for part in path.split("/") if part in ("fold1", "fold2")), "")


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The radiograph, (2048, 2048) of uint16 from 0 (black) to 4095, with 0.175 mm pixels.

    Raises :class:`SegtraceError`, naming the file, for one that is cut short or too long, or holds more than 12 bit,
    which bytes in the other order do.
    """
    path = root / case.images[0]
    size, expected = path.stat().st_size, SIDE * SIDE * 2
    if size != expected:
        raise SegtraceError(
            f"{path}: has {size} bytes; {SIDE} x {SIDE} values of 16 bit have {expected}: fetch it again"
        )
    values = np.fromfile(path, dtype=">u2").reshape(SIDE, SIDE)
    if values.max() > WHITE:
        raise SegtraceError(
            f"{path}: holds values up to {values.max()}, more than 12 bit ({WHITE}): not big-endian, or another file"
        )
    image = images.picture_image((WHITE - values).astype(np.uint16))
    image.SetSpacing((SPACING_MM, SPACING_MM))
    return image


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The chosen objects on the image's grid: 1 lungs, or 1 right lung, 2 left lung, 3 heart, 4 and 5 clavicles.

    Each object is laid over those before it, and how many pixels that took is noted. Empty masks are an error.
    """
    label = np.zeros((SIDE, SIDE), np.uint8)
    notes, problems = [], []
    for (name, value), file in zip(_objects(options).items(), case.labels, strict=True):
        found, _ = read_mask_alone(root / file)
        if not found.any():
            problems.append(f"{root / file}: an empty mask")
        found, _ = fit(found, (SIDE, SIDE), where=root / file)
        covered = int(((label > 0) & (label != value) & found).sum())
        if covered:
            notes.append(f"{name} over {covered} pixels of other objects")
        label[found] = value
    raise_all(problems, heading=f"{case.case}: each object has a mask", remedy=REFETCH)
    image = images.picture_image(label)
    image.SetSpacing((SPACING_MM, SPACING_MM))
    return image, notes
