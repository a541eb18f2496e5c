"""The user's own data as a BIDS derivative: ``sub-*/[ses-*/]anat/*_T1w.nii.gz`` with label maps below ``derivatives``.

Options: ``images``, a pattern of an image's name or one a channel (``*_T1w`` by default); ``labels``, that of the
label maps (``*_dseg``); and those of all readers of own files. A label map belongs to the image of its subject and
session, and of its run and acquisition where it names them. Sessions of a subject share the subject.
Source: Gorgolewski et al., doi:10.1038/sdata.2016.44, and the specification's chapter on segmentations.
"""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from segtrace.datasets import Case, _files, _names, check_options
from segtrace.errors import raise_all

#: What tells one image of a data set from another; everything else in a name says what it shows.
WHICH = ("sub", "ses", "acq", "run")
IMAGE, LABEL = "*_T1w", "*_dseg"
DERIVATIVES = "derivatives/"


def entities(stem: str) -> dict[str, str]:
    """The parts ``key-value`` of a file's name; its last part is ``suffix``."""
    *parts, suffix = stem.split("_")
    found = dict(part.split("-", 1) for part in parts if "-" in part)
    return found | {"suffix": suffix}


def which(stem: str) -> str:
    """The part of a name that says which image it is, such as ``sub-01_ses-2``."""
    found = entities(stem)
    return "_".join(f"{key}-{found[key]}" for key in WHICH if key in found)


def values(name: str) -> str:
    """The values of ``sub-01_ses-2``: what of it may say who it is."""
    return re.sub(rf"(?:^|(?<=_))(?:{'|'.join(WHICH)})-", "", name)


def matching(label: str, images: Sequence[str]) -> list[str]:
    """The images that a label map (both as stems) can belong to."""
    wanted = {key: value for key, value in entities(label).items() if key in WHICH}
    found = [
        name
        for name in images
        if (its := entities(name)).get("sub") == wanted.get("sub")
        and its.get("ses") == wanted.get("ses")
        and all(its.get(key) == value for key, value in wanted.items())
    ]
    return found


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """All label maps with their images; one that has none, or several to choose from, is an error with all others."""
    check_options(options, known=("images", "labels", *_files.OPTIONS))
    given = options.get("images", IMAGE)
    patterns = [given] if isinstance(given, str) else list(given)
    files = {name: _files.split_ending(Path(name).name)[0] for name in _files.listing(root)}
    labels = {
        name: stem for name, stem in files.items() if fnmatchcase(stem, str(options.get("labels", LABEL)))
    }
    channels = [
        {
            stem: name
            for name, stem in files.items()
            if name not in labels and not name.startswith(DERIVATIVES) and fnmatchcase(stem, str(pattern))
        }
        for pattern in patterns
    ]
    problems, listed = [], []
    for name, stem in labels.items():
        images = []
        for pattern, there in zip(patterns, channels, strict=True):
            found = matching(stem, list(there))
            images += [there[one] for one in found]
            if len(found) != 1:
                several = f"{len(found)} images ({', '.join(found)})" if found else "no image"
                problems.append(f"{root / name}: {several} {pattern} of its subject and session")
        if images:
            key = which(_files.split_ending(Path(images[0]).name)[0])
            listed.append(Case(case=_names.plain(key), subject=key, images=tuple(images), labels=(name,)))
    by_id: dict[str, list[str]] = {}
    for case in listed:
        by_id.setdefault(case.case, []).append(case.labels[0])
    problems += [
        f"{', '.join(names)}: label maps of one image; narrow options.labels"
        for names in by_id.values()
        if len(names) > 1
    ]
    raise_all(sorted(problems), heading=f"{root}: images and label maps do not pair", remedy=_files.REMEDY)
    chosen = {"subject": "sub-[^_]+", **options}
    return _files.with_subjects(listed, chosen, root=root, told=[values(case.case) for case in listed])


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The image, a channel a file, see :func:`segtrace.datasets._files.read_image`."""
    return _files.read_image([root / name for name in case.images], options)


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The label map, see :func:`segtrace.datasets._files.read_label`."""
    return _files.read_label([root / name for name in case.labels], options)
