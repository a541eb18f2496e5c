"""3-D U-Net: three levels down, channels doubled before each pooling, batch normalisation.

Paper: Cicek et al., 3D U-Net, MICCAI 2016, arXiv:1606.06650. Followed: the channels of every
convolution (32-64, 64-128, 128-256, 256-512 down; 768-256-256, 384-128-128, 192-64-64 up), batch
normalisation before ReLU, 2³ max pooling, 2³ up-convolutions that keep their channels, concatenation, a
1³ convolution at the end. Different: convolutions are padded, so that the output has the input's size
(the paper's are not, and its output is smaller); no weighted loss.

Parameters, 3 → 3 channels: 19,069,955 as the paper counts (convolutions and their biases; not the
up-convolutions' 896 biases nor the normalisations' 4,672 weights), 19,075,523 with all; 1 → 8: 19,074,120.
"""

import torch
from torch import Tensor, nn

from segtrace.networks import check_spatial_dims
from segtrace.networks._network import Network


def _double(inputs: int, middle: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, middle, 3, padding=1),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, outputs, 3, padding=1),
        nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
    )


class UNet3d(Network):
    """Four levels of double convolutions; see the module's documentation."""

    encoder_scales = (1, 2, 4)
    decoder_scales = (8, 4, 2)
    divisor = 8

    def __init__(self, *, in_channels: int, out_channels: int, base: int) -> None:
        super().__init__()
        b = base
        self.encoder_channels = (2 * b, 4 * b, 8 * b)
        self.decoder_channels = (16 * b, 8 * b, 4 * b)
        inputs = [in_channels, 2 * b, 4 * b, 8 * b]
        self.down = nn.ModuleList(_double(inputs[i], b * 2**i, b * 2 ** (i + 1)) for i in range(4))
        self.pool = nn.MaxPool3d(2)
        self.up = nn.ModuleList(nn.ConvTranspose3d(c, c, 2, stride=2) for c in self.decoder_channels)
        self.merge = nn.ModuleList(_double(c + c // 2, c // 2, c // 2) for c in self.decoder_channels)
        self.head = nn.Conv3d(2 * b, out_channels, 1)

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features at scales 1, 2, 4, decoder features at scales 8 (bottleneck), 4, 2."""
        encoder = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            encoder.append(x)
        decoder = [encoder.pop()]
        for up, merge, skip in zip(self.up, self.merge, reversed(encoder), strict=True):
            decoder.append(merge(torch.cat([skip, up(decoder[-1])], dim=1)))
        return self.head(decoder.pop()), encoder, decoder


def build(
    *, in_channels: int, out_channels: int, spatial_dims: int | None = None, base: int = 32
) -> nn.Module:
    """A 3-D U-Net; ``base`` is the first convolution's channels, from which all others follow."""
    check_spatial_dims("unet3d", spatial_dims, 3)
    return UNet3d(in_channels=in_channels, out_channels=out_channels, base=base)
