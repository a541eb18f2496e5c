"""Ultrasound Nerve Segmentation (Kaggle, 2016): the brachial plexus in ultrasound frames of 47 subjects.

Layout: ``train/S_I.tif`` and ``train/S_I_mask.tif`` for frame I of subject S, both 8-bit greys; ``train_masks.csv``
names every training frame again (with its mask as run lengths) and is compared with the files where it lies there. ``test/``
has no masks and is not read. About 60 % of the published masks are empty: the frame shows no nerve. Frames of a
subject are shuffled frames of videos: many are nearly alike, and some of these have contradicting masks.
"""

import csv
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

FOLDER, TABLE = "train", "train_masks.csv"
_FILE = re.compile(r"(?P<subject>[1-9]\d*)_(?P<frame>[1-9]\d*)(?P<mask>_mask)?\.tif")


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """All training frames with their masks, ids such as ``s01_f012``, sorted; the subject is ``s01``.

    Files of foreign names, images or masks without partner, and frames that ``train_masks.csv`` names and that
    are not there (or the reverse) are one error.
    """
    check_options(options, known=())
    if not (root / FOLDER).is_dir():
        raise SegtraceError(f"{root / FOLDER}: no such folder; {REFETCH}")
    pictures: dict[tuple[int, int], str] = {}
    masks: dict[tuple[int, int], str] = {}
    problems = []
    for path in sorted((root / FOLDER).iterdir()):
        match = _FILE.fullmatch(path.name)
        if match:
            key = (int(match["subject"]), int(match["frame"]))
            (masks if match["mask"] else pictures)[key] = f"{FOLDER}/{path.name}"
        elif not path.name.startswith("."):
            problems.append(f"{path}: neither an image 'S_I.tif' nor a mask 'S_I_mask.tif'")
    problems += [f"{root / pictures[k]}: has no mask" for k in sorted(pictures.keys() - masks.keys())]
    problems += [
        f"{root / masks[k]}: a mask without an image" for k in sorted(masks.keys() - pictures.keys())
    ]
    if (root / TABLE).is_file():
        listed, there = _listed(root / TABLE), pictures.keys() | masks.keys()
        problems += [
            f"{root / FOLDER / f'{s}_{i}.tif'}: missing, {TABLE} names it" for s, i in sorted(listed - there)
        ]
        problems += [
            f"{root / FOLDER / f'{s}_{i}.tif'}: is not in {TABLE}" for s, i in sorted(there - listed)
        ]
    raise_all(problems, heading=f"{root}: not the layout of the nerve data", remedy=REFETCH)
    return [
        Case(f"s{s:02d}_f{i:03d}", f"s{s:02d}", (pictures[s, i],), (masks[s, i],))
        for s, i in sorted(pictures)
    ]


def _listed(path: Path) -> set[tuple[int, int]]:
    """(subject, frame) of every row of ``train_masks.csv``, whose columns are subject, img and pixels."""
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            return {(int(row["subject"]), int(row["img"])) for row in csv.DictReader(handle)}
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise SegtraceError(
            f"{path}: not a table with whole numbers in the columns 'subject' and 'img' "
            f"({type(error).__name__}: {error}); {REFETCH}"
        ) from None


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The frame in grey."""
    return images.picture_image(read_grey(root / case.images[0]))


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """1 nerve; often empty. A mask that is not black and white, or not of the frame's size, is an error."""
    mask, notes = read_mask(root / case.labels[0], image=root / case.images[0])
    return images.picture_image(mask.astype(np.uint8)), notes
