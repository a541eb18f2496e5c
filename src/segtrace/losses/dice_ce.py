"""Soft Dice plus cross-entropy over all classes, the background included.

    L = mean over batch and classes of 1 - (2·Σ p·g + s) / (Σ p + Σ g + s)  +  mean over voxels of -log p_target

with p the softmax of the logits, g the one-hot target and s = 1e-5. This is what the dual self-distillation
paper (Banerjee et al., Volumetric medical image segmentation through dual self-distillation in U-shaped
networks, 2025) runs: MONAI's ``DiceCELoss(to_onehot_y=True, softmax=True)``, whose
denominator is the plain sum; the paper's Eq. 1 prints squares, which ``squared`` gives. Equal to MONAI's
to 1e-6; different only in that cross-entropy is a product of the one-hot target with the log-softmax, which
both terms share: torch's own has no deterministic CUDA form, and gathering has a slow one. Half-precision logits are widened to
float32 first, also under autocast.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def build(*, smooth: float = 1e-5, squared: bool = False) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss; ``smooth`` is s above, ``squared`` squares p and g in the denominator."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            if logits.dtype in (torch.bfloat16, torch.float16):
                logits = logits.float()
            classes = logits.shape[1]
            log_p = torch.log_softmax(logits.flatten(2), dim=1)  # (N, K, V)
            flat = target.flatten(1).unsqueeze(1)  # (N, 1, V)
            g = (flat == torch.arange(classes, device=logits.device).view(1, -1, 1)).to(log_p.dtype)
            entropy = -(log_p * g).sum(1).mean()
            p = log_p.exp()
            overlap = (p * g).sum(2)
            total = (p * p).sum(2) + g.sum(2) if squared else p.sum(2) + g.sum(2)
            dice = 1 - (2 * overlap + smooth) / (total + smooth)
            return dice.mean() + entropy

    return loss
