"""NIH ChestX-ray14: chest radiographs (Wang et al. 2017, doi:10.1109/CVPR.2017.369) with lung masks of third parties.

Layout: ``images/PPPPPPPP_NNN.png`` (1024 x 1024, greys or RGBA; P is the patient), and ``train_val_list.txt`` and
``test_list.txt``, which give the sides. The owner publishes no masks; the option ``masks`` says whose are read:

* ``xlsor``: 100 drawn by hand (Tang et al. 2019, arXiv:1904.09229), ``NIH_NNNN_mask.png`` in any folder, and a table
  ``correspondence_with_chestXray8.csv`` with the columns ``NIH`` and ``ChestX-ray14`` that gives their images,
* ``folder``: all pictures in the folder that the option ``folder`` names, called as their images (``_mask`` may follow).

Images of which no mask is there are left out, and so are masks of which no image is there: of the twelve archives, those
that hold the masked images are enough. With ``images: xlsor`` the copies ``NIH_NNNN.png`` beside the masks of XLSor
are read, and none of the archives is needed. ``Data_Entry_2017.csv`` holds age and sex: it is not read.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import images
from segtrace.datasets import REFETCH, Case, check_options
from segtrace.datasets._pictures import read_grey, read_mask_alone
from segtrace.datasets._radiographs import fit, found_anywhere, listing
from segtrace.errors import SegtraceError, raise_all

IMAGES = "images"
LISTS = {"train_val": "train_val_list.txt", "test": "test_list.txt"}
TABLE = "correspondence_with_chestXray8.csv"
NO_MASK, NO_IMAGE, NO_NAME = "no mask of it is there", "its image is not there", f"not in {TABLE}"
_CHOICES = {
    "masks": ("xlsor", "folder"),
    "images": ("archives", "xlsor"),
    "grey_masks": ("error", "threshold"),
}
_IMAGE = re.compile(r"(?P<id>\d{8}_\d{3})\.png")
_MASK = re.compile(r"(?P<id>\d{8}_\d{3})(?:_mask)?\.(?:png|gif|tif|bmp)")
_XLSOR_IMAGE = re.compile(r"(?P<id>NIH_\d{4})\.png")
_XLSOR_MASK = re.compile(r"(?P<id>NIH_\d{4})_mask\.png")


@dataclass(frozen=True)
class _Found:
    """Images and masks by the image's name, its side where there are lists, and id → reason for what is left out."""

    pictures: dict[str, str]
    masks: dict[str, str]
    sides: dict[str, str]
    left_out: dict[str, str]


def _check(options: Mapping[str, Any]) -> None:
    check_options(options, known=("folder", *_CHOICES))
    problems = [
        f"{key} is {options.get(key)!r}; it can be {' or '.join(map(repr, known))}"
        for key, known in _CHOICES.items()
        if options.get(key, None if key == "masks" else known[0]) not in known
    ]
    if options.get("masks") == "folder" and not isinstance(options.get("folder"), str):
        problems.append(f"folder is {options.get('folder')!r}; with masks: folder it names the folder")
    if options.get("masks") == "folder" and options.get("images") == "xlsor":
        problems.append("images: xlsor needs masks: xlsor")
    raise_all(problems, heading="options of nih_chestxray14", remedy="Mend 'options' in its YAML file.")


def _find(root: Path, options: Mapping[str, Any]) -> _Found:
    """Everything there; every fault in one error."""
    _check(options)
    problems: list[str] = []
    left_out: dict[str, str] = {}
    if options["masks"] == "xlsor":
        pictures, masks = _xlsor(root, options, left_out, problems)
    else:
        pictures = listing(root, IMAGES, _IMAGE, problems)
        masks = listing(root, options["folder"], _MASK, problems)
    if not problems and not pictures.keys() & masks.keys():
        problems.append(f"{root}: of {len(pictures)} images and {len(masks)} masks, no two belong together")
    sides = _sides(root, sorted(pictures.keys() & masks.keys()), problems)
    raise_all(problems, heading=f"{root}: not the layout of NIH ChestX-ray14 with masks", remedy=REFETCH)
    left_out |= dict.fromkeys(pictures.keys() - masks.keys(), NO_MASK)
    left_out |= dict.fromkeys(masks.keys() - pictures.keys(), NO_IMAGE)
    return _Found(pictures, masks, sides, left_out)


