"""MALUNet: a light U-Net of dilated gated attention, external attention on its deep levels, and a bridge over its skips.

Paper: Ruan et al., MALUNet: a multi-attention and light-weight UNet for skin lesion segmentation, BIBM 2022,
arXiv:2211.03784. Followed: the authors' published program, as its layers, counts and outputs were measured.

Widths 8, 16, 24, 32, 48, 64; group normalisation of 4 groups and GELU throughout. Levels 1 to 3 are a 3×3
convolution, normalisation, 2×2 max pooling, GELU; levels 4 and 5 external attention, then dilated gated attention,
normalisation, pooling, GELU; level 6 the same two without normalisation and pooling. The decoder mirrors this, gated
attention first, bilinear doubling (corners aligned) after the normalisation, and adds the bridged skips; a 1×1 head on
half the input's size, doubled.

* external attention: 1×1 convolution; C → 4C without bias, softmax over the places, divided by the sum over the 4C, 4C → C
  without bias; 1×1 convolution without bias, normalisation; the input added; GELU.
* dilated gated attention: quarters of the channels through depth-wise 3×3 convolutions of dilation 7, 5, 2, 1; normalisation,
  1×1 convolution, GELU; of this, y: GELU(S₃(σ(S₃ y) · GELU(S₅ y))) + a 1×1 convolution of y, S a depth-wise
  convolution, normalisation and a 1×1 convolution.
* bridge, over the five skips t: a = t · σ(one 7×7 convolution of dilation 3, the same for all, of channel mean and maximum);
  out = a + (a + t) · σ(linear(convolution along all 128 channels of the means of a + t)).

Initial weights: linear layers normal (0.02, cut off at 2), convolutions normal (√(2 / outputs seen by a weight)), no bias.

Different: logits come out, of any number of classes; the program ends in a sigmoid. Its two memories of an external
attention are initialised as transposes and share their storage on a CPU, not on a GPU: here they start as
transposes and are independent.

Parameters, 3 → 1 channels: 177,943.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace.errors import SegtraceError
from segtrace.networks import check_spatial_dims
from segtrace.networks._drawing import draw_by_outputs
from segtrace.networks._network import Network

WIDTHS = (8, 16, 24, 32, 48, 64)
DILATIONS = (7, 5, 2, 1)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(4, channels)


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class ExternalAttention(nn.Module):
    """Attention of all places to two learned memories; (N, C, H, W) throughout."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, channels, 1)
        self.keys = nn.Conv1d(channels, 4 * channels, 1, bias=False)
        self.values = nn.Conv1d(4 * channels, channels, 1, bias=False)
        self.leave = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), _norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        weights = torch.softmax(self.keys(self.enter(x).flatten(2)), dim=2)  # over places
        weights = weights / (1e-9 + weights.sum(1, keepdim=True))
        return functional.gelu(x + self.leave(self.values(weights).unflatten(2, x.shape[2:])))


