"""Slices of whole cases for the page's viewer: volumes cut to the labelled part and packed small.

Grey values are 8 bit after a stated range of the image; label maps are kept as they are. A volume of more
voxels than fit is reduced: the grey value is the mean of a block, the label that of the voxel in its middle.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from segtrace.overlays import PLANES
from segtrace.report.cases import Scene
from segtrace.report.packing import colour, packed, reduced
from segtrace.report.panels import place_of, plane_of

#: Voxels of all cases of a page's viewer together.
VOXELS = 6_000_000
#: Share of each side of the labelled box that is kept around it.
MARGIN = 0.25


def content(
    scene: Scene, *, labels: Mapping[int, str], dice: Mapping[str, str], voxels: int
) -> dict[str, Any]:
    """What the page's viewer needs of a volume, of at most ``voxels`` voxels; ``dice`` says it by method."""
    part = labelled_part(scene.labelled)
    steps = steps_for(tuple(s.stop - s.start for s in part), scene.spacing, voxels=voxels)
    middle = tuple(
        slice(p.start + min(s // 2, p.stop - p.start - 1), p.stop, s)
        for p, s in zip(part, steps, strict=True)
    )
    reference = scene.reference[middle]
    grey = reduced(scene.grey[part], steps)[tuple(slice(0, n) for n in reference.shape)]
    axis = plane_of(scene.spacing)
    starts = [place_of(scene, a) for a in range(3)]
    return {
        "shape": list(reference.shape),
        "full": list(scene.reference.shape),
        "first": [m.start for m in middle],
        "steps": list(steps),
        "spacing": [round(s * f, 6) for s, f in zip(scene.spacing, steps, strict=True)],
        "plane": axis,
        "planes": list(PLANES),
        "start": [
            int(np.clip((at - m.start) // s, 0, n - 1))
            for at, m, s, n in zip(starts, middle, steps, reference.shape, strict=True)
        ],
        "low": round(scene.low, 6),
        "high": round(scene.high, 6),
        "labels": [
            {"value": value, "name": name, "colour": colour(position)}
            for position, (value, name) in enumerate(labels.items())
        ],
        "grey": packed(differences(grey)),
        "reference": packed(reference),
        "methods": {method: packed(array[middle]) for method, array in scene.predictions.items()},
        "dice": dict(dice),
    }


def differences(grey: np.ndarray) -> np.ndarray:
    """Each value less the one before it along the last axis, modulo 256: neighbours differ little and pack well."""
    return np.diff(grey, axis=-1, prepend=np.uint8(0)).astype(np.uint8)


def labelled_part(labelled: np.ndarray) -> tuple[slice, ...]:
    """The box around all labels with :data:`MARGIN` on each side; the whole volume where there are none."""
    found = ndimage.find_objects(labelled.astype(np.uint8))
    if not found:
        return tuple(slice(0, n) for n in labelled.shape)
    parts = []
    for box, size in zip(found[0], labelled.shape, strict=True):
        margin = max(2, round((box.stop - box.start) * MARGIN))
        parts.append(slice(max(0, box.start - margin), min(size, box.stop + margin)))
    return tuple(parts)


def steps_for(shape: tuple[int, ...], spacing: tuple[float, ...], *, voxels: int) -> tuple[int, ...]:
    """How many voxels along each axis become one, so that at most ``voxels`` remain.

    The axes whose reduced voxels are finest are reduced first, so they become as even as they can.
    """
    steps = [1] * len(shape)
    while np.prod([-(-n // s) for n, s in zip(shape, steps, strict=True)]) > voxels:
        open_axes = [a for a in range(len(shape)) if steps[a] < shape[a]]
        finest = min(spacing[a] * steps[a] for a in open_axes)
        for axis in open_axes:
            if spacing[axis] * steps[axis] <= 1.01 * finest:
                steps[axis] += 1
    return tuple(steps)


def sentence(made: Mapping[str, Any]) -> str:
    """What of the case the viewer shows and how, in words."""
    steps, shape, full = made["steps"], made["shape"], made["full"]
    kept = " × ".join(map(str, shape))
    words = [
        f"Grey: {made['low']:.4g} is black and {made['high']:.4g} white (the 0.5th and 99.5th percentile of the image), "
        "in 256 steps."
    ]
    if shape != full:
        words.append(
            f"{kept} voxels are in the page of the volume's {' × '.join(map(str, full))} (axial × coronal × sagittal "
            "slices): the part with labels and a margin."
        )
    if max(steps) > 1:
        words.append(
            f"To fit the page, {' × '.join(map(str, steps))} voxels are one here: the mean of their greys, and the label "
            "of the one in the middle. Thin parts may look broken or be lost; scores are of the full resolution."
        )
    return " ".join(words)
