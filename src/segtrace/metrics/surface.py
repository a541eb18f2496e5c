"""Surface distances of label maps, computed once for all labels, and the metrics that are read from them.

The same name stands for different numbers in different packages, so a convention is always named:

* ``border``: surface elements are border voxels (:mod:`segtrace.metrics.borders`), all of one weight, and
  HD95 is the greater of the two directed 95th percentiles (linear interpolation), as in MONAI and in
  Maier-Hein et al., "Metrics reloaded", Nature Methods 21 (2024). This is what the tables hold.
* ``pooled``: the same border voxels, but HD95 is the 95th percentile of both directions together, as in medpy.
* ``surfel``: surface elements lie between voxels and weigh by their area
  (:mod:`segtrace.metrics.surfels`); a percentile is the first distance within which that share of the
  area lies, without interpolation, and HD95 the greater of the two directed ones, as in DeepMind's
  surface-distance.

On the same masks HD95 differs by some per cent between them: compare numbers of one convention only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import numpy as np
from scipy import ndimage

from segtrace.metrics.borders import Border, border, bounding_box
from segtrace.metrics.nearest import nearest
from segtrace.metrics.surfels import surfels

#: A distance equal to the tolerance is within it, also where the spacing went through single precision.
ROUNDING = 1e-6


class Convention(StrEnum):
    """What a surface is made of, and how percentiles of distances are taken (see the module)."""

    BORDER = "border"
    POOLED = "pooled"
    SURFEL = "surfel"


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances from each surface element of one mask to the nearest of the other, sorted, in both directions.

    ``to_reference`` has one value a surface element of the prediction, ``to_prediction`` one a surface
    element of the reference; the unit is that of the spacing. ``areas`` has what each of them weighs, in
    the same order, where they are surfels.
    """

    to_reference: np.ndarray
    to_prediction: np.ndarray
    convention: Convention = Convention.BORDER
    areas: tuple[np.ndarray, np.ndarray] | None = None

    def scaled(self, factor: float) -> "SurfaceDistances":
        """The same distances in another unit."""
        return SurfaceDistances(
            self.to_reference * factor, self.to_prediction * factor, self.convention, self.areas
        )


