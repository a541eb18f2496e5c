"""MM-WHS CT: orientations that differ, a label whose header is not its image's, unlabelled test images, AppleDouble files."""

from pathlib import Path

import numpy as np

from miniatures import Expected, box, noise, write_zip
from segtrace import images
from segtrace.geometry import Grid

SHAPE, SPACING = (20, 22, 24), (0.5, 0.5, 0.625)
VALUES = (500, 600, 420, 550, 205, 820, 850)
LPS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
RAI = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
TURNED = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def volume(
    array: np.ndarray, direction: tuple[float, ...] = LPS, spacing: tuple[float, ...] = SPACING
) -> bytes:
    """A NIfTI file of (D, H, W) voxels."""
    grid = Grid(tuple(reversed(array.shape)), spacing, (0.0, 0.0, 0.0), direction)
    return images.nifti_bytes(array, grid)


def heart() -> np.ndarray:
    """Published values, int16 (D, H, W): label n holds 2 x 2 x (n + 1) voxels."""
    label = np.zeros(SHAPE, np.int16)
    for n, value in enumerate(VALUES, start=1):
        label += box(SHAPE, (8, 10), (10, 12), (2 * n, 2 * n + 2)).astype(np.int16) * value
        label += box(SHAPE, (10, 10 + n), (10, 12), (2 * n, 2 * n + 2)).astype(np.int16) * value
    return label


COUNTS = {n: 8 + 4 * n for n in range(1, 8)}


def build(folder: Path) -> dict[str, Expected]:
    """Three cases: one of another orientation, one with another spacing in its label's header."""
    scan = noise(*SHAPE).astype(np.int16) - 100
    files = {
        "ct_train/ct_train_1001_image.nii.gz": volume(scan),
        "ct_train/ct_train_1001_label.nii.gz": volume(heart()),
        "ct_train/ct_train_1002_image.nii.gz": volume(scan + 1, TURNED),
        "ct_train/ct_train_1002_label.nii.gz": volume(heart(), TURNED),
        "ct_train/ct_train_1010_image.nii.gz": volume(scan + 2),
        "ct_train/ct_train_1010_label.nii.gz": volume(heart(), LPS, (0.5, 0.5, 0.6)),
        "ct_train/._ct_train_1001_image.nii.gz": b"\0\5\x16\7",
        "ct_test/ct_test_2001_image.nii.gz": volume(scan),
    }
    write_zip(folder / "ct_train.zip", files)
    case = Expected(tuple(reversed(SHAPE)), COUNTS, spacing_mm=SPACING)
    other = Expected(
        case.size, COUNTS, spacing_mm=SPACING, notes="image and label differ in spacing 0.5x0.5x0.625 and"
    )
    return {"ct_train_1001": case, "ct_train_1002": case, "ct_train_1010": other}


def body(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Scan and published labels of a patient, int16 (64, 96, 96) at 0.5 mm: seven cubes of 12 mm, each a bit elsewhere.

    A side of 24 voxels is 8 of 1.5 mm and 6 of 2 mm, so that the paper's recipe keeps every volume.
    """
    drawn = np.random.default_rng(number)
    label = np.zeros((64, 96, 96), np.int16)
    scan = drawn.integers(-20, 20, label.shape, dtype=np.int16)
    for n, value in enumerate(VALUES):
        corner = np.multiply(np.unravel_index(n, (2, 3, 3)), 32) + drawn.integers(0, 8, 3)
        place = tuple(slice(first, first + 24) for first in corner)
        label[place] = value
        scan[place] += 30 * (n + 1)
    return scan, label


def cohort(folder: Path, *, cases: int = 20) -> list[str]:
    """The archive with so many labelled patients, numbered as published; every fifth lies in another orientation."""
    files, names = {}, [f"ct_train_{1001 + n}" for n in range(cases)]
    for n, name in enumerate(names):
        direction = TURNED if n % 5 == 1 else LPS
        for kind, array in zip(("image", "label"), body(1001 + n), strict=True):
            files[f"ct_train/{name}_{kind}.nii.gz"] = volume(array, direction, (0.5, 0.5, 0.5))
    write_zip(folder / "ct_train.zip", files)
    return names
