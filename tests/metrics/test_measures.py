"""One pass over a case: every label's counts, overlaps and distances, and the policy for empties."""

from dataclasses import asdict

import numpy as np
import pytest

from segtrace import tables
from segtrace.metrics import counts as counting
from segtrace.metrics.measures import Measures, measure, missing
from segtrace.metrics.surface import (
    Convention,
    average_distance,
    hausdorff,
    surface_distances,
    surface_overlap,
)


def volume(*boxes: tuple[int, slice, slice, slice]) -> np.ndarray:
    labels = np.zeros((10, 12, 14), np.uint8)
    for value, *box in boxes:
        labels[tuple(box)] = value
    return labels


CUBE = (slice(2, 6), slice(2, 6), slice(2, 6))
MOVED = (slice(2, 6), slice(2, 6), slice(3, 7))
TOLERANCES = dict.fromkeys(range(1, 6), 1.0)
DIAGONAL_VOXEL = float(np.linalg.norm([10, 12, 14]))


def only(found: list[Measures]) -> Measures:
    assert len(found) == 1
    return found[0]


def distances(row: Measures) -> tuple[float | None, ...]:
    return row.hd95_mm, row.hd95_voxel, row.hd_mm, row.hd_voxel, row.assd_mm, row.assd_voxel


def test_a_shifted_cube_by_hand() -> None:
    row = only(
        measure(
            volume((1, *MOVED)),
            volume((1, *CUBE)),
            labels=[1],
            spacing_mm=(3.0, 1.0, 0.5),
            tolerances=TOLERANCES,
        )
    )
    assert (row.tp, row.fp, row.fn, row.tn) == (48, 16, 16, 1680 - 80)
    assert (row.dice, row.precision, row.recall) == (0.75, 0.75, 0.75)
    assert row.iou == pytest.approx(0.6)
    assert row.accuracy == pytest.approx(1 - 32 / 1680)
    assert (row.hd95_voxel, row.hd95_mm) == (1.0, 0.5)
    assert (row.hd_voxel, row.hd_mm) == (1.0, 0.5)
    # of the 56 border voxels of either cube, the 16 outside the other one and the 4 inside it are a step away
    assert (row.assd_voxel, row.assd_mm) == (pytest.approx(20 / 56), pytest.approx(10 / 56))
    assert (row.nsd, row.nsd_tolerance_mm, row.nsd_tolerance_voxel) == (1.0, 1.0, None)
    assert row.worst_voxel == pytest.approx(DIAGONAL_VOXEL)
    assert row.worst_mm == pytest.approx(np.linalg.norm([30, 12, 7]))
    assert row.reason == ""


def test_cubic_voxels_scale_the_distance() -> None:
    row = only(
        measure(
            volume((1, *MOVED)),
            volume((1, *CUBE)),
            labels=[1],
            spacing_mm=(2.5, 2.5, 2.5),
            tolerances=TOLERANCES,
        )
    )
    assert (row.hd95_voxel, row.hd95_mm) == (1.0, 2.5)


def test_both_empty() -> None:
    row = only(measure(volume(), volume(), labels=[1], spacing_mm=(1.0, 1.0, 1.0), tolerances=TOLERANCES))
    assert (row.dice, row.iou, row.accuracy, row.nsd) == (1.0, 1.0, 1.0, 1.0)
    assert (row.precision, row.recall, *distances(row)) == (None,) * 8
    assert (row.tp, row.fp, row.fn, row.tn) == (0, 0, 0, 1680)
    assert row.reason == "both empty"


def test_prediction_empty() -> None:
    row = only(
        measure(volume(), volume((1, *CUBE)), labels=[1], spacing_mm=(1.0, 1.0, 1.0), tolerances=TOLERANCES)
    )
    assert (row.dice, row.iou, row.recall, row.nsd) == (0.0, 0.0, 0.0, 0.0)
    assert (row.precision, *distances(row)) == (None,) * 7
    assert (row.fn, row.reason) == (64, "prediction empty")


def test_reference_empty() -> None:
    row = only(
        measure(volume((1, *CUBE)), volume(), labels=[1], spacing_mm=(1.0, 1.0, 1.0), tolerances=TOLERANCES)
    )
    assert (row.dice, row.iou, row.precision, row.nsd) == (0.0, 0.0, 0.0, 0.0)
    assert (row.recall, *distances(row)) == (None,) * 7
    assert (row.fp, row.reason) == (64, "reference empty")


