"""MSD Task01: four channels as the fourth dimension, an unsorted list, AppleDouble files, a case without label 2."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from miniatures import Expected, box, nifti, noise, write_tar

SHAPE = (16, 18, 20)


def four_channels(seed: int) -> bytes:
    """A 4-D NIfTI file of noise, 20 x 18 x 16 x 4, float32."""
    return joined([noise(*SHAPE, seed=seed + n).astype(np.float32) * (n + 1) for n in range(4)])


def joined(channels: Sequence[np.ndarray]) -> bytes:
    """A 4-D NIfTI file of channels (D, H, W)."""
    parts = [sitk.GetImageFromArray(channel) for channel in channels]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nii.gz"
        sitk.WriteImage(sitk.JoinSeries(parts), str(path))
        return path.read_bytes()


def listing(numbers: Sequence[str], tests: Sequence[str]) -> bytes:
    """The owner's list of cases, in the order given."""
    content = {
        "name": "BRATS",
        "tensorImageSize": "4D",
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "numTraining": len(numbers),
        "numTest": len(tests),
        "training": [
            {"image": f"./imagesTr/BRATS_{n}.nii.gz", "label": f"./labelsTr/BRATS_{n}.nii.gz"}
            for n in numbers
        ],
        "test": [f"./imagesTs/BRATS_{n}.nii.gz" for n in tests],
    }
    return json.dumps(content).encode()


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
    files[f"{top}/dataset.json"] = listing(("457", "003", "012"), ("485",))
    write_tar(folder / "Task01_BrainTumour.tar", files)
    case = Expected(tuple(reversed(SHAPE)), {1: 64, 2: 8, 3: 27}, spacing_mm=(1.0, 1.0, 1.0), channels=4)
    lacking = Expected(case.size, {1: 64, 2: 0, 3: 27}, spacing_mm=case.spacing_mm, channels=4)
    return {"BRATS_003": case, "BRATS_012": lacking, "BRATS_457": case}


def head(number: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Channels, float32, and label, uint8, of a patient, (40, 44, 48) at 1 mm: three cubes, each a bit elsewhere."""
    drawn = np.random.default_rng(number)
    label = np.zeros((40, 44, 48), np.uint8)
    for value, side in ((1, 12), (2, 8), (3, 10)):
        corner = np.array([3, 4, 2 + 15 * (value - 1)]) + drawn.integers(0, (22, 24, 3))
        label[tuple(slice(first, first + side) for first in corner)] = value
    channels = [
        drawn.integers(0, 40, label.shape) + np.float32(60 * (n + 1)) * ((label + n) % 4) for n in range(4)
    ]
    return [channel.astype(np.float32) for channel in channels], label


def cohort(folder: Path, *, cases: int) -> list[str]:
    """The archive with so many labelled patients, listed backwards; the second lacks label 2, as twelve published ones do."""
    top, numbers, files = "Task01_BrainTumour", [f"{n:03d}" for n in range(1, cases + 1)], {}
    for number in numbers:
        channels, label = head(int(number))
        files[f"{top}/imagesTr/BRATS_{number}.nii.gz"] = joined(channels)
        files[f"{top}/labelsTr/BRATS_{number}.nii.gz"] = nifti(
            np.where(label == 2, 0, label).astype(np.uint8) if number == "002" else label
        )
    files[f"{top}/dataset.json"] = listing(numbers[::-1], ())
    write_tar(folder / "Task01_BrainTumour.tar", files)
    return [f"BRATS_{number}" for number in numbers]
