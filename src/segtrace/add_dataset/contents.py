"""What images and masks hold: the label values that are stored, and whether pictures are grey or in colours."""

import os
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from segtrace import images, parallel
from segtrace.datasets import _files
from segtrace.errors import SegtraceError

#: So many values are labels; more are shades of grey or a measured quantity.
MOST_IN_PICTURES, MOST_IN_VOLUMES = 32, 255
#: Greys this near to black or white are those of a mask with smooth edges or of a JPEG file.
NEAR = 24
#: So few greys between black and white are labels, not smoothed edges.
FEW = 8
#: Pictures that are looked at to see whether colours are real.
SAMPLE = 12
#: A value that so small a part of the masks hold, while another is in most, may be a slip: it is named with its masks.
RARE = 0.1
#: Masks that are named of those with a rare value.
NAMED = 20
#: From this number of files on, all cores read.
MANY = 64


@dataclass(frozen=True)
class Stored:
    """What the masks hold: value → pixels, and value → masks. A colour is red · 65536 + green · 256 + blue."""

    pixels: Counter[int] = field(default_factory=Counter)
    masks: dict[int, list[Path]] = field(default_factory=dict)
    count: int = 0
    """How many masks could be read."""
    coloured: bool = False
    pictures: bool = True


@dataclass(frozen=True)
class Scheme:
    """The labels that stored values mean: value → name, the reader's options for it, and what there is to say."""

    labels: dict[int, str]
    options: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def stored(paths: Sequence[Path]) -> Stored:
    """Read all masks. Those that cannot be read are left to the index, which names them all."""
    counts = _each(partial(_values, coloured=False), paths, label="read masks")
    coloured = any(found is None for found in counts)
    if coloured:
        counts = _each(partial(_values, coloured=True), paths, label="read masks in colours")
    result = Stored(coloured=coloured, pictures=any(_is_picture(path) for path in paths))
    for path, found in zip(paths, counts, strict=True):
        result.pixels.update(found or {})
        for value in found or {}:
            result.masks.setdefault(value, []).append(path)
    return replace(result, count=sum(bool(found) for found in counts))


def _each(function: Any, paths: Sequence[Path], *, label: str) -> list[Any]:
    workers = len(os.sched_getaffinity(0)) if len(paths) >= MANY else 1
    return parallel.map_cases(function, paths, label=label, workers=workers)


def _is_picture(path: Path) -> bool:
    return _files.split_ending(path.name)[1] in _files.PICTURES


def _values(path: Path, *, coloured: bool) -> dict[int, int] | None:
    """Value → pixels of one mask; nothing for one that cannot be read, None for one in colours."""
    try:
        array = _files.mask_values(path, coloured=coloured)[0]
    except SegtraceError as error:
        return None if "a mask in colours" in str(error) else {}
    values, counts = np.unique(array, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}


def rare(found: Stored, root: Path, *, known: Container[int] = ()) -> list[str]:
    """Values that few masks hold and no table of labels names (``known``), one line each with these masks."""
    if not any(2 * len(paths) > found.count for value, paths in found.masks.items() if value != 0):
        return []
    lines = []
    for value, paths in sorted(found.masks.items()):
        if value == 0 or value in known or len(paths) > max(1, RARE * found.count):
            continue
        shown = [path.relative_to(root).as_posix() for path in paths[:NAMED]]
        more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
        what = f"colour #{value:06x}" if found.coloured else f"value {value}"
        lines.append(
            f"{what} is in {len(paths)} of {found.count} masks only: {', '.join(shown)}{more}; mend them if it is a slip"
        )
    return lines


