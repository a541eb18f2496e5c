"""What the readers of a user's own files share: which files are images, how images and masks are read, subjects."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import images
from segtrace.datasets import Case, _names
from segtrace.datasets._pictures import colours_of, grey_of
from segtrace.errors import SegtraceError, raise_all

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")
VOLUMES = (".nii.gz", ".nii", ".mha", ".nrrd")
#: Options that every reader of a user's own files knows.
OPTIONS = ("subject", "values", "threshold", "colours", "keep_names")
#: Files that operating systems leave behind.
JUNK = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db"})


def split_ending(name: str) -> tuple[str, str]:
    """A file's name as stem and ending; the ending is empty where it is none of an image."""
    lower = name.lower()
    for ending in (*VOLUMES, *PICTURES):
        if lower.endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)], ending
    return name, ""


def is_left_behind(name: str) -> bool:
    """Whether a file or folder is hidden, or an operating system's own."""
    return name.startswith((".", "__MACOSX")) or name.lower() in JUNK


def listing(folder: Path) -> Iterator[str]:
    """Paths of all images below ``folder``, with ``/``, sorted; hidden ones are left out."""
    found = []
    for path in folder.rglob("*") if folder.is_dir() else ():
        relative = path.relative_to(folder)
        ours = not any(is_left_behind(part) for part in relative.parts)
        if ours and split_ending(path.name)[1] and path.is_file():
            found.append(relative.as_posix())
    return iter(sorted(found))


# --- cases ----------------------------------------------------------------------------------------------


def subject_of(case: str, pattern: str | None) -> str:
    """The subject of a case: what ``pattern`` matches at the start of its id (its first group, if it has one), or
    the case itself. Empty where it does not match.
    """
    if pattern is None:
        return case
    match = re.match(pattern, case)
    return "" if match is None else (match[1] if match.re.groups else match[0]) or ""


def with_subjects(
    cases: Sequence[Case], options: Mapping[str, Any], *, root: Path, told: Sequence[str] | None = None
) -> list[Case]:
    """``cases``, sorted, with the subjects that the option ``subject`` gives them; checks what all readers check.

    ``told`` is what of the ids may say who it is: all of them by default.

    Raises :class:`SegtraceError` for none at all, for ids that two cases share or that may hold a person's name,
    and for a pattern that is damaged or does not match.
    """
    pattern = options.get("subject")
    try:
        found = [(case, subject_of(case.case, pattern)) for case in cases]
    except (re.error, TypeError) as error:
        raise SegtraceError(f"option subject is {pattern!r}, not a regular expression ({error})") from None
    problems = [
        f"the option subject, {pattern!r}, does not match {case.case}"
        for case, subject in found
        if not subject
    ]
    by_id: dict[str, list[str]] = {}
    for case in cases:
        by_id.setdefault(case.case, []).append(case.images[0])
    problems += [
        f"{', '.join(files)}: all would be case {name}" for name, files in by_id.items() if len(files) > 1
    ]
    problems += [f"{files[0]}: no letter or digit in its name" for name, files in by_id.items() if not name]
    if not cases:
        problems.append("no image with a mask")
    reason = (
        ""
        if options.get("keep_names")
        else _names.identifying([case.case for case in cases] if told is None else told)
    )
    if reason and not problems:
        problems.append(
            f"{reason}: a person's name or date of birth must not enter a table. Rename the files (add-dataset does), "
            "or set options.keep_names: true if they hold none"
        )
    raise_all(problems, heading=f"{root}: the cases cannot be listed", remedy=REMEDY)
    listed = [replace(case, subject=_names.plain(subject)) for case, subject in found]
    return sorted(listed, key=lambda case: case.case)


#: What to do about a tree of the user's own that its reader cannot list.
REMEDY = "Mend the files or the options in the data set's YAML file, or take the files in anew: segtrace add-dataset DIR."


# --- pixels ---------------------------------------------------------------------------------------------


def read_image(paths: Iterable[Path], options: Mapping[str, Any]) -> sitk.Image:
    """A picture (grey, or red, green, blue) or a volume; several files become channels.

    The option ``colours`` makes all pictures ``grey`` or ``rgb``; without it they are as they are stored. Alpha is
    ignored. Raises :class:`SegtraceError` for files that cannot be read or that lie on different grids.
    """
    read = [_image(path, options) for path in paths]
    if len(read) == 1:
        return read[0][1]
    first, grid = read[0][0], images.grid_of(read[0][1])
    raise_all(
        [
            f"{path}: {difference} (as against {first})"
            for path, image in read[1:]
            for difference in grid.differences(images.grid_of(image))
        ],
        heading="the channels of one image lie on different grids",
    )
    arrays = [array for _, image in read for array in images.to_array(image)]
    stacked = np.stack(arrays)
    # pictures keep their type, so that what is exported can be pictures again
    stored = stacked.dtype in (np.uint8, np.uint16)
    return images.from_array(stacked if stored else stacked.astype(np.float32), grid)


