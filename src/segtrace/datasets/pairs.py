"""The user's own images and masks in pairs: in two folders, or side by side with a suffix.

Options: ``images`` and ``masks``, two folders (``images`` and ``masks`` by default) or twice the same one (``.`` is
the whole tree); ``image_suffix`` and ``mask_suffix``, what stands behind the shared name (nothing by default);
and those that all readers of own files know, see docs/add-dataset.md. ``NAME_1``, ``NAME_2`` beside the mask of
``NAME`` are further masks of the same image, which are united.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from segtrace.datasets import Case, _files, _names, check_options
from segtrace.errors import SegtraceError, raise_all

OWN = ("images", "masks", "image_suffix", "mask_suffix")


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """All pairs below ``root``, ids made of folder and name; files without partner are one error."""
    check_options(options, known=(*OWN, *_files.OPTIONS))
    folders = [str(options.get(key, key)) for key in ("images", "masks")]
    missing = [f"{root / name}: no such folder" for name in folders if not (root / name).is_dir()]
    raise_all(missing, heading=f"{root}: not images and masks in pairs", remedy=_files.REMEDY)
    pictures, masks = _by_name(root, folders, options)
    problems = [f"{root / names[0]}: has no mask" for key, names in pictures.items() if key not in masks]
    for key, names in masks.items():
        if key not in pictures:
            problems += [f"{root / name}: a mask without an image" for name in names]
    problems += _doubles(root, pictures, "images") + _doubles(root, masks, "masks")
    raise_all(sorted(problems), heading=f"{root}: images and masks do not pair", remedy=_files.REMEDY)
    found = [
        Case(case=(name := _names.plain(key)), subject=name, images=(names[0],), labels=tuple(masks[key]))
        for key, names in pictures.items()
    ]
    return _files.with_subjects(found, options, root=root)


def _by_name(
    root: Path, folders: Sequence[str], options: Mapping[str, Any]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Shared name → images, and → masks, all relative to ``root``."""
    images, masks = folders
    head, tail = (str(options.get(key, "")) for key in ("image_suffix", "mask_suffix"))
    if images == masks and not tail:
        raise SegtraceError(
            f"options images and masks are both {images!r}: then mask_suffix must say how a mask's name ends"
        )
    is_mask = re.compile(rf"(.+?){re.escape(tail)}(?:[_-]\d+)?")
    found: dict[str, list[str]] = {}
    for file in _files.listing(root / images):
        stem = _files.split_ending(file)[0]
        if stem.endswith(head) and not (images == masks and is_mask.fullmatch(stem)):
            found.setdefault(stem.removesuffix(head), []).append(_below(images, file))
    labels: dict[str, list[str]] = {}
    for file in _files.listing(root / masks):
        stem = _files.split_ending(file)[0]
        match = is_mask.fullmatch(stem)
        if stem.endswith(tail) and stem.removesuffix(tail) in found:
            labels.setdefault(stem.removesuffix(tail), []).append(_below(masks, file))
        elif match is not None:
            labels.setdefault(match[1], []).append(_below(masks, file))
        elif images != masks:
            labels.setdefault(stem, []).append(_below(masks, file))
    return found, labels


def _doubles(root: Path, found: Mapping[str, list[str]], what: str) -> list[str]:
    """Files that differ in their ending alone."""
    problems = []
    for names in found.values():
        stems = [_files.split_ending(name)[0] for name in names]
        twice = [name for name, stem in zip(names, stems, strict=True) if stems.count(stem) > 1]
        if twice:
            problems.append(f"{', '.join(str(root / name) for name in twice)}: {what} of one name")
    return problems


def _below(folder: str, file: str) -> str:
    return file if folder == "." else f"{folder}/{file}"


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The image, see :func:`segtrace.datasets._files.read_image`."""
    return _files.read_image([root / name for name in case.images], options)


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The label map, see :func:`segtrace.datasets._files.read_label`."""
    return _files.read_label([root / name for name in case.labels], options)
