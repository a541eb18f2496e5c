"""A size-matched stand-in for MISSU: encoders learn from multi-scale fusion blocks on their own outputs.

MISSU (Wang et al., MISSU: 3D medical image segmentation via self-distilling TransUNet, IEEE TMI 2023,
arXiv:2206.00902) publishes no fusion block in its program, and the dual self-distillation paper (Banerjee et al., 2025,
section 3.6), which attaches one to UNETR and distils "between the intermediate encoder outputs and the outputs" of the
blocks by a KL divergence, publishes neither wiring nor code. **This is no recovered design**: it is one of many
wirings whose size is that of the paper's table 4 (114.353 M on MM-WHS, 97.094 M on hippocampus), chosen to be plain:

* on each encoder feature three dilated 3³ convolutions side by side (dilations 1, 2, 3; batch normalisation, ReLU),
  their sum through two 1³ convolutions;
* the bottom feature through a 3³ convolution to the deepest encoder's channels, resized and added there before fusion;
* a 3³ convolution on the fused shallowest feature.

    L = loss(Y, G) + α Σ_i KL(F_i ‖ E_i)

over probabilities along the channels of fused (F) and encoder (E) features, sum over channels, mean over batch and
voxels. Gradients reach the blocks through the divergence alone. For training only, as every framework.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace.distill.dsd import divergence, softened

DILATIONS = (1, 2, 3)
_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
_NORMS = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class Fusion(nn.Module):
    """Features (N, C, …) seen at three dilations and fused, in their shape."""

    def __init__(self, channels: int, *, spatial_dims: int) -> None:
        super().__init__()
        convolution, norm = _CONVOLUTIONS[spatial_dims], _NORMS[spatial_dims]
        self.dilated = nn.ModuleList(
            nn.Sequential(
                convolution(channels, channels, 3, padding=rate, dilation=rate), norm(channels), nn.ReLU()
            )
            for rate in DILATIONS
        )
        self.fuse = nn.Sequential(
            convolution(channels, channels, 1), nn.ReLU(), convolution(channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        fused: Tensor = self.fuse(torch.stack([branch(x) for branch in self.dilated]).sum(0))
        return fused


class StandIn(nn.Module):
    """The objective with its blocks; see the module's documentation."""

    def __init__(
        self,
        *,
        encoder_channels: Sequence[int],
        bottom_channels: int,
        spatial_dims: int,
        loss_of: Callable[[Tensor, Tensor], Tensor],
        alpha: float,
    ) -> None:
        super().__init__()
        convolution = _CONVOLUTIONS[spatial_dims]
        self.loss_of, self.alpha = loss_of, alpha
        self.blocks = nn.ModuleList(Fusion(c, spatial_dims=spatial_dims) for c in encoder_channels)
        self.bottom = convolution(bottom_channels, encoder_channels[-1], 3, padding=1)
        self.shallow = convolution(encoder_channels[0], encoder_channels[0], 3, padding=1)
        self.mode = {2: "bilinear", 3: "trilinear"}[spatial_dims]

    def forward(
        self, logits: Tensor, encoder: Sequence[Tensor], decoder: Sequence[Tensor], target: Tensor
    ) -> Tensor:
        """The loss of one batch, a scalar; arguments as in :mod:`segtrace.distill`."""
        loss = self.loss_of(logits, target)
        size = tuple(encoder[-1].shape[2:])
        below = functional.interpolate(
            self.bottom(decoder[0]), size=size, mode=self.mode, align_corners=False
        )
        for level, (block, feature) in enumerate(zip(self.blocks, encoder, strict=True)):
            fused = block(feature + below if level == len(encoder) - 1 else feature)
            if level == 0:
                fused = self.shallow(fused)
            loss = loss + self.alpha * channel_divergence(fused, feature)
        return loss


def channel_divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(teacher ‖ student) of the softmax along the channels of (N, C, …): sum over channels, mean over voxels."""
    with torch.autocast(teacher.device.type, enabled=False):
        return divergence(softened(teacher, 1.0), softened(student, 1.0))


def build(
    *,
    encoder_channels: Sequence[int],
    encoder_scales: Sequence[int | tuple[int, ...]],
    decoder_channels: Sequence[int],
    decoder_scales: Sequence[int | tuple[int, ...]],
    out_channels: int,
    background: bool,
    spatial_dims: int,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    alpha: float = 1.0,
) -> nn.Module:
    """The stand-in; ``alpha`` weighs the divergences (the paper gives no weight)."""
    return StandIn(
        encoder_channels=encoder_channels,
        bottom_channels=decoder_channels[0],
        spatial_dims=spatial_dims,
        loss_of=loss_of,
        alpha=alpha,
    )
