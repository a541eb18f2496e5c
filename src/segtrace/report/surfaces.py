"""Surfaces of label maps, shaded, in one pose: the 3-D views of papers' figures.

They are for the eye: smoothed to a resolution that is stated, and never what is scored. Each label's mask is
averaged over blocks of voxels, smoothed, and its surface taken by marching cubes (Lewiner et al., "Efficient
implementation of marching cubes' cases with topological guarantees", Journal of Graphics Tools 8, 2003).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from segtrace.report.cases import Scene
from segtrace.report.packing import LABEL_COLOURS, packed, png, reduced

#: Cells along the longest side of the labelled box, and triangles of one surface view, at most.
CELLS, TRIANGLES = 48, 18_000
#: Standard deviation of the smoothing, in cells.
SMOOTHING = 0.6
#: Side of the still picture in pixels.
SIDE = 260
#: The pose at first, in degrees: seen from the front, turned and from a little above.
TURN, TILT = 25.0, 15.0
#: Where the light comes from: left, above, before the picture.
LIGHT = (-0.4, 0.5, 0.77)


@dataclass(frozen=True)
class Part:
    """The surface of one label: vertices (n, 3) in mm, (x, y, z) to the left, back and up, and triangles (m, 3)."""

    position: int
    vertices: np.ndarray
    triangles: np.ndarray


@dataclass(frozen=True)
class Frame:
    """The labelled box of a case, shared by all its views: where it starts and ends in mm (x, y, z), and the cell."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    cell_mm: float

    @property
    def radius(self) -> float:
        """Half the box's diagonal: what a view shows around its centre, mm."""
        return max(math.dist(self.low, self.high) / 2, 1e-6)


def frame_of(scene: Scene) -> Frame | None:
    """The box around all labels of the case's reference and predictions; None where there are none."""
    found = ndimage.find_objects(scene.labelled.astype(np.uint8))
    if not found:
        return None
    spacing = scene.spacing
    sides = [(box.stop - box.start) * s for box, s in zip(found[0], spacing, strict=True)]
    cell = max(max(sides) / CELLS, min(spacing))
    # smoothing reaches a little beyond the voxels, at most two cells
    low = tuple(box.start * s - 2 * cell for box, s in zip(found[0], spacing, strict=True))[::-1]
    high = tuple(box.stop * s + 2 * cell for box, s in zip(found[0], spacing, strict=True))[::-1]
    return Frame(low, high, cell)


def views(scene: Scene, labels: Sequence[int]) -> tuple[Frame, dict[str, list[Part]]] | None:
    """The surfaces of the reference (key "") and each prediction, in one frame and resolution.

    The cell is made larger until no view has more than :data:`TRIANGLES`. None for a case without labels.
    """
    frame = frame_of(scene)
    while frame is not None:
        made = {}
        for name, mask in {"": scene.reference, **scene.predictions}.items():
            made[name] = surface(mask, scene.spacing, labels=labels, cell_mm=frame.cell_mm)
            if sum(len(part.triangles) for part in made[name]) > TRIANGLES:
                frame = Frame(frame.low, frame.high, frame.cell_mm * 1.25)
                break
        else:
            return frame, made
    return None


def surface(
    mask: np.ndarray, spacing: Sequence[float], *, labels: Sequence[int], cell_mm: float
) -> list[Part]:
    """The surfaces of ``labels`` in ``mask`` (D, H, W), smoothed to ``cell_mm``; a label without voxels has none.

    A structure that is smaller than a cell is drawn as a small bump, not left out.
    """
    boxes = ndimage.find_objects(mask)
    parts = []
    for position, label in enumerate(labels):
        box = boxes[label - 1] if label <= len(boxes) else None
        if box is not None:
            vertices, triangles = _marched(mask[box] == label, box, spacing, cell_mm=cell_mm)
            parts.append(Part(position, vertices, triangles))
    return parts


