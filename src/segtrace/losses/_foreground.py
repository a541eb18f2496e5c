"""What losses over labels without a background share."""

import torch
from torch import Tensor


def widened(logits: Tensor) -> Tensor:
    """The logits in float32 or more."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def masks_of(target: Tensor, like: Tensor) -> Tensor:
    """Class numbers (N, …) as one mask of 0 and 1 a label, (N, K, …) of the type of ``like`` (N, K, …); 0 is in none."""
    labels = torch.arange(1, like.shape[1] + 1, device=like.device)
    return (target.unsqueeze(1) == labels.view(1, -1, *(1,) * (target.dim() - 1))).to(like.dtype)
