"""BUSI: 780 breast ultrasound images in three classes (Al-Dhabyani et al., doi:10.1016/j.dib.2019.104863).

Layout: ``Dataset_BUSI_with_GT/{benign,malignant,normal}/CLASS (N).png`` and ``CLASS (N)_mask.png``; some images
have further masks ``_mask_1.png``, ``_mask_2.png`` of further lesions, which are united. Masks are stored
with 1 bit, as greys, RGB or RGBA (alpha opaque everywhere). Normal images have empty masks. No patient
identifiers are published: each image is its own subject here, and the audit of duplicates is a matter of pixels.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import images
from segtrace.datasets import REFETCH, Case, check_options
from segtrace.datasets._pictures import read_grey, read_mask, read_mask_alone
from segtrace.errors import SegtraceError, raise_all

FOLDER = "Dataset_BUSI_with_GT"
CLASSES = ("benign", "malignant", "normal")
_IMAGE = re.compile(r"(?P<group>\w+) \((?P<number>\d+)\)\.png")
_MASK = re.compile(r"(?P<group>\w+) \((?P<number>\d+)\)_mask(?:_(?P<more>\d+))?\.png")


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """All images with their masks, ids such as ``benign_0004``; images or masks without partner are one error."""
    check_options(options, known=("unequal_second_mask",))
    pictures: dict[tuple[str, int], str] = {}
    masks: dict[tuple[str, int], list[tuple[int, str]]] = {}
    problems = []
    for group in CLASSES:
        folder = root / FOLDER / group
        if not folder.is_dir():
            problems.append(f"{folder}: no such folder")
            continue
        for path in sorted(folder.iterdir()):
            name = path.name
            if name.startswith("."):
                continue
            picture, mask = _IMAGE.fullmatch(name), _MASK.fullmatch(name)
            match = picture or mask
            if match is None or match["group"] != group:
                problems.append(
                    f"{path}: neither an image '{group} (N).png' nor a mask '{group} (N)_mask.png'"
                )
                continue
            key = (group, int(match["number"]))
            if picture:
                pictures[key] = f"{FOLDER}/{group}/{name}"
            else:
                masks.setdefault(key, []).append((int(match["more"] or 0), f"{FOLDER}/{group}/{name}"))
    for group, number in sorted(pictures.keys() - masks.keys()):
        problems.append(f"{root / pictures[group, number]}: has no mask")
    for group, number in sorted(masks.keys() - pictures.keys()):
        problems.append(f"{root / masks[group, number][0][1]}: a mask without an image")
    raise_all(problems, heading=f"{root}: not the layout of BUSI", remedy=REFETCH)
    return [
        Case(
            case=f"{group}_{number:04d}",
            subject=f"{group}_{number:04d}",
            images=(pictures[group, number],),
            labels=tuple(path for _, path in sorted(masks[group, number])),
            group=group,
        )
        for group, number in sorted(pictures)
    ]


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The image in grey; alpha is ignored, unequal colours are weighted."""
    return images.picture_image(read_grey(root / case.images[0]))


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The union of all masks of the image: 1 lesion.

    A further mask of another size than the first is resized (nearest neighbour) and noted if the option
    ``unequal_second_mask`` is ``resize``, and an error otherwise.
    """
    choice = options.get("unequal_second_mask", "error")
    if choice not in ("resize", "error"):
        raise SegtraceError(
            f"option unequal_second_mask of busi is {choice!r}; it can be 'resize' or 'error'"
        )
    union, notes = read_mask(root / case.labels[0], image=root / case.images[0])
    for file in case.labels[1:]:
        further, _ = read_mask_alone(root / file)
        if further.shape != union.shape:
            sizes = (
                f"{further.shape[1]}x{further.shape[0]} and the first mask {union.shape[1]}x{union.shape[0]}"
            )
            if choice == "error":
                raise SegtraceError(
                    f"{root / file}: has {sizes}; set options.unequal_second_mask: resize in config/datasets/busi.yaml, "
                    "or exclude the case there"
                )
            notes.append(f"{Path(file).name}: has {sizes}; resized by nearest neighbour")
            rows = (np.arange(union.shape[0]) + 0.5) * further.shape[0] / union.shape[0]
            columns = (np.arange(union.shape[1]) + 0.5) * further.shape[1] / union.shape[1]
            further = further[rows.astype(int)][:, columns.astype(int)]
        union = union | further
    if union.any() == (case.group == "normal"):
        found = (
            "a normal image with a lesion in its mask"
            if union.any()
            else f"a {case.group} image with an empty mask"
        )
        raise SegtraceError(f"{root / case.labels[0]}: {found}; fetch it again, or exclude the case")
    return images.picture_image(union.astype(np.uint8)), notes
