"""V-Net: residual blocks of 5³ convolutions, strided convolutions down, transposed ones up.

Paper: Milletari et al., V-Net, 3DV 2016, arXiv:1606.04797; the implementation is MONAI's VNet (Apache-2.0) with
its defaults, as the dual self-distillation paper runs it (Banerjee et al., Volumetric medical image
segmentation through dual self-distillation in U-shaped networks, 2025): ELU, batch normalisation,
convolutions without bias, dropout 0.5 in the two deepest levels and in the way up.

Followed: MONAI's own blocks, weights and initialisation; at equal seed the output is that of
``monai.networks.nets.VNet``, bit for bit. The number of input channels must divide 16, since the input is
repeated to 16 channels for the first residual.

Parameters: 1 → 3 channels: 45,601,906; 4 → 4: 45,611,916.
"""

from monai.networks.nets.vnet import VNet as MonaiVNet
from torch import Tensor, nn

from segtrace.errors import SegtraceError
from segtrace.networks._network import Network, decoded


class VNet(Network):
    """MONAI's VNet with its features given out; see the module's documentation."""

    encoder_scales = (1, 2, 4, 8)
    decoder_scales = (16, 8, 4, 2)
    encoder_channels = (16, 32, 64, 128)
    decoder_channels = (256, 256, 128, 64)
    divisor = 16

    def __init__(self, *, in_channels: int, out_channels: int, spatial_dims: int, dropout: float) -> None:
        super().__init__()
        self.backbone = MonaiVNet(
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            out_channels=out_channels,
            dropout_prob_down=dropout,
            dropout_prob_up=(dropout, dropout),
            dropout_dim=spatial_dims,
        )

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features at scales 1, 2, 4, 8, decoder features at scales 16, 8, 4, 2."""
        net = self.backbone
        encoder = [net.in_tr(x)]
        for block in (net.down_tr32, net.down_tr64, net.down_tr128):
            encoder.append(block(encoder[-1]))
        blocks = (net.up_tr256, net.up_tr128, net.up_tr64, net.up_tr32)
        decoder = decoded(net.down_tr256(encoder[-1]), encoder, blocks)
        return net.out_tr(decoder.pop()), encoder, decoder


def build(
    *, in_channels: int, out_channels: int, spatial_dims: int | None = None, dropout: float = 0.5
) -> nn.Module:
    """A V-Net; ``in_channels`` divides 16. 3-D by default."""
    if 16 % in_channels:
        raise SegtraceError(f"vnet: in_channels {in_channels}; it takes 1, 2, 4, 8 or 16")
    return VNet(
        in_channels=in_channels,
        out_channels=out_channels,
        spatial_dims=3 if spatial_dims is None else spatial_dims,
        dropout=dropout,
    )
