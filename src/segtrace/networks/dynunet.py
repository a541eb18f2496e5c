"""DynUNet: the residual U-Net with instance normalisation that papers run as "nnU-Net".

Paper: Isensee et al., nnU-Net, Nature Methods 18 (2021), doi:10.1038/s41592-020-01008-z; the
re-implementation is MONAI's DynUNet (Apache-2.0), configured as in the dual self-distillation paper
(Banerjee et al., Volumetric medical image segmentation through dual self-distillation in U-shaped
networks, 2025): five levels, all kernels 3, strides 1-2-2-2-2,
transposed convolutions with kernel and stride 2 and no bias, residual blocks in the encoder,
instance normalisation *without* learned scale and shift, LeakyReLU 0.01, no deep supervision.

Followed: MONAI's own blocks, weights and initialisation (Kaiming, a = 0.01); at equal seed the weights
and the output are those of ``monai.networks.nets.DynUNet``, bit for bit. Different: MONAI nests the
levels in recursive "skip layers", which list every weight twice in the state dict; here the levels are
walked in a plain loop, which also gives the features. None of nnU-Net's planning, preprocessing,
augmentation or schedule is in it: the name stands for the architecture alone.

Parameters: 1 → 3 channels, filters 16-32-64-128-256: 5,686,771 (hippocampus); 1 → 8: 5,686,856;
4 → 4: 5,688,132; 1 → 8, filters 32-64-128-256-320: 16,663,688.
"""

from collections.abc import Sequence

from monai.networks.nets.dynunet import DynUNet as MonaiDynUNet
from torch import Tensor, nn

from segtrace.errors import SegtraceError
from segtrace.networks._network import Network, decoded


class DynUNet(Network):
    """MONAI's DynUNet with its levels in a plain list; see the module's documentation."""

    def __init__(
        self, *, in_channels: int, out_channels: int, spatial_dims: int, filters: Sequence[int]
    ) -> None:
        super().__init__()
        levels = len(filters)
        built = MonaiDynUNet(
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=[3] * levels,
            strides=[1] + [2] * (levels - 1),
            upsample_kernel_size=[2] * (levels - 1),
            filters=list(filters),
            norm_name="instance",
            res_block=True,
        )
        self.input_block = built.input_block
        self.downsamples = built.downsamples
        self.bottleneck = built.bottleneck
        self.upsamples = built.upsamples
        self.output_block = built.output_block
        self.encoder_channels = tuple(filters[:-1])
        self.encoder_scales = tuple(2**level for level in range(levels - 1))
        self.decoder_channels = tuple(reversed(filters[1:]))
        self.decoder_scales = tuple(2**level for level in range(levels - 1, 0, -1))
        self.divisor = 2 ** (levels - 1)

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features E1.. (scales 1, 2, 4, 8), decoder features D4.. (scales 16, 8, 4, 2)."""
        encoder = [self.input_block(x)]
        for block in self.downsamples:
            encoder.append(block(encoder[-1]))
        decoder = decoded(self.bottleneck(encoder[-1]), encoder, list(self.upsamples))
        return self.output_block(decoder.pop()), encoder, decoder


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    filters: Sequence[int] = (16, 32, 64, 128, 256),
) -> nn.Module:
    """A DynUNet; ``filters`` are the channels of its levels, three levels at least. 3-D by default."""
    if len(filters) < 3:
        raise SegtraceError(
            f"dynunet: filters {list(filters)} give {len(filters)} levels; it needs at least 3"
        )
    return DynUNet(
        in_channels=in_channels,
        out_channels=out_channels,
        spatial_dims=3 if spatial_dims is None else spatial_dims,
        filters=filters,
    )