def _marched(
    inside: np.ndarray, box: tuple[slice, ...], spacing: Sequence[float], *, cell_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    from skimage.measure import marching_cubes

    steps = tuple(max(1, math.floor(cell_mm / s + 1e-9)) for s in spacing)
    # empty cells around, so that the surface is closed, and to whole cells at the end
    padding = [(3 * f, 3 * f + -n % f) for n, f in zip(inside.shape, steps, strict=True)]
    share = reduced(np.pad(inside, padding), steps)
    size = [s * f for s, f in zip(spacing, steps, strict=True)]
    smooth = ndimage.gaussian_filter(share, [SMOOTHING * cell_mm / side for side in size], mode="constant")
    level = min(0.5, float(smooth.max()) / 2)
    vertices, triangles, _, _ = marching_cubes(smooth, level, allow_degenerate=False)
    # a cell's value stands in its middle; voxel i reaches from i to i + 1
    start = [part.start - pad[0] for part, pad in zip(box, padding, strict=True)]
    places = (vertices + 0.5) * np.array(size) + np.array(start) * np.array(spacing)
    places = places[:, ::-1].astype(float)
    if volume_mm3(places, triangles) < 0:
        triangles = triangles[:, ::-1]
    return places, np.ascontiguousarray(triangles)


def volume_mm3(vertices: np.ndarray, triangles: np.ndarray) -> float:
    """The volume that a closed surface encloses; negative where its triangles look inwards."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def content(parts: Sequence[Part], frame: Frame) -> dict[str, Any]:
    """Surfaces for the page: vertices as 16-bit parts of the box, triangles, both as differences, packed."""
    low, high = np.array(frame.low), np.array(frame.high)
    whole = [np.rint((part.vertices - low) / (high - low) * 65535).clip(0, 65535) for part in parts]
    return {
        "parts": [
            {"label": part.position, "vertices": len(part.vertices), "triangles": len(part.triangles)}
            for part in parts
        ],
        "vertices": packed(_steps([values.T.ravel() for values in whole])),
        "triangles": packed(_steps([part.triangles.ravel() for part in parts])),
    }


def _steps(runs: Sequence[np.ndarray]) -> np.ndarray:
    """Each value less the one before it, modulo 65,536, as little-endian bytes: what repeats packs well."""
    values = np.concatenate([np.zeros(0), *runs]).astype(np.int64)
    return np.diff(values, prepend=0).astype(np.uint16).astype("<u2")


def projected(vectors: np.ndarray, *, turn: float, tilt: float) -> np.ndarray:
    """Vectors (n, 3) of (x, y, z) as (right, up, towards the viewer); angles in degrees.

    At 0, 0 the patient is seen from the front with the left side on the right.
    """
    a, t = math.radians(turn), math.radians(tilt)
    x, front, up = vectors[:, 0], -vectors[:, 1], vectors[:, 2]
    right, near = x * math.cos(a) + front * math.sin(a), front * math.cos(a) - x * math.sin(a)
    return np.stack(
        [right, up * math.cos(t) - near * math.sin(t), near * math.cos(t) + up * math.sin(t)], axis=1
    )


def still(parts: Sequence[Part], frame: Frame) -> str:
    """The surfaces in the first pose as a ``data:`` address of a PNG, without a background."""
    shades = min(24, 255 // max(1, 1 + max((part.position for part in parts), default=0)))
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    centre = (np.array(frame.low) + np.array(frame.high)) / 2
    light = np.array(LIGHT) / np.linalg.norm(LIGHT)
    samples, colours = [], []
    for part in parts:
        seen = projected(part.vertices - centre, turn=TURN, tilt=TILT)
        corners = seen[part.triangles]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        length = np.linalg.norm(normals, axis=1)
        facing = (normals[:, 2] > 0) & (length > 0)
        bright = 0.3 + 0.7 * np.clip(normals[facing] @ light / length[facing], 0, 1)
        points, owner = _samples(corners[facing], pixel=2 * frame.radius / SIDE)
        samples.append(points)
        colours.append((1 + part.position * shades + np.rint(bright * (shades - 1)).astype(int))[owner])
    if samples:
        points, values = np.concatenate(samples), np.concatenate(colours)
        order = np.argsort(points[:, 2], kind="stable")  # the nearest is painted last
        columns, rows = (
            np.clip((sign * points[order, axis] / frame.radius + 1) * SIDE / 2, 0, SIDE - 1).astype(int)
            for axis, sign in ((0, 1), (1, -1))
        )
        drawn[rows, columns] = values[order]
    picture = Image.fromarray(drawn)
    palette = [(0, 0, 0)]
    for position in range(1 + max((part.position for part in parts), default=-1)):
        hue = LABEL_COLOURS[position % len(LABEL_COLOURS)]
        palette += [
            (hue[0] * i // (shades - 1), hue[1] * i // (shades - 1), hue[2] * i // (shades - 1))
            for i in range(shades)
        ]
    picture.putpalette([part for entry in palette for part in entry])
    picture.info["transparency"] = 0
    return png(picture)


def _samples(corners: np.ndarray, *, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Points that cover triangles (m, 3, 3) closer than a pixel, (n, 3), and the triangle of each."""
    edges = np.linalg.norm(np.roll(corners, 1, axis=1)[..., :2] - corners[..., :2], axis=2)
    finest = np.ceil(1.5 * edges.max(axis=1, initial=0) / pixel).astype(int) + 1
    points, owner = [np.zeros((0, 3))], [np.zeros(0, int)]
    for count in np.unique(finest):
        which = np.flatnonzero(finest == count)
        i, j = (part.ravel() for part in np.indices((count + 1, count + 1)))
        weights = np.stack([i, j, count - i - j], axis=1)[i + j <= count] / count
        points.append(np.einsum("sc,mcd->msd", weights, corners[which]).reshape(-1, 3))
        owner.append(np.repeat(which, len(weights)))
    return np.concatenate(points), np.concatenate(owner)
