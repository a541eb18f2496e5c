"""Samples are functions of (seed, epoch, case, draw), drawn apart from what is done with them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from train_helpers import ALL, CROP, NONE, drawn

from segtrace.train.sampling import Labelled, epoch_order


def test_a_sample_depends_on_its_four_keys_only():
    base = drawn(augmentation=ALL)
    drawn(augmentation=ALL, case="b")  # drawing another one in between changes nothing
    assert drawn(augmentation=ALL) == base
    for key, value in {"seed": 1, "epoch": 1, "case": "b", "number": 1}.items():
        other = drawn(augmentation=ALL, **{key: value})
        assert other["key"] != base["key"], key
        assert other != base | {"key": other["key"]}, key


def test_how_many_samples_are_drawn_changes_none():
    few, many = (drawn(augmentation=ALL, count=count, number=1) for count in (2, 9))
    assert few == many


def test_switching_one_augmentation_leaves_the_others_as_they_were():
    base = drawn(augmentation=ALL)
    for name in [name for name in ALL if name.endswith("_p")]:
        without = drawn(augmentation=ALL | {name: 0.0})
        changed = {key for key in base if base[key] != without[key]}
        own = {name.removesuffix("_p")}
        assert changed <= own, name


def test_pinned_so_that_samples_stay_the_same_across_versions():
    found = drawn(augmentation=ALL, foreground=[5, 700])
    assert found == json.loads(json.dumps(found))  # plain JSON, exactly
    assert found == PINNED


def test_the_order_of_an_epoch_does_not_depend_on_the_given_order():
    cases = [f"case_{i}" for i in range(20)]
    first = epoch_order(0, 0, cases)
    assert epoch_order(0, 0, cases[::-1]) == first
    assert epoch_order(0, 1, cases) != first
    assert sorted(first) == sorted(cases)
    without = [case for case in first if case != "case_7"]
    assert epoch_order(0, 0, [c for c in cases if c != "case_7"]) == without


def test_crops_are_centred_on_foreground_and_clamped_at_borders():
    shape = (9, 10, 11)
    voxel = np.ravel_multi_index((5, 5, 5), shape)
    assert drawn(shape, foreground=[voxel])["start"] == [3, 2, 2]
    corner = np.ravel_multi_index((8, 0, 10), shape)
    assert drawn(shape, foreground=[corner])["start"] == [5, 0, 5]


def test_a_case_smaller_than_the_crop_is_centred():
    assert drawn((3, 10, 2), foreground=[0])["start"][::2] == [0, -2]


@settings(max_examples=80, deadline=None)
@given(
    shape=st.one_of(st.tuples(*[st.integers(1, 6)] * 2), st.tuples(*[st.integers(1, 4)] * 3)),
    data=st.data(),
    fraction=st.floats(0, 1, exclude_max=True),
    wanted=st.booleans(),
)
def test_the_drawn_voxel_is_that_rank_of_foreground_or_background(shape, data, fraction, wanted):
    label = np.array(
        data.draw(st.lists(st.integers(0, 2), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    )
    found = Labelled.of(label.reshape(shape).astype(np.uint8)).voxel(fraction, foreground=wanted)
    chosen = np.flatnonzero((label != 0) == wanted)
    everything = chosen if len(chosen) else np.arange(label.size)
    assert found == everything[int(fraction * len(everything))]


def test_foreground_weight_is_a_frequency():
    crop = CROP | {"size": [1, 1, 1], "foreground": 1.0, "background": 0.1}
    starts = [s["start"] for s in drawn(foreground=[0], crop=crop, count=2000, number=None)]
    assert sum(start == [0, 0, 0] for start in starts) / 2000 == pytest.approx(1 / 1.1, abs=0.02)


def test_values_keep_to_their_ranges_and_happen_as_often_as_asked():
    samples = drawn(augmentation=ALL, count=2000, number=None)
    for name, low, high, neutral in (
        ("shift", -0.1, 0.1, 0),
        ("scale", 0.9, 1.1, 1),
        ("zoom", 0.7, 1.4, 1),
        ("elastic", 0, 3, 0),
        ("noise", 0, 0.1, 0),
        ("gamma", 0.7, 1.5, 1),
    ):
        values = np.array([sample[name] for sample in samples])
        assert low <= values.min() < low + 0.1 * (high - low), name
        assert high - 0.1 * (high - low) < values.max() <= high, name
        assert np.mean(values != neutral) == pytest.approx(ALL[f"{name}_p"], abs=0.05), name
    angles = np.array([sample["rotate"] for sample in samples])
    assert np.abs(angles).max(axis=0) == pytest.approx([30, 20, 10], rel=0.02)


def test_an_oblong_crop_is_turned_by_half_turns_only():
    crop = CROP | {"size": [4, 4, 6]}
    turns = {s["rot90"] for s in drawn(crop=crop, augmentation=ALL, count=50, number=None)}
    assert turns == {0, 2}


def test_whole_images_keep_their_shape():
    parameters = drawn((8, 8), crop=None, augmentation=NONE)
    assert parameters["size"] == [8, 8]
    assert parameters["start"] == [0, 0]


PINNED = {
    "case": "a",
    "draw": 0,
    "elastic": 0.0,
    "elastic_spacing": 4.0,
    "epoch": 0,
    "flip": [True, False, True],
    "gamma": 1.0,
    "key": 7855432999588073,
    "noise": 0.07537709227142475,
    "rot90": 3,
    "rotate": [0.0, 0.0, 0.0],
    "scale": 0.9062559519872979,
    "shift": -0.09471330755731329,
    "size": [4, 6, 6],
    "start": [4, 0, 4],
    "zoom": 0.7383361347905326,
}