def surface_distances(
    prediction: np.ndarray,
    reference: np.ndarray,
    *,
    spacing: Sequence[float],
    convention: Convention = Convention.BORDER,
) -> SurfaceDistances | None:
    """The surface distances of two boolean masks of one shape, (D, H, W) or (H, W); None if either is empty.

    ``spacing`` is in array order, (z, y, x) or (y, x), and gives the unit: millimetres, or ones for
    voxels. Raises :class:`ValueError` for masks of different shape and for a spacing that is not positive.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction of shape {prediction.shape}, reference of shape {reference.shape}")
    one, two = (mask.astype(bool, copy=False).view(np.uint8) for mask in (prediction, reference))
    box = bounding_box(one | two) or (slice(0, 1),) * one.ndim
    found = label_distances(one[box], two[box], labels=[1], spacings=[spacing], convention=convention)
    return found[0].get(1)


def label_distances(
    prediction: np.ndarray,
    reference: np.ndarray,
    *,
    labels: Sequence[int],
    spacings: Sequence[Sequence[float]],
    convention: Convention = Convention.BORDER,
) -> list[dict[int, SurfaceDistances]]:
    """Label → its surface distances, for each of ``spacings`` (units), of the ``labels`` that both maps have.

    Label maps of one shape, (D, H, W) or (H, W), best cropped to what is not background. Spacings as in
    :func:`surface_distances`; where one is a multiple of another, one search serves both.
    """
    steps = [tuple(float(size) for size in spacing) for spacing in spacings]
    for step in steps:
        if len(step) != prediction.ndim or min(step) <= 0:
            raise ValueError(f"spacing {step} for masks of {prediction.ndim} dimensions")
    if convention is Convention.SURFEL:
        search = partial(_of_surfels, prediction, reference)
    else:
        search = partial(_of_borders, border(prediction), border(reference), convention)
    made: dict[tuple[float, ...], dict[int, SurfaceDistances]] = {}
    for step in steps:
        other = next((done for done in made if _is_multiple(step, done)), None)
        if other is None:
            made[step] = search(labels, step)
        else:
            made[step] = {label: found.scaled(step[0] / other[0]) for label, found in made[other].items()}
    return [made[step] for step in steps]


def _is_multiple(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one == tuple(one[0] / other[0] * size for size in other)


def _of_borders(
    prediction: Border,
    reference: Border,
    convention: Convention,
    labels: Sequence[int],
    spacing: tuple[float, ...],
) -> dict[int, SurfaceDistances]:
    """Both directions for all labels together."""
    to_reference = nearest(prediction, reference, spacing=spacing)
    to_prediction = nearest(reference, prediction, spacing=spacing)
    found = {}
    for label in labels:
        one = to_reference[prediction.values == label]
        two = to_prediction[reference.values == label]
        if len(one) and len(two):
            found[label] = SurfaceDistances(np.sort(one), np.sort(two), convention)
    return found


def _of_surfels(
    prediction: np.ndarray, reference: np.ndarray, labels: Sequence[int], spacing: tuple[float, ...]
) -> dict[int, SurfaceDistances]:
    """Label by label: a corner of the grid can be on the surface of several labels."""
    boxes = [ndimage.find_objects(part, max_label=max(labels, default=1)) for part in (prediction, reference)]
    found = {}
    for label in labels:
        own = [of_map[label - 1] for of_map in boxes]
        if None in own:
            continue
        box = tuple(
            slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(own[0], own[1], strict=True)
        )
        (one, one_areas), (two, two_areas) = (
            surfels(part[box] == label, spacing=spacing) for part in (prediction, reference)
        )
        to_reference, one_areas = _sorted(nearest(one, two, spacing=spacing), one_areas)
        to_prediction, two_areas = _sorted(nearest(two, one, spacing=spacing), two_areas)
        found[label] = SurfaceDistances(
            to_reference, to_prediction, Convention.SURFEL, (one_areas, two_areas)
        )
    return found


def _sorted(distances: np.ndarray, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((areas, distances))
    return distances[order], areas[order]


def hausdorff(distances: SurfaceDistances, *, percentile: float = 95.0) -> float:
    """The Hausdorff distance at a ``percentile`` by the distances' convention, in their unit.

    100 gives the Hausdorff distance itself, the greatest distance of all, in every convention.
    """
    both = (distances.to_reference, distances.to_prediction)
    if percentile == 100:
        return max(float(values[-1]) for values in both)
    if distances.areas is not None:
        pairs = zip(both, distances.areas, strict=True)
        return max(_within(values, areas, percentile) for values, areas in pairs)
    if distances.convention is Convention.POOLED:
        return _percentile(np.sort(np.concatenate(both)), percentile)
    return max(_percentile(values, percentile) for values in both)


def _percentile(ordered: np.ndarray, percentile: float) -> float:
    position = (len(ordered) - 1) * percentile / 100
    low = math.floor(position)
    below, above = float(ordered[low]), float(ordered[min(low + 1, len(ordered) - 1)])
    return below + (above - below) * (position - low)


def _within(ordered: np.ndarray, areas: np.ndarray, percentile: float) -> float:
    """The first distance within which ``percentile`` of the area lies."""
    share = np.cumsum(areas) / np.sum(areas)
    return float(ordered[min(int(np.searchsorted(share, percentile / 100)), len(ordered) - 1)])


def average_distances(distances: SurfaceDistances) -> tuple[float, float]:
    """Mean distance from the prediction's surface to the reference's, and from the reference's to the prediction's."""
    (one, one_size), (two, two_size) = _totals(distances)
    return one / one_size, two / two_size


def average_distance(distances: SurfaceDistances) -> float:
    """ASSD, the average symmetric surface distance: the mean over the surface elements of both masks.

    As in MONAI (``symmetric=True``), medpy and MetricsReloaded; surfels weigh by their area. It is not
    the mean of the two directed means, which others call MASD.
    """
    (one, one_size), (two, two_size) = _totals(distances)
    return (one + two) / (one_size + two_size)


def _totals(distances: SurfaceDistances) -> list[tuple[float, float]]:
    """(sum of the distances, size of the surface) of either direction; correctly rounded, the same in any order."""
    both = (distances.to_reference, distances.to_prediction)
    if distances.areas is not None:
        pairs = zip(both, distances.areas, strict=True)
        return [(math.fsum(values * areas), math.fsum(areas)) for values, areas in pairs]
    found = []
    for ordered in both:  # most distances are few whole steps: equal ones are counted first
        starts = np.flatnonzero(np.diff(ordered, prepend=-1.0))
        counts = np.diff(starts, append=len(ordered))
        found.append((math.fsum(ordered[starts] * counts), float(len(ordered))))
    return found


def surface_overlap(distances: SurfaceDistances, *, tolerance: float) -> float:
    """NSD, the normalised surface Dice: the share of both surfaces within ``tolerance`` of the other one.

    Nikolov et al., Journal of Medical Internet Research 23 (2021), equation of the surface Dice at a
    tolerance; border voxels count alike, as in MONAI, surfels by their area, as in surface-distance. A
    distance equal to the tolerance is within it. ``tolerance`` is in the unit of the distances.
    """
    both = (distances.to_reference, distances.to_prediction)
    limit = tolerance * (1 + ROUNDING)
    within = [int(np.searchsorted(ordered, limit, side="right")) for ordered in both]
    if distances.areas is None:
        return sum(within) / sum(len(ordered) for ordered in both)
    inside = math.fsum(math.fsum(areas[:count]) for areas, count in zip(distances.areas, within, strict=True))
    return inside / math.fsum(math.fsum(areas) for areas in distances.areas)
