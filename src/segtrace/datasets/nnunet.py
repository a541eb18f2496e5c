"""The user's own data in nnU-Net's layout: ``imagesTr/CASE_0000.nii.gz`` (one file a channel) and ``labelsTr/CASE.nii.gz``.

Images without the channel's number are read too, as the Medical Segmentation Decathlon has them. ``imagesTs`` has no
labels and is not read, nor is ``dataset.json``: channels and labels are those of the data set's YAML file. Option
``folder``: where the two folders lie, the tree itself by default; and those of all readers of own files.
Source: Isensee et al., doi:10.1038/s41592-020-01008-z, and the format's description of version 2.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from segtrace.datasets import Case, _files, _names, check_options
from segtrace.errors import raise_all

IMAGES, LABELS = "imagesTr", "labelsTr"
_CHANNEL = re.compile(r"(.+)_(\d{4})")


def grouped(images: list[str], labels: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Name of each label → the files of its image in the order of channels; and the images that have no label."""
    found: dict[str, list[str]] = {_files.split_ending(name)[0]: [] for name in labels}
    alone = []
    for name in sorted(images):
        stem = _files.split_ending(name)[0]
        match = _CHANNEL.fullmatch(stem)
        key = stem if stem in found else match[1] if match else stem
        if key in found:
            found[key].append(name)
        else:
            alone.append(name)
    return found, alone


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """All labelled cases; labels without an image, images without a label and missing channels are one error."""
    check_options(options, known=("folder", *_files.OPTIONS))
    inside = str(options.get("folder", "."))
    folders = [root / inside / name for name in (IMAGES, LABELS)]
    missing = [f"{folder}: no such folder" for folder in folders if not folder.is_dir()]
    raise_all(missing, heading=f"{root}: not nnU-Net's layout", remedy=_files.REMEDY)
    labels = list(_files.listing(folders[1]))
    found, alone = grouped(list(_files.listing(folders[0])), labels)
    problems = [f"{folders[0] / name}: has no label in {LABELS}" for name in alone]
    most = max((len(names) for names in found.values()), default=0)
    for name in labels:
        images = found[_files.split_ending(name)[0]]
        if not images:
            problems.append(f"{folders[1] / name}: has no image in {IMAGES}")
        elif len(images) != most:
            problems.append(f"{folders[1] / name}: its image has {len(images)} channels, others have {most}")
    raise_all(sorted(problems), heading=f"{root}: images and labels do not pair", remedy=_files.REMEDY)
    prefix = "" if inside == "." else f"{inside}/"
    listed = [
        Case(
            case=(key := _names.plain(_files.split_ending(name)[0])),
            subject=key,
            images=tuple(f"{prefix}{IMAGES}/{image}" for image in found[_files.split_ending(name)[0]]),
            labels=(f"{prefix}{LABELS}/{name}",),
        )
        for name in labels
    ]
    return _files.with_subjects(listed, options, root=root)


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The image, a channel a file, see :func:`segtrace.datasets._files.read_image`."""
    return _files.read_image([root / name for name in case.images], options)


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The label map, see :func:`segtrace.datasets._files.read_label`."""
    return _files.read_label([root / name for name in case.labels], options)
