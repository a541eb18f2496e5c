"""Regions: unions of labels, measured as one mask in the pass that measures the labels."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from segtrace.metrics import counts as counting
from segtrace.metrics.measures import measure, missing
from segtrace.metrics.surface import Convention

LABELS = (1, 2, 3)
#: The regions of BraTS on the labels of the Decathlon.
REGIONS = {1001: (1, 2, 3), 1002: (2, 3), 1003: (3,)}
TOLERANCES = {1: 1.0, 2: 1.0, 3: 1.0, 1001: 1.0, 1002: 1.0, 1003: 1.0}
MAPS = arrays.arrays(np.uint8, (4, 5, 6), elements=st.integers(0, 3))


def scored(prediction, reference, *, regions=REGIONS, **changes):
    given = {"labels": LABELS, "spacing_mm": (2.0, 1.0, 1.0), "tolerances": TOLERANCES} | changes
    return {row.label: row for row in measure(prediction, reference, regions=regions, **given)}


def test_a_line_by_hand():
    """Reference 1 1 2 2 3 3, prediction one voxel to the right: most labels are wrong, the union hardly is."""
    reference = np.array([[1, 1, 2, 2, 3, 3, 0, 0, 0, 0]], np.uint8)
    prediction = np.array([[0, 1, 1, 2, 2, 3, 3, 0, 0, 0]], np.uint8)
    found = scored(prediction, reference, spacing_mm=(1.0, 0.5), tolerances=dict.fromkeys(TOLERANCES, 0.4))
    assert list(found) == [1, 2, 3, 1001, 1002, 1003]
    assert [found[label].dice for label in LABELS] == [0.5, 0.5, 0.5]
    whole, core, enhancing = (found[number] for number in REGIONS)
    assert (whole.tp, whole.fp, whole.fn, whole.tn) == (5, 1, 1, 3)
    assert whole.dice == 10 / 12
    assert (core.tp, core.fp, core.fn, core.tn) == (3, 1, 1, 5)
    assert core.dice == 6 / 8
    assert (core.hd_voxel, core.hd_mm) == (1.0, 0.5)
    # in one row every voxel is on the border: one of four on either side is 0.5 mm off, beyond the tolerance
    assert core.nsd == 6 / 8
    assert replace(enhancing, label=3) == found[3]


def test_borders_between_the_labels_of_a_region_are_none_of_its_own():
    reference = np.zeros((9, 9), np.uint8)
    reference[1:8, 1:8] = 1
    reference[3:6, 3:6] = 2
    prediction = reference.copy()
    prediction[3:6, 3:6] = 1
    prediction[1, 1] = 2
    found = scored(
        prediction, reference, labels=(1, 2), regions={1001: (1, 2)}, spacing_mm=None, tolerances=TOLERANCES
    )
    assert found[1].dice < 1
    assert found[2].dice == 0
    whole = found[1001]
    assert (whole.dice, whole.nsd, whole.hd_voxel, whole.assd_voxel) == (1.0, 1.0, 0.0, 0.0)
    assert whole.reason == "no physical spacing"


def test_a_region_is_empty_where_all_of_its_labels_are():
    reference = np.zeros((6, 6, 6), np.uint8)
    reference[1:3, 1:3, 1:3] = 1
    prediction = reference.copy()
    found = scored(prediction, reference)
    assert (found[1001].reason, found[1001].dice) == ("", 1.0)
    assert (found[1002].reason, found[1002].dice, found[1002].hd95_mm) == ("both empty", 1.0, None)
    prediction[4, 4, 4] = 2
    assert scored(prediction, reference)[1002].reason == "reference empty"
    assert scored(reference, prediction)[1002].reason == "prediction empty"
    assert scored(reference, prediction)[1002].dice == 0.0


def test_of_a_missing_prediction_a_region_is_as_bad_as_can_be():
    reference = np.zeros((4, 4, 4), np.uint8)
    reference[0, 0] = (1, 2, 2, 3)
    rows = missing(
        reference, labels=LABELS, spacing_mm=(1.0, 1.0, 1.0), tolerances=TOLERANCES, regions=REGIONS
    )
    found = {row.label: row for row in rows}
    assert [found[number].fn for number in REGIONS] == [4, 3, 1]
    assert {(row.dice, row.nsd, row.reason) for row in rows} == {(0.0, 0.0, "prediction missing")}


@settings(max_examples=40, deadline=None)
@given(MAPS, MAPS, st.sampled_from([(1.0, 1.0, 1.0), (3.0, 0.5, 0.5), None]))
def test_a_region_is_scored_as_a_label_that_has_its_voxels(prediction, reference, spacing):
    found = scored(prediction, reference, spacing_mm=spacing)
    for number, members in REGIONS.items():
        one, two = (np.isin(part, members).astype(np.uint8) for part in (prediction, reference))
        (alone,) = measure(one, two, labels=[1], spacing_mm=spacing, tolerances={1: 1.0})
        assert asdict(found[number]) == asdict(replace(alone, label=number))
    plain = scored(prediction, reference, regions={}, spacing_mm=spacing)
    assert {label: found[label] for label in LABELS} == plain


@pytest.mark.parametrize("convention", list(Convention))
def test_regions_follow_the_convention(convention):
    rng = np.random.default_rng(5)
    prediction, reference = (rng.integers(0, 4, (6, 7, 8)).astype(np.uint8) for _ in range(2))
    found = scored(prediction, reference, convention=convention)[1002]
    (alone,) = measure(
        (prediction > 1).astype(np.uint8),
        (reference > 1).astype(np.uint8),
        labels=[1],
        spacing_mm=(2.0, 1.0, 1.0),
        tolerances={1: 1.0},
        convention=convention,
    )
    assert found == replace(alone, label=1002)


def test_more_values_than_the_histogram_packs_are_counted_alike():
    rng = np.random.default_rng(7)
    prediction, reference = (rng.integers(0, 30, (9, 9, 9)).astype(np.uint8) for _ in range(2))
    members = (2, 17, 29)
    found = counting.count(prediction, reference, labels=[1], regions={1001: members})
    masks = (np.isin(part, members) for part in (prediction, reference))
    assert found[1001] == counting.count(*masks, labels=[1])[1]


def test_a_tolerance_is_asked_for_each_region():
    label = np.ones((3, 3), np.uint8)
    with pytest.raises(ValueError, match=r"labels \[1001\] need a tolerance"):
        measure(label, label, labels=[1], regions={1001: (1,)}, spacing_mm=(1.0, 1.0), tolerances={1: 1.0})
