"""Thumbnails and fingerprints: what they do not change with, and how a placement moves their bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from segtrace import fingerprints
from segtrace.fingerprints import SIDE, TRANSFORMS, thumbnails, transformed
from textures import picture

SEEDS = st.integers(0, 2**32 - 1)
EMPTY = np.zeros((90, 130), np.uint8)


def bits(one: int, other: int) -> int:
    return (one ^ other).bit_count()


@given(seed=SEEDS, transform=st.sampled_from(range(8)))
@settings(max_examples=30, deadline=None)
def test_the_bits_of_a_placement_are_those_of_the_placed_image(seed, transform):
    grey = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    code = fingerprints.fingerprint(grey)
    placed = fingerprints.placed(np.array([code], np.uint64))[transform, 0]
    assert int(placed) == fingerprints.fingerprint(transformed(grey, transform))


def test_placements_are_named_for_what_they_do():
    grey = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    expected = {
        "none": grey,
        "flipped left-right": np.fliplr(grey),
        "flipped up-down": np.flipud(grey),
        "turned by 180": np.rot90(grey, 2),
        "transposed": grey.T,
        "turned clockwise": np.rot90(grey, -1),
        "turned anticlockwise": np.rot90(grey),
        "transposed across": np.rot90(grey, 2).T,
    }
    assert list(expected) == list(TRANSFORMS)
    for number, name in enumerate(TRANSFORMS):
        assert (transformed(grey, number) == expected[name]).all(), name


@given(seed=SEEDS, gain=st.floats(0.3, 4), offset=st.floats(-100, 100))
@settings(max_examples=20, deadline=None)
def test_a_thumbnail_does_not_depend_on_brightness_and_contrast(seed, gain, offset):
    image = picture(seed).astype(np.float64)[None]
    one, other = thumbnails(image, EMPTY), thumbnails(image * gain + offset, EMPTY)
    assert np.abs(one.astype(int) - other).max() <= 1


@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_a_thumbnail_does_not_depend_on_container_size_or_copies_of_a_channel(seed):
    image = picture(seed, (2 * SIDE, 3 * SIDE))[None]
    made = thumbnails(image, EMPTY).tobytes()
    assert thumbnails(np.asfortranarray(image.astype(np.float32)), EMPTY).tobytes() == made
    assert thumbnails(np.repeat(image, 3, axis=0), EMPTY).tobytes() == made
    assert thumbnails(np.kron(image, np.ones((1, 2, 2), np.uint8)), EMPTY).tobytes() == made


def test_sizes_that_are_no_multiple_keep_means_and_places():
    ramp = np.broadcast_to(np.arange(100.0)[:, None], (100, 70))[None]
    reduced = fingerprints._reduced(ramp)
    assert reduced.mean() == pytest.approx(ramp.mean())
    # 100 rows to 64: the first part is row 0 and 0.5625 of row 1
    assert reduced[0] == pytest.approx(np.full(SIDE, 0.5625 / 1.5625))
    small = fingerprints._reduced(np.arange(12.0).reshape(1, 3, 4))
    assert (small.shape, small.mean()) == ((SIDE, SIDE), pytest.approx(5.5))


def test_a_mask_keeps_its_share_and_never_vanishes():
    label = np.zeros((4 * SIDE, 4 * SIDE), np.int64)
    label[:4, :4], label[4:6, 4:8], label[200, 200] = 1, 2, 3
    share = thumbnails(np.zeros((1, 4 * SIDE, 4 * SIDE)), label)[1]
    assert (share[0, 0], share[1, 1], share[50, 50]) == (255, 128, 16)
    assert (share > 0).sum() == 3
    huge = np.zeros((100 * SIDE, 50 * SIDE), np.uint8)
    huge[7, 7] = 1
    assert thumbnails(huge[None], huge)[1].sum() == 1


def test_volumes_show_their_middle_and_constants_nothing():
    volume = np.random.default_rng(0).normal(size=(2, 20, 30, 40))
    changed = volume.copy()
    changed[:, :8] += 5
    changed[:, 12:] *= 3
    label = np.zeros(volume.shape[1:], np.uint8)
    label[0] = 1
    one, other = thumbnails(volume, label), thumbnails(changed, label)
    assert (one == other).all()
    assert (one[1] == 13).all()  # a twentieth of all slices
    assert thumbnails(np.full((1, 1, 9, 9), 7), EMPTY)[0].max() == 0
    assert fingerprints.fingerprint(np.zeros((SIDE, SIDE), np.uint8)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_near_and_other_images_far(seed):
    image, other = picture(seed), picture(seed + 100)
    code = fingerprints.fingerprint(thumbnails(image[None], EMPTY)[0])
    resized = ndimage.zoom(image, (0.8, 1.3), order=1)
    cut = image[2:-2, 3:-3]
    for changed, most in ((resized, 8), (cut, 18)):
        assert bits(code, fingerprints.fingerprint(thumbnails(changed[None], EMPTY)[0])) <= most
    assert bits(code, fingerprints.fingerprint(thumbnails(other[None], EMPTY)[0])) > 18


def test_text_is_16_digits():
    assert fingerprints.as_text(255) == "00000000000000ff"