def test_without_a_physical_scale_there_are_no_millimetres() -> None:
    row = only(
        measure(volume((1, *MOVED)), volume((1, *CUBE)), labels=[1], spacing_mm=None, tolerances=TOLERANCES)
    )
    assert (row.hd95_mm, row.hd_mm, row.assd_mm, row.worst_mm) == (None,) * 4
    assert (row.hd95_voxel, row.worst_voxel) == (1.0, pytest.approx(DIAGONAL_VOXEL))
    assert (row.nsd, row.nsd_tolerance_mm, row.nsd_tolerance_voxel) == (1.0, None, 1.0)
    assert row.reason == "no physical spacing"
    row = only(measure(volume(), volume((1, *CUBE)), labels=[1], spacing_mm=None, tolerances=TOLERANCES))
    assert row.reason == "prediction empty; no physical spacing"


def test_a_missing_prediction_is_the_worst_there_is() -> None:
    rows = missing(volume((1, *CUBE)), labels=[1, 2], spacing_mm=(1.0, 1.0, 1.0), tolerances=TOLERANCES)
    for row in rows:
        assert (row.dice, row.iou, row.precision, row.recall, row.accuracy) == (0.0,) * 5
        assert (row.nsd, *distances(row)) == (0.0, *[None] * 6)
        assert row.worst_mm == pytest.approx(DIAGONAL_VOXEL)
        assert row.reason == "prediction missing"
    assert [(row.tp, row.fp, row.fn) for row in rows] == [(0, 0, 64), (0, 0, 0)]


def test_every_column_of_the_table_is_measured() -> None:
    measured = set(asdict(missing(volume(), labels=[1], spacing_mm=None, tolerances=TOLERANCES)[0]))
    assert set(tables.METRICS) <= measured
    assert measured <= set(tables.columns("scores"))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.7, 0.7), None])
def test_all_labels_at_once_equal_each_on_its_own(spacing: tuple[float, ...] | None) -> None:
    """Labels that touch, one inside another, one in the reference alone."""
    rng = np.random.default_rng(3)
    for seed in range(12):
        reference = np.zeros((14, 16, 18), np.uint8)
        for label in (1, 2, 3, 5):
            low = rng.integers(0, 9, 3)
            reference[tuple(slice(int(n), int(n + rng.integers(2, 8))) for n in low)] = label
        prediction = np.roll(reference, rng.integers(-2, 3, 3), (0, 1, 2))
        prediction[prediction == 5] = 0
        prediction[rng.random(prediction.shape) < 0.01] = 2
        for row in measure(
            prediction, reference, labels=[1, 2, 3, 4, 5], spacing_mm=spacing, tolerances=TOLERANCES
        ):
            masks = prediction == row.label, reference == row.label
            counts = counting.count(*masks, labels=[1])[1]
            assert (row.tp, row.fp, row.fn, row.tn) == (counts.tp, counts.fp, counts.fn, counts.tn)
            for unit, scale in (("voxel", (1.0,) * 3), ("mm", spacing)):
                alone = scale and surface_distances(*masks, spacing=scale)
                expected = (
                    (hausdorff(alone), hausdorff(alone, percentile=100), average_distance(alone))
                    if alone
                    else (None,) * 3
                )
                found = tuple(getattr(row, f"{metric}_{unit}") for metric in ("hd95", "hd", "assd"))
                assert found == pytest.approx(expected), (seed, row.label, unit)
                if alone and unit == ("mm" if spacing else "voxel"):
                    assert row.nsd == surface_overlap(alone, tolerance=TOLERANCES[row.label])
    assert row.reason.startswith("prediction empty" if (reference == 5).any() else "both empty")


def test_maps_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        measure(
            np.zeros((2, 2), np.uint8),
            np.zeros((2, 3), np.uint8),
            labels=[1],
            spacing_mm=None,
            tolerances=TOLERANCES,
        )


def test_a_tolerance_is_asked_for_each_label() -> None:
    label = volume((1, *CUBE))
    for tolerances in ({1: 1.0}, {1: 1.0, 2: -0.5}, {1: 1.0, 2: float("nan")}):
        with pytest.raises(ValueError, match=r"labels \[2\] need a tolerance"):
            measure(label, label, labels=[1, 2], spacing_mm=None, tolerances=tolerances)


@pytest.mark.parametrize("convention", list(Convention))
def test_a_convention_is_that_of_all_surface_metrics(convention: Convention) -> None:
    reference, prediction = volume((1, *CUBE)), volume((1, *MOVED))
    row = only(
        measure(
            prediction,
            reference,
            labels=[1],
            spacing_mm=(3.0, 1.0, 0.5),
            tolerances={1: 0.2},
            convention=convention,
        )
    )
    alone = surface_distances(prediction == 1, reference == 1, spacing=(3.0, 1.0, 0.5), convention=convention)
    assert alone is not None
    assert row.hd95_mm == hausdorff(alone)
    assert row.assd_mm == average_distance(alone)
    assert row.nsd == surface_overlap(alone, tolerance=0.2)
