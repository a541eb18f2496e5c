"""TransBTS: a transformer over the bottom of a 3-D encoder and decoder.

Paper: Wang et al., TransBTS, MICCAI 2021, arXiv:2103.04430. Followed, as measured on the authors' published program:
a 3³ convolution to 16 channels with channel dropout 0.2; pre-activation residual blocks (group normalisation of 8 groups,
ReLU, 3³ convolution, twice): one of 16 channels, two of 32, two of 64, four of 128, 3³ convolutions of stride 2
between; batch normalisation, ReLU and a 3³ convolution to 512; a learned position table, dropout 0.1; four pre-norm
transformer layers (8 heads, MLP 4096, no bias in q, k, v). The decoder takes the last layer's output; two
convolutions to 128, a residual block, then three times: 1³ convolution to half the channels, transposed
convolution, concatenation with the skip, 1³ convolution, a residual block with batch normalisation; a 1³ head.

Different: the position table fixes the image size, as published for 128³; ``size`` gives another. Left out are
what the program registers and never uses: a linear encoding of 262,656 parameters and, since the decoder takes the
output before it, a last LayerNorm of 1,024. So 4 → 4 channels at 128³ count 32,723,908, the published program's
32,987,588 less these. Logits are returned, not probabilities.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace.errors import SegtraceError
from segtrace.networks import check_spatial_dims
from segtrace.networks._network import Network, decoded


class Residual(nn.Module):
    """Normalisation, ReLU, 3³ convolution, twice, added to the input; (N, C, D, H, W) throughout."""

    def __init__(self, channels: int, *, batch: bool = False) -> None:
        super().__init__()

        def norm() -> nn.Module:
            return nn.BatchNorm3d(channels) if batch else nn.GroupNorm(min(8, channels), channels)

        self.first, self.second = norm(), norm()
        self.one = nn.Conv3d(channels, channels, 3, padding=1)
        self.two = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        y = self.one(torch.relu(self.first(x)))
        return x + self.two(torch.relu(self.second(y)))


class Closing(nn.Module):
    """A decoder's residual block: convolution, batch normalisation, ReLU, convolution, batch normalisation, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = nn.Conv3d(channels, channels, 3, padding=1)
        self.two = nn.Conv3d(channels, channels, 3, padding=1)
        self.first, self.second = nn.BatchNorm3d(channels), nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        y = torch.relu(self.first(self.one(x)))
        return x + torch.relu(self.second(self.two(y)))


class Layer(nn.Module):
    """A pre-norm transformer layer over tokens (N, T, C)."""

    def __init__(self, width: int, *, heads: int, mlp: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, mlp), nn.GELU(), nn.Dropout(dropout), nn.Linear(mlp, width), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        n, t, c = x.shape
        qkv = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(
            qkv[0], qkv[1], qkv[2], dropout_p=self.dropout if self.training else 0.0
        )
        x = x + functional.dropout(
            self.project(seen.transpose(1, 2).reshape(n, t, c)), self.dropout, self.training
        )
        return x + self.mlp(self.norm2(x))


class Up(nn.Module):
    """To half the channels and twice the size, joined with the skip, (N, C / 2, 2D, 2H, 2W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.reduce = nn.Conv3d(channels, half, 1)
        self.raise_ = nn.ConvTranspose3d(half, half, 2, stride=2)
        self.join = nn.Conv3d(2 * half, half, 1)
        self.close = Closing(half)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """``skip`` has half the channels and twice the size of ``x``."""
        joined: Tensor = self.join(torch.cat([skip, self.raise_(self.reduce(x))], dim=1))
        return self.close(joined)


class TransBTS(Network):
    """Encoder, transformer and decoder; see the module's documentation."""

    encoder_scales = (1, 2, 4)
    decoder_scales = (8, 4, 2)
    divisor = 8

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        size: Sequence[int],
        base: int,
        width: int,
        layers: int,
        heads: int,
        mlp: int,
    ) -> None:
        super().__init__()
        widths = [base * 2**level for level in range(4)]
        self.fixed_size = tuple(size)
        self.encoder_channels = tuple(widths[:3])
        self.decoder_channels = (widths[3], widths[2], widths[1])
        self.stem = nn.Sequential(nn.Conv3d(in_channels, base, 3, padding=1), nn.Dropout3d(0.2))
        self.levels = nn.ModuleList(
            nn.Sequential(*(Residual(c) for _ in range(count)))
            for c, count in zip(widths, (1, 2, 2, 4), strict=True)
        )
        self.strides = nn.ModuleList(
            nn.Conv3d(i, o, 3, stride=2, padding=1) for i, o in itertools.pairwise(widths)
        )
        self.embed = nn.Sequential(
            nn.BatchNorm3d(widths[3]), nn.ReLU(), nn.Conv3d(widths[3], width, 3, padding=1)
        )
        tokens = size[0] // 8 * (size[1] // 8) * (size[2] // 8)
        self.position = nn.Parameter(torch.zeros(1, tokens, width))
        self.layers = nn.Sequential(
            nn.Dropout(0.1), *(Layer(width, heads=heads, mlp=mlp, dropout=0.1) for _ in range(layers))
        )
        self.unembed = nn.Sequential(
            nn.Conv3d(width, widths[3], 3, padding=1),
            nn.BatchNorm3d(widths[3]),
            nn.ReLU(),
            nn.Conv3d(widths[3], widths[3], 3, padding=1),
            nn.BatchNorm3d(widths[3]),
            nn.ReLU(),
            Closing(widths[3]),
        )
        self.up = nn.ModuleList(Up(c) for c in reversed(widths[1:]))
        self.head = nn.Conv3d(base, out_channels, 1)

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features at scales 1, 2, 4, decoder features at scales 8 (after the transformer), 4, 2."""
        encoder = [self.levels[0](self.stem(x))]
        for stride, level in zip(self.strides, list(self.levels)[1:], strict=True):
            encoder.append(level(stride(encoder[-1])))
        bottom = self.embed(encoder.pop())
        tokens = self.layers(bottom.flatten(2).transpose(1, 2) + self.position)
        bottom = self.unembed(tokens.transpose(1, 2).reshape(bottom.shape))
        decoder = decoded(bottom, encoder, list(self.up))
        return self.head(decoder.pop()), encoder, decoder


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    size: Sequence[int] = (128, 128, 128),
    base: int = 16,
    width: int = 512,
    layers: int = 4,
    heads: int = 8,
    mlp: int = 4096,
) -> nn.Module:
    """A TransBTS for images of ``size`` alone, each side a multiple of 8."""
    check_spatial_dims("transbts", spatial_dims, 3)
    if len(size) != 3 or any(side < 8 or side % 8 for side in size):
        raise SegtraceError(f"transbts: size {list(size)}; it takes 3 sides, each a multiple of 8")
    if width % heads:
        raise SegtraceError(f"transbts: width {width} is no multiple of heads {heads}")
    return TransBTS(
        in_channels=in_channels,
        out_channels=out_channels,
        size=size,
        base=base,
        width=width,
        layers=layers,
        heads=heads,
        mlp=mlp,
    )
