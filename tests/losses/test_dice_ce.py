"""Dice with cross-entropy: equal to MONAI's, right by hand, safe in half precision."""

import math

import pytest
import torch
from monai.losses import DiceCELoss

from segtrace import losses
from segtrace.errors import SegtraceError


def sample(shape=(2, 3, 5, 6, 4), seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator) * 3
    target = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    return logits, target


@pytest.mark.parametrize("shape", [(2, 3, 5, 6, 4), (3, 2, 9, 7)])
@pytest.mark.parametrize("squared", [False, True])
def test_equals_monai(shape, squared):
    logits, target = sample(shape)
    theirs = DiceCELoss(to_onehot_y=True, softmax=True, squared_pred=squared)(logits, target.unsqueeze(1))
    ours = losses.create("dice_ce", squared=squared)(logits, target.to(torch.uint8))
    assert float(ours) == pytest.approx(float(theirs), abs=1e-6)


def test_by_hand():
    # two voxels, two classes, even odds: p = 1/2 everywhere; both voxels of class 1
    loss = losses.create("dice_ce", smooth=0.0)
    found = loss(torch.zeros(1, 2, 1, 2), torch.ones(1, 1, 2, dtype=torch.uint8))
    dice_background, dice_foreground = 1 - 0 / (1 + 0), 1 - 2 * 1 / (1 + 2)
    assert float(found) == pytest.approx((dice_background + dice_foreground) / 2 + math.log(2), abs=1e-6)


def test_gradient():
    logits, target = sample((1, 3, 2, 3))
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: losses.create("dice_ce")(x, target), (logits,))


def test_half_precision_is_widened_even_under_autocast():
    logits, target = sample()
    rough = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = losses.create("dice_ce")(rough, target)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(losses.create("dice_ce")(rough.float(), target)), abs=0)


def test_unknown_names_are_refused():
    with pytest.raises(SegtraceError, match="no loss 'dice'; did you mean 'dice_ce'"):
        losses.create("dice")
    with pytest.raises(SegtraceError, match="no option 'gamma'; it has: smooth, squared"):
        losses.create("dice_ce", gamma=1)
