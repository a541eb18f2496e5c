"""MSD Task01: four channels as the fourth dimension, an unsorted list, AppleDouble files, a case without label 2."""

import json
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from miniatures import Expected, box, nifti, noise, write_tar

SHAPE = (16, 18, 20)


def four_channels(seed: int) -> bytes:
    """A 4-D NIfTI file, 20 x 18 x 16 x 4, float32."""
    parts = [
        sitk.GetImageFromArray(noise(*SHAPE, seed=seed + n).astype(np.float32) * (n + 1)) for n in range(4)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nii.gz"
        sitk.WriteImage(sitk.JoinSeries(parts), str(path))
        return path.read_bytes()


def build(folder: Path) -> dict[str, Expected]:
    """Three labelled cases and one without a label."""
    top = "Task01_BrainTumour"
    label = box(SHAPE, (4, 8), (4, 8), (4, 8)) + box(SHAPE, (9, 12), (4, 7), (4, 7), value=3)
    whole = label + box(SHAPE, (13, 15), (4, 6), (4, 6), value=2)
    files = {}
    for number in ("457", "003", "012"):
        files[f"{top}/imagesTr/BRATS_{number}.nii.gz"] = four_channels(int(number) * 10)
        files[f"{top}/labelsTr/BRATS_{number}.nii.gz"] = nifti(label if number == "012" else whole)
        files[f"{top}/imagesTr/._BRATS_{number}.nii.gz"] = b"\0\5\x16\7"
    files[f"{top}/imagesTs/BRATS_485.nii.gz"] = four_channels(4850)
    content = {
        "name": "BRATS",
        "tensorImageSize": "4D",
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "numTraining": 3,
        "numTest": 1,
        "training": [
            {"image": f"./imagesTr/BRATS_{n}.nii.gz", "label": f"./labelsTr/BRATS_{n}.nii.gz"}
            for n in ("457", "003", "012")
        ],
        "test": ["./imagesTs/BRATS_485.nii.gz"],
    }
    files[f"{top}/dataset.json"] = json.dumps(content).encode()
    write_tar(folder / "Task01_BrainTumour.tar", files)
    case = Expected(tuple(reversed(SHAPE)), {1: 64, 2: 8, 3: 27}, spacing_mm=(1.0, 1.0, 1.0), channels=4)
    lacking = Expected(case.size, {1: 64, 2: 0, 3: 27}, spacing_mm=case.spacing_mm, channels=4)
    return {"BRATS_003": case, "BRATS_012": lacking, "BRATS_457": case}
