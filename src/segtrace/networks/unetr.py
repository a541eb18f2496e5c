"""UNETR: a vision transformer as encoder, its hidden states upsampled into a convolutional decoder.

Paper: Hatamizadeh et al., UNETR, WACV 2022, arXiv:2103.10504; the implementation is MONAI's UNETR
(Apache-2.0), configured as in the dual self-distillation paper (Banerjee et al., Volumetric medical image
segmentation through dual self-distillation in U-shaped networks, 2025): patches of 16³, 12 layers of width 768
with 12 heads, MLP 3072, "perceptron" patch embedding, instance normalisation without learned scale and
shift, residual and convolutional blocks, no dropout. ``feature_size`` is 32 there for MM-WHS (16 its "small"),
16 for hippocampus, 16 ("light") and 64 for brain tumours.

Followed: MONAI's own blocks, weights and initialisation; at equal seed the output is that of
``monai.networks.nets.UNETR``, bit for bit. Different: MONAI since 1.4 registers in every transformer layer a
LayerNorm for cross attention that nothing uses, 12 · 2 · 768 = 18,432 parameters, more than dual
self-distillation adds; they are removed, so the counts are the paper's. The hidden states are taken after
layers 4, 7 and 10, the bottom after layer 12 and its LayerNorm. The position table fixes the image size.

Parameters: 1 → 3 channels at 32³, feature size 16: 92,624,115; 1 → 8 at 96³: 92,783,944 (16), 101,787,016
(32); 4 → 4 at 128³: 102,449,732 (16), 143,142,404 (64).
"""

from collections.abc import Sequence

from monai.networks.nets.unetr import UNETR as MonaiUNETR  # noqa: N811
from torch import Tensor, nn

from segtrace.errors import SegtraceError
from segtrace.networks._network import Network, decoded

PATCH = 16


class UNETR(Network):
    """MONAI's UNETR with its features given out; see the module's documentation."""

    encoder_scales = (1, 2, 4, 8)
    decoder_scales = (16, 8, 4, 2)
    divisor = PATCH

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        spatial_dims: int,
        size: Sequence[int],
        feature_size: int,
        hidden_size: int,
        mlp_size: int,
        heads: int,
    ) -> None:
        super().__init__()
        built = MonaiUNETR(
            in_channels=in_channels,
            out_channels=out_channels,
            img_size=tuple(size),
            feature_size=feature_size,
            hidden_size=hidden_size,
            mlp_dim=mlp_size,
            num_heads=heads,
            proj_type="perceptron",
            norm_name="instance",
            spatial_dims=spatial_dims,
        )
        for block in built.vit.blocks:
            del block.norm_cross_attn  # never used; see above
        self.backbone = built
        self.fixed_size = tuple(size)
        self.encoder_channels = tuple(feature_size * 2**level for level in range(4))
        self.decoder_channels = (hidden_size, *(feature_size * 2**level for level in (3, 2, 1)))

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features at scales 1, 2, 4, 8, decoder features at scales 16 (tokens), 8, 4, 2."""
        net = self.backbone
        tokens, hidden = net.vit(x)
        encoder = [
            net.encoder1(x),
            net.encoder2(net.proj_feat(hidden[3])),
            net.encoder3(net.proj_feat(hidden[6])),
            net.encoder4(net.proj_feat(hidden[9])),
        ]
        blocks = (net.decoder5, net.decoder4, net.decoder3, net.decoder2)
        decoder = decoded(net.proj_feat(tokens), encoder, blocks)
        return net.out(decoder.pop()), encoder, decoder


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    size: Sequence[int] = (96, 96, 96),
    feature_size: int = 32,
    hidden_size: int = 768,
    mlp_size: int = 3072,
    heads: int = 12,
) -> nn.Module:
    """A UNETR for images of ``size`` alone, each side a multiple of 16; 3-D by default."""
    axes = 3 if spatial_dims is None else spatial_dims
    if len(size) != axes or any(side < PATCH or side % PATCH for side in size):
        raise SegtraceError(f"unetr: size {list(size)}; it takes {axes} sides, each a multiple of {PATCH}")
    if hidden_size % heads:
        raise SegtraceError(f"unetr: hidden_size {hidden_size} is no multiple of heads {heads}")
    return UNETR(
        in_channels=in_channels,
        out_channels=out_channels,
        spatial_dims=axes,
        size=size,
        feature_size=feature_size,
        hidden_size=hidden_size,
        mlp_size=mlp_size,
        heads=heads,
    )
