"""Losses of sigmoids without a background: equal to float64 references and to published figures, safe in half precision."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrace import losses
from segtrace.errors import SegtraceError
from sigmoid_logits import arrays, sample

torch.set_num_threads(1)
NAMES = ["bce_dice", "bce_dice_edge"]


def entropy(p, g):
    return -(g * np.log(p) + (1 - g) * np.log(1 - p)).mean()


def dice(p, g, *, per, smooth):
    axes = (*((0,) if per == "batch" else ()), *range(2, p.ndim))
    return (1 - (2 * (p * g).sum(axes) + smooth) / (p.sum(axes) + g.sum(axes) + smooth)).mean()


def border(x):
    """Greatest minus least value of every voxel's neighbourhood, voxel by voxel."""
    found = np.empty_like(x)
    for place in np.ndindex(x.shape[2:]):
        near = (slice(None), slice(None), *(slice(max(i - 1, 0), i + 2) for i in place))
        axes = tuple(range(2, x.ndim))
        found[(slice(None), slice(None), *place)] = x[near].max(axes) - x[near].min(axes)
    return found


SHAPES = [(2, 3, 5, 6, 4), (3, 1, 9, 7), (1, 2, 1, 6), (2, 1, 2, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("per", ["image", "batch"])
def test_bce_dice_equals_its_reference(shape, per):
    logits, target = sample(shape)
    p, g = arrays(logits, target)
    expected = 0.7 * entropy(p, g) + 1.3 * dice(p, g, per=per, smooth=0.5)
    loss = losses.create("bce_dice", bce_weight=0.7, dice_weight=1.3, per=per, smooth=0.5)
    assert float(loss(logits.double(), target)) == pytest.approx(expected, rel=1e-12)
    assert float(loss(logits, target)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_edge_term_equals_its_reference(shape):
    logits, target = sample(shape)
    p, g = arrays(logits, target)
    expected = 0.3 * entropy(border(p).clip(0.01, 0.99), border(g))
    loss = losses.create("bce_dice_edge", bce_weight=0, dice_weight=0, edge_weight=0.3, floor=0.01)
    assert float(loss(logits.double(), target)) == pytest.approx(expected, rel=1e-12)
    assert float(loss(logits, target)) == pytest.approx(expected, rel=1e-5)


def test_the_joint_loss_is_the_sum_and_its_switch_leaves_the_rest():
    logits, target = sample()
    plain = losses.create("bce_dice")(logits, target)
    edge = losses.create("bce_dice_edge", bce_weight=0, dice_weight=0, edge_weight=1)(logits, target)
    assert float(edge) > 0.01
    found = losses.create("bce_dice_edge", edge_weight=0.5)(logits, target)
    assert float(found) == pytest.approx(float(plain + 0.5 * edge), rel=1e-6)
    assert torch.equal(losses.create("bce_dice_edge", edge_weight=0)(logits, target), plain)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, 1.0338436365127563), ({"bce_weight": 1, "smooth": 1}, 1.4382789134979248)],
    ids=["UNeXt", "VM-UNet"],
)
def test_published_programs_give_the_same(options, expected):
    torch.manual_seed(1)
    logits = torch.randn(4, 1, 64, 64)
    torch.manual_seed(2)
    target = (torch.rand(4, 1, 64, 64) > 0.7)[:, 0].to(torch.uint8)
    assert float(losses.create("bce_dice", **options)(logits, target)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("per", ["image", "batch"])
def test_gradient(name, per):
    logits, target = sample((2, 2, 4, 3))
    logits = logits.double().requires_grad_()
    loss = losses.create(name, per=per)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (logits,))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), side=st.integers(2, 9))
def test_a_single_image_is_its_own_batch(seed, side):
    logits, target = sample((1, 1, side, side + 1), seed)
    by_image, by_batch = (losses.create("bce_dice", per=per) for per in ("image", "batch"))
    expected = pytest.approx(float(by_batch(logits.double(), target)), rel=1e-12)
    assert float(by_image(logits.double(), target)) == expected


def test_what_a_loss_says_of_the_background_is_read():
    found = {name: losses.has_background(name) for name in losses.names()}
    assert found | {"dice_ce": True, "bce_dice": False, "bce_dice_edge": False} == found


def test_unfit_options_are_refused():
    with pytest.raises(SegtraceError, match="per 'case'; it has image, batch"):
        losses.create("bce_dice", per="case")
    with pytest.raises(SegtraceError, match=r"floor 0\.5 must be between"):
        losses.create("bce_dice_edge", floor=0.5)