def _xlsor(
    root: Path, options: Mapping[str, Any], left_out: dict[str, str], problems: list[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Images and masks of XLSor under the names that ChestX-ray14 gives the images."""
    names = _table(root, problems)
    masks = found_anywhere(root, "NIH_*_mask.png", _XLSOR_MASK, problems)
    if not masks:
        problems.append(f"{root}: no mask NIH_NNNN_mask.png in any folder")
    left_out |= dict.fromkeys(masks.keys() - names.keys(), NO_NAME)
    renamed = {names[key]: path for key, path in masks.items() if key in names}
    if options.get("images", "archives") == "archives":
        return listing(root, IMAGES, _IMAGE, problems), renamed
    copies = found_anywhere(root, "NIH_*.png", _XLSOR_IMAGE, problems)
    if not copies:
        problems.append(f"{root}: no image NIH_NNNN.png in any folder")
    left_out |= dict.fromkeys(copies.keys() - masks.keys() - names.keys(), NO_NAME)
    return {names[key]: path for key, path in copies.items() if key in names}, renamed


def _table(root: Path, problems: list[str]) -> dict[str, str]:
    """Name at XLSor → name of the image in ChestX-ray14."""
    path = next(iter(sorted(root.rglob(TABLE))), None)
    if path is None:
        problems.append(f"{root}: no table {TABLE} in any folder: which images XLSor's masks are of")
        return {}
    with path.open(encoding="utf-8-sig", newline="") as handle:
        rows = list(csv.DictReader(handle))
    names: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        key, image = row.get("NIH") or "", _IMAGE.fullmatch(row.get("ChestX-ray14") or "")
        if not re.fullmatch(r"NIH_\d{4}", key) or image is None:
            problems.append(
                f"{path}, line {number}: NIH is {key!r} and ChestX-ray14 {row.get('ChestX-ray14')!r}; "
                "expected NIH_NNNN and PPPPPPPP_NNN.png"
            )
        elif key in names or image["id"] in names.values():
            problems.append(f"{path}, line {number}: {key} or {image[0]} stands there twice")
        else:
            names[key] = image["id"]
    return names


def _sides(root: Path, wanted: list[str], problems: list[str]) -> dict[str, str]:
    """Image → the owner's side, ``train_val`` or ``test``; nothing where neither list is there."""
    there = {side: root / name for side, name in LISTS.items() if (root / name).is_file()}
    if not there:
        return {}
    problems += [f"{root / LISTS[side]}: missing" for side in LISTS.keys() - there.keys()]
    listed = {side: set(path.read_text(encoding="utf-8").split()) for side, path in there.items()}
    sides = {}
    for name in wanted:
        on = [side for side, names in listed.items() if f"{name}.png" in names]
        if len(on) != 1 and len(there) == len(LISTS):
            problems.append(
                f"{name}.png: in {len(on)} of the lists {', '.join(LISTS.values())}; expected one"
            )
        sides[name] = on[0] if on else ""
    return sides


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """The images that have a mask, sorted by name; the patient is the number before the underscore."""
    found = _find(root, options)
    return [
        Case(
            case=name,
            subject=name.split("_")[0],
            images=(found.pictures[name],),
            labels=(found.masks[name],),
            side=found.sides.get(name, ""),
        )
        for name in sorted(found.pictures.keys() & found.masks.keys())
    ]


def left_out(root: Path, options: Mapping[str, Any]) -> dict[str, str]:
    """Images without a mask, and masks without an image or a name, with the reason."""
    return _find(root, options).left_out


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The radiograph in grey."""
    return images.picture_image(read_grey(root / case.images[0]))


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """Both lungs as 1. Greys are cut at half of white or an error (option ``grey_masks``).

    A mask that is a whole number of times smaller than its image is laid on its grid (:func:`._radiographs.fit`);
    any other size is an error, and so is an empty mask.
    """
    path = root / case.labels[0]
    lungs, notes = read_mask_alone(path, greys=options.get("grey_masks", "error"))
    if not lungs.any():
        raise SegtraceError(f"{path}: an empty mask; exclude the case")
    lungs, fitted = fit(lungs, images.picture_size(root / case.images[0]), where=path)
    return images.picture_image(lungs.astype(np.uint8)), notes + fitted
