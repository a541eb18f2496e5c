"""The skeleton that VM-UNet and its relatives share: patches, four stages down, four stages up, blocks of any kind.

Layout of VM-UNet (Ruan and Xiang, arXiv:2402.02491) as its published program has it; C is ``base``, sizes are for 256²:

=====================================  ============  ===============================================
step                                   (H, W, C)     parts here
=====================================  ============  ===============================================
4×4 convolution of stride 4, LN        64, 64, C     ``patch_embed.proj``, ``patch_embed.norm``
stage 0, merge                         32, 32, 2C    ``encoder.0.blocks.J``, ``merge.0.norm``, ``merge.0.reduce``
stage 1, merge                         16, 16, 4C    ``encoder.1``, ``merge.1``
stage 2, merge                         8, 8, 8C      ``encoder.2``, ``merge.2``
stage 3                                8, 8, 8C      ``encoder.3``
stage 0 of the decoder                 8, 8, 8C      ``decoder.0.blocks.J``
three times: expand, stage             64, 64, C     ``expand.I.widen``, ``expand.I.norm``, ``decoder.1`` … ``decoder.3``
expand by 4, 1×1 convolution           256, 256, K   ``last.widen``, ``last.norm``, ``head``
=====================================  ============  ===============================================

Merge: the four pixels of 2×2 in the order (0, 0), (1, 0), (0, 1), (1, 1) of (row, column), LN(4C), linear to 2C. Expand by
p: linear to p² times the outputs (half of the channels at p = 2, a quarter at 4), dealt out to p × p pixels, LN. No linear
layer of these has a bias. Inside, everything is (N, H, W, C), where linear layers and LN are at home; convolutions see it
as (N, C, H, W), a view.

``skips``: "code" adds the inputs of stages 1 to 3 (after merging) to the decoder's features of the same size, before these
are expanded, as the published program does; the feature at a quarter of the input's size then joins nothing. "figure" adds
the outputs of stages 0 to 2 after the expansion, as the papers draw it. No parameter depends on it.
``features``: what ``forward_features`` gives: "stages" the last block's output of each stage, "blocks" every block's,
"final" these and, as the decoder's last, the features of full size that the logits are made of.
Weights: linear layers normal (0.02, cut off at 2), their biases 0; others as torch or their module does.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from segtrace.errors import raise_all
from segtrace.networks._network import Network
from segtrace.networks.unext import to_first, to_last

SKIPS = ("code", "figure")
FEATURES = ("stages", "blocks", "final")
#: Makes a block that maps (N, H, W, C) to its shape, of C channels and a probability of being left out in training.
MakeBlock = Callable[[int, float], nn.Module]


class PatchEmbed(nn.Module):
    """(N, inputs, H, W) → (N, H / 4, W / 4, outputs): a 4×4 convolution of stride 4 and a layer normalisation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, outputs, 4, stride=4)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Images to patches."""
        patches: Tensor = self.norm(to_last(self.proj(x)).contiguous())
        return patches


class Merge(nn.Module):
    """(N, H, W, C) → (N, H / 2, W / 2, 2C): the four pixels of 2×2 side by side, normalised, reduced."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduce = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Half the size, twice the channels."""
        n, h, w, c = x.shape
        # (row, column) of a pixel in its 2×2 count as 2 · column + row: the order of published weights
        quads = (
            x.reshape(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 4, 2, 5).reshape(n, h // 2, w // 2, 4 * c)
        )
        merged: Tensor = self.reduce(self.norm(quads))
        return merged


class Expand(nn.Module):
    """(N, H, W, C) → (N, H · factor, W · factor, outputs): a linear layer, its outputs dealt out to pixels, normalised."""

    def __init__(self, channels: int, outputs: int, *, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.widen = nn.Linear(channels, factor * factor * outputs, bias=False)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """``factor`` times the size."""
        n, h, w, _ = x.shape
        f = self.factor
        wide = self.widen(x).view(n, h, w, f, f, -1).permute(0, 1, 3, 2, 4, 5)
        expanded: Tensor = self.norm(wide.reshape(n, h * f, w * f, -1))
        return expanded


class Stage(nn.Module):
    """Blocks of one width and size, one after the other."""

    def __init__(self, channels: int, drops: Sequence[float], make: MakeBlock) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(make(channels, drop) for drop in drops)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The output of each block, (N, H, W, C)."""
        outputs: list[Tensor] = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return outputs


class MambaUNet(Network):
    """Four stages down, four stages up, of blocks that ``make_block`` makes; see the module's documentation.

    ``make_skip`` makes, from its number of channels, the module (N, C, H, W) → (N, C, H, W) that each skip goes through.
    """

    divisor = 32

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        base: int,
        encoder_depths: Sequence[int],
        decoder_depths: Sequence[int],
        drop_path: float,
        skips: str,
        features: str,
        make_block: MakeBlock,
        make_skip: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        _check(base, encoder_depths, decoder_depths, drop_path=drop_path, skips=skips, features=features)
        self.skips, self.features = skips, features
        widths = [base * 2**level for level in range(4)]
        raised = widths[::-1]
        down, up = _drops(encoder_depths, drop_path), _drops(decoder_depths, drop_path, falling=True)

        self.patch_embed = PatchEmbed(in_channels, base)
        self.encoder = nn.ModuleList(Stage(c, d, make_block) for c, d in zip(widths, down, strict=True))
        self.merge = nn.ModuleList(Merge(c) for c in widths[:3])
        joined = widths[1:] if skips == "code" else widths[:3]
        self.attend = nn.ModuleList(make_skip(c) for c in joined) if make_skip else None
        self.decoder = nn.ModuleList(Stage(c, d, make_block) for c, d in zip(raised, up, strict=True))
        self.expand = nn.ModuleList(Expand(c, half, factor=2) for c, half in pairwise(raised))
        self.last = Expand(base, base // 4, factor=4)
        self.head = nn.Conv2d(base // 4, out_channels, 1)

        scales = [4, 8, 16, 32]
        repeats = [[1] * 4] * 2 if features == "stages" else [encoder_depths, decoder_depths]
        bottom = repeats[0][3]
        self.encoder_channels = _repeated(widths[:3], repeats[0][:3])
        self.encoder_scales = _repeated(scales[:3], repeats[0][:3])
        self.decoder_channels = (raised[0],) * bottom + _repeated(raised, repeats[1])
        self.decoder_scales = (32,) * bottom + _repeated(scales[::-1], repeats[1])
        if features == "final":
            self.decoder_channels += (base // 4,)
            self.decoder_scales += (1,)
        _draw(self)

    def _down(self, x: Tensor) -> tuple[list[list[Tensor]], list[Tensor]]:
        """Outputs of the blocks of each stage, and the skips from shallow to deep; all (N, H, W, C)."""
        stages: list[list[Tensor]] = []
        skips: list[Tensor] = []
        x = self.patch_embed(x)
        for level, stage in enumerate(self.encoder):
            if level:
                x = self.merge[level - 1](x)
                skips.append(x if self.skips == "code" else stages[-1][-1])
            stages.append(stage(x))
            x = stages[-1][-1]
        if self.attend is not None:
            skips = [to_last(attend(to_first(skip))) for attend, skip in zip(self.attend, skips, strict=True)]
        return stages, skips

    def _up(self, x: Tensor, skips: Sequence[Tensor]) -> list[list[Tensor]]:
        """Outputs of the blocks of each stage of the decoder, deep to shallow; (N, H, W, C)."""
        stages: list[list[Tensor]] = [self.decoder[0](x)]
        for expand, stage, skip in zip(self.expand, list(self.decoder)[1:], reversed(skips), strict=True):
            x = stages[-1][-1]
            stages.append(stage(expand(x + skip) if self.skips == "code" else expand(x) + skip))
        return stages

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features at scales 4, 8, 16, decoder features at 32 (the encoder's last), 32, 16, 8, 4.

        With ``features`` "blocks" or "final" a scale comes once for each block of its stage, with "final" 1 at the end.
        """
        down, skips = self._down(x)
        up = self._up(down[-1][-1], skips)
        final = to_first(self.last(up[-1][-1]))
        logits = self.head(final)
        start = -1 if self.features == "stages" else 0
        encoder = [to_first(y) for stage in down[:-1] for y in stage[start:]]
        decoder = [to_first(y) for stage in (down[-1], *up) for y in stage[start:]]
        if self.features == "final":
            decoder.append(final)
        return logits, encoder, decoder


def _repeated(values: Sequence[int], times: Sequence[int]) -> tuple[int, ...]:
    return tuple(value for value, count in zip(values, times, strict=True) for _ in range(count))


def _drops(depths: Sequence[int], last: float, *, falling: bool = False) -> list[list[float]]:
    """Equal steps from 0 to ``last`` (or back) over the blocks of all stages, by stage."""
    rates: list[float] = torch.linspace(0, last, sum(depths), device="cpu", dtype=torch.float64).tolist()
    rest = iter(reversed(rates) if falling else rates)
    return [[next(rest) for _ in range(depth)] for depth in depths]


def _draw(network: nn.Module) -> None:
    for part in network.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _check(
    base: int,
    encoder_depths: Sequence[int],
    decoder_depths: Sequence[int],
    *,
    drop_path: float,
    skips: str,
    features: str,
) -> None:
    """Refuse options that make no network, all of them at once."""
    faults = []
    if base < 4 or base % 4:
        faults.append(
            f"base is {base}; it must be a multiple of 4, for the last expansion leaves a quarter of it"
        )
    for name, depths in (("encoder_depths", encoder_depths), ("decoder_depths", decoder_depths)):
        if len(depths) != 4 or min(depths) < 1:
            faults.append(
                f"{name} is {list(depths)}; give the number of blocks of four stages, each at least 1"
            )
    if not 0 <= drop_path < 1:
        faults.append(f"drop_path is {drop_path}; it is a probability, at least 0 and below 1")
    for name, value, known in (("skips", skips, SKIPS), ("features", features, FEATURES)):
        if value not in known:
            faults.append(f"{name} is {value!r}; there are: {', '.join(known)}")
    raise_all(faults, heading="a U-Net of scan blocks")
