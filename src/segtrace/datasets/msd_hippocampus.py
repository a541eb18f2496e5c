"""MSD Task04 Hippocampus: 260 labelled T1 volumes (Antonelli et al., doi:10.1038/s41467-022-30695-9).

Layout: ``Task04_Hippocampus/{imagesTr,labelsTr,imagesTs}/hippocampus_NNN.nii.gz`` and ``dataset.json``.
Traps: the numbers have gaps (the others are the unlabelled test cases), the list in ``dataset.json`` is not
sorted, AppleDouble files ``._*`` may lie beside the volumes, and some labels are stored as floating point.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from segtrace import images
from segtrace.datasets import REFETCH, Case, check_options
from segtrace.errors import raise_all
from segtrace.files import read_json

FOLDER = "Task04_Hippocampus"


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """The labelled cases, sorted by name; missing and unlisted files are one error."""
    check_options(options, known=())
    listed, problems = _listed(root / FOLDER / "dataset.json")
    for folder in ("imagesTr", "labelsTr"):
        found = {
            path.name for path in (root / FOLDER / folder).glob("*.nii.gz") if not path.name.startswith(".")
        }
        problems += [
            f"{root / FOLDER / folder / name}: listed in dataset.json, but missing"
            for name in sorted(listed - found)
        ]
        problems += [
            f"{root / FOLDER / folder / name}: there, but not in dataset.json"
            for name in sorted(found - listed)
        ]
    raise_all(problems, heading=f"{root}: the files do not fit dataset.json", remedy=REFETCH)
    return [
        Case(
            case=name.removesuffix(".nii.gz"),
            subject=name.removesuffix(".nii.gz"),
            images=(f"{FOLDER}/imagesTr/{name}",),
            labels=(f"{FOLDER}/labelsTr/{name}",),
        )
        for name in sorted(listed)
    ]


def _listed(path: Path) -> tuple[set[str], list[str]]:
    """Names of the labelled volumes in ``dataset.json``, and what is wrong with its list."""
    content = read_json(path)
    entries = content.get("training") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        return set(), [f"{path}: no list 'training'"]
    names, problems = set(), []
    for entry in entries:
        image, label = (
            (Path(str(entry.get(key))).name for key in ("image", "label"))
            if isinstance(entry, dict)
            else ("", "")
        )
        if image != label or not image.endswith(".nii.gz"):
            problems.append(f"{path}: not an image and a label of one name: {entry}")
        elif image in names:
            problems.append(f"{path}: {image} is listed twice")
        names.add(image)
    return names, problems


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The T1 volume."""
    return images.read_volume(root / case.images[0])


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The label map: 1 anterior, 2 posterior."""
    label = images.read_volume(root / case.labels[0])
    whole = images.label_array(label, where=str(root / case.labels[0]))
    return images.from_array(whole, images.grid_of(label)), []
