"""Soft intersection over union plus soft Dice plus distances to the border: HC-Mamba's loss, read.

    L = w_i · mean of 1 - (Σ p·g + s) / (Σ (p + g - p·g) + s)  +  w_d · mean of 1 - (2·Σ p·g + s) / (Σ (p + g) + s)
        + w_b · mean of d · |p - g|

with p the sigmoid of a label's logit, g its mask; sums are over an image's voxels, means over images and labels, in the last
term over voxels too. d is a voxel's distance to the border of its image's mask, as a share of the image's diagonal: half a
voxel less than the distance to the nearest voxel of the other side; 1 everywhere where the mask has no border.

**A reading**: HC-Mamba (arXiv:2405.05007) names a weighted sum of mIoU, Dice and boundary loss, the last by the distance to
the nearest edge, and gives neither the weights nor the boundary term's form; no program is published. All weights are 1 to
begin with; the skin-lesion paper does not say that it used this loss. The last term has the gradient of
Kervadec et al.'s boundary loss (MIDL 2019), from which it differs by a constant so that the truth has 0, and in the scale.
mIoU and Dice are those of the labels; the background has no logit. Half precision is widened to float32.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from segtrace.errors import SegtraceError
from segtrace.losses._foreground import masks_of, widened

BACKGROUND = False
#: Numbers that are worked on at once: this many of the square of a side times the other axes.
BLOCK = 2**20


def build(
    *,
    iou_weight: float = 1.0,
    dice_weight: float = 1.0,
    boundary_weight: float = 1.0,
    smooth: float = 1e-5,
) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss; the weights are w_i, w_d and w_b, ``smooth`` is s."""
    if not (iou_weight or dice_weight or boundary_weight):
        raise SegtraceError(
            "iou_dice_boundary: its three weights are all 0: nothing is learnt from the labels"
        )

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            z = widened(logits)
            g = masks_of(target, z)
            p = z.sigmoid()
            overlap, total = (p * g).flatten(2).sum(2), (p + g).flatten(2).sum(2)
            iou = (1 - (overlap + smooth) / (total - overlap + smooth)).mean()
            dice = (1 - (2 * overlap + smooth) / (total + smooth)).mean()
            found = iou_weight * iou + dice_weight * dice
            if boundary_weight:
                found = found + boundary_weight * (distances(g) * (p - g).abs()).mean()
            return found

    return loss


def distances(masks: Tensor) -> Tensor:
    """Each voxel's distance to its mask's border as a share of the diagonal, of masks (N, K, D, H, W) or (N, K, H, W).

    Exact Euclidean distances, by the lower envelope along one axis after the other (Felzenszwalb and
    Huttenlocher, Theory of Computing 8, 2012), here as plain minima: the same bits on any device.
    """
    far = float(sum(side * side for side in masks.shape[2:]))  # above any squared distance in the image
    squared = torch.stack([masks, 1 - masks]) * far  # 0 where the other side is
    for axis in range(3, squared.dim()):
        squared = _nearest(squared, axis=axis).clamp(max=far)
    to_other = torch.where(masks > 0, squared[0], squared[1])
    diagonal = math.sqrt(far)
    return torch.where(to_other < far, (to_other.sqrt() - 0.5) / diagonal, torch.ones_like(to_other))


def _nearest(values: Tensor, *, axis: int) -> Tensor:
    """min over j of values[j] + (i - j)² for each i along ``axis``."""
    moved = values.movedim(axis, -1)
    side = moved.shape[-1]
    places = torch.arange(side, device=values.device, dtype=values.dtype)
    apart = (places[:, None] - places[None, :]).square()  # (i, j)
    rows = moved.reshape(-1, 1, side)
    parts = [(part + apart).amin(2) for part in rows.split(max(1, BLOCK // side**2))]
    return torch.cat(parts).reshape(moved.shape).movedim(-1, axis)
