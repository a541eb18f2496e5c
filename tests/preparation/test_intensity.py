"""Intensity recipes: hand-computed values, and nothing divided by zero."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from segtrace import intensity
from segtrace.errors import SegtraceError

WINDOW = {"kind": "window", "low": -100.0, "high": 300.0}
MINMAX = {"kind": "minmax"}
ZSCORE = {"kind": "zscore", "nonzero": False}
NONZERO = {"kind": "zscore", "nonzero": True}


def one(values: list[float], *steps: dict) -> list[float]:
    return intensity.apply(np.array([[values]], np.float32), steps)[0][0, 0].tolist()


def test_hand_computed():
    assert one([-500, -100, 100, 300, 900], WINDOW) == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert one([10, 20, 30, 50], MINMAX) == [0.0, 0.25, 0.5, 1.0]
    assert one([1, 3], ZSCORE) == [-1.0, 1.0]
    assert one([0, 1, 3, 0], NONZERO) == [0.0, -1.0, 1.0, 0.0]


def test_steps_follow_each_other_and_are_recorded():
    image = np.array([[[-175, 250, 250, -175]]], np.float32)
    found, notes = intensity.apply(image, [{"kind": "window", "low": -175, "high": 250}, NONZERO])
    assert found[0, 0].tolist() == [0.0, 0.0, 0.0, 0.0]  # what is left after the window is a constant 1
    assert notes == [
        {"kind": "window", "channels": [{"low": -175.0, "high": 250.0}]},
        {"kind": "zscore", "channels": [{"mean": 1.0, "deviation": 0.0}]},
    ]


def test_channels_are_scaled_on_their_own():
    image = np.stack([np.array([[0, 1, 2]]), np.array([[1000, 1500, 2000]])]).astype(np.float32)
    assert intensity.apply(image, [MINMAX])[0].tolist() == [[[0.0, 0.5, 1.0]], [[0.0, 0.5, 1.0]]]


@pytest.mark.parametrize("step", [MINMAX, ZSCORE, NONZERO])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1.7e6])
def test_a_constant_image_becomes_zeros(step, value):
    assert one([value] * 5, step) == [0.0] * 5


def test_large_scanner_values_keep_their_contrast():
    found = one([1_700_000, 1_700_001, 1_700_002], MINMAX)
    assert found == [0.0, 0.5, 1.0]


@given(
    arrays.arrays(np.float32, (2, 3, 4), elements=st.floats(-1e6, 1e6, width=32)),
    st.lists(st.sampled_from([WINDOW, MINMAX, ZSCORE, NONZERO]), max_size=3),
)
def test_always_finite_and_the_input_untouched(image, steps):
    before = image.copy()
    found, _ = intensity.apply(image, steps)
    assert found.dtype == np.float32
    assert found.shape == image.shape
    assert np.isfinite(found).all()
    assert np.array_equal(image, before)


def test_given_means_and_deviations_one_each_or_one_a_channel():
    image = np.array([[[10.0, 20.0]], [[30.0, 40.0]]], np.float32)
    one_each, notes = intensity.apply(image, [{"kind": "standardise", "mean": [10], "deviation": [5]}])
    assert one_each.tolist() == [[[0.0, 2.0]], [[4.0, 6.0]]]
    assert notes == [{"kind": "standardise", "channels": [{"mean": 10.0, "deviation": 5.0}] * 2}]
    own, _ = intensity.apply(image, [{"kind": "standardise", "mean": [10, 30], "deviation": [5, 10]}])
    assert own.tolist() == [[[0.0, 2.0]], [[0.0, 1.0]]]
    with pytest.raises(SegtraceError, match="3 values of mean, the image 2 channels"):
        intensity.apply(image, [{"kind": "standardise", "mean": [1, 2, 3], "deviation": [1]}])


def test_channels_scaled_together_share_their_ends():
    image = np.array([[[0.0, 10.0]], [[20.0, 40.0]]], np.float32)
    assert intensity.apply(image, [MINMAX | {"together": True}])[0].tolist() == [[[0.0, 0.25]], [[0.5, 1.0]]]


def test_scaling_to_256_levels_together_undoes_a_given_mean_and_deviation():
    """VM-UNet and MALUNet: the data set's mean and deviation of all pixels have no effect on the input."""
    image = np.array([[[12.0, 99.0]], [[180.0, 255.0]]], np.float32)
    levels = {"kind": "standardise", "mean": [0], "deviation": [1 / 255]}
    steps = [MINMAX | {"together": True}, levels]
    plain, _ = intensity.apply(image, steps)
    shifted, _ = intensity.apply(
        image, [{"kind": "standardise", "mean": [157.6], "deviation": [30.7]}, *steps]
    )
    assert plain.max() == 255.0
    assert np.allclose(plain, shifted, atol=1e-3)
