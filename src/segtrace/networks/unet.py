"""U-Net in two dimensions, in the five forms that papers compare against.

Paper: Ronneberger et al., U-Net, MICCAI 2015, arXiv:1505.04597. What later papers call "U-Net" is one of
several padded re-implementations with batch normalisation; all have four 2×2 max-poolings, two 3×3
convolutions with batch normalisation and ReLU a level, concatenated skips and a 1×1 head with bias.
They differ in widths, in the convolutions' bias and in how they go up:

===============  ============  ====  =========================================  ==========
variant          widths        bias  up                                         parameters
===============  ============  ====  =========================================  ==========
``transposed``   32 … 512      yes   2×2 transposed convolution to half width   7,765,985
``nested``       32 … 512      yes   bilinear, no convolution                   7,852,545
``wide``         64 … 1024     no    2×2 transposed convolution to half width   31,037,633
``bilinear``     64 … 512,512  no    bilinear; the double convolution narrows   17,262,977
``nearest``      64 … 1024     yes   nearest, 3×3 convolution to half width     34,527,041
===============  ============  ====  =========================================  ==========

Parameters are for 3 → 1 channels. ``transposed`` is the default: it has the 7.77 million parameters that
the skin-lesion papers print for U-Net (MALUNet, arXiv:2211.01784; VM-UNet, arXiv:2402.02491), and its
transposed convolutions are deterministic and fast everywhere. ``nested`` is the U-Net of the UNet++
re-implementation 4uiiurz1/pytorch-nested-unet, ``wide`` and ``bilinear`` those of milesial/Pytorch-UNet,
``nearest`` that of LeeJunHyun/Image_Segmentation. All were written anew from these descriptions; weights
start from PyTorch's defaults, as theirs do. Different: logits come out, for any number of classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segtrace.errors import SegtraceError
from segtrace.networks import check_spatial_dims
from segtrace.networks._convolutions import convolution, double_convolution
from segtrace.networks._network import Network, check_widths


@dataclass(frozen=True)
class _Variant:
    widths: tuple[int, ...]
    bias: bool
    up: str  # transposed, bilinear or nearest
    narrow: bool = False  # the decoder's double convolution narrows to the next level's width


_VARIANTS = {
    "transposed": _Variant((32, 64, 128, 256, 512), bias=True, up="transposed"),
    "nested": _Variant((32, 64, 128, 256, 512), bias=True, up="bilinear"),
    "wide": _Variant((64, 128, 256, 512, 1024), bias=False, up="transposed"),
    "bilinear": _Variant((64, 128, 256, 512, 512), bias=False, up="bilinear", narrow=True),
    "nearest": _Variant((64, 128, 256, 512, 1024), bias=True, up="nearest"),
}


def _up(kind: str, inputs: int, outputs: int) -> nn.Module:
    """A layer that doubles the size; ``bilinear`` keeps its input's channels, the others give ``outputs``."""
    if kind == "transposed":
        return nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
    if kind == "nearest":
        return nn.Sequential(nn.Upsample(scale_factor=2), *convolution(inputs, outputs))
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)


class UNet(Network):
    """Five levels of double convolutions; see the module's documentation."""

    encoder_scales = (1, 2, 4, 8)
    decoder_scales = (16, 8, 4, 2)
    divisor = 16

    def __init__(self, *, in_channels: int, out_channels: int, variant: _Variant) -> None:
        super().__init__()
        widths, bias = variant.widths, variant.bias
        inputs = (in_channels, *widths)
        self.down = nn.ModuleList(
            double_convolution(i, w, bias=bias) for i, w in zip(inputs, widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        ups, merges, below = [], [], widths[-1]
        outputs = [widths[-1]]
        for level in reversed(range(4)):
            skip = widths[level]
            ups.append(_up(variant.up, below, skip))
            joined = skip + (below if variant.up == "bilinear" else skip)
            after = widths[max(level - 1, 0)] if variant.narrow else skip
            middle = joined // 2 if variant.narrow else after
            merges.append(double_convolution(joined, after, middle=middle, bias=bias))
            outputs.append(after)
            below = after
        self.up = nn.ModuleList(ups)
        self.merge = nn.ModuleList(merges)
        self.head = nn.Conv2d(below, out_channels, 1)
        self.encoder_channels = tuple(widths[:4])
        self.decoder_channels = tuple(outputs[:4])

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features at scales 1, 2, 4, 8, decoder features at 16 (bottleneck), 8, 4, 2."""
        encoder = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            encoder.append(x)
        decoder = [encoder.pop()]
        for up, merge, skip in zip(self.up, self.merge, reversed(encoder), strict=True):
            decoder.append(merge(torch.cat([skip, up(decoder[-1])], dim=1)))
        return self.head(decoder.pop()), encoder, decoder


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    variant: str = "transposed",
    widths: Sequence[int] | None = None,
) -> nn.Module:
    """A 2-D U-Net of the given ``variant``; ``widths`` (five) replace the variant's own."""
    check_spatial_dims("unet", spatial_dims, 2)
    if variant not in _VARIANTS:
        raise SegtraceError(f"unet: no variant {variant!r}; there are: {', '.join(_VARIANTS)}")
    chosen = _VARIANTS[variant]
    if widths is not None:
        check_widths("unet", widths)
        chosen = _Variant(tuple(widths), chosen.bias, chosen.up, chosen.narrow)
    return UNet(in_channels=in_channels, out_channels=out_channels, variant=chosen)
