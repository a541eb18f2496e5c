"""Losses that look at borders: equal to float64 references and to a published figure, safe in half precision."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from segtrace import losses
from segtrace.errors import SegtraceError
from segtrace.losses.iou_dice_boundary import distances
from sigmoid_logits import arrays, sample

torch.set_num_threads(1)
NAMES = ["structure", "iou_dice_boundary"]
SHAPES = [(2, 3, 5, 6, 4), (3, 1, 9, 7), (1, 2, 1, 6), (2, 1, 2, 2)]


def images(x):
    """The last axes of (N, K, …), one after the other."""
    return [x[place] for place in np.ndindex(x.shape[:2])]


def structure(p, g, *, weight, window, smooth):
    reach, found = window // 2, []
    for p_, g_ in zip(images(p), images(g), strict=True):
        padded = np.pad(g_, reach)
        mean = np.empty_like(g_)
        for place in np.ndindex(g_.shape):
            mean[place] = padded[tuple(slice(i, i + window) for i in place)].mean()
        w = 1 + weight * abs(mean - g_)
        entropy = -(g_ * np.log(p_) + (1 - g_) * np.log(1 - p_))
        overlap, union = (w * p_ * g_).sum(), (w * (p_ + g_ - p_ * g_)).sum()
        found.append((w * entropy).sum() / w.sum() + 1 - (overlap + smooth) / (union + smooth))
    return np.mean(found)


def to_border(g):
    """Distance to the border by a library, as a share of the diagonal."""
    diagonal = np.sqrt(sum(side**2 for side in g.shape))
    if g.min() == g.max():
        return np.ones_like(g)
    return (np.where(g > 0, distance_transform_edt(g), distance_transform_edt(1 - g)) - 0.5) / diagonal


def boundary(p, g, *, iou, dice, border, smooth):
    found = []
    for p_, g_ in zip(images(p), images(g), strict=True):
        overlap, total = (p_ * g_).sum(), (p_ + g_).sum()
        found.append(
            iou * (1 - (overlap + smooth) / (total - overlap + smooth))
            + dice * (1 - (2 * overlap + smooth) / (total + smooth))
            + border * (to_border(g_) * abs(p_ - g_)).mean()
        )
    return np.mean(found)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("window", [1, 3, 31])
def test_structure_equals_its_reference(shape, window):
    logits, target = sample(shape)
    expected = structure(*arrays(logits, target), weight=4.0, window=window, smooth=0.5)
    loss = losses.create("structure", border_weight=4.0, window=window, smooth=0.5)
    assert float(loss(logits.double(), target)) == pytest.approx(expected, rel=1e-12)
    assert float(loss(logits, target)) == pytest.approx(expected, rel=1e-5)


def test_structure_is_that_of_the_published_program():
    torch.manual_seed(1)
    logits = torch.randn(4, 1, 64, 64)
    torch.manual_seed(2)
    target = (torch.rand(4, 1, 64, 64) > 0.7)[:, 0].to(torch.uint8)
    found = losses.create("structure")(logits, target)
    assert float(found) == pytest.approx(1.4871091842651367, abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weights", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.3, 0.7, 2)])
def test_iou_dice_boundary_equals_its_reference(shape, weights):
    logits, target = sample(shape)
    iou, dice, border = weights
    expected = boundary(*arrays(logits, target), iou=iou, dice=dice, border=border, smooth=0.1)
    loss = losses.create(
        "iou_dice_boundary", iou_weight=iou, dice_weight=dice, boundary_weight=border, smooth=0.1
    )
    assert float(loss(logits.double(), target)) == pytest.approx(expected, rel=1e-12)
    assert float(loss(logits, target)) == pytest.approx(expected, rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sides=st.lists(st.integers(1, 12), min_size=2, max_size=3),
    share=st.floats(0, 1),
)
def test_distances_are_euclidean(seed, sides, share):
    generator = torch.Generator().manual_seed(seed)
    masks = (torch.rand(2, 1, *sides, generator=generator, dtype=torch.float64) < share).double()
    expected = [to_border(one) for one in images(masks.numpy())]
    np.testing.assert_allclose(np.stack(expected), distances(masks)[:, 0].numpy(), atol=1e-12)


def test_a_label_at_the_images_edge_has_its_border_there():
    target = torch.ones(1, 8, 8, dtype=torch.uint8)
    logits = torch.zeros(1, 1, 8, 8)
    logits[0, 0, 0, 0] = -4
    corner = losses.create("structure", window=3)(logits, target)
    logits = torch.zeros(1, 1, 8, 8)
    logits[0, 0, 4, 4] = -4
    assert corner > losses.create("structure", window=3)(logits, target)


@pytest.mark.parametrize("name", NAMES)
def test_gradient(name):
    logits, target = sample((2, 2, 4, 3))
    loss = losses.create(name)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (logits.double().requires_grad_(),))


def test_they_want_no_logit_of_the_background_and_refuse_unfit_options():
    assert not any(losses.has_background(name) for name in NAMES)
    with pytest.raises(SegtraceError, match="structure: window 30; it takes an odd number"):
        losses.create("structure", window=30)
