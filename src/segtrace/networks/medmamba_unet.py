"""MedMamba as a segmenter: VM-UNet with convolutions on one half of the channels and scans on the other.

Papers: Yue and Li, MedMamba: Vision Mamba for medical image classification, arXiv:2403.03849, for the block; Ruan and
Xiang, VM-UNet, arXiv:2402.02491, for the rest. A reconstruction: MedMamba is a classifier and no segmenter of it is
published, although two papers print results of one. Its program still holds VM-UNet's expanding layers and a decoder's
stage of its own blocks, so that VM-UNet with every block replaced is the natural reading; with the depths of VM-UNet's
set-up it has 24,684,505 parameters (3 → 1 channels), and HC-Mamba's paper (arXiv:2405.05007) gives about 25 million.

Block, as in the classifier's program, (N, H, W, C): the left half of the channels goes through batch normalisation, 3×3
convolution, batch normalisation, ReLU, 3×3 convolution, batch normalisation, ReLU, 1×1 convolution, ReLU; the right half
through LN, SS2D and DropPath; both are put side by side, their channels interleaved (a shuffle of two groups) and the
block's input added. Convolutions, all of the network's, are drawn normal by their outputs (Kaiming, fan out), other weights as
in VM-UNet (segtrace/networks/_mamba_unet.py, whose ``skips`` and ``features`` apply).
"""

from collections.abc import Callable, Sequence

import torch
from monai.networks.layers.drop_path import DropPath
from torch import Tensor, nn

from segtrace.networks import check_spatial_dims
from segtrace.networks._mamba_unet import MambaUNet
from segtrace.networks._ss2d import SS2D
from segtrace.networks.unext import to_first, to_last


class SplitBlock(nn.Module):
    """``local`` on the left half of the channels, a scan on the right half, interleaved, added; (N, H, W, C) throughout."""

    def __init__(self, local: nn.Module, channels: int, drop: float, *, states: int) -> None:
        super().__init__()
        self.local = local
        self.norm = nn.LayerNorm(channels // 2)
        self.scan = SS2D(channels // 2, states=states)
        self.drop = DropPath(drop)

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        left, right = x.chunk(2, dim=3)
        left = to_last(self.local(to_first(left)))
        right = self.drop(self.scan(self.norm(right)))
        # a shuffle of two groups: channel 2i is the left half's i, channel 2i + 1 the right half's
        return x + torch.stack([left, right], dim=4).flatten(3)


def convolutions(channels: int) -> nn.Sequential:
    """The left half of MedMamba's block, (N, channels, H, W) throughout."""
    return nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 1),
        nn.ReLU(inplace=True),
    )


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
    """A MedMamba as segmenter; options as VM-UNet's."""
    check_spatial_dims("medmamba_unet", spatial_dims, 2)
    network = MambaUNet(
        in_channels=in_channels,
        out_channels=out_channels,
        base=base,
        encoder_depths=encoder_depths,
        decoder_depths=decoder_depths,
        drop_path=drop_path,
        skips=skips,
        features=features,
        make_block=split_blocks(convolutions, states=states),
    )
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    return network


def split_blocks(local: Callable[[int], nn.Module], *, states: int) -> Callable[[int, float], nn.Module]:
    """What makes a :class:`SplitBlock` of a number of channels, with ``local`` of half as many."""
    return lambda channels, drop: SplitBlock(local(channels // 2), channels, drop, states=states)
