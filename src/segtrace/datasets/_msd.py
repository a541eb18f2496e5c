"""What the tasks of the Medical Segmentation Decathlon share (Antonelli et al., doi:10.1038/s41467-022-30695-9).

Layout: ``TASK/{imagesTr,labelsTr,imagesTs}/NAME_NNN.nii.gz`` and ``TASK/dataset.json``, whose list ``training``
names the labelled cases, not sorted. AppleDouble files ``._*`` may lie beside the volumes, and some labels
are stored as floating point. Several channels are the fourth dimension of one file.
"""

from pathlib import Path

import SimpleITK as sitk

from segtrace import images
from segtrace.datasets import REFETCH, Case
from segtrace.errors import raise_all
from segtrace.files import read_json

ENDING = ".nii.gz"


def cases(root: Path, task: str) -> list[Case]:
    """The labelled cases of ``task``, sorted by name; missing and unlisted files are one error."""
    listed, problems = _listed(root / task / "dataset.json")
    for folder in ("imagesTr", "labelsTr"):
        place = root / task / folder
        found = {path.name for path in place.glob(f"*{ENDING}") if not path.name.startswith(".")}
        problems += [
            f"{place / name}: listed in dataset.json, but missing" for name in sorted(listed - found)
        ]
        problems += [f"{place / name}: there, but not in dataset.json" for name in sorted(found - listed)]
    raise_all(problems, heading=f"{root}: the files do not fit dataset.json", remedy=REFETCH)
    return [
        Case(
            case=name.removesuffix(ENDING),
            subject=name.removesuffix(ENDING),
            images=(f"{task}/imagesTr/{name}",),
            labels=(f"{task}/labelsTr/{name}",),
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
        if image != label or not image.endswith(ENDING):
            problems.append(f"{path}: not an image and a label of one name: {entry}")
        elif image in names:
            problems.append(f"{path}: {image} is listed twice")
        names.add(image)
    return names, problems


def read_image(root: Path, case: Case) -> sitk.Image:
    """The volume; a fourth dimension becomes channels."""
    return images.read_volume(root / case.images[0])


def read_label(root: Path, case: Case) -> sitk.Image:
    """The label map in whole numbers."""
    label = images.read_volume(root / case.labels[0])
    whole = images.label_array(label, where=str(root / case.labels[0]))
    return images.from_array(whole, images.grid_of(label))
