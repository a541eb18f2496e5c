"""UNeXt: convolutions above, shifted tokens and MLPs below; UNeXt-S by its widths.

Paper: Valanarasu and Patel, UNeXt: MLP-based rapid medical image segmentation network, MICCAI 2022,
arXiv:2203.04967. Followed: the authors' published program, as its layers, counts and outputs were measured.

==========  ======================  ==========
widths      [16, 32, 128, 160, 256]  1,471,921 (UNeXt)
widths      [8, 16, 32, 64, 128]       253,561 (UNeXt-S; the paper prints 0.32 M)
==========  ======================  ==========

Parameters are for 3 → 1 channels. Encoder: three times 3×3 convolution, batch normalisation, 2×2 max pooling, ReLU; twice
a 3×3 convolution of stride 2 with layer normalisation, a shifted block, layer normalisation. Decoder: 3×3
convolution, batch normalisation, bilinear doubling, ReLU, the encoder's feature added; on the two deepest levels then a
shifted block and layer normalisation; last a 3×3 convolution without normalisation, doubling, ReLU, a 1×1 head.
A shifted block is x + MLP(LN(x)): five groups of channels move by -2 … 2 rows, zeros come in; linear; depth-wise 3×3
convolution; GELU; the groups move by -2 … 2 columns; linear. Weights of the shifted blocks and of the convolutions before
them are drawn as there: linear layers normal (0.02, cut off at 2), convolutions normal (√(2 / outputs seen by a weight)), no
bias; the others as PyTorch does.

Different: the program takes three channels whatever it is asked for, here any number; it pads, rolls and crops the groups,
here each group is padded on one side and cut on the other, which gives the same values; its unused options (image size,
heads, ratios of spatial reduction) are left out.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace.networks import check_spatial_dims
from segtrace.networks._network import Network, check_widths

UNEXT = (16, 32, 128, 160, 256)
UNEXT_S = (8, 16, 32, 64, 128)
#: Each group of channels moves by one of these numbers of rows or columns.
SHIFTS = (-2, -1, 0, 1, 2)


def shifted(x: Tensor, *, axis: int) -> Tensor:
    """``x`` (N, H, W, C), its five groups of channels moved by -2 … 2 along ``axis`` (1 is H, 2 is W); zeros come in."""
    moved = []
    width = -(
        -int(x.shape[3]) // len(SHIFTS)
    )  # as torch.chunk has it, which ONNX cannot say where the last group is missing
    for step, group in zip(SHIFTS, x.split(width, dim=3), strict=False):
        if step and abs(step) >= x.shape[axis]:
            group = torch.zeros_like(group)  # a pad cannot cut off more than there is
        elif step:
            pads = [0] * 6  # of C, W and H
            pads[6 - 2 * axis : 8 - 2 * axis] = (step, -step)
            group = functional.pad(group, pads)
        moved.append(group)
    return torch.cat(moved, dim=3)


def to_last(x: Tensor) -> Tensor:
    """(N, C, H, W) seen as (N, H, W, C)."""
    return x.permute(0, 2, 3, 1)


def to_first(x: Tensor) -> Tensor:
    """(N, H, W, C) seen as (N, C, H, W)."""
    return x.permute(0, 3, 1, 2)


def doubled(x: Tensor) -> Tensor:
    """(N, C, H, W) at twice its size, bilinear."""
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class ShiftedBlock(nn.Module):
    """x + MLP(LN(x)) over groups of channels moved along H, then along W; (N, C, H, W) throughout."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.rows = nn.Linear(channels, channels)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.columns = nn.Linear(channels, channels)
        _draw(self)

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        y = self.rows(shifted(self.norm(to_last(x)), axis=1))
        y = to_last(functional.gelu(self.depthwise(to_first(y))))
        return x + to_first(self.columns(shifted(y, axis=2)))


class Tokens(nn.Module):
    """An encoder level of tokens: convolution of stride 2, layer normalisation, shifted block, layer normalisation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        self.before = nn.LayerNorm(outputs)
        _draw(self)
        self.block = ShiftedBlock(outputs)
        self.after = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, outputs, H / 2, W / 2)."""
        y = self.block(to_first(self.before(to_last(self.embed(x)))))
        return to_first(self.after(to_last(y)))


class Mixed(nn.Module):
    """What follows the addition of the skip on a deep decoder level: shifted block, layer normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = ShiftedBlock(channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        return to_first(self.norm(to_last(self.block(x))))


def _draw(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Conv2d):
            seen = part.kernel_size[0] * part.kernel_size[1] * part.out_channels // part.groups
            nn.init.normal_(part.weight, std=math.sqrt(2 / seen))
            nn.init.zeros_(part.bias)


class UNeXt(Network):
    """Five levels, two of them of tokens; see the module's documentation."""

    encoder_scales = (2, 4, 8, 16)
    decoder_scales = (32, 16, 8, 4, 2)
    divisor = 32

    def __init__(self, *, in_channels: int, out_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.encoder_channels = tuple(widths[:4])
        self.decoder_channels = tuple(reversed(widths))
        self.down = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, padding=1),
                nn.BatchNorm2d(outputs),
                nn.MaxPool2d(2),
                nn.ReLU(inplace=True),
            )
            for inputs, outputs in zip((in_channels, *widths), widths[:3], strict=False)
        )
        self.tokens = nn.ModuleList(Tokens(widths[level - 1], widths[level]) for level in (3, 4))
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(widths[level + 1], widths[level], 3, padding=1), nn.BatchNorm2d(widths[level])
            )
            for level in (3, 2, 1, 0)
        )
        self.mixed = nn.ModuleList(Mixed(widths[level]) for level in (3, 2))
        self.last = nn.Conv2d(widths[0], widths[0], 3, padding=1)
        self.head = nn.Conv2d(widths[0], out_channels, 1)

    def join(self, skip: Tensor, raised: Tensor, *, level: int) -> Tensor:
        """The encoder's feature and the decoder's of its size and channels in one; ``level`` 0 is the shallowest."""
        return skip + raised

    def fuse(self, decoder: Sequence[Tensor]) -> Tensor:
        """What the last convolution takes, at half the input's size, of the decoder's features, deep to shallow."""
        return decoder[-1]

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features at scales 2, 4, 8, 16, decoder features at scales 32 (bottleneck), 16, 8, 4, 2."""
        if x.device.type == "cpu":  # quicker there with so few channels, and tokens are views of maps
            x = x.contiguous(memory_format=torch.channels_last)
        encoder: list[Tensor] = []
        for block in (*self.down, *self.tokens):
            x = block(x)
            encoder.append(x)
        decoder = [encoder.pop()]
        for level, up, skip in zip((3, 2, 1, 0), self.up, reversed(encoder), strict=True):
            raised = functional.relu(doubled(up(decoder[-1])), inplace=True)
            x = self.join(skip, raised, level=level)
            decoder.append(self.mixed[3 - level](x) if level >= 2 else x)
        x = functional.relu(doubled(self.last(self.fuse(decoder))), inplace=True)
        return self.head(x), encoder, decoder


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    widths: Sequence[int] = UNEXT,
) -> nn.Module:
    """A UNeXt; ``widths`` are the channels of its five levels, [8, 16, 32, 64, 128] is UNeXt-S."""
    check_spatial_dims("unext", spatial_dims, 2)
    check_widths("unext", widths)
    return UNeXt(in_channels=in_channels, out_channels=out_channels, widths=widths)