def scheme(found: Stored, *, names: Mapping[int, str] | None = None) -> Scheme:
    """What the values mean. ``names`` are those of stored values, where the layout gives them.

    Raises :class:`SegtraceError` where there are so many values that they cannot be labels.
    """
    given = dict(names or {})
    values = sorted(
        {value for value in found.pixels if value != 0} | {value for value in given if value != 0}
    )
    problems = []
    if not values:
        return Scheme({1: "foreground"}, problems=["every mask that can be read is empty (0 throughout)"])
    if 0 not in found.pixels:
        problems.append(
            f"no mask holds 0, the background: if one of {_listed(values)} means background, "
            "give it label 0 under options.values and take it out of the labels"
        )
    if found.coloured:
        if len(values) > MOST_IN_PICTURES:
            raise SegtraceError(
                f"the masks hold {len(values)} colours, more than the {MOST_IN_PICTURES} that labels may have: "
                "save masks without smoothed edges and not as JPEG, one colour a label"
            )
        codes = [f"{value:06x}" for value in values]
        labels = {
            number: given.get(value, f"colour_{code}")
            for number, (value, code) in enumerate(zip(values, codes, strict=True), 1)
        }
        return Scheme(labels, {"values": {f"#{code}": n for n, code in enumerate(codes, 1)}}, problems)
    if found.pictures and not given:
        smooth = _smooth(found)
        if smooth:
            return Scheme({1: "foreground"}, {"threshold": 128}, [*problems, smooth])
    most = MOST_IN_PICTURES if found.pictures else MOST_IN_VOLUMES
    if len(values) > most or min(values) < 0:
        raise SegtraceError(
            f"the masks hold {len(values)} values besides 0, from {min(values)} to {max(values)}; 1 to {most} positive "
            "ones can be labels. Are these the images? Else save masks with one whole number a label"
        )
    if len(values) == 1:
        labels = {1: given.get(values[0], "foreground")}
    else:
        labels = {number: given.get(value, f"label_{value}") for number, value in enumerate(values, 1)}
    same = values == list(labels)
    return Scheme(labels, {} if same else {"values": {v: n for n, v in enumerate(values, 1)}}, problems)


def _smooth(found: Stored) -> str:
    """What to say of masks of black and white whose edges are smoothed; empty if they are none."""
    between = [value for value in found.pixels if 0 < value < 255]
    if not between or max(found.pixels) < 255 - NEAR:
        return ""
    total = sum(found.pixels.values())
    middle = sum(count for value, count in found.pixels.items() if NEAR < value < 255 - NEAR)
    few = len(between) < FEW and any(NEAR < value < 255 - NEAR for value in between)
    if few or middle > 0.05 * total:
        return ""
    return (
        f"the masks hold {len(found.pixels)} greys, {middle / total:.1%} of the pixels neither black nor white (smoothed "
        "edges, or JPEG): greys from 128 on are taken as foreground (options.threshold)"
    )


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:6])) + (" ..." if len(values) > 6 else "")


def looks_like_masks(paths: Sequence[Path]) -> bool:
    """Whether files hold few whole numbers, as masks do; a few of them are read."""
    readable = 0
    for path in _spread(paths, 5):
        try:
            found = _files.mask_values(path, coloured=True)[0]
        except SegtraceError:
            continue
        readable += 1
        if len(np.unique(found)) > (MOST_IN_PICTURES if _is_picture(path) else MOST_IN_VOLUMES) + 1:
            return False
    return readable > 0


def channels(paths: Sequence[Path]) -> tuple[list[str], dict[str, Any]]:
    """Names of the channels of the first images of all cases, and the reader's options for them."""
    if not _is_picture(paths[0]):
        for path in paths:
            try:
                count = images.read_volume(path).GetNumberOfComponentsPerPixel()
            except SegtraceError:
                continue
            return ["image"] if count == 1 else [f"channel_{n}" for n in range(1, count + 1)], {}
        return ["image"], {}
    modes = {path: _mode(path) for path in paths}
    coloured = [
        path
        for path, mode in modes.items()
        if mode not in ("", "1", "L", "LA", "I", "I;16", "I;16B", "I;16L")
    ]
    mixed = len(coloured) < sum(mode != "" for mode in modes.values())
    if not coloured:
        return ["grey"], {}
    if any(_has_colours(path) for path in _spread(coloured, SAMPLE)):
        return ["red", "green", "blue"], {"colours": "rgb"} if mixed or "P" in modes.values() else {}
    return ["grey"], {"colours": "grey"}


def _mode(path: Path) -> str:
    try:
        with Picture.open(path) as picture:
            return picture.mode
    except (OSError, SyntaxError, ValueError, Picture.DecompressionBombError):
        return ""


def _has_colours(path: Path) -> bool:
    try:
        pixels = _files.colours_of(images.read_picture(path))
    except SegtraceError:
        return False
    return pixels.ndim == 3 and bool((pixels != pixels[..., :1]).any())


def _spread(paths: Sequence[Path], count: int) -> list[Path]:
    """At most ``count`` of ``paths``, evenly spread."""
    return [paths[i * len(paths) // count] for i in range(count)] if len(paths) > count else list(paths)
