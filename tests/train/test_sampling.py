"""Samples are functions of (seed, epoch, case, draw); crops, flips and turns do what they say."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrace.train import sampling

NONE = {"flip_p": 0.0, "rot90_p": 0.0, "shift_p": 0.0, "shift": 0.1, "scale_p": 0.0, "scale": 0.1}
ALL = {"flip_p": 0.5, "rot90_p": 0.7, "shift_p": 0.8, "shift": 0.1, "scale_p": 0.8, "scale": 0.1}
CROP = {"size": [4, 6, 6], "per_case": 1, "foreground": 1.0, "background": 0.0}


def drawn(
    shape=(9, 10, 11), *, foreground=(), crop=CROP, augmentation=NONE, seed=0, epoch=0, case="a", number=0
):
    return sampling.draw(
        seed=seed,
        epoch=epoch,
        case=case,
        number=number,
        shape=shape,
        foreground=np.asarray(foreground, np.int64),
        crop=crop,
        augmentation=augmentation,
    )


def test_a_sample_depends_on_its_four_keys_only():
    base = drawn(augmentation=ALL)
    drawn(augmentation=ALL, case="b")  # drawing another one in between changes nothing
    assert drawn(augmentation=ALL) == base
    others = [
        drawn(augmentation=ALL, **{k: v})
        for k, v in {"seed": 1, "epoch": 1, "case": "b", "number": 1}.items()
    ]
    assert all(other != base for other in others)


def test_pinned_so_that_samples_stay_the_same_across_versions():
    found = drawn(augmentation=ALL, foreground=[5, 700])
    assert found == json.loads(json.dumps(found))  # plain JSON, exactly
    assert found == PINNED


def test_the_order_of_an_epoch_does_not_depend_on_the_given_order():
    cases = [f"case_{i}" for i in range(20)]
    first = sampling.epoch_order(0, 0, cases)
    assert sampling.epoch_order(0, 0, cases[::-1]) == first
    assert sampling.epoch_order(0, 1, cases) != first
    assert sorted(first) == sorted(cases)
    without = [case for case in first if case != "case_7"]
    assert sampling.epoch_order(0, 0, [c for c in cases if c != "case_7"]) == without


def test_crops_are_centred_on_foreground_and_clamped_at_borders():
    shape = (9, 10, 11)
    voxel = np.ravel_multi_index((5, 5, 5), shape)
    assert drawn(shape, foreground=[voxel])["start"] == [3, 2, 2]
    corner = np.ravel_multi_index((8, 0, 10), shape)
    assert drawn(shape, foreground=[corner])["start"] == [5, 0, 5]


def test_a_case_smaller_than_the_crop_is_centred():
    assert drawn((3, 10, 2), foreground=[0])["start"][::2] == [0, -2]


@settings(max_examples=60, deadline=None)
@given(
    voxels=st.integers(1, 60),
    data=st.data(),
    fraction=st.floats(0, 1, exclude_max=True),
    wanted=st.booleans(),
)
def test_the_drawn_voxel_is_foreground_or_background_as_asked(voxels, data, fraction, wanted):
    foreground = np.array(sorted(data.draw(st.sets(st.integers(0, voxels - 1)))), np.int64)
    found = sampling._voxel(fraction, foreground, voxels, from_foreground=wanted)
    assert 0 <= found < voxels
    if wanted and len(foreground):
        assert found == foreground[int(fraction * len(foreground))]
    if not wanted and len(foreground) < voxels:
        background = np.setdiff1d(np.arange(voxels), foreground)
        assert found == background[int(fraction * len(background))]


def test_foreground_weight_is_a_frequency():
    crop = CROP | {"size": [1, 1, 1], "foreground": 1.0, "background": 0.1}
    starts = [drawn(foreground=[0], crop=crop, number=n)["start"] for n in range(2000)]
    share = sum(start == [0, 0, 0] for start in starts) / 2000
    assert share == pytest.approx(1 / 1.1, abs=0.02)


def slow(image, parameters):
    """The same sample with numpy's own pad, slice, flip and rot90."""
    size, start = parameters["size"], parameters["start"]
    before = [max(-s, 0) for s in start]
    after = [max(s + n - have, 0) for s, n, have in zip(start, size, image.shape, strict=True)]
    padded = np.pad(image, list(zip(before, after, strict=True)), mode="edge")
    crop = padded[tuple(slice(s + b, s + b + n) for s, b, n in zip(start, before, size, strict=True))]
    for axis, flip in enumerate(parameters["flip"]):
        crop = np.flip(crop, axis) if flip else crop
    return np.rot90(crop, parameters["rot90"], axes=(-2, -1))


@settings(max_examples=60, deadline=None)
@given(shape=st.tuples(st.integers(2, 9), st.integers(2, 9), st.integers(2, 9)), number=st.integers(0, 1000))
def test_the_crop_equals_padding_slicing_flipping_and_turning(shape, number):
    image = np.random.default_rng(0).random((2, *shape), np.float32)
    label = (image[0] > 0.7).astype(np.uint8)
    parameters = drawn(
        shape,
        foreground=np.flatnonzero(label),
        augmentation=ALL | {"shift_p": 0.0, "scale_p": 0.0},
        number=number,
    )
    pixels, found = sampling.apply(image, label, parameters)
    assert np.array_equal(found, slow(label, parameters))
    assert np.array_equal(pixels, np.stack([slow(channel, parameters) for channel in image]))


def test_intensity_changes_touch_the_image_alone():
    image, label = np.ones((1, 4, 6, 6), np.float32), np.ones((4, 6, 6), np.uint8)
    parameters = drawn((4, 6, 6)) | {"scale": 1.5, "shift": -0.25}
    pixels, found = sampling.apply(image, label, parameters)
    assert np.all(pixels == 1.25)
    assert np.array_equal(found, label)
    assert np.all(image == 1)  # the stored case is not written to


def test_an_oblong_crop_is_turned_by_half_turns_only():
    crop = CROP | {"size": [4, 4, 6]}
    turns = {drawn(crop=crop, augmentation=ALL, number=n)["rot90"] for n in range(50)}
    assert turns == {0, 2}


def test_whole_images_keep_their_shape():
    parameters = drawn((8, 8), crop=None, augmentation=ALL)
    assert parameters["size"] == [8, 8]
    assert parameters["start"] == [0, 0]


PINNED = {
    "flip": [True, False, True],
    "rot90": 1,
    "scale": 1.0209867918673463,
    "shift": 0.0010127860521193855,
    "size": [4, 6, 6],
    "start": [4, 0, 4],
}
