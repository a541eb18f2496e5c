"""Binary cross-entropy plus soft Dice of each label's sigmoid; the background has no logit.

    L = w_b · mean over voxels and labels of BCE(σ(z), g)  +  w_d · mean of 1 - (2·Σ σ(z)·g + s) / (Σ σ(z) + Σ g + s)

with z a label's logit and g its mask. The Dice term is of each image and label by default, or of each label over the
whole batch (``per: batch``), and then averaged. The defaults, w_b = 0.5, w_d = 1, s = 1e-5, an image at a time, are
UNeXt's (Valanarasu and Patel, MICCAI 2022) and those of the programs that share its loss (nested U-Net, LV-UNet);
w_b = 1 and s = 1 give VM-UNet's (Ruan et al., arXiv:2402.02491). Those programs have one label; several are
segmented each against all else here. Half-precision logits are widened to float32 first, also under autocast.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from segtrace.errors import SegtraceError
from segtrace.losses._foreground import masks_of, widened

BACKGROUND = False
#: Over what the Dice term sums: the axes of (N, K, V).
PER = {"image": [2], "batch": [0, 2]}


def build(
    *, bce_weight: float = 0.5, dice_weight: float = 1.0, per: str = "image", smooth: float = 1e-5
) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss; ``bce_weight``, ``dice_weight`` and ``smooth`` are w_b, w_d and s, ``per`` is image or batch."""
    if not (bce_weight or dice_weight):
        raise SegtraceError(
            "bce_dice: bce_weight and dice_weight are both 0: nothing is learnt from the labels"
        )
    return region(bce_weight=bce_weight, dice_weight=dice_weight, per=per, smooth=smooth)


def region(
    *, bce_weight: float, dice_weight: float, per: str, smooth: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """As :func:`build`, also without a term: a loss with a term of its own may have neither."""
    if per not in PER:
        raise SegtraceError(f"bce_dice: per {per!r}; it has {', '.join(PER)}")

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            z = widened(logits).flatten(2)  # (N, K, V)
            g = masks_of(target.flatten(1), z)
            p = z.sigmoid()
            overlap, total = (p * g).sum(PER[per]), (p + g).sum(PER[per])
            dice = (1 - (2 * overlap + smooth) / (total + smooth)).mean()
            entropy = functional.binary_cross_entropy_with_logits(z, g)
            return bce_weight * entropy + dice_weight * dice

    return loss
