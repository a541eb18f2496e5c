"""SC-UNeXt: UNeXt-S with attention and products on its skips, and with its decoder's levels summed at one size.

Paper: Smith, Advanced medical image segmentation with multi-scale feature fusion and attention mechanisms, 2024; no
program is published. **A reading, not a recovered network**: the text fixes UNeXt as base, the attention module (CBAM;
Woo et al., ECCV 2018, arXiv:1807.06521; its published program's layers and outputs are followed), a product in place of
concatenation (Eq. 2, garbled in print) and a pyramid fusion by deconvolution and addition. Read here:

* ``skip``: the skip x passes CBAM and meets the decoder's feature u, doubled and of the skip's channels, as
  z = f(u ⊗ x + u); f is what UNeXt has next, so that no parameter is added but CBAM's. ``attention`` puts CBAM on the
  skips or leaves it out whatever ``skip`` says (left out: as ``skip``); ``reduction`` is that of its MLP, at most
  the channels.
* ``fusion``: the decoder's levels at scales 16, 8 and 4 each through a 1×1 convolution to the channels of scale 2 and a
  depth-wise transposed convolution whose kernel and stride are the factor (8, 4, 2); their sum with the level at scale 2
  goes to UNeXt's last convolution.

The paper's third part, the edge loss, is a loss. Without both switches this is UNeXt-S.

Parameters (3 → 1 channels): both 256,393; ``skip`` 254,777; ``fusion`` 255,177; neither 253,561. **The paper's 243.63 KB,
249,472 to 249,482 parameters, are about 4,084 fewer than UNeXt-S has, although modules are added**: some layer of UNeXt-S
was taken out or made thinner there, and the paper does not say which.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segtrace.networks import check_spatial_dims
from segtrace.networks._network import check_widths
from segtrace.networks.unext import UNEXT_S, UNeXt


class Cbam(nn.Module):
    """Convolutional block attention: weights of channels, then weights of places; (N, C, H, W) throughout."""

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = channels // min(reduction, channels)
        self.channels = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels)
        )
        self.places = nn.Sequential(
            nn.Conv2d(2, 1, 7, padding=3, bias=False), nn.BatchNorm2d(1, momentum=0.01)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        weights = torch.sigmoid(self.channels(x.mean((2, 3))) + self.channels(x.amax((2, 3))))
        x = x * weights[:, :, None, None]
        summary = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.places(summary))


class Pyramid(nn.Module):
    """Decoder features of several sizes, brought to the size and channels of the last and summed."""

    def __init__(self, channels: Sequence[int], scales: Sequence[int]) -> None:
        super().__init__()
        width = channels[-1]
        self.grow = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inputs, width, 1),
                nn.ConvTranspose2d(
                    width, width, scale // scales[-1], stride=scale // scales[-1], groups=width
                ),
            )
            for inputs, scale in zip(channels[:-1], scales[:-1], strict=True)
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features from deep to shallow → one of the shape of the last."""
        total = features[-1]
        for grow, feature in zip(self.grow, features[:-1], strict=True):
            total = total + grow(feature)
        return total


class ScUNeXt(UNeXt):
    """UNeXt with the paper's skips and fusion; see the module's documentation."""

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        skip: bool,
        fusion: bool,
        attention: bool,
        reduction: int,
    ) -> None:
        super().__init__(in_channels=in_channels, out_channels=out_channels, widths=widths)
        self.multiplied = skip
        self.attention = (
            nn.ModuleList(Cbam(channels, reduction=reduction) for channels in self.encoder_channels)
            if attention
            else None
        )
        self.pyramid = Pyramid(self.decoder_channels[1:], self.decoder_scales[1:]) if fusion else None

    def join(self, skip: Tensor, raised: Tensor, *, level: int) -> Tensor:
        """u ⊗ x + u of the raised feature u and the skip x with attention; without the switch x + u."""
        if self.attention is not None:
            skip = self.attention[level](skip)
        return raised * skip + raised if self.multiplied else skip + raised

    def fuse(self, decoder: Sequence[Tensor]) -> Tensor:
        """The sum of the decoder's levels above the bottleneck at scale 2; without the switch the last of them."""
        return super().fuse(decoder) if self.pyramid is None else self.pyramid(decoder[1:])


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    widths: Sequence[int] = UNEXT_S,
    skip: bool = True,
    fusion: bool = True,
    attention: bool | None = None,
    reduction: int = 16,
) -> nn.Module:
    """An SC-UNeXt; ``attention`` is on where ``skip`` is, unless given."""
    check_spatial_dims("sc_unext", spatial_dims, 2)
    check_widths("sc_unext", widths)
    return ScUNeXt(
        in_channels=in_channels,
        out_channels=out_channels,
        widths=widths,
        skip=skip,
        fusion=fusion,
        attention=skip if attention is None else attention,
        reduction=reduction,
    )
