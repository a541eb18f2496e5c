"""What holds of every loss that wants no logit of the background."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrace import losses
from sigmoid_logits import arrays, sample

torch.set_num_threads(1)
NAMES = [name for name in losses.names() if not losses.has_background(name)]


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_widened_even_under_autocast(name):
    logits, target = sample()
    rough = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = losses.create(name)(rough, target)
    assert found.dtype == torch.float32
    assert torch.equal(found, losses.create(name)(rough.float(), target))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-200.0, 0.0, 200.0])
def test_logits_that_say_everything_or_nothing_have_finite_gradients(name, value):
    logits = torch.full((3, 1, 8, 8), value, requires_grad=True)
    target = torch.zeros(3, 8, 8, dtype=torch.uint8)
    target[0, 2:5, 2:5] = 1  # the second image is empty
    target[2] = 1
    found = losses.create(name)(logits, target)
    found.backward()
    assert torch.isfinite(found)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), side=st.integers(2, 9), classes=st.integers(1, 3))
def test_laws(name, seed, side, classes):
    """Below every other prediction lies the truth; a mirrored image, or another order of images, has the same loss."""
    logits, target = sample((2, classes, side, side + 1), seed)
    loss = losses.create(name)
    found = float(loss(logits.double(), target))
    _, g = arrays(logits, target)
    assert found >= float(loss(torch.from_numpy(g * 60 - 30), target)) >= 0
    for axis in (-1, -2, 0):
        assert float(loss(logits.double().flip(axis), target.flip(axis))) == pytest.approx(found, rel=1e-9)
