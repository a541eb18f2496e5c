"""Attention U-Net in 3-D: additive attention gates on the skips, and heads of all levels fused into one output.

Paper: Oktay et al., Attention U-Net, MIDL 2018, arXiv:1804.03999. Followed: the authors' published configuration for
CT with one gate a skip (parameter count and layers measured): two 3³ convolutions with batch normalisation and ReLU a
level, 2³ max pooling, widths 16-32-64-128-256; a gating signal from the bottom (1³ convolution, batch normalisation,
ReLU); gates on the three deeper skips, whose skip branch is a 2³ convolution of stride 2 without bias and whose gate
branch a 1³ convolution; the gate of the deepest skip is the gating signal, those above take the decoder's previous
output; trilinear upsampling, concatenation, two convolutions; a 1³ head a decoder level, upsampled trilinearly, all
joined by a 1³ convolution. Kaiming initialisation. Different: the size must be a multiple of 16, where the
authors pad and crop inside.

MONAI's ``AttentionUnet`` is another network: strided and transposed convolutions, no fusion of heads.

Parameters: 1 → 3 channels 6,213,878; 1 → 8: 6,215,323; 4 → 4: 6,215,447.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace.networks import check_spatial_dims
from segtrace.networks._network import Network, check_widths


def _normalised(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv3d(inputs, outputs, kernel, padding=kernel // 2)
    return [convolution, nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)]


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_normalised(inputs, outputs, 3), *_normalised(outputs, outputs, 3))


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return functional.interpolate(x, size=tuple(size), mode="trilinear", align_corners=False)


class Gate(nn.Module):
    """An additive attention gate: the skip is weighted voxel by voxel with what a coarser signal makes of it."""

    def __init__(self, skip: int, signal: int) -> None:
        super().__init__()
        self.theta = nn.Conv3d(skip, skip, 2, stride=2, bias=False)
        self.phi = nn.Conv3d(signal, skip, 1)
        self.psi = nn.Conv3d(skip, 1, 1)
        self.out = nn.Sequential(nn.Conv3d(skip, skip, 1), nn.BatchNorm3d(skip))
        self.combine = nn.Sequential(*_normalised(skip, skip, 1))

    def forward(self, skip: Tensor, signal: Tensor) -> Tensor:
        """``skip`` (N, C, D, H, W) gated by ``signal`` of half its size; the skip's shape."""
        theta = self.theta(skip)
        phi = _resized(self.phi(signal), theta.shape[2:])
        weights = torch.sigmoid(self.psi(torch.relu(theta + phi)))
        gated: Tensor = self.combine(self.out(_resized(weights, skip.shape[2:]) * skip))
        return gated


class AttentionUNet3d(Network):
    """Five levels, three gates, four fused heads; see the module's documentation."""

    encoder_scales = (1, 2, 4, 8)
    decoder_scales = (16, 8, 4, 2)
    divisor = 16

    def __init__(self, *, in_channels: int, out_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.encoder_channels = tuple(widths[:-1])
        self.decoder_channels = tuple(reversed(widths[1:]))
        self.down = nn.ModuleList(_double(i, o) for i, o in zip((in_channels, *widths), widths, strict=False))
        self.pool = nn.MaxPool3d(2)
        self.signal = nn.Sequential(*_normalised(widths[-1], widths[-1], 1))
        self.gates = nn.ModuleList(Gate(widths[level], widths[level + 1]) for level in (3, 2, 1))
        self.up = nn.ModuleList(_double(widths[i + 1] + widths[i], widths[i]) for i in (3, 2, 1, 0))
        self.heads = nn.ModuleList(nn.Conv3d(widths[level], out_channels, 1) for level in (3, 2, 1, 0))
        self.fuse = nn.Conv3d(4 * out_channels, out_channels, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, a=0, mode="fan_in")

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features at scales 1, 2, 4, 8, decoder features at scales 16 (bottom), 8, 4, 2."""
        size = x.shape[2:]
        encoder: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            encoder.append(x)
        decoder = [encoder.pop()]
        signal = self.signal(decoder[0])
        outputs = []
        for level, (block, head, skip) in enumerate(zip(self.up, self.heads, reversed(encoder), strict=True)):
            if level < len(self.gates):
                skip = self.gates[level](skip, signal)
            raised = _resized(decoder[-1], skip.shape[2:])
            signal = block(torch.cat([skip, raised], dim=1))
            decoder.append(signal)
            outputs.append(_resized(head(signal), size) if level < 3 else head(signal))
        decoder.pop()
        return self.fuse(torch.cat(outputs[::-1], dim=1)), encoder, decoder


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    widths: Sequence[int] = (16, 32, 64, 128, 256),
) -> nn.Module:
    """An Attention U-Net; ``widths`` are the channels of its five levels."""
    check_spatial_dims("attention_unet3d", spatial_dims, 3)
    check_widths("attention_unet3d", widths)
    return AttentionUNet3d(in_channels=in_channels, out_channels=out_channels, widths=widths)
