"""Prediction by sliding window: overlapping windows, batched, whose logits are averaged.

Windows lie as in MONAI's ``sliding_window_inference``, and the result equals its own to 1e-5.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace.errors import SegtraceError


def _starts(size: int, window: int, overlap: float) -> list[int]:
    """First voxels of the windows that cover an axis; the last is moved inwards to end with it."""
    interval = window if window == size else max(int(window * (1 - overlap)), 1)
    count = 1 if size <= window else math.ceil((size - window) / interval) + 1
    return [min(i * interval, size - window) for i in range(count)]


def gaussian_weights(window: Sequence[int], *, sigma_scale: float = 0.125) -> Tensor:
    """Weights of a window's voxels, float32 of the window's shape: a Gaussian of ``sigma_scale`` sides.

    Never below 1e-3, so that every voxel counts (as in MONAI).
    """
    weights = torch.ones(())
    for side in window:
        x = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
        weights = weights.unsqueeze(-1) * torch.exp(x**2 / (-2 * (sigma_scale * side) ** 2))
    return weights.clamp(min=max(float(weights.min()), 1e-3))


def pad_to(image: Tensor, size: Sequence[int]) -> tuple[Tensor, list[slice]]:
    """Pad (C, D, H, W) or (C, H, W) on both sides with edge values to at least ``size``.

    Returns the padded image and the slices of (D, H, W) or (H, W) that cut the original out again.
    """
    shape = image.shape[1:]
    before = [max(want - have, 0) // 2 for want, have in zip(size, shape, strict=True)]
    after = [max(want - have, 0) - left for want, have, left in zip(size, shape, before, strict=True)]
    inside = [slice(left, left + have) for left, have in zip(before, shape, strict=True)]
    if any(before) or any(after):
        pairs = [n for left, right in reversed(list(zip(before, after, strict=True))) for n in (left, right)]
        image = functional.pad(image.unsqueeze(0), pairs, mode="replicate").squeeze(0)
    return image, inside


@torch.inference_mode()
def predict_logits(
    network: nn.Module,
    image: Tensor | np.ndarray,
    *,
    window: Sequence[int] | None,
    overlap: float = 0.25,
    weighting: str = "constant",
    batch: int = 4,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
) -> Tensor:
    """Logits (K, D, H, W) or (K, H, W), float32 on ``device``, of an image (C, D, H, W) or (C, H, W).

    ``window`` is (D, H, W) or (H, W), a multiple of the network's ``divisor``; None predicts the whole
    image at once. An image smaller than the window, or no multiple of the divisor in one piece, is
    padded with edge values, and the padding is cut off again. ``overlap`` is the shared fraction of
    neighbouring windows; ``weighting`` is ``constant`` or ``gaussian``; ``batch`` windows run at once;
    ``precision`` is ``fp32`` or ``bf16`` (autocast; averaging is in float32 all the same). The network
    must lie on ``device``; it is run in evaluation mode and left in the mode that it had.
    """
    device = torch.device(device)
    pixels = torch.as_tensor(np.array(image) if isinstance(image, np.ndarray) else image)
    pixels = pixels.to(device=device, dtype=torch.float32)
    divisor = int(getattr(network, "divisor", 16))
    if window is None:
        window = [math.ceil(side / divisor) * divisor for side in pixels.shape[1:]]
    if len(window) != pixels.dim() - 1 or any(side % divisor for side in window):
        raise SegtraceError(
            f"inference window {list(window)}: this network takes {pixels.dim() - 1} sides, each a multiple of {divisor}"
        )
    padded, inside = pad_to(pixels, window)
    places = [
        tuple(slice(start, start + side) for start, side in zip(corner, window, strict=True))
        for corner in itertools.product(
            *(_starts(size, side, overlap) for size, side in zip(padded.shape[1:], window, strict=True))
        )
    ]
    weights = (gaussian_weights(window) if weighting == "gaussian" else torch.ones(tuple(window))).to(device)
    was_training = network.training
    network.eval()
    total: Tensor | None = None
    weight = torch.zeros(padded.shape[1:], device=device)
    try:
        for first in range(0, len(places), batch):
            chosen = places[first : first + batch]
            stack = torch.stack([padded[(slice(None), *place)] for place in chosen])
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                logits = network(stack)
            logits = logits.float()
            if total is None:
                total = torch.zeros((logits.shape[1], *padded.shape[1:]), device=device)
            for piece, place in zip(logits, chosen, strict=True):
                total[(slice(None), *place)] += piece * weights
                weight[place] += weights
    finally:
        network.train(was_training)
    assert total is not None  # there is at least one window
    total /= weight
    return total[(slice(None), *inside)]
