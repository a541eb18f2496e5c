"""All measures of all labels of a case in one pass, and the one place that says what empties are worth.

Policy, with the reason that each row carries:

* both masks empty ("both empty"): the prediction is right; Dice and IoU are 1, precision, recall and
  HD95 are unknown;
* prediction empty ("prediction empty"): Dice, IoU and recall are 0, precision is unknown, HD95 is unknown
  and counts as the worst, the image's diagonal, when cases are averaged;
* reference empty ("reference empty"): Dice, IoU and precision are 0, recall is unknown, HD95 as above;
* prediction missing ("prediction missing"): as bad as a result can be: every overlap is 0, accuracy too,
  HD95 is unknown and counts as the worst; the counts are those of an empty prediction;
* spacing not known ("no physical spacing"): HD95 and the worst value in millimetres are unknown, those
  in voxels are as ever.

An unknown value is None, never 0 or infinity; dropping it from a mean would reward a method that finds
nothing (Reinke et al., Nature Methods 21, 2024; Maier-Hein et al., ibid.).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import find_objects

from segtrace.metrics import counts as counting
from segtrace.metrics.counts import Counts
from segtrace.metrics.surface import border, border_distances, bounding_box, hausdorff

BOTH_EMPTY = "both empty"
PREDICTION_EMPTY = "prediction empty"
REFERENCE_EMPTY = "reference empty"
PREDICTION_MISSING = "prediction missing"
NO_SPACING = "no physical spacing"


@dataclass(frozen=True)
class Measures:
    """One label's measures: columns of the ``scores`` table of the same names; None is unknown."""

    label: int
    tp: int
    fp: int
    fn: int
    tn: int
    dice: float
    iou: float
    precision: float | None
    recall: float | None
    accuracy: float
    hd95_mm: float | None
    hd95_voxel: float | None
    worst_mm: float | None
    worst_voxel: float
    reason: str


def measure(
    prediction: np.ndarray,
    reference: np.ndarray,
    *,
    labels: Sequence[int],
    spacing_mm: Sequence[float] | None,
) -> list[Measures]:
    """The measures of ``labels``, in their order, of two label maps of one shape, (D, H, W) or (H, W).

    ``spacing_mm`` is in array order, (z, y, x) or (y, x), or None where there is no physical scale.
    Raises :class:`ValueError` for maps of different shape, of negative values, or not of whole numbers.
    """
    found = counting.count(prediction, reference, labels=labels)
    distances = _hd95(prediction, reference, labels=labels, spacing_mm=spacing_mm)
    worst = _worst(prediction.shape, spacing_mm)
    return [_row(label, found[label], distances.get(label, (None, None)), worst) for label in labels]


def missing(
    reference: np.ndarray, *, labels: Sequence[int], spacing_mm: Sequence[float] | None
) -> list[Measures]:
    """The measures of a case without a prediction, as :func:`measure`: the worst there are."""
    worst_mm, worst_voxel = _worst(reference.shape, spacing_mm)
    found = counting.count(np.zeros_like(reference), reference, labels=labels)
    return [
        Measures(
            label=label,
            tp=counts.tp,
            fp=counts.fp,
            fn=counts.fn,
            tn=counts.tn,
            dice=0.0,
            iou=0.0,
            precision=0.0,
            recall=0.0,
            accuracy=0.0,
            hd95_mm=None,
            hd95_voxel=None,
            worst_mm=worst_mm,
            worst_voxel=worst_voxel,
            reason=_join(PREDICTION_MISSING, NO_SPACING if worst_mm is None else ""),
        )
        for label, counts in found.items()
    ]


def _worst(shape: Sequence[int], spacing_mm: Sequence[float] | None) -> tuple[float | None, float]:
    """The image's diagonal, (mm, voxels)."""
    sides = np.asarray(shape, float)
    in_mm = None if spacing_mm is None else float(np.linalg.norm(sides * np.asarray(spacing_mm, float)))
    return in_mm, float(np.linalg.norm(sides))


def _hd95(
    prediction: np.ndarray,
    reference: np.ndarray,
    *,
    labels: Sequence[int],
    spacing_mm: Sequence[float] | None,
) -> dict[int, tuple[float | None, float]]:
    """Label → HD95 (mm, voxels), for labels that are in both maps."""
    box = bounding_box((prediction != 0) | (reference != 0))
    if box is None:
        return {}
    maps = [np.ascontiguousarray(array[box]) for array in (prediction, reference)]
    boxes = [find_objects(array if array.dtype.kind != "b" else array.view(np.uint8)) for array in maps]
    result = {}
    for label in labels:
        pair = [held[label - 1] if label <= len(held) else None for held in boxes]
        if pair[0] is None or pair[1] is None:
            continue
        union = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(*pair, strict=True))
        borders = [border(array[union] == label) for array in maps]
        result[label] = _in_both_units(borders[0], borders[1], spacing_mm)
    return result


def _in_both_units(
    prediction: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float] | None
) -> tuple[float | None, float]:
    ones = (1.0,) * prediction.ndim
    distances = border_distances(prediction, reference, spacing=ones)
    assert distances is not None  # the label is in both
    in_voxels = hausdorff(distances)
    if spacing_mm is None:
        return None, in_voxels
    if len(set(spacing_mm)) == 1:  # a cubic grid: one search serves both units
        return hausdorff(distances.scaled(float(spacing_mm[0]))), in_voxels
    physical = border_distances(prediction, reference, spacing=spacing_mm)
    assert physical is not None
    return hausdorff(physical), in_voxels


def _row(
    label: int,
    counts: Counts,
    hd95: tuple[float | None, float | None],
    worst: tuple[float | None, float],
) -> Measures:
    empty = ""
    if not counts.prediction or not counts.reference:
        empty = PREDICTION_EMPTY if counts.reference else REFERENCE_EMPTY if counts.prediction else BOTH_EMPTY
    dice, iou = counting.dice(counts), counting.iou(counts)
    return Measures(
        label=label,
        tp=counts.tp,
        fp=counts.fp,
        fn=counts.fn,
        tn=counts.tn,
        dice=1.0 if dice is None else dice,
        iou=1.0 if iou is None else iou,
        precision=counting.precision(counts),
        recall=counting.recall(counts),
        accuracy=counting.accuracy(counts),
        hd95_mm=hd95[0],
        hd95_voxel=hd95[1],
        worst_mm=worst[0],
        worst_voxel=worst[1],
        reason=_join(empty, NO_SPACING if worst[0] is None else ""),
    )


def _join(*reasons: str) -> str:
    return "; ".join(reason for reason in reasons if reason)
