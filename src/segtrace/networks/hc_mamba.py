"""HC-Mamba: VM-UNet with dilated convolutions on one half of the channels and scans on the other.

Paper: Xu, HC-MAMBA: Vision Mamba with hybrid convolutional techniques for medical image segmentation, arXiv:2405.05007. A
reconstruction: no program is published, and the paper leaves the block open. Its text says: 4×4 patches, stages of
[2, 4, 2, 2] blocks, channels split into a scan's branch and one of "HC-Conv", dilated convolutions that are followed by
depth-wise separable ones, dilations in a sawtooth [1, 2, 3, 1]; concatenation and shuffle. The rest is fitted to the one size
that the paper prints, 13.88 million: of some forty readings this one alone has it, with 13,884,457 (3 → 1 channels), which
speaks for it and proves nothing.

Reading: VM-UNet's skeleton (segtrace/networks/_mamba_unet.py, whose ``skips`` and ``features`` apply), the decoder's
depths the mirrored [2, 2, 4, 2]; MedMamba's split, shuffle and sum (segtrace/networks/medmamba_unet.py), LN and an unchanged
SS2D on the right half; on the left half for each dilation: depth-wise 3×3 convolution so dilated, batch normalisation, ReLU,
depth-wise 3×3, 1×1, batch normalisation, ReLU. Weights are drawn as VM-UNet's.

Open in the paper: whether the scan's branch has separable convolutions, the decoder's depths, DropPath (here as VM-UNet's).
"""

from collections.abc import Sequence

from torch import nn

from segtrace.errors import SegtraceError
from segtrace.networks import check_spatial_dims
from segtrace.networks._mamba_unet import MambaUNet
from segtrace.networks.medmamba_unet import split_blocks


def hybrid(channels: int, *, dilations: Sequence[int]) -> nn.Sequential:
    """The left half of the block, (N, channels, H, W) throughout."""
    layers: list[nn.Module] = []
    for dilation in dilations:
        layers += [
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    base: int = 96,
    encoder_depths: Sequence[int] = (2, 4, 2, 2),
    decoder_depths: Sequence[int] = (2, 2, 4, 2),
    dilations: Sequence[int] = (1, 2, 3, 1),
    states: int = 16,
    drop_path: float = 0.2,
    skips: str = "code",
    features: str = "stages",
) -> nn.Module:
    """An HC-Mamba; ``dilations`` are those of a block's convolutions, other options as VM-UNet's."""
    check_spatial_dims("hc_mamba", spatial_dims, 2)
    if not dilations:
        raise SegtraceError("hc_mamba: dilations []; give one or more numbers")
    return MambaUNet(
        in_channels=in_channels,
        out_channels=out_channels,
        base=base,
        encoder_depths=encoder_depths,
        decoder_depths=decoder_depths,
        drop_path=drop_path,
        skips=skips,
        features=features,
        make_block=split_blocks(lambda channels: hybrid(channels, dilations=dilations), states=states),
    )
