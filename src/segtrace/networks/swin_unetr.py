"""Swin UNETR: a shifted-window transformer as encoder, a convolutional decoder with residual blocks.

Paper: Hatamizadeh et al., Swin UNETR, BrainLes 2021, arXiv:2201.01266; the implementation is MONAI's
SwinUNETR (Apache-2.0), configured as in the dual self-distillation paper (Banerjee et al., Volumetric medical
image segmentation through dual self-distillation in U-shaped networks, 2025), brain tumours: feature size
12, windows of 7, patches of 2, two blocks in each of four stages, 3-6-12-24 heads, no dropout, hidden states
normalised, instance normalisation without learned scale and shift.

Followed: MONAI's own blocks, weights and initialisation; at equal seed the output is that of
``monai.networks.nets.SwinUNETR``, bit for bit. The encoder's features are those that the decoder joins
(scales 1 to 8), the decoder's those at scales 16 to 2; the bottleneck at scale 32 is none of them, as in the
paper's distillation.

Parameters: 4 → 4 channels, feature size 12: 4,079,386.
"""

from collections.abc import Sequence

from monai.networks.nets.swin_unetr import SwinUNETR as MonaiSwinUNETR
from torch import Tensor, nn

from segtrace.errors import SegtraceError
from segtrace.networks._network import Network, decoded


class SwinUNETR(Network):
    """MONAI's SwinUNETR with its features given out; see the module's documentation."""

    encoder_scales = (1, 2, 4, 8)
    decoder_scales = (16, 8, 4, 2)
    divisor = 32

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        spatial_dims: int,
        feature_size: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: int,
    ) -> None:
        super().__init__()
        self.backbone = MonaiSwinUNETR(
            in_channels=in_channels,
            out_channels=out_channels,
            spatial_dims=spatial_dims,
            feature_size=feature_size,
            depths=tuple(depths),
            num_heads=tuple(heads),
            window_size=window,
        )
        f = feature_size
        self.encoder_channels = (f, f, 2 * f, 4 * f)
        self.decoder_channels = (8 * f, 4 * f, 2 * f, f)

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features at scales 1, 2, 4, 8, decoder features at scales 16, 8, 4, 2."""
        net = self.backbone
        hidden = net.swinViT(x, net.normalize)
        encoder = [net.encoder1(x), net.encoder2(hidden[0]), net.encoder3(hidden[1]), net.encoder4(hidden[2])]
        bottom = net.decoder5(net.encoder10(hidden[4]), hidden[3])
        decoder = decoded(bottom, encoder, (net.decoder4, net.decoder3, net.decoder2, net.decoder1))
        return net.out(decoder.pop()), encoder, decoder


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    feature_size: int = 12,
    depths: Sequence[int] = (2, 2, 2, 2),
    heads: Sequence[int] = (3, 6, 12, 24),
    window: int = 7,
) -> nn.Module:
    """A Swin UNETR; ``feature_size`` is a multiple of 12. 3-D by default."""
    if feature_size % 12 or len(depths) != 4 or len(heads) != 4:
        raise SegtraceError(
            f"swin_unetr: feature_size {feature_size}, depths {list(depths)}, heads {list(heads)}: "
            "feature_size is a multiple of 12, depths and heads are four each"
        )
    return SwinUNETR(
        in_channels=in_channels,
        out_channels=out_channels,
        spatial_dims=3 if spatial_dims is None else spatial_dims,
        feature_size=feature_size,
        depths=depths,
        heads=heads,
        window=window,
    )
