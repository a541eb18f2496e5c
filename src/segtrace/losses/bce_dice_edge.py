"""Binary cross-entropy plus soft Dice plus an edge term: SC-UNeXt's joint loss.

    L = bce_dice  +  λ · mean over voxels and labels of BCE(B(σ(z)), B(g))

with B(x) = max - min of x over the 3×3 (3×3×3) neighbourhood of a voxel, inside the image: a soft map of a label's
border, two voxels wide, of the prediction as of the mask. The SC-UNeXt paper names a joint loss with an edge term and
gives neither its form nor λ: both are readings, λ = 0.5 to begin with; λ = 0 is :mod:`segtrace.losses.bce_dice`
alone, whose options it has. B of the prediction is kept in [floor, 1 - floor]: without this, a border that is
predicted nowhere would have a gradient without limit. Maxima are taken of pairs, whose gradients are the same
bits every time and shared by equals. No logit of the background; half precision is widened to float32.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from segtrace.errors import SegtraceError
from segtrace.losses import bce_dice
from segtrace.losses._foreground import masks_of, widened

BACKGROUND = False


def build(
    *,
    bce_weight: float = 0.5,
    dice_weight: float = 1.0,
    edge_weight: float = 0.5,
    per: str = "image",
    smooth: float = 1e-5,
    floor: float = 1e-3,
) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss; ``edge_weight`` is λ, ``floor`` the least and 1 minus the greatest value of B of the prediction."""
    if not 0 < floor < 0.5:
        raise SegtraceError(f"bce_dice_edge: floor {floor} must be between 0 and 0.5")
    if not (bce_weight or dice_weight or edge_weight):
        raise SegtraceError("bce_dice_edge: its three weights are all 0: nothing is learnt from the labels")
    region = bce_dice.region(bce_weight=bce_weight, dice_weight=dice_weight, per=per, smooth=smooth)

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        found = region(logits, target)
        return found + edge_weight * edge(logits, target, floor=floor) if edge_weight else found

    return loss


def edge(logits: Tensor, target: Tensor, *, floor: float) -> Tensor:
    """The edge term, a scalar, of logits (N, K, …) and class numbers (N, …), before its weight."""
    with torch.autocast(logits.device.type, enabled=False):
        z = widened(logits)
        found = border(z.sigmoid()).clamp(floor, 1 - floor)
        return functional.binary_cross_entropy(found, border(masks_of(target, z)))


def border(x: Tensor) -> Tensor:
    """B of (N, K, D, H, W) or (N, K, H, W): greatest minus least value of each voxel and its neighbours."""
    return _greatest(x) + _greatest(-x)


def _greatest(x: Tensor) -> Tensor:
    """The greatest value of each voxel and its neighbours by face, edge and corner, axis after axis."""
    for axis in range(2, x.dim()):
        n = x.shape[axis]
        if n == 1:
            continue
        pairs = torch.maximum(x.narrow(axis, 0, n - 1), x.narrow(axis, 1, n - 1))  # of a voxel and the next
        inner = torch.maximum(pairs.narrow(axis, 0, n - 2), pairs.narrow(axis, 1, n - 2))
        x = torch.cat([pairs.narrow(axis, 0, 1), inner, pairs.narrow(axis, n - 2, 1)], dim=axis)
    return x
