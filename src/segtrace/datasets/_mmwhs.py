"""What MM-WHS CT and MR share: seven structures of the heart (Zhuang and Shen, doi:10.1016/j.media.2016.02.006).

Layout: ``ct_train_NNNN_image.nii.gz`` and ``ct_train_NNNN_label.nii.gz`` in one folder (``ct_train``), or in two
(``CT/imagesTraining``, ``CT/labelsTraining``): files are found by name in any folder. The label's header differs
from its image's in some cases, so the image's is taken where sizes agree. Unlabelled test images are left.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import images
from segtrace.datasets import REFETCH, Case, check_options
from segtrace.errors import SegtraceError, raise_all

#: Published value → label: left and right ventricle, left and right atrium, myocardium, aorta, pulmonary artery.
VALUES = {500: 1, 600: 2, 420: 3, 550: 4, 205: 5, 820: 6, 850: 7}
#: Case → a mistaken value and the one it stands for.
MISTAKEN = {"mr_train_1010": (421, 420)}
#: Case → voxels with spurious labels, (columns from the right, rows from the back, slices from below) in the patient.
BORDER_CASE, BORDER = "mr_train_1002", (4, 10, 4)


def cases(root: Path, modality: str) -> list[Case]:
    """The labelled cases of ``modality`` (``ct`` or ``mr``), sorted; files without partner are one error."""
    name = re.compile(rf"({modality}_train_\d+)_(image|label)\.nii\.gz")
    found: dict[str, dict[str, str]] = {"image": {}, "label": {}}
    problems = []
    for path in sorted(root.rglob(f"{modality}_train_*.nii.gz")):
        match = name.fullmatch(path.name)
        if match is None:
            problems.append(f"{path}: neither 'NAME_image.nii.gz' nor 'NAME_label.nii.gz'")
        elif match[1] in found[match[2]]:
            problems.append(
                f"{path}: the {match[2]} of {match[1]} is also {root / found[match[2]][match[1]]}"
            )
        else:
            found[match[2]][match[1]] = str(path.relative_to(root))
    for kind, other in (("image", "label"), ("label", "image")):
        problems += [
            f"{root / found[kind][case]}: has no {other} {case}_{other}.nii.gz"
            for case in sorted(found[kind].keys() - found[other].keys())
        ]
    if not problems and not found["image"]:
        problems.append(f"no files {modality}_train_NNNN_image.nii.gz in any folder")
    raise_all(problems, heading=f"{root}: not the layout of MM-WHS {modality.upper()}", remedy=REFETCH)
    return [
        Case(case=case, subject=case, images=(found["image"][case],), labels=(found["label"][case],))
        for case in sorted(found["image"])
    ]


def read_image(root: Path, case: Case) -> sitk.Image:
    """The volume, in its own orientation."""
    return images.read_volume(root / case.images[0])


def read_label(root: Path, case: Case, *, border: str = "keep") -> tuple[sitk.Image, list[str]]:
    """The label map 1 to 7 on its image's grid, and notes on all that was decided.

    ``border``: ``clear`` removes the spurious labels along three faces of mr_train_1002, as public pipelines
    do; ``keep`` leaves them. Raises :class:`SegtraceError` for unequal sizes and unknown values.
    """
    image, label = read_image(root, case), images.read_volume(root / case.labels[0])
    where, notes = str(root / case.labels[0]), []
    grid = images.grid_of(image)
    if image.GetSize() != label.GetSize():
        sizes = ["x".join(map(str, one.GetSize())) for one in (label, image)]
        raise SegtraceError(f"{where}: size {sizes[0]}, its image has {sizes[1]}; {REFETCH}")
    differences = grid.differences(images.grid_of(label))
    if differences:
        notes.append(
            f"the image's header is used for the label, image and label differ in {', '.join(differences)}"
        )
    values = images.label_array(label, where=where)
    if case.case in MISTAKEN:
        mistaken, meant = MISTAKEN[case.case]
        count = int((values == mistaken).sum())
        values[values == mistaken] = meant
        if count:
            notes.append(f"{count} voxels of value {mistaken} read as {meant}")
    foreign = sorted(set(np.unique(values).tolist()) - {0, *VALUES})
    if foreign:
        counts = ", ".join(f"{value} ({int((values == value).sum())} voxels)" for value in foreign[:8])
        raise SegtraceError(
            f"{where}: values {counts}; expected 0 and {', '.join(map(str, VALUES))}. {REFETCH}"
        )
    mapped = np.zeros(values.shape, np.uint8)
    for value, number in VALUES.items():
        mapped[values == value] = number
    result = images.from_array(mapped, grid)
    if case.case == BORDER_CASE and border == "clear":
        result, count = _cleared(result)
        notes.append(f"{count} voxels of spurious labels along the borders removed")
    return result, notes


def border_choice(options: Mapping[str, Any]) -> str:
    """The option ``mr_train_1002_border``: ``clear`` or ``keep``."""
    check_options(options, known=(f"{BORDER_CASE}_border",))
    choice = options.get(f"{BORDER_CASE}_border", "keep")
    if choice not in ("clear", "keep"):
        raise SegtraceError(
            f"option {BORDER_CASE}_border of mmwhs_mr is {choice!r}; it can be 'clear' or 'keep'"
        )
    return str(choice)


def _cleared(label: sitk.Image) -> tuple[sitk.Image, int]:
    """The label map without what lies along the right, back and lower faces of the volume, and the voxels removed."""
    own = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(label.GetDirection())
    turned = sitk.DICOMOrient(label, "LPS")  # columns from the right, rows to the back, slices upwards
    array = sitk.GetArrayFromImage(turned)
    before = int((array > 0).sum())
    columns, rows, slices = BORDER
    array[:slices] = 0
    array[:, array.shape[1] - rows :] = 0
    array[:, :, :columns] = 0
    cleared = sitk.GetImageFromArray(array)
    cleared.CopyInformation(turned)
    result = sitk.DICOMOrient(cleared, own)
    result.CopyInformation(label)  # there and back again, without rounding
    return result, before - int((array > 0).sum())
