"""Cross-entropy and intersection over union of each label's sigmoid, both weighted towards borders: TransFuse's loss.

    L = mean over images and labels of  Σ w·BCE(σ(z), g) / Σ w  +  1 - (Σ w·σ(z)·g + s) / (Σ w·(σ(z) + g - σ(z)·g) + s)

    w = 1 + a · |mean of g over the window around a voxel - g|

with z a label's logit, g its mask, a = 5, a window of 31 voxels a side and s = 1: the structure loss of TransFuse (Zhang et
al., MICCAI 2021), after F³Net (Wei et al., AAAI 2020). As in the authors' program the window reaches beyond the image, where
masks are 0: a label at the image's edge has its border there. That program has one label; several are segmented each against all
else here, and volumes have windows along all three axes. No logit of the background; half precision is widened to float32.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from segtrace.errors import SegtraceError
from segtrace.losses._foreground import masks_of, widened

BACKGROUND = False


def build(
    *, border_weight: float = 5.0, window: int = 31, smooth: float = 1.0
) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss; ``border_weight`` and ``smooth`` are a and s, ``window`` is the side of the window, an odd number."""
    if window < 1 or window % 2 == 0:
        raise SegtraceError(f"structure: window {window}; it takes an odd number of voxels")

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            z = widened(logits)
            g = masks_of(target, z)
            w = 1 + border_weight * (means(g, window=window) - g).abs()
            z, g, w = z.flatten(2), g.flatten(2), w.flatten(2)  # (N, K, V)
            entropy = functional.binary_cross_entropy_with_logits(z, g, reduction="none")
            p = z.sigmoid()
            overlap, total = (w * p * g).sum(2), (w * (p + g)).sum(2)
            iou = 1 - (overlap + smooth) / (total - overlap + smooth)
            return ((w * entropy).sum(2) / w.sum(2) + iou).mean()

    return loss


def means(x: Tensor, *, window: int) -> Tensor:
    """Means of (N, K, D, H, W) or (N, K, H, W) over a window around each voxel, 0 beyond the image; the same shape."""
    for axis in range(2, x.dim()):  # one axis after the other: 31 + 31 terms a pixel instead of 961
        lines = x.movedim(axis, -1)
        found = functional.avg_pool1d(lines.flatten(0, -2), window, stride=1, padding=window // 2)
        x = found.reshape(lines.shape).movedim(-1, axis)
    return x
