"""Crops, flips, turns, rotations and intensities do what they say, for many samples at once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from train_helpers import ALL, CROP, NONE, drawn

from segtrace.train import augment
from segtrace.train.augment import Box, Pool

STILL = ALL | {f"{name}_p": 0.0 for name in ("rotate", "zoom", "elastic", "noise", "gamma", "shift", "scale")}
SPATIAL = NONE | {"flip_p": 0.5, "rot90_p": 0.7, "rotate_p": 1.0, "zoom_p": 1.0}


def pool_of(images, labels):
    """Cases (C, *shape), (*shape), one behind the other."""
    boxes, first = [], 0
    for label in labels:
        boxes.append(Box(first, label.shape, (0,) * label.ndim, label.shape))
        first += label.size
    flat = np.concatenate([image.reshape(len(image), -1) for image in images], axis=1)
    return Pool(torch.from_numpy(flat), torch.from_numpy(np.concatenate([x.ravel() for x in labels]))), boxes


def random_case(shape, *, channels=2, seed=0):
    image = np.random.default_rng(seed).random((channels, *shape), np.float32)
    return image, (image[0] > 0.7).astype(np.uint8)


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


sides = st.integers(2, 9)


@settings(max_examples=60, deadline=None)
@given(shapes=st.lists(st.tuples(sides, sides, sides), min_size=1, max_size=3), number=st.integers(0, 1000))
def test_crops_equal_padding_slicing_flipping_and_turning(shapes, number):
    cases = [random_case(shape, seed=i) for i, shape in enumerate(shapes)]
    pool, boxes = pool_of(*zip(*cases, strict=True))
    samples = [
        drawn(shape, foreground=np.flatnonzero(label), augmentation=STILL, number=number)
        for shape, (_, label) in zip(shapes, cases, strict=True)
    ]
    images, labels = augment.apply(pool, boxes, samples)
    for (image, label), sample, pixels, found in zip(cases, samples, images, labels, strict=True):
        assert np.array_equal(found, slow(label, sample))
        assert np.array_equal(pixels, np.stack([slow(channel, sample) for channel in image]))


@settings(max_examples=40, deadline=None)
@given(shape=st.tuples(sides, sides), number=st.integers(0, 1000))
def test_pictures_likewise(shape, number):
    image, label = random_case(shape)
    pool, boxes = pool_of([image], [label])
    crop = CROP | {"size": [5, 5]}
    sample = drawn(shape, foreground=np.flatnonzero(label), augmentation=STILL, number=number, crop=crop)
    images, labels = augment.apply(pool, boxes, [sample])
    assert np.array_equal(labels[0], slow(label, sample))
    assert np.array_equal(images[0], np.stack([slow(channel, sample) for channel in image]))


@pytest.mark.parametrize("shape", [(9, 10, 11), (12, 13)])
def test_a_box_gives_what_the_whole_case_gives(shape):
    image, label = random_case(shape)
    whole, boxes = pool_of([image], [label])
    crop = CROP | {"size": [4] * len(shape)}
    for number in range(40):
        sample = drawn(shape, foreground=np.flatnonzero(label), augmentation=ALL, number=number, crop=crop)
        first, size = augment.reach(sample, shape)
        part = tuple(slice(f, f + n) for f, n in zip(first, size, strict=True))
        pool, _ = pool_of(
            [np.ascontiguousarray(image[(slice(None), *part)])], [np.ascontiguousarray(label[part])]
        )
        expected = augment.apply(whole, boxes, [sample], label_interpolation="linear")
        found = augment.apply(pool, [Box(0, size, first, shape)], [sample], label_interpolation="linear")
        assert torch.allclose(found[0], expected[0], atol=1e-5)
        assert torch.equal(found[1], expected[1])


def test_turns_and_flips_are_the_same_by_gather_and_by_interpolation():
    shape = (9, 10, 11)
    image, label = random_case(shape)
    pool, boxes = pool_of([image], [label])
    for number in range(40):
        sample = drawn(shape, foreground=np.flatnonzero(label), augmentation=STILL, number=number)
        matrix, offset = augment.affine(sample)
        places = np.stack(np.meshgrid(*map(np.arange, sample["size"]), indexing="ij"), -1) @ matrix.T + offset
        expected = ndimage.map_coordinates(label, np.moveaxis(places, -1, 0), order=0, mode="nearest")
        assert np.array_equal(augment.apply(pool, boxes, [sample])[1][0], expected)


def test_rotation_and_zoom_equal_a_plain_interpolation():
    shape = (17, 18, 19)
    image = np.stack([ndimage.gaussian_filter(random_case(shape)[0][0], 2)])
    label = (image[0] > image.mean()).astype(np.uint8)
    pool, boxes = pool_of([image], [label])
    crop = CROP | {"size": [8, 8, 8]}
    for number in range(10):
        sample = drawn(
            shape, foreground=np.flatnonzero(label), augmentation=SPATIAL, number=number, crop=crop
        )
        matrix, offset = augment.affine(sample)
        places = np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), -1) @ matrix.T + offset
        expected = ndimage.map_coordinates(image[0], np.moveaxis(places, -1, 0), order=1, mode="nearest")
        images, _ = augment.apply(pool, boxes, [sample])
        assert images[0, 0].numpy() == pytest.approx(expected, abs=1e-5)


def test_zoom_makes_objects_larger_about_the_crops_middle():
    label = np.zeros((21, 21), np.uint8)
    label[8:13, 8:13] = 1
    pool, boxes = pool_of([label[None].astype(np.float32)], [label])
    base = drawn((21, 21), crop=CROP | {"size": [21, 21]})
    _, larger = augment.apply(pool, boxes, [base | {"zoom": 3.0}])
    assert np.argwhere(larger[0].numpy()).min(0).tolist() == [3, 3]
    assert np.argwhere(larger[0].numpy()).max(0).tolist() == [17, 17]


def test_samples_with_and_without_interpolation_keep_their_order():
    image, label = random_case((9, 10, 11))
    pool, boxes = pool_of([image], [label])
    samples = [drawn(augmentation=ALL, foreground=[500], number=number) for number in range(8)]
    assert len({augment.is_warped(sample) for sample in samples}) == 2
    images, labels = augment.apply(pool, boxes * 8, samples)
    for number, sample in enumerate(samples):
        alone = augment.apply(pool, boxes, [sample])
        assert torch.equal(images[number], alone[0][0])
        assert torch.equal(labels[number], alone[1][0])


def test_the_elastic_field_is_smooth_and_of_the_asked_size():
    sample = drawn(crop=CROP | {"size": [64, 64, 64]}) | {"elastic": 2.0, "elastic_spacing": 8.0}
    field = augment.displacement(sample)
    assert field.shape == (3, 64, 64, 64)
    assert float(field[:, ::8, ::8, ::8].std()) == pytest.approx(2, rel=0.3)
    assert float(field.diff(dim=1).abs().max()) < 2.0 * 2 * augment.FARTHEST_DEVIATION / 7
    assert augment.displacement(sample | {"elastic": 0.0}) is None


def test_intensity_changes_touch_the_image_alone():
    image, label = np.ones((1, 4, 6, 6), np.float32), np.ones((4, 6, 6), np.uint8)
    pool, boxes = pool_of([image], [label])
    sample = drawn((4, 6, 6)) | {"scale": 1.5, "shift": -0.25}
    images, labels = augment.apply(pool, boxes, [sample])
    assert torch.all(images == 1.25)
    assert torch.all(labels == 1)
    assert torch.all(pool.images == 1)  # the stored case is not written to


def test_noise_has_the_asked_deviation_and_gamma_keeps_the_range():
    image, label = random_case((20, 20, 20), channels=1)
    pool, boxes = pool_of([image], [label])
    plain = drawn((20, 20, 20), crop=CROP | {"size": [20, 20, 20]})
    noisy, _ = augment.apply(pool, boxes, [plain | {"noise": 0.5}])
    assert float((noisy[0] - torch.from_numpy(image)).std()) == pytest.approx(0.5, rel=0.05)
    bent, _ = augment.apply(pool, boxes, [plain | {"gamma": 2.0}])
    low, high = image.min(), image.max()
    expected = ((image - low) / (high - low)) ** 2 * (high - low) + low
    assert bent[0].numpy() == pytest.approx(expected, abs=1e-6)
