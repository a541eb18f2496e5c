"""UTNetV2: convolutions on the fine levels, attention between features and small semantic maps on the coarse ones.

Paper: Gao et al., A multi-scale transformer for medical image segmentation: architectures, model efficiency, and
benchmarks, arXiv:2203.00131, version 1 (renamed MedFormer later). Followed: the authors' published program before its
renaming, in the configuration that it ships for ACDC, as its layers and counts were measured.

Widths 32 to 512. A 3×3 convolution and a residual block (batch normalisation, ReLU, 3×3 convolution, twice, no bias),
then four times: the four pixels of each 2×2 block side by side in channels, batch normalisation, depth-wise 3×3 and
1×1 convolution; the first of these levels goes on with two residual blocks, the others with two attention blocks. On each of
those a map of ``map_size`` × ``map_size`` tokens is generated: features (3×3 convolution) weighted by the softmax over the
places of as many further 3×3 convolutions. The three maps go through a pre-norm transformer of two layers (512 wide, 16
heads, MLP 512, GELU) together. Up: bilinear (corners aligned), joined with the skip, batch normalisation, 1×1 convolution;
two attention blocks on the two deep levels, whose map is a 1×1 convolution of the joined maps, residual blocks on
the others; a 1×1 head.

An attention block, bidirectional: batch normalisation of feature and map; queries and values of the feature by a depth-wise
separable convolution, of the map by a 1×1 one; one matrix of scores q_f·q_m / √32, whose softmax over the tokens
weighs the map's values for the feature and whose softmax over the places weighs the feature's for the map;
projections alike; both inputs added. The feature then passes an inverted bottleneck: batch normalisation, ReLU, 1×1
convolution to twice the channels; the same with a depth-wise 3×3; squeeze and excitation to a quarter; batch normalisation, 1×1
convolution; the input added. PyTorch's default initialisation.

The objective is published with an auxiliary head on the decoder's level of 1/4 of the size, both losses halved: option
``auxiliary``; cross-entropy and Dice are the recipe's.

Different: the program registers three 1×1 convolutions of maps whose result nothing uses (26,624 parameters). They are held,
unused, so that sizes compare; ``unused: false`` leaves them out, and nothing else changes.

Parameters, 3 → 1 channels: 19,187,521; with the auxiliary head 19,187,650.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace.errors import SegtraceError
from segtrace.networks import check_spatial_dims
from segtrace.networks._network import Network
from segtrace.networks._semantic_maps import Bidirectional, MapFusion, MapOf, activated, separable


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)


class Residual(nn.Module):
    """x + two activated 3×3 convolutions; (N, C, H, W) throughout."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(activated(channels, channels, kernel=3) for _ in range(2)))

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        y: Tensor = x + self.layers(x)
        return y


