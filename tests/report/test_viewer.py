"""The slice viewer's content: what is unpacked is exactly what was packed, and never too much."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrace.report import viewer
from segtrace.report.cases import Scene
from segtrace.report.packing import reduced, unpacked


def scene(shape: tuple[int, ...], *, spacing=(1.0, 1.0, 1.0), seed: int = 0) -> Scene:
    draw = np.random.default_rng(seed)
    reference = np.zeros(shape, np.uint8)
    reference[tuple(slice(n // 3, n // 3 + max(1, n // 3)) for n in shape)] = 2
    prediction = np.roll(reference, 1, axis=-1)
    grey = draw.integers(0, 256, shape).astype(np.uint8)
    return Scene(grey, -100.0, 300.0, spacing, reference, {"x": prediction})


def content(made: Scene, voxels: int = 10**9):
    return viewer.content(made, labels={1: "organ", 2: "nodule"}, dice={"x": "Dice 0.9"}, voxels=voxels)


def greys(made) -> np.ndarray:
    """As the page does it: sums along rows, modulo 256."""
    steps = unpacked(made["grey"]).reshape(made["shape"])
    return np.cumsum(steps, axis=-1, dtype=np.uint8)


def test_slices_and_labels_are_unpacked_exactly():
    given_scene = scene((9, 20, 31))
    made = content(given_scene)
    part = tuple(slice(f, f + n) for f, n in zip(made["first"], made["shape"], strict=True))
    assert made["steps"] == [1, 1, 1]
    assert (greys(made) == given_scene.grey[part]).all()
    assert (unpacked(made["reference"]).reshape(made["shape"]) == given_scene.reference[part]).all()
    assert (unpacked(made["methods"]["x"]).reshape(made["shape"]) == given_scene.predictions["x"][part]).all()
    # nothing that is labelled is cut away
    assert unpacked(made["reference"]).sum() == given_scene.reference.sum()
    assert unpacked(made["methods"]["x"]).sum() == given_scene.predictions["x"].sum()
    # the first slice to show is one with most reference
    at = made["start"][0] + made["first"][0]
    assert (given_scene.reference[at] > 0).sum() == (given_scene.reference > 0).sum(axis=(1, 2)).max()


def test_a_large_volume_is_reduced_to_block_means_and_middle_labels_and_says_so():
    given_scene = scene((30, 60, 60), spacing=(3.0, 1.0, 1.0))
    made = content(given_scene, voxels=4000)
    steps = made["steps"]
    assert np.prod(made["shape"]) <= 4000
    assert steps[0] < steps[1]  # the thick slices are kept, the fine pixels are reduced
    for key, array in (("reference", given_scene.reference), ("x", given_scene.predictions["x"])):
        packed = made["reference"] if key == "reference" else made["methods"]["x"]
        shown = unpacked(packed).reshape(made["shape"])
        places = np.ix_(
            *(f + s * np.arange(n) for f, s, n in zip(made["first"], steps, made["shape"], strict=True))
        )
        assert (shown == array[places]).all()
    first = tuple(slice(f - s // 2, f - s // 2 + s) for f, s in zip(made["first"], steps, strict=True))
    assert abs(int(greys(made)[0, 0, 0]) - given_scene.grey[first].mean()) <= 0.5001
    said = viewer.sentence(made)
    assert " × ".join(map(str, steps)) + " voxels are one here" in said
    assert "-100 is black and 300 white" in said
    assert "one here" not in viewer.sentence(content(given_scene))


def test_a_volume_without_labels_is_kept_whole():
    empty = np.zeros((5, 6, 7), np.uint8)
    made = content(Scene(empty, 0.0, 1.0, (1.0, 1.0, 1.0), empty, {}))
    assert (made["shape"], made["methods"]) == ([5, 6, 7], {})


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(*[st.integers(1, 400)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 8)] * 3),
    voxels=st.integers(1, 10**6),
)
def test_steps_keep_a_volume_within_its_limit(shape, spacing, voxels):
    steps = viewer.steps_for(shape, spacing, voxels=voxels)
    kept = np.prod([-(-n // s) for n, s in zip(shape, steps, strict=True)])
    assert kept <= voxels
    assert all(1 <= s <= n for s, n in zip(steps, shape, strict=True))


@pytest.mark.parametrize("steps", [(1, 1), (2, 3), (5, 5), (7, 1)])
def test_reduced_values_are_means_of_blocks(steps):
    array = np.random.default_rng(1).integers(0, 256, (5, 7)).astype(np.uint8)
    made = reduced(array, steps)
    for i, j in np.ndindex(made.shape):
        block = array[i * steps[0] : (i + 1) * steps[0], j * steps[1] : (j + 1) * steps[1]]
        assert abs(made[i, j] - block.mean()) <= 0.5001
