"""ResUNet++: residual blocks with squeeze and excitation, atrous pooling at the bottom and the top, attention on the way up.

Paper: Jha et al., ResUNet++, ISM 2019, arXiv:1911.07067. Followed is the authors' PyTorch program,
DebeshJha/ResUNetPlusPlus (``resunet++_pytorch.py``), layer by layer: a stem and three residual units of stride 2 (widths
16 to 128), each with squeeze and excitation (reduction 8, no bias); a bridge of four 3×3 convolutions of dilations 1, 6,
12 and 18, each with batch normalisation, summed, then 1×1 (256 channels, at 1/8 of the size); three decoder levels, in
each of which the lower feature is multiplied with an attention map of its own number of channels (no sigmoid) made of
it and of the max-pooled skip, upsampled (nearest), concatenated with the skip and put through a residual unit; a second
such bridge and a 1×1 head. Convolutions have a bias; PyTorch's default initialisation. Written anew from this description.
Different: any number of classes; widths are an option.

The port rishikksh20/ResUnet (14.48 million parameters) differs in widths, attention and the order of its layers; and
the 7.67 MB that the SC-UNeXt paper prints for ResUNet++ fit neither program.

Parameters: 3 → 1 channels: 4,062,993.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segtrace.networks import check_spatial_dims
from segtrace.networks._network import Network, check_widths

_DILATIONS = (1, 6, 12, 18)
_REDUCTION = 8


def _activated(inputs: int, outputs: int, *, stride: int = 1) -> list[nn.Module]:
    """Batch normalisation, ReLU and a padded 3×3 convolution."""
    return [
        nn.BatchNorm2d(inputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1),
    ]


class SqueezeExcitation(nn.Module):
    """Channels weighted by what a small network makes of their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // _REDUCTION, 1)
        self.weights = nn.Sequential(
            nn.Linear(channels, inner, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(inner, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (N, C, H, W) with its channels weighted."""
        weights: Tensor = self.weights(x.mean(dim=(2, 3)))
        return x * weights[:, :, None, None]


class Unit(nn.Module):
    """A residual unit followed by squeeze and excitation; the ``stem`` begins with a convolution of the bare input."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, stem: bool = False) -> None:
        super().__init__()
        first = nn.Conv2d(inputs, outputs, 3, padding=1)
        start = [first] if stem else _activated(inputs, outputs, stride=stride)
        self.path = nn.Sequential(*start, *_activated(outputs, outputs))
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs))
        self.excitation = SqueezeExcitation(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, ``outputs``, H / stride, W / stride)."""
        shortcut = self.shortcut(x)
        weighted: Tensor = self.excitation(self.path(x) + shortcut)
        return weighted


class AtrousPooling(nn.Module):
    """Atrous spatial pyramid pooling: dilated convolutions of several reaches, summed."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=d, dilation=d), nn.BatchNorm2d(outputs))
            for d in _DILATIONS
        )
        self.out = nn.Conv2d(outputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, ``outputs``, H, W)."""
        total = self.branches[0](x)
        for branch in self.branches[1:]:
            total = total + branch(x)
        pooled: Tensor = self.out(total)
        return pooled


class Attention(nn.Module):
    """The decoder's feature times a map made of itself and of the skip above it."""

    def __init__(self, skip: int, channels: int) -> None:
        super().__init__()
        self.skip = nn.Sequential(*_activated(skip, channels), nn.MaxPool2d(2))
        self.below = nn.Sequential(*_activated(channels, channels))
        self.map = nn.Sequential(*_activated(channels, channels))

    def forward(self, skip: Tensor, x: Tensor) -> Tensor:
        """``x`` (N, C, H, W) weighted with the help of ``skip`` (N, S, 2 H, 2 W)."""
        weights: Tensor = self.map(self.skip(skip) + self.below(x))
        return weights * x


class ResUNetPlusPlus(Network):
    """Four encoder levels, a bridge and three decoder levels; see the module's documentation."""

    encoder_scales = (1, 2, 4)
    decoder_scales = (8, 4, 2)
    divisor = 8

    def __init__(self, *, in_channels: int, out_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.encoder_channels = tuple(widths[:3])
        self.decoder_channels = (widths[4], widths[3], widths[2])
        self.stem = Unit(in_channels, widths[0], stem=True)
        self.down = nn.ModuleList(Unit(widths[i], widths[i + 1], stride=2) for i in range(3))
        self.bridge = AtrousPooling(widths[3], widths[4])
        self.attention = nn.ModuleList(Attention(widths[i], widths[i + 2]) for i in (2, 1, 0))
        self.up = nn.Upsample(scale_factor=2)
        self.merge = nn.ModuleList(Unit(widths[i + 2] + widths[i], widths[i + 1]) for i in (2, 1, 0))
        self.pooling = AtrousPooling(widths[1], widths[0])
        self.head = nn.Conv2d(widths[0], out_channels, 1)

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features at scales 1, 2, 4 (the skips), decoder features at scales 8 (bridge), 4, 2."""
        encoder = [self.stem(x)]
        for block in self.down:
            encoder.append(block(encoder[-1]))
        decoder = [self.bridge(encoder.pop())]
        for attention, merge, skip in zip(self.attention, self.merge, reversed(encoder), strict=True):
            raised = self.up(attention(skip, decoder[-1]))
            decoder.append(merge(torch.cat([raised, skip], dim=1)))
        return self.head(self.pooling(decoder.pop())), encoder, decoder


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    widths: Sequence[int] = (16, 32, 64, 128, 256),
) -> nn.Module:
    """A 2-D ResUNet++; ``widths`` are the channels of its four encoder levels and of its bridge."""
    check_spatial_dims("resunet_plus_plus", spatial_dims, 2)
    check_widths("resunet_plus_plus", widths, levels="4 levels and a bridge")
    return ResUNetPlusPlus(in_channels=in_channels, out_channels=out_channels, widths=widths)