class Halve(nn.Module):
    """(N, C, H, W) → (N, outputs, H / 2, W / 2): the pixels of 2×2 blocks as channels, normalised, convolved."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4 * inputs)
        self.reduce = separable(4 * inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Half the sides."""
        pixels = [x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        y: Tensor = self.reduce(self.norm(torch.cat(pixels, dim=1)))
        return y


class UTNetV2(Network):
    """Five levels, three of them with maps; see the module's documentation."""

    encoder_scales = (1, 2, 4, 8)
    decoder_scales = (16, 8, 4, 2)
    divisor = 16

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        base: int,
        head_width: int,
        map_size: int,
        fusion: Sequence[int],
        auxiliary: bool,
        unused: bool,
    ) -> None:
        super().__init__()
        widths = [base * 2**level for level in range(5)]
        self.encoder_channels = tuple(widths[:4])
        self.decoder_channels = tuple(reversed(widths[1:]))

        def attend(level: int, *, to_map: bool = True) -> nn.ModuleList:
            heads = widths[level] // head_width
            first = Bidirectional(widths[level], heads=heads)
            return nn.ModuleList([first, Bidirectional(widths[level], heads=heads, to_map=to_map)])

        def convolve(level: int) -> nn.Sequential:
            return nn.Sequential(Residual(widths[level]), Residual(widths[level]))

        self.enter = nn.Sequential(nn.Conv2d(in_channels, base, 3, padding=1, bias=False), Residual(base))
        self.halve = nn.ModuleList(Halve(widths[level - 1], widths[level]) for level in (1, 2, 3, 4))
        self.down_convolutions = convolve(1)
        self.map_of = nn.ModuleList(MapOf(widths[level], size=map_size) for level in (2, 3, 4))
        self.down_attention = nn.ModuleList(attend(level) for level in (2, 3, 4))
        self.fuse = MapFusion(widths[2:], width=fusion[0], heads=fusion[1], layers=fusion[2])
        joined = [widths[level] + widths[level + 1] for level in (3, 2, 1, 0)]
        self.join = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(both), nn.Conv2d(both, widths[level], 1, bias=False))
            for level, both in zip((3, 2, 1, 0), joined, strict=True)
        )
        self.join_maps = nn.ModuleList(
            nn.Conv2d(both, widths[level], 1, bias=False) for level, both in zip((3, 2), joined, strict=False)
        )
        self.up_attention = nn.ModuleList([attend(3), attend(2, to_map=False)])
        self.up_convolutions = nn.ModuleList([convolve(1), convolve(0)])
        self.head = nn.Conv2d(base, out_channels, 1)
        self.auxiliary_head = nn.Conv2d(widths[2], out_channels, 1) if auxiliary else None
        self.main_weight = 0.5 if auxiliary else 1.0
        self.auxiliary_weights = (0.5,) if auxiliary else ()
        self.never_used = nn.ModuleList(
            nn.Conv2d(widths[a], widths[b], 1, bias=False) for a, b in ((2, 2), (2, 1), (1, 0)) if unused
        )

    def _encode(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Features at scales 1, 2, 4, 8, 16, and the maps of the last three of them."""
        features = [self.enter(x)]
        features.append(self.down_convolutions(self.halve[0](features[-1])))
        maps = []
        levels = zip(list(self.halve)[1:], self.map_of, self.down_attention, strict=True)
        for halve, map_of, blocks in levels:
            feature = halve(features[-1])
            tokens = map_of(feature)
            for block in blocks:
                feature, tokens = block(feature, tokens)
            features.append(feature)
            maps.append(tokens)
        return features, maps

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features at scales 1, 2, 4, 8, decoder features at scales 16 (bottleneck), 8, 4, 2."""
        encoder, maps = self._encode(x)
        decoder = [encoder.pop()]
        maps = self.fuse(maps)
        tokens = maps.pop()
        for step, (join, skip) in enumerate(zip(self.join, reversed(encoder), strict=True)):
            feature = join(torch.cat([_resized(decoder[-1], skip.shape[2:]), skip], dim=1))
            if step < 2:
                tokens = self.join_maps[step](torch.cat([tokens, maps.pop()], dim=1))
                for block in self.up_attention[step]:
                    feature, tokens = block(feature, tokens)
            else:
                feature = self.up_convolutions[step - 2](feature)
            decoder.append(feature)
        return self.head(decoder.pop()), encoder, decoder

    def forward_auxiliary(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
        """What :meth:`forward_features` gives, and the logits (N, K, H, W) of the auxiliary head where there is one."""
        logits, encoder, decoder = self.forward_features(x)
        auxiliary = (
            []
            if self.auxiliary_head is None
            else [_resized(self.auxiliary_head(decoder[2]), logits.shape[2:])]
        )
        return logits, encoder, decoder, auxiliary


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    base: int = 32,
    head_width: int = 32,
    map_size: int = 3,
    fusion: Sequence[int] = (512, 16, 2),
    auxiliary: bool = False,
    unused: bool = True,
) -> nn.Module:
    """A UTNetV2 of widths ``base`` · 1 … 16; ``fusion`` is the maps' transformer: width, heads, layers.

    ``head_width`` are the channels of a head of the attention blocks. ``auxiliary`` adds the head that training alone
    uses; ``unused`` holds the published program's three layers that nothing uses.
    """
    check_spatial_dims("utnet_v2", spatial_dims, 2)
    if base < 1 or head_width < 1 or (4 * base) % head_width:
        raise SegtraceError(
            f"utnet_v2: head_width {head_width} does not divide {4 * base}, four times base {base}"
        )
    if len(fusion) != 3 or min(fusion) < 1 or fusion[0] % fusion[1]:
        raise SegtraceError(
            f"utnet_v2: fusion {list(fusion)}; it takes width, heads and layers, the width a multiple of the heads"
        )
    return UTNetV2(
        in_channels=in_channels,
        out_channels=out_channels,
        base=base,
        head_width=head_width,
        map_size=map_size,
        fusion=fusion,
        auxiliary=auxiliary,
        unused=unused,
    )
