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

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

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
    counting.check_pair(prediction, reference)
    shape = prediction.shape
    box = bounding_box((prediction != 0) | (reference != 0)) or (slice(0, 1),) * prediction.ndim
    prediction, reference = prediction[box], reference[box]
    outside = math.prod(shape) - prediction.size  # true negatives of every label
    inside = counting.count(prediction, reference, labels=labels)
    found = {label: replace(counts, tn=counts.tn + outside) for label, counts in inside.items()}
    distances = _hd95(prediction, reference, labels=labels, spacing_mm=spacing_mm)
    worst = _worst(shape, spacing_mm)
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
    borders = border(prediction), border(reference)
    voxels = border_distances(*borders, labels=labels, spacing=(1.0,) * prediction.ndim)
    cubic = spacing_mm is not None and len(set(spacing_mm)) == 1  # one search serves both units
    physical = {}
    if spacing_mm is not None and not cubic:
        physical = border_distances(*borders, labels=labels, spacing=spacing_mm)
    result: dict[int, tuple[float | None, float]] = {}
    for label, found in voxels.items():
        if found is None:
            continue
        in_mm = (
            found.scaled(float(spacing_mm[0])) if spacing_mm is not None and cubic else physical.get(label)
        )
        result[label] = (None if in_mm is None else hausdorff(in_mm), hausdorff(found))
    return result


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
