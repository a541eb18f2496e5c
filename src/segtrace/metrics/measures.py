"""All measures of all labels of a case in one pass, and the one place that says what empties are worth.

Policy, with the reason that each row carries:

* both masks empty ("both empty"): the prediction is right; Dice, IoU and NSD are 1, precision, recall
  and distances are unknown;
* prediction empty ("prediction empty"): Dice, IoU, recall and NSD are 0, precision is unknown, distances are
  unknown and count as the worst, the image's diagonal, when cases are averaged;
* reference empty ("reference empty"): Dice, IoU, precision and NSD are 0, recall is unknown, distances as above;
* prediction missing ("prediction missing"): as bad as a result can be: every overlap and NSD are 0, accuracy
  too, distances are unknown and count as the worst; the counts are those of an empty prediction;
* spacing not known ("no physical spacing"): distances and the worst value in millimetres are unknown, those
  in voxels are as ever, and NSD is at a tolerance in voxels.

An unknown value is None, never 0 or infinity; dropping it from a mean would reward a method that finds
nothing (Reinke et al., Nature Methods 21, 2024; Maier-Hein et al., ibid.). The distances are HD95, HD
(the Hausdorff distance itself) and ASSD (the average symmetric surface distance).

A region is the union of several labels, and is measured as one mask: the borders between its labels are none of its
own, and it is empty where all of its labels are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from segtrace.metrics import counts as counting
from segtrace.metrics.borders import bounding_box
from segtrace.metrics.counts import Counts
from segtrace.metrics.surface import (
    Convention,
    SurfaceDistances,
    average_distance,
    hausdorff,
    label_distances,
    surface_overlap,
)

BOTH_EMPTY = "both empty"
PREDICTION_EMPTY = "prediction empty"
REFERENCE_EMPTY = "reference empty"
PREDICTION_MISSING = "prediction missing"
NO_SPACING = "no physical spacing"


@dataclass(frozen=True)
class Measures:
    """One label's or region's measures: columns of the ``scores`` table of the same names; None is unknown."""

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
    nsd: float
    nsd_tolerance_mm: float | None
    nsd_tolerance_voxel: float | None
    hd95_mm: float | None
    hd95_voxel: float | None
    hd_mm: float | None
    hd_voxel: float | None
    assd_mm: float | None
    assd_voxel: float | None
    worst_mm: float | None
    worst_voxel: float
    reason: str


@dataclass(frozen=True)
class _Image:
    """What all labels of a case share."""

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None
    tolerances: Mapping[int, float]

    @property
    def worst_voxel(self) -> float:
        """The diagonal in voxels."""
        return float(np.linalg.norm(np.asarray(self.shape, float)))

    @property
    def worst_mm(self) -> float | None:
        """The diagonal in millimetres; None without a physical scale."""
        if self.spacing_mm is None:
            return None
        return float(np.linalg.norm(np.asarray(self.shape, float) * np.asarray(self.spacing_mm)))


def measure(
    prediction: np.ndarray,
    reference: np.ndarray,
    *,
    labels: Sequence[int],
    spacing_mm: Sequence[float] | None,
    tolerances: Mapping[int, float],
    regions: Mapping[int, Sequence[int]] | None = None,
    convention: Convention = Convention.BORDER,
) -> list[Measures]:
    """The measures of ``labels``, in their order, of two label maps of one shape, (D, H, W) or (H, W).

    Those of ``regions`` (number → the labels that it unites) follow, in their order.

    ``spacing_mm`` is in array order, (z, y, x) or (y, x), or None where there is no physical scale.
    ``tolerances`` has the NSD's tolerance of each label and region, in millimetres, or in voxels without a physical scale.
    Raises :class:`ValueError` for maps of different shape, of negative values, or not of whole numbers.
    """
    counting.check_pair(prediction, reference)
    unions = regions or {}
    image = _image(prediction.shape, spacing_mm, [*labels, *unions], tolerances)
    box = bounding_box((prediction != 0) | (reference != 0)) or (slice(0, 1),) * prediction.ndim
    prediction, reference = prediction[box], reference[box]
    outside = math.prod(image.shape) - prediction.size  # true negatives of every label
    inside = counting.count(prediction, reference, labels=labels, regions=unions)
    units = [(1.0,) * prediction.ndim, *([image.spacing_mm] if image.spacing_mm else [])]
    distances = label_distances(prediction, reference, labels=labels, spacings=units, convention=convention)
    for number, members in unions.items():
        found = _of_union(prediction, reference, members, known=distances, units=units, convention=convention)
        for of_unit, one in zip(distances, found, strict=True):
            of_unit.update({} if one is None else {number: one})
    voxel, *mm = distances
    return [
        _row(
            label,
            replace(inside[label], tn=inside[label].tn + outside),
            image,
            voxel=voxel.get(label),
            mm=mm[0].get(label) if mm else None,
        )
        for label in (*labels, *unions)
    ]


def _of_union(
    prediction: np.ndarray,
    reference: np.ndarray,
    members: Sequence[int],
    *,
    known: Sequence[Mapping[int, SurfaceDistances]],
    units: Sequence[Sequence[float]],
    convention: Convention,
) -> list[SurfaceDistances | None]:
    """The surface distances of a union of labels in each of ``units``, None where a mask is empty.

    ``known`` are those of the labels themselves, in the same units.
    """
    wanted = set(members)
    if len(wanted) == 1:
        (label,) = wanted
        return [of_unit.get(label) for of_unit in known]
    lookup = np.isin(np.arange(1 + max(int(prediction.max()), int(reference.max()))), sorted(wanted))
    one, two = (lookup[part].view(np.uint8) for part in (prediction, reference))
    if not one.any() or not two.any():
        return [None] * len(units)
    box = bounding_box(one | two) or (slice(0, 1),) * one.ndim
    found = label_distances(one[box], two[box], labels=[1], spacings=units, convention=convention)
    return [of_unit.get(1) for of_unit in found]


def missing(
    reference: np.ndarray,
    *,
    labels: Sequence[int],
    spacing_mm: Sequence[float] | None,
    tolerances: Mapping[int, float],
    regions: Mapping[int, Sequence[int]] | None = None,
) -> list[Measures]:
    """The measures of a case without a prediction, as :func:`measure`: the worst there are."""
    image = _image(reference.shape, spacing_mm, [*labels, *(regions or {})], tolerances)
    found = counting.count(np.zeros_like(reference), reference, labels=labels, regions=regions)
    return [
        replace(
            _row(label, counts, image, voxel=None, mm=None),
            dice=0.0,
            iou=0.0,
            precision=0.0,
            recall=0.0,
            accuracy=0.0,
            nsd=0.0,
            reason=_join(PREDICTION_MISSING, "" if image.spacing_mm else NO_SPACING),
        )
        for label, counts in found.items()
    ]


def _image(
    shape: tuple[int, ...],
    spacing_mm: Sequence[float] | None,
    labels: Sequence[int],
    tolerances: Mapping[int, float],
) -> _Image:
    unset = [label for label in labels if not tolerances.get(label, -1.0) >= 0]
    if unset:
        raise ValueError(f"labels {unset} need a tolerance of at least 0, got {dict(tolerances)}")
    spacing = None if spacing_mm is None else tuple(float(size) for size in spacing_mm)
    return _Image(shape, spacing, tolerances)


def _row(
    label: int,
    counts: Counts,
    image: _Image,
    *,
    voxel: SurfaceDistances | None,
    mm: SurfaceDistances | None,
) -> Measures:
    empty = ""
    if not counts.prediction or not counts.reference:
        empty = PREDICTION_EMPTY if counts.reference else REFERENCE_EMPTY if counts.prediction else BOTH_EMPTY
    dice, iou = counting.dice(counts), counting.iou(counts)
    known, tolerance = image.spacing_mm is not None, image.tolerances[label]
    scale = mm if known else voxel
    hd95_mm, hd_mm, assd_mm = _distances(mm)
    hd95_voxel, hd_voxel, assd_voxel = _distances(voxel)
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
        nsd=surface_overlap(scale, tolerance=tolerance) if scale else float(empty == BOTH_EMPTY),
        nsd_tolerance_mm=tolerance if known else None,
        nsd_tolerance_voxel=None if known else tolerance,
        hd95_mm=hd95_mm,
        hd95_voxel=hd95_voxel,
        hd_mm=hd_mm,
        hd_voxel=hd_voxel,
        assd_mm=assd_mm,
        assd_voxel=assd_voxel,
        worst_mm=image.worst_mm,
        worst_voxel=image.worst_voxel,
        reason=_join(empty, "" if known else NO_SPACING),
    )


def _distances(found: SurfaceDistances | None) -> tuple[float | None, float | None, float | None]:
    """HD95, HD and ASSD in the unit of the distances; None where a mask is empty."""
    if found is None:
        return None, None, None
    return hausdorff(found), hausdorff(found, percentile=100), average_distance(found)


def _join(*reasons: str) -> str:
    return "; ".join(reason for reason in reasons if reason)
