"""EMIS: a U-Net that adds its skips, with self-attention on its levels and its scales fused at the bottom.

Paper: Abraha, EMIS: Enhanced medical image segmentation, integrating self-distillation, self-attention, and multi-scale
fusion techniques (a poster); no program and no parameter count is published. **A reading, not a recovered network**: the
poster's algorithm box fixes double convolutions, attention after each of them but the bottom's, max pooling, a
multi-scale fusion of bottom and skips, doubling, a sum with the skip, double convolution, attention, a 1×1 convolution.
Read here:

* four levels and a bottom of widths ``base`` · 1 … 16; a double convolution is twice a 3×3 convolution without bias, batch
  normalisation and ReLU. The skip is the feature *before* max pooling (the box pools first). A sum needs equal
  channels, so a 1×1 convolution follows each doubling (bilinear).
* ``attention``: that of SAGAN (Zhang et al., ICML 2019, arXiv:1805.08318): 1×1 convolutions to queries and keys of C / 8
  channels and values of C, x + γ · softmax(qk/√d) v with γ = 0 at first. Attention over all places of 256² would hold
  65,536² scores a map: keys and values come from the feature averaged down to at most ``places`` × ``places``.
* ``fusion`` ("MSF"): "sum": each skip averaged to the bottom's size and through a 1×1 convolution to its channels, summed
  with the bottom, a 1×1 convolution. The box names three outputs x1, x2, x3 that it never uses; "three_scales"
  reads them as that sum at scales 1, ½ and ¼, resized to scale 1, joined and taken through the 1×1 convolution.
* the third part, self-distillation, is no layer but an objective of training (the box's "KD layer" at inference makes no
  sense): the framework ``emis``, with heads of its own on the three inner decoder levels.

Parameters (3 → 1 channels, base 64 / 32): U-Net 25,815,233 / 6,457,441; with attention 26,688,041 / 6,676,249; with fusion
27,851,969 / 6,967,905; with both 28,724,777 / 7,186,713. The framework's heads add 899 / 451.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace.errors import SegtraceError
from segtrace.networks import check_spatial_dims
from segtrace.networks._network import Network

FUSIONS = ("sum", "three_scales")


def _double(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _averaged(x: Tensor, *, step: Sequence[int]) -> Tensor:
    """Means over blocks of ``step`` (rows, columns); those at the far ends may be smaller."""
    return functional.avg_pool2d(x, tuple(step), ceil_mode=True) if max(step) > 1 else x


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


class Attention(nn.Module):
    """x + γ · attention of each place to at most ``places`` × ``places`` averaged ones; (N, C, H, W) throughout."""

    def __init__(self, channels: int, *, places: int) -> None:
        super().__init__()
        self.places = places
        narrow = max(1, channels // 8)
        self.query = nn.Conv2d(channels, narrow, 1)
        self.key = nn.Conv2d(channels, narrow, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.scale = narrow**-0.5

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        few = _averaged(x, step=[-(-int(side) // self.places) for side in x.shape[2:]])
        query = self.query(x).flatten(2) * self.scale
        scores = query.transpose(1, 2) @ self.key(few).flatten(2)
        weights = torch.softmax(scores, dim=2)
        seen = self.value(few).flatten(2) @ weights.transpose(1, 2)
        return x + self.gamma * seen.view(x.shape)


class Fusion(nn.Module):
    """The bottom with all skips at its size; see the module's documentation for the two ``kind``."""

    def __init__(self, skips: Sequence[int], channels: int, *, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.project = nn.ModuleList(nn.Conv2d(skip, channels, 1) for skip in skips)
        self.mix = nn.Conv2d(channels if kind == "sum" else 3 * channels, channels, 1)

    def forward(self, bottom: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """``bottom`` (N, C, H, W) and the skips from shallow to deep → (N, C, H, W)."""
        total = bottom
        for project, skip in zip(self.project, skips, strict=True):
            factor = int(skip.shape[2]) // int(bottom.shape[2])
            total = total + project(_averaged(skip, step=(factor, factor)))
        if self.kind == "three_scales":
            scales = [_averaged(total, step=(step, step)) for step in (2, 4)]
            total = torch.cat([total, *(_resized(scale, total.shape[2:]) for scale in scales)], dim=1)
        fused: Tensor = self.mix(total)
        return fused


class Emis(Network):
    """Four levels and a bottom; see the module's documentation."""

    encoder_scales = (1, 2, 4, 8)
    decoder_scales = (16, 8, 4, 2)
    divisor = 16

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        base: int,
        attention: bool,
        fusion: str | None,
        places: int,
    ) -> None:
        super().__init__()
        widths = [base * 2**level for level in range(5)]
        self.encoder_channels = tuple(widths[:4])
        self.decoder_channels = tuple(reversed(widths[1:]))

        def attend(channels: int) -> nn.Module:
            return Attention(channels, places=places) if attention else nn.Identity()

        self.down = nn.ModuleList(
            nn.Sequential(_double(inputs, outputs), attend(outputs))
            for inputs, outputs in zip((in_channels, *widths), widths[:4], strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.bottom = _double(widths[3], widths[4])
        self.fusion = Fusion(widths[:4], widths[4], kind=fusion) if fusion else None
        self.narrow = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 1) for i in (3, 2, 1, 0))
        self.up = nn.ModuleList(
            nn.Sequential(_double(widths[i], widths[i]), attend(widths[i])) for i in (3, 2, 1, 0)
        )
        self.head = nn.Conv2d(base, out_channels, 1)

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features at scales 1, 2, 4, 8, decoder features at 16 (the fused bottom), 8, 4, 2."""
        encoder: list[Tensor] = []
        for block in self.down:
            encoder.append(block(x))
            x = self.pool(encoder[-1])
        x = self.bottom(x)
        decoder = [x if self.fusion is None else self.fusion(x, encoder)]
        for narrow, block, skip in zip(self.narrow, self.up, reversed(encoder), strict=True):
            # narrowing and doubling commute (the weights of a bilinear value sum to 1): the smaller is narrowed
            decoder.append(block(skip + _resized(narrow(decoder[-1]), skip.shape[2:])))
        return self.head(decoder.pop()), encoder, decoder


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    base: int = 64,
    attention: bool = True,
    fusion: str | None = "sum",
    places: int = 16,
) -> nn.Module:
    """An EMIS; without ``attention`` and ``fusion`` (None) the U-Net that it is compared with."""
    check_spatial_dims("emis", spatial_dims, 2)
    if fusion is not None and fusion not in FUSIONS:
        raise SegtraceError(f"emis: fusion is {fusion!r}; there are: {', '.join(FUSIONS)}, or null for none")
    return Emis(
        in_channels=in_channels,
        out_channels=out_channels,
        base=base,
        attention=attention,
        fusion=fusion,
        places=places,
    )