def _image(path: Path, options: Mapping[str, Any]) -> tuple[Path, sitk.Image]:
    if split_ending(path.name)[1] in VOLUMES:
        return path, images.read_volume(path)
    pixels, wanted = colours_of(images.read_picture(path)), options.get("colours")
    if wanted not in (None, "grey", "rgb"):
        raise SegtraceError(f"option colours is {wanted!r}; it can be 'grey' or 'rgb'")
    if wanted == "grey" and pixels.ndim == 3:
        pixels = grey_of(pixels)
    if wanted == "rgb" and pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=-1)
    return path, images.picture_image(pixels)


def mask_values(path: Path, *, coloured: bool = False) -> tuple[np.ndarray, images.Grid]:
    """The values of a mask as they are stored, int64 (H, W) or (D, H, W), and its grid.

    A picture whose red, green and blue are equal is a grey one. Colours are an error unless ``coloured``: then a
    value is red · 65536 + green · 256 + blue, for greys too.
    """
    if split_ending(path.name)[1] in VOLUMES:
        volume = images.read_volume(path)
        return images.label_array(volume, where=str(path)), images.grid_of(volume)
    pixels = colours_of(images.read_picture(path)).astype(np.int64)
    if pixels.ndim == 3 and not coloured:
        if (pixels != pixels[..., :1]).any():
            raise SegtraceError(
                f"{path}: a mask in colours; name them under options.values, such as '#ff0000': 1, or save it in grey"
            )
        pixels = pixels[..., 0]
    elif coloured:
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=-1)
        pixels = pixels @ np.array([65536, 256, 1])
    return pixels, images.grid_of(images.picture_image(pixels))


def read_label(paths: Sequence[Path], options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The label map of one or several masks, uint8 or uint16; several are united.

    Option ``values`` gives each stored value its label (0 stays 0; a colour is written ``'#ff0000'``); ``threshold``
    makes label 1 of all greys from it on. Without either, values are labels as they are stored. Raises
    :class:`SegtraceError` for values that ``values`` does not name, and for masks that differ in size or overlap.
    """
    values, threshold = options.get("values"), options.get("threshold")
    mapping, coloured = _mapping(values, threshold)
    united: np.ndarray | None = None
    for path in paths:
        stored, its_grid = mask_values(path, coloured=coloured)
        if threshold is not None:
            label = (stored >= threshold).astype(np.int64)
        else:
            label = _mapped(stored, mapping, path) if mapping is not None else stored
        if united is None:
            united, grid = label, its_grid
            continue
        if grid.differences(its_grid):
            raise SegtraceError(f"{path}: {'; '.join(grid.differences(its_grid))} (as against {paths[0]})")
        if ((united != label) & (united > 0) & (label > 0)).any():
            raise SegtraceError(f"{path}: gives other labels to voxels that {paths[0]} labels already")
        united = np.maximum(united, label)
    if united is None:
        raise SegtraceError("a case without a mask")
    notes = [f"{len(paths)} masks are united"] if len(paths) > 1 else []
    least, most = int(united.min()), int(united.max())
    if least < 0 or most > 0xFFFF:
        raise SegtraceError(f"{paths[0]}: labels from {least} to {most}; 0 to 65535 can be")
    return images.from_array(united.astype(np.uint8 if most < 256 else np.uint16), grid), notes


def _mapping(values: Any, threshold: Any) -> tuple[dict[int, int] | None, bool]:
    """Stored value → label, and whether masks are in colours."""
    if threshold is not None and (values is not None or not isinstance(threshold, int | float)):
        raise SegtraceError(
            f"option threshold is {threshold!r}; it is a number, and goes without the option values"
        )
    if values is None:
        return None, False
    if not isinstance(values, dict) or not all(
        isinstance(label, int) and label >= 0 for label in values.values()
    ):
        raise SegtraceError(
            f"option values is {values!r}; it gives stored values their labels, such as {{255: 1}}"
        )
    coloured = any(isinstance(key, str) for key in values)
    try:
        found = {_code(key): label for key, label in values.items()}
    except (TypeError, ValueError):
        raise SegtraceError(
            f"option values names {list(values)}; a value is a number or a colour, '#ff0000'"
        ) from None
    return {0: 0} | found, coloured


def _code(key: Any) -> int:
    """A stored value as a number; ``#rrggbb`` is one."""
    if isinstance(key, str):
        if re.fullmatch("#[0-9a-fA-F]{6}", key) is None:
            raise ValueError(key)
        return int(key[1:], 16)
    return int(key)


def _mapped(stored: np.ndarray, mapping: Mapping[int, int], path: Path) -> np.ndarray:
    there, inverse = np.unique(stored, return_inverse=True)
    unknown = [int(value) for value in there if int(value) not in mapping]
    if unknown:
        shown = ", ".join(map(str, unknown[:8])) + (" ..." if len(unknown) > 8 else "")
        raise SegtraceError(f"{path}: holds the values {shown}, which options.values does not name")
    return np.array([mapping[int(value)] for value in there], np.int64)[inverse].reshape(stored.shape)
