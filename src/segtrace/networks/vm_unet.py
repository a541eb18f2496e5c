"""VM-UNet: a U-shaped network of nothing but selective scans in four directions.

Paper: Ruan and Xiang, VM-UNet: Vision Mamba UNet for medical image segmentation, arXiv:2402.02491. Followed: the
authors' published program, as its layers and counts were measured; segtrace/networks/_mamba_unet.py has the skeleton
and what the program does otherwise than the paper's figure (``skips``), segtrace/networks/_ss2d.py the scans.

=========================================================  ==========
encoder [2, 2, 2, 2], decoder [2, 2, 2, 1] (its set-up)    27,427,561
encoder [2, 2, 9, 2], decoder [2, 9, 2, 2] (its defaults)  44,273,833
=========================================================  ==========

Parameters are for 3 → 1 channels. A block is x + DropPath(SS2D(LN(x))), without a feed-forward part; the probability of being
left out rises from 0 to ``drop_path`` over the encoder's blocks and falls back to 0 over the decoder's.

Different: logits are returned, not their sigmoid. The published training starts from ImageNet weights of VMamba, in the
encoder and mirrored in the decoder; here weights are drawn, linear layers normal (0.02, cut off at 2), the scans as
segtrace/networks/_ss2d.py says, convolutions as torch does.
"""

from collections.abc import Sequence

from monai.networks.layers.drop_path import DropPath
from torch import Tensor, nn

from segtrace.networks import check_spatial_dims
from segtrace.networks._mamba_unet import MambaUNet
from segtrace.networks._ss2d import SS2D


class VssBlock(nn.Module):
    """x + DropPath(SS2D(LN(x))); (N, H, W, C) throughout."""

    def __init__(self, channels: int, drop: float, *, states: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.scan = SS2D(channels, states=states)
        self.drop = DropPath(drop)

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        return x + self.drop(self.scan(self.norm(x)))


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    base: int = 96,
    encoder_depths: Sequence[int] = (2, 2, 2, 2),
    decoder_depths: Sequence[int] = (2, 2, 2, 1),
    states: int = 16,
    drop_path: float = 0.2,
    skips: str = "code",
    features: str = "stages",
) -> nn.Module:
    """A VM-UNet; ``base`` channels at a quarter of the input's size, blocks a stage, ``states`` a channel of the scans."""
    check_spatial_dims("vm_unet", spatial_dims, 2)
    return MambaUNet(
        in_channels=in_channels,
        out_channels=out_channels,
        base=base,
        encoder_depths=encoder_depths,
        decoder_depths=decoder_depths,
        drop_path=drop_path,
        skips=skips,
        features=features,
        make_block=lambda channels, drop: VssBlock(channels, drop, states=states),
    )
