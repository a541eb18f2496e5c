"""Attention U-Net in two dimensions, as the community trains it: a gate on each skip, steered from its own scale.

Paper: Oktay et al., Attention U-Net, MIDL 2018, arXiv:1804.03999. What 2-D papers compare against (skin lesions: Table 1
of the visual state-space paper with self-distillation, LV-UNet) is not the authors' network but the re-implementation of
LeeJunHyun/Image_Segmentation: the U-Net of that program (``unet``, variant ``nearest``: widths 64 to 1024, convolutions
with bias, nearest upsampling followed by a 3×3 convolution to half width) with a gate on each of the four skips. The
gate's signal is the upsampled decoder feature, at the skip's own resolution; both go through a 1×1 convolution with
batch normalisation to half the skip's width, are summed, ReLU, a 1×1 convolution to one channel with batch
normalisation, a sigmoid; the skip is multiplied with it and concatenated with the upsampled feature.
The authors' gate, which is steered from the coarser level, is in ``attention_unet3d``.

Followed: layers, counts, PyTorch's default initialisation (the program's own helper is never called). Written anew from
this description. Different: logits come out, for any number of classes.

Parameters: 3 → 1 channels: 34,878,573.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segtrace.networks import check_spatial_dims
from segtrace.networks._convolutions import convolution, double_convolution
from segtrace.networks._network import Network, check_widths


class Gate(nn.Module):
    """An additive attention gate whose signal has the skip's resolution.

    The signal has the skip's ``channels`` unless ``signal`` says others; ``inner`` are half of them where not given.
    """

    def __init__(self, channels: int, *, signal: int | None = None, inner: int | None = None) -> None:
        super().__init__()
        inner = inner or max(channels // 2, 1)
        self.signal = nn.Sequential(nn.Conv2d(signal or channels, inner, 1), nn.BatchNorm2d(inner))
        self.skip = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner))
        self.weight = nn.Sequential(nn.Conv2d(inner, 1, 1), nn.BatchNorm2d(1))

    def forward(self, skip: Tensor, signal: Tensor) -> Tensor:
        """``skip`` (N, C, H, W), weighted pixel by pixel by what ``signal`` (N, S, H, W) and it tell; its shape."""
        weight: Tensor = self.weight(torch.relu(self.signal(signal) + self.skip(skip)))
        return skip * torch.sigmoid(weight)


class AttentionUNet(Network):
    """Five levels of double convolutions, four gates; see the module's documentation."""

    encoder_scales = (1, 2, 4, 8)
    decoder_scales = (16, 8, 4, 2)
    divisor = 16

    def __init__(self, *, in_channels: int, out_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.encoder_channels = tuple(widths[:-1])
        self.decoder_channels = tuple(reversed(widths[1:]))
        inputs = (in_channels, *widths)
        self.down = nn.ModuleList(double_convolution(i, o) for i, o in zip(inputs, widths, strict=False))
        self.pool = nn.MaxPool2d(2)
        levels = range(len(widths) - 2, -1, -1)
        self.up = nn.ModuleList(
            nn.Sequential(nn.Upsample(scale_factor=2), *convolution(widths[i + 1], widths[i])) for i in levels
        )
        self.gates = nn.ModuleList(Gate(widths[i]) for i in levels)
        self.merge = nn.ModuleList(double_convolution(2 * widths[i], widths[i]) for i in levels)
        self.head = nn.Conv2d(widths[0], out_channels, 1)

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features (before the gates) at scales 1, 2, 4, 8, decoder features at 16 (bottleneck), 8, 4, 2."""
        encoder: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            encoder.append(x)
        decoder = [encoder.pop()]
        for up, gate, merge, skip in zip(self.up, self.gates, self.merge, reversed(encoder), strict=True):
            raised = up(decoder[-1])
            decoder.append(merge(torch.cat([gate(skip, raised), raised], dim=1)))
        return self.head(decoder.pop()), encoder, decoder


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    widths: Sequence[int] = (64, 128, 256, 512, 1024),
) -> nn.Module:
    """A 2-D Attention U-Net; ``widths`` are the channels of its five levels."""
    check_spatial_dims("attention_unet", spatial_dims, 2)
    check_widths("attention_unet", widths)
    return AttentionUNet(in_channels=in_channels, out_channels=out_channels, widths=widths)
