"""What the readers of chest radiographs share: listing folders, grey images, and masks made binary by one rule."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from segtrace import images
from segtrace.errors import SegtraceError

#: Weights of red, green and blue in a grey value (ITU-R BT.601), for images whose channels differ.
_GREY = np.array([0.299, 0.587, 0.114])
#: Files that Windows and macOS leave in folders of pictures.
_BOOKKEEPING = ("thumbs.db", "desktop.ini")
#: Least value of 255 that belongs to a mask that holds grey values: those nearer to white than to black.
THRESHOLD = 128
#: Names listed one by one in a message; the rest is counted.
_SHOWN = 8


def some(names: list[str]) -> str:
    """The first names of a list and the number of the others, for messages."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def is_bookkeeping(name: str) -> bool:
    """Whether a file is an operating system's own: hidden, AppleDouble, Thumbs.db, desktop.ini."""
    return name.startswith(".") or name.lower() in _BOOKKEEPING


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
        there = sorted(path.name for path in near.iterdir() if not is_bookkeeping(path.name))
        problems.append(f"{place}: no such folder; {near} holds {some(there) or 'nothing'}")
        return {}
    found: dict[str, str] = {}
    for path in sorted(place.iterdir()):
        if is_bookkeeping(path.name):
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
        if match is None or is_bookkeeping(path.name) or not path.is_file():
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


def grey(path: Path) -> np.ndarray:
    """A radiograph in grey, (H, W) of float32: equal colours as they are, unequal ones weighted, alpha ignored."""
    return _one_channel(images.read_picture(path))


def _one_channel(pixels: np.ndarray) -> np.ndarray:
    values = pixels.astype(np.float32)
    if values.ndim == 3:
        colours = values[..., :3] if values.shape[2] >= 3 else values[..., :1]
        same = (colours == colours[..., :1]).all()
        values = colours[..., 0] if same else (colours @ _GREY).astype(np.float32)
    return values


def grey_image(path: Path) -> sitk.Image:
    """:func:`grey` as an image of spacing 1."""
    return images.picture_image(grey(path))


def mask(path: Path, *, grey_masks: str = "error") -> tuple[np.ndarray, list[str]]:
    """A mask as (H, W) of False and True, and notes.

    Stored with 1 bit, as greys, a palette, RGB or RGBA (alpha is ignored). Values other than black and white
    (0 with 1 or 255) are an error; with ``grey_masks`` ``threshold``, those of at least 128 of 255 belong to the
    mask, which is noted. Colours are an error. Raises :class:`SegtraceError`, naming the file.
    """
    if grey_masks not in ("error", "threshold"):
        raise SegtraceError(f"option grey_masks is {grey_masks!r}; it can be 'error' or 'threshold'")
    pixels = images.read_picture(path)
    if pixels.ndim == 3:
        colours = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
        if (colours != colours[..., :1]).any():
            raise SegtraceError(f"{path}: a mask with colours; its red, green and blue must be equal")
        pixels = colours[..., 0]
    values = np.unique(pixels)
    if set(values.tolist()) <= {0, 1} or set(values.tolist()) <= {0, 255}:
        return pixels > 0, []
    found = f"{len(values)} grey values from {int(values[0])} to {int(values[-1])}"
    if grey_masks == "error" or pixels.dtype != np.uint8:
        raise SegtraceError(
            f"{path}: a mask with {found}; expected black and white, in 8 bit "
            "(the option grey_masks: threshold takes grey values of at least 128)"
        )
    return pixels >= THRESHOLD, [f"{path.name}: {found}; those of at least {THRESHOLD} belong to the mask"]


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
