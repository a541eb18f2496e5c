"""What the readers of chest radiographs share: the files of a folder or of any folder, and masks on an image's grid."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from segtrace.datasets._files import is_left_behind
from segtrace.errors import SegtraceError, some


def listing(root: Path, folder: str, name: re.Pattern[str], problems: list[str]) -> dict[str, str]:
    """Group ``id`` of ``name`` → path relative to ``root``, for every file directly in ``folder``.

    A folder that is missing (with what is there instead), names that do not match, and ids that occur twice go
    to ``problems``.
    """
    place = root / folder
    if not place.is_dir():
        near = place.parent
        while not near.is_dir():
            near = near.parent
        there = sorted(path.name for path in near.iterdir() if not is_left_behind(path.name))
        problems.append(f"{place}: no such folder; {near} holds {some(there, 8) or 'nothing'}")
        return {}
    found: dict[str, str] = {}
    for path in sorted(place.iterdir()):
        if is_left_behind(path.name):
            continue
        match = name.fullmatch(path.name)
        if match is None or not path.is_file():
            problems.append(f"{path}: unexpected name; expected {name.pattern}")
        elif match["id"] in found:
            problems.append(f"{path}: a second file of {match['id']}, beside {found[match['id']]}")
        else:
            found[match["id"]] = f"{folder}/{path.name}"
    return found


def found_anywhere(root: Path, pattern: str, name: re.Pattern[str], problems: list[str]) -> dict[str, str]:
    """Group ``id`` of ``name`` → path relative to ``root``, for the files of the glob ``pattern`` in any folder.

    Owners' archives are repacked under other folders. An id that two files have goes to ``problems``.
    """
    found: dict[str, str] = {}
    for path in sorted(root.rglob(pattern)):
        match = name.fullmatch(path.name)
        if match is None or is_left_behind(path.name) or not path.is_file():
            continue
        if match["id"] in found:
            problems.append(f"{path}: a second file of {match['id']}, beside {root / found[match['id']]}")
        found[match["id"]] = path.relative_to(root).as_posix()
    return found


def unpaired(root: Path, pictures: Mapping[str, str], masks: Mapping[str, str], what: str) -> list[str]:
    """Problems: each image without a file in ``masks`` (``what`` names them), and each mask without an image."""
    return [f"{root / pictures[key]}: has no {what}" for key in sorted(pictures.keys() - masks.keys())] + [
        f"{root / masks[key]}: a {what} without an image" for key in sorted(masks.keys() - pictures.keys())
    ]


def fit(found: np.ndarray, size: tuple[int, int], *, where: Path) -> tuple[np.ndarray, list[str]]:
    """A mask (H, W) on the grid of an image of ``size`` (columns, rows), and notes.

    A mask that is a whole number of times smaller has each pixel repeated, so that nothing is interpolated; any
    other size is an error that names ``where``.
    """
    rows, columns = found.shape
    if (columns, rows) == size:
        return found, []
    sizes = f"has {columns}x{rows} and its image {size[0]}x{size[1]}"
    factor = size[0] // columns
    if factor < 2 or (columns * factor, rows * factor) != size:
        raise SegtraceError(
            f"{where}: {sizes}; a mask has its image's size, or is a whole number of times smaller: "
            "fetch it again, or exclude the case"
        )
    return found.repeat(factor, axis=0).repeat(factor, axis=1), [
        f"{where.name}: {sizes}; each pixel stands for {factor}x{factor}"
    ]