def _separable(inputs: int, outputs: int, *, kernel: int) -> nn.Sequential:
    """A depth-wise convolution, normalisation, a 1×1 convolution."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, kernel, padding=kernel // 2, groups=inputs),
        _norm(inputs),
        nn.Conv2d(inputs, outputs, 1),
    )


class GatedAttention(nn.Module):
    """Depth-wise convolutions of four dilations, then a gate; (N, C, H, W) → (N, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        quarter = inputs // 4
        self.dilated = nn.ModuleList(
            nn.Conv2d(quarter, quarter, 3, padding=step, dilation=step, groups=quarter) for step in DILATIONS
        )
        self.mix = nn.Sequential(_norm(inputs), nn.Conv2d(inputs, inputs, 1), nn.GELU())
        self.gate = _separable(inputs, inputs, kernel=3)
        self.gated = _separable(inputs, inputs, kernel=5)
        self.project = _separable(inputs, outputs, kernel=3)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The input's sides."""
        parts = [layer(part) for layer, part in zip(self.dilated, x.chunk(4, dim=1), strict=True)]
        x = self.mix(torch.cat(parts, dim=1))
        gated = torch.sigmoid(self.gate(x)) * functional.gelu(self.gated(x))
        return functional.gelu(self.project(gated)) + self.shortcut(x)


class Bridge(nn.Module):
    """Attention over places and channels of all skips; the skips' shapes."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.places = nn.Conv2d(2, 1, 7, padding=9, dilation=3)
        self.along = nn.Conv1d(1, 1, 3, padding=1, bias=False)
        self.channels = nn.ModuleList(nn.Linear(sum(widths), width) for width in widths)

    def forward(self, skips: Sequence[Tensor]) -> list[Tensor]:
        """The skips (N, C_i, H_i, W_i) from shallow to deep, bridged."""
        gated = []
        for skip in skips:
            seen = torch.cat([skip.mean(1, keepdim=True), skip.amax(1, keepdim=True)], dim=1)
            gated.append(skip * torch.sigmoid(self.places(seen)))
        sums = [a + t for a, t in zip(gated, skips, strict=True)]
        means = self.along(torch.cat([u.mean((2, 3)) for u in sums], dim=1).unsqueeze(1)).squeeze(1)
        return [
            a + u * torch.sigmoid(linear(means))[:, :, None, None]
            for a, u, linear in zip(gated, sums, self.channels, strict=True)
        ]


class MALUNet(Network):
    """Six levels; see the module's documentation."""

    encoder_scales = (2, 4, 8, 16, 32)
    decoder_scales = (32, 32, 16, 8, 4, 2)
    divisor = 32

    def __init__(self, *, in_channels: int, out_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.encoder_channels = tuple(widths[:5])
        self.decoder_channels = tuple(reversed(widths))
        inputs = (in_channels, *widths)
        self.down = nn.ModuleList(
            nn.Conv2d(i, o, 3, padding=1)
            if level < 3
            else nn.Sequential(ExternalAttention(i), GatedAttention(i, o))
            for level, (i, o) in enumerate(zip(inputs, widths, strict=False))
        )
        self.down_norm = nn.ModuleList(_norm(width) for width in widths[:5])
        self.pool = nn.MaxPool2d(2)
        self.bridge = Bridge(widths[:5])
        self.up = nn.ModuleList(
            nn.Sequential(GatedAttention(widths[level + 1], widths[level]), ExternalAttention(widths[level]))
            if level >= 2
            else nn.Conv2d(widths[level + 1], widths[level], 3, padding=1)
            for level in (4, 3, 2, 1, 0)
        )
        self.up_norm = nn.ModuleList(_norm(widths[level]) for level in (4, 3, 2, 1, 0))
        self.head = nn.Conv2d(widths[0], out_channels, 1)
        draw_by_outputs(self)
        for part in self.modules():
            if isinstance(part, ExternalAttention):
                part.keys.weight.data.copy_(part.values.weight.data.transpose(0, 1))

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features at scales 2, 4, 8, 16, 32, decoder features at 32 (bottleneck), 32, 16, 8, 4, 2."""
        encoder: list[Tensor] = []
        for block, norm in zip(self.down, self.down_norm, strict=False):
            x = functional.gelu(self.pool(norm(block(x))))
            encoder.append(x)
        decoder = [functional.gelu(self.down[5](x))]
        bridged = self.bridge(encoder)
        for level, block, norm in zip((4, 3, 2, 1, 0), self.up, self.up_norm, strict=True):
            x = norm(block(decoder[-1]))
            decoder.append(functional.gelu(x if level == 4 else _doubled(x)) + bridged[level])
        return _doubled(self.head(decoder[-1])), encoder, decoder


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    widths: Sequence[int] = WIDTHS,
) -> nn.Module:
    """A MALUNet; ``widths`` are the channels of its six levels, each a multiple of 4."""
    check_spatial_dims("malunet", spatial_dims, 2)
    if len(widths) != 6 or any(width < 4 or width % 4 for width in widths):
        raise SegtraceError(f"malunet: widths {list(widths)}; it takes 6 numbers, each a multiple of 4")
    return MALUNet(in_channels=in_channels, out_channels=out_channels, widths=widths)
