"""Cases side by side, in the form of the papers' figures: image, reference, each method, the Dice below each.

A row shows one slice of one case in all its columns. The image is in the page once a row; contours are paths
over it, so they stay sharp when enlarged or printed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from scipy import ndimage

from segtrace.overlays import PLANES, most_labelled, window
from segtrace.report.cases import Case, Scene
from segtrace.report.packing import colour, pale, png

#: Longest side in pixels of a row's image, and of the label maps that its contours are taken from.
SIDE, CONTOUR_SIDE = 512, 1024
#: A volume is shown in the plane it was acquired in: axial, unless another axis is coarser by this factor.
COARSER = 1.2


@dataclass(frozen=True)
class Outline:
    """The contour of one label as an SVG path in half pixels of the label map, and its colours."""

    label: int
    path: str
    colour: str
    pale: str


@dataclass(frozen=True)
class Scored:
    """What the drawn prediction scored: Dice as text, the mean of labels and (label, name, Dice) of each.

    ``fold`` and ``seed`` are those of its run, None where no run scored the case.
    """

    mean: str
    labels: tuple[tuple[int, str, str], ...]
    fold: int | None
    seed: int | None

    @property
    def words(self) -> str:
        """All of it in one line."""
        if self.fold is None or not self.labels:
            return "not scored"
        each = ", ".join(f"{name} {value}" for _, name, value in self.labels)
        return f"Dice {each}" + (f", mean {self.mean}" if len(self.labels) > 1 else "")


@dataclass(frozen=True)
class Cell:
    """A column of a row: contours of a method's prediction, what it scored, or why there is no picture."""

    method: str
    scored: Scored
    outlines: tuple[Outline, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Row:
    """A case: the picture, its size in millimetres or pixels, the reference and the methods' cells.

    ``scale`` turns half pixels of the label map into the picture's units, (x, y).
    """

    case: str
    problem: str = ""
    png: str = ""
    width: float = 0
    height: float = 0
    scale: tuple[float, float] = (1, 1)
    place: str = ""
    reduced: int = 1
    reference: tuple[Outline, ...] = ()
    cells: tuple[Cell, ...] = field(default=())


def plane_of(spacing: tuple[float, ...]) -> int:
    """The axis across which a volume was acquired: 0 (axial) unless another is clearly coarser."""
    coarsest = int(np.argmax(spacing))
    return coarsest if spacing[coarsest] > COARSER * spacing[0] else 0


def place_of(scene: Scene, axis: int) -> int:
    """The slice with most reference, or with most of the predictions where the reference is empty."""
    return most_labelled(scene.reference if scene.reference.any() else scene.labelled, axis=axis)


def row_of(case: Case, *, scored: Mapping[str, Scored], labels: Mapping[int, str]) -> Row:
    """Draw a case; ``scored`` is by method, in the order of the columns."""
    if case.problem:
        return Row(case.name, problem=case.problem)
    scene = case.scene
    grey, reference, spacing, place = scene.grey, scene.reference, scene.spacing, ""
    predictions = dict(scene.predictions)
    if scene.volume:
        axis = plane_of(spacing)
        at = place_of(scene, axis)
        place = f"{PLANES[axis]}, slice {at + 1} of {reference.shape[axis]}"
        grey, reference = cut(grey, axis, at), cut(reference, axis, at)
        predictions = {method: cut(array, axis, at) for method, array in predictions.items()}
        spacing = tuple(s for a, s in enumerate(spacing) if a != axis)
        part = window(np.logical_or.reduce([reference > 0, *(array > 0 for array in predictions.values())]))
        grey, reference = grey[part], reference[part]
        predictions = {method: array[part] for method, array in predictions.items()}
    step = -(-max(reference.shape) // CONTOUR_SIDE)
    height, width = (n * s for n, s in zip(reference.shape, spacing, strict=True))
    return Row(
        case.name,
        png=png(_small(grey)),
        width=round(width, 3),
        height=round(height, 3),
        scale=(round(spacing[1] * step / 2, 6), round(spacing[0] * step / 2, 6)),
        place=place,
        reduced=step,
        reference=outlines(reference[::step, ::step], labels),
        cells=tuple(
            Cell(method, said, outlines(predictions[method][::step, ::step], labels))
            if method in predictions
            else Cell(method, said, problem=case.problems.get(method, "no run predicted this case"))
            for method, said in scored.items()
        ),
    )


def cut(array: np.ndarray, axis: int, place: int) -> np.ndarray:
    """A slice of a volume in anatomical order as it is looked at: superior or anterior up."""
    taken = np.take(array, place, axis=axis)
    return taken if axis == 0 else taken[::-1]


def _small(grey: np.ndarray) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(grey))
    longest = max(picture.size)
    if longest <= SIDE:
        return picture
    width, height = (max(1, round(n * SIDE / longest)) for n in picture.size)
    return picture.resize((width, height), Image.Resampling.BOX)


def outlines(mask: np.ndarray, labels: Mapping[int, str]) -> tuple[Outline, ...]:
    """The contours of the labels that ``mask`` (H, W) has."""
    boxes = ndimage.find_objects(mask)
    return tuple(
        Outline(label, path, colour(position), pale(position))
        for position, label in enumerate(labels)
        if label <= len(boxes) and boxes[label - 1] and (path := _path(mask == label, boxes[label - 1]))
    )


def _path(mask: np.ndarray, box: tuple[slice, ...]) -> str:
    """The borders of ``mask`` midway between pixels, as steps in half pixels; open where the picture ends."""
    from skimage.measure import find_contours

    rows, columns = (slice(max(0, part.start - 1), part.stop + 1) for part in box)
    padded = np.pad(mask[rows, columns], 1, mode="edge").astype(np.float32)
    offset = np.array([rows.start, columns.start])
    parts = []
    for line in find_contours(padded, 0.5):
        # a pixel's centre lies half a pixel from its corner, and the padding moved all by one
        points = np.rint(2 * (line + offset) - 1).astype(int)
        steps = np.diff(points, axis=0)
        turns = np.flatnonzero((steps[1:] != steps[:-1]).any(axis=1))
        kept = points[np.concatenate([[0], turns + 1, [len(points) - 1]])]
        moves = "".join(f"l{x} {y}" for y, x in np.diff(kept, axis=0))
        closed = "z" if (points[0] == points[-1]).all() else ""
        parts.append(f"M{kept[0, 1]} {kept[0, 0]}{moves}{closed}")
    return "".join(parts)
