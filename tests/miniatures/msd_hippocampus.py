"""MSD Task04: gaps in the numbers, an unsorted list, labels as floating point, AppleDouble files, a space of intensities each."""

import json
from pathlib import Path

import numpy as np

from miniatures import Expected, box, nifti, noise, write_tar


def build(folder: Path) -> dict[str, Expected]:
    """Three labelled volumes and one without a label."""
    top, shape = "Task04_Hippocampus", (24, 30, 26)
    label = box(shape, (4, 8), (4, 8), (4, 8)) + box(shape, (8, 12), (4, 8), (4, 8), value=2)
    volume = noise(*shape)
    files = {
        f"{top}/imagesTr/hippocampus_003.nii.gz": nifti(volume.astype(np.float32) * 400),
        f"{top}/labelsTr/hippocampus_003.nii.gz": nifti(label.astype(np.float32)),
        f"{top}/imagesTr/hippocampus_001.nii.gz": nifti(volume),
        f"{top}/labelsTr/hippocampus_001.nii.gz": nifti(label),
        f"{top}/imagesTr/hippocampus_007.nii.gz": nifti(volume[::-1].copy()),
        f"{top}/labelsTr/hippocampus_007.nii.gz": nifti(label[::-1].copy()),
        f"{top}/imagesTr/._hippocampus_001.nii.gz": b"\0\5\x16\7",
        f"{top}/imagesTs/hippocampus_002.nii.gz": nifti(volume),
    }
    listed = [
        {"image": f"./imagesTr/hippocampus_{n}.nii.gz", "label": f"./labelsTr/hippocampus_{n}.nii.gz"}
        for n in ("007", "001", "003")
    ]
    content = {
        "name": "Hippocampus",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "numTraining": 3,
        "numTest": 1,
        "training": listed,
        "test": ["./imagesTs/hippocampus_002.nii.gz"],
    }
    files[f"{top}/dataset.json"] = json.dumps(content).encode()
    write_tar(folder / "Task04_Hippocampus.tar", files)
    case = Expected((26, 30, 24), {1: 64, 2: 64}, spacing_mm=(1.0, 1.0, 1.0))
    return dict.fromkeys(("hippocampus_001", "hippocampus_003", "hippocampus_007"), case)
