"""phantom3d: generated CT-like volumes of two touching organs and a nodule, several scans of each subject.

Each subject has an anatomy in millimetres; a scan puts a grid on it with its own spacing (anisotropic),
orientation code and, for some, an oblique direction, and adds noise. The nodule is a few voxels large and
absent in some subjects. Volumes are NIfTI with Hounsfield-like int16 values.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import images
from segtrace.datasets import Case, _pairs, _shapes
from segtrace.geometry import Grid

ORIENTATIONS = ("RAS", "LPS", "LAS", "RSA", "PIR")


def generate(root: Path, options: Mapping[str, Any]) -> None:
    """Write ``options['subjects']`` × ``options['scans']`` volumes and label maps below ``root``."""
    _pairs.generate(root, options, counts=("subjects", "scans"), draw=_files)


def _files(seed: int, subject: int, scan: int) -> tuple[str, bytes, bytes]:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # the cores are shared out by case
    pair = [
        images.nifti_bytes(sitk.GetArrayFromImage(image), images.grid_of(image), level=0)
        for image in draw(seed, subject, scan)
    ]
    return f"v{subject:04d}_s{scan}.nii.gz", pair[0], pair[1]


def draw(seed: int, subject: int, scan: int) -> tuple[sitk.Image, sitk.Image]:
    """Volume (int16) and label map (uint8) of a scan, on one grid."""
    anatomy = _shapes.generator("phantom3d", seed, subject)
    centre = anatomy.uniform(-4, 4, 3)
    organ = anatomy.uniform([15, 12, 13], [19, 16, 18])
    beside = anatomy.uniform([8, 8, 8], [11, 11, 12])
    outlines = [_shapes.waves(anatomy, size=0.05) for _ in range(2)]
    angles = anatomy.uniform(0, np.pi, 2)
    has_nodule, nodule_at, nodule = (
        anatomy.random() < 0.75,
        anatomy.uniform(-0.4, 0.4, 3),
        anatomy.uniform(3.0, 4.2),
    )

    moment = _shapes.generator("phantom3d", seed, subject, "scan", scan)
    spacing = (*np.round([moment.uniform(1.5, 2.2)] * 2, 2), float(np.round(moment.uniform(2.5, 4.0), 2)))
    size = (34, 36, max(14, int(np.ceil(58 / spacing[2]))))
    tilt = np.deg2rad(moment.uniform(8, 20)) if moment.random() < 0.3 else 0.0
    cos, sin = np.cos(tilt), np.sin(tilt)
    direction = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    half = (np.array(size) - 1) / 2
    origin = -direction @ (half * spacing)
    grid = Grid(
        size, tuple(map(float, spacing)), tuple(map(float, origin)), tuple(map(float, direction.ravel()))
    )
    index = np.stack(np.meshgrid(*map(np.arange, grid.array_shape), indexing="ij"), axis=-1)
    points = grid.world(index) - moment.normal(0, 1.0, 3)

    label = np.zeros(grid.array_shape, np.uint8)
    neighbour = centre + np.array([organ[0] + 0.75 * beside[0], 2.0, 0.0])
    label[_shapes.blob(points, centre=neighbour, radii=beside, waves=outlines[1], angle=angles[1])] = 2
    label[_shapes.blob(points, centre=centre, radii=organ, waves=outlines[0], angle=angles[0])] = 1
    if has_nodule:
        label[np.linalg.norm(points - centre - nodule_at * organ, axis=-1) < nodule] = 3
    body = np.linalg.norm(points / (34.0, 34.0, 40.0), axis=-1) < 1
    level = np.where(body, np.choose(label, [-20.0, 70.0, 130.0, 210.0]), -900.0)
    texture = 12 * _shapes.smooth_noise(moment, grid.array_shape, sigma=1.5) + moment.normal(
        0, 22, grid.array_shape
    )
    volume = images.from_array(np.clip(level + texture, -1024, 1500).astype(np.int16), grid)
    mask = images.from_array(label, grid)
    code = ORIENTATIONS[int(moment.integers(len(ORIENTATIONS)))]
    return sitk.DICOMOrient(volume, code), sitk.DICOMOrient(mask, code)


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """All scans; images or labels without partner are one error."""
    return _pairs.cases(root, ending=".nii.gz")


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The volume."""
    return images.read_volume(root / case.images[0])


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The label map: 1 organ, 2 neighbour, 3 nodule."""
    label = images.read_volume(root / case.labels[0])
    return images.from_array(
        images.label_array(label, where=str(root / case.labels[0])), images.grid_of(label)
    ), []
