"""phantom2d: generated images of a lesion and a cyst in speckle, several frames of each subject.

Each subject has an anatomy; its frames are the same anatomy, moved a little, under new speckle. Lesions are
darker than the tissue, cysts darkest and often touching the lesion; some frames show neither, some lesions are
tiny. Sizes differ between subjects. Pictures are 8-bit PNG; no physical scale is given.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import images
from segtrace.datasets import Case, _pairs, _shapes


def generate(root: Path, options: Mapping[str, Any]) -> None:
    """Write ``options['subjects']`` × ``options['frames']`` images and masks below ``root``."""
    _pairs.generate(root, options, counts=("subjects", "frames"), draw=_files)


def _files(seed: int, subject: int, frame: int) -> tuple[str, bytes, bytes]:
    pixels, label = draw(seed, subject, frame)
    name = f"p{subject:04d}_f{frame:02d}.png"
    return name, images.png_bytes(pixels, level=0), images.png_bytes(label, level=0)


def draw(seed: int, subject: int, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels of a frame, uint8 (H, W)."""
    anatomy = _shapes.generator("phantom2d", seed, subject)
    height, width = (int(n) for n in anatomy.integers([104, 116], [132, 152]))
    centre = anatomy.uniform(0.38, 0.62, 2) * (width, height)
    radii = anatomy.uniform(0.13, 0.24, 2) * min(width, height)
    if anatomy.random() < 0.12:  # a tiny lesion
        radii = radii * 0.3
    outline, angle = _shapes.waves(anatomy), anatomy.uniform(0, np.pi)
    has_cyst, side = anatomy.random() < 0.6, anatomy.uniform(0, 2 * np.pi)
    cyst_radii = anatomy.uniform(0.08, 0.13, 2) * min(width, height)
    cyst_outline = _shapes.waves(anatomy, size=0.05)

    moment = _shapes.generator("phantom2d", seed, subject, "frame", frame)
    shift, grow = moment.normal(0, 2.0, 2), 1 + moment.normal(0, 0.05)
    empty = moment.random() < 0.1
    rows, columns = np.mgrid[:height, :width].astype(float)
    points = np.stack([columns, rows], axis=-1)
    label = np.zeros((height, width), np.uint8)
    if not empty:
        middle = centre + shift
        if has_cyst:  # its near edge lies on the lesion's: the two touch
            away = np.array([np.cos(side), np.sin(side)])
            cyst = middle + away * (radii.mean() + 0.7 * cyst_radii.mean()) * grow
            inside = _shapes.blob(points, centre=cyst, radii=cyst_radii * grow, waves=cyst_outline)
            label[inside] = 2
        inside = _shapes.blob(points, centre=middle, radii=radii * grow, waves=outline, angle=angle)
        label[inside] = 1
    tissue = 118 + 16 * _shapes.smooth_noise(anatomy, (height, width), sigma=14) - 22 * rows / height
    level = np.choose(label, [tissue, 62.0, 26.0])
    # fully developed speckle: Rayleigh-distributed, correlated over about a pixel
    real, imaginary = (_shapes.smooth_noise(moment, (height, width), sigma=0.8) for _ in range(2))
    speckle = np.hypot(real, imaginary) / np.sqrt(np.pi / 2)
    return np.clip(level * (0.45 + 0.55 * speckle), 0, 255).astype(np.uint8), label


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """All frames; images or labels without partner are one error."""
    return _pairs.cases(root, ending=".png")


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The image, grey."""
    return images.picture_image(images.read_picture(root / case.images[0]))


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The label map: 1 lesion, 2 cyst."""
    return images.picture_image(images.read_picture(root / case.labels[0])), []
