"""CM-SSM U-Net: VM-UNet with channels re-weighed after the scan, a channel mixing network and attention on the skips.

Paper: Ke et al., An Effective Algorithm for Skin Disease Segmentation Combining inter-Channel Features and Spatial Feature
Enhancement. A reading: no program is published, the paper prints no number of parameters, and it gives the network no name
but that of its block, CM-SSM. Its text says: VM-UNet's layout, 96 channels, encoder [2, 2, 2, 2], decoder [2, 2, 2, 1];
squeeze and excitation (SE) after the scan; a channel mixing network (CMN) of a linear layer that widens, a depth-wise convolution
and a linear layer that narrows; cross-region attention (CRA, Eqs. 2 to 7, which are those of coordinate attention,
Hou et al., CVPR 2021, arXiv:2103.02907) on the skips.

Reading, (N, H, W, C), a block: x += DropPath(SS2D(LN(x))); x += DropPath(CMN(LN(x))). SE acts on the four scans' sum (2C
channels), before its LN and gate: mean over the image, linear to a 16th, ReLU, linear, sigmoid, product. CMN: linear to 4C,
3×3 depth-wise convolution, GELU, linear. CRA on the three skips that VM-UNet's program adds: means over columns and over
rows in one sequence, 1×1 convolution to a 32nd of the channels but at least 8, batch normalisation, h-swish, apart again, each
a 1×1 convolution and a sigmoid, product of all three. The rest is segtrace/networks/_mamba_unet.py, weights as in VM-UNet.

==============================  ==========
without SE, CMN and CRA         27,427,561 (VM-UNet)
SE, CMN, CRA                    54,338,257
``se_ratio`` 4                  59,026,717
without SE                      52,764,109
``cmn_ratio`` 2                 41,716,753
without CMN                     29,078,257
without CRA                     54,261,709
``cra_reduction`` 16            54,409,801
==============================  ==========

Parameters are for 3 → 1 channels. Open in the paper: where SE stands and its ratio; CMN's ratio, activation, its own LN and
sum; CRA on three or four skips, before or after a stage (``skips``); the δ of Eq. 4 (h-swish, as the source has it).
"""

from collections.abc import Sequence

import torch
from monai.networks.layers.drop_path import DropPath
from torch import Tensor, nn
from torch.nn import functional

from segtrace.networks import check_spatial_dims
from segtrace.networks._mamba_unet import MambaUNet
from segtrace.networks._ss2d import SS2D
from segtrace.networks.unext import to_first, to_last


class SqueezeExcitation(nn.Module):
    """Channels times a weight that their means over the image give; (N, H, W, C) throughout."""

    def __init__(self, channels: int, *, ratio: int) -> None:
        super().__init__()
        narrow = max(1, channels // ratio)
        self.squeeze = nn.Linear(channels, narrow)
        self.excite = nn.Linear(narrow, channels)

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        weights = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean(dim=(1, 2))))))
        return x * weights[:, None, None]


class ChannelMixing(nn.Module):
    """Linear to ``ratio`` times the channels, depth-wise 3×3 convolution, GELU, linear back; (N, H, W, C) throughout."""

    def __init__(self, channels: int, *, ratio: int) -> None:
        super().__init__()
        wide = ratio * channels
        self.widen = nn.Linear(channels, wide)
        self.depthwise = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.narrow = nn.Linear(wide, channels)

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        wide = to_last(self.depthwise(to_first(self.widen(x))))
        mixed: Tensor = self.narrow(functional.gelu(wide))
        return mixed


class CrossRegionAttention(nn.Module):
    """``x`` times a weight for each row and one for each column, by channel; (N, C, H, W) throughout."""

    def __init__(self, channels: int, *, reduction: int) -> None:
        super().__init__()
        narrow = max(8, channels // reduction)
        self.mix = nn.Conv2d(channels, narrow, 1)
        self.norm = nn.BatchNorm2d(narrow)
        self.rows = nn.Conv2d(narrow, channels, 1)
        self.columns = nn.Conv2d(narrow, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        height, width = x.shape[2:]
        means = [x.mean(dim=3, keepdim=True), x.mean(dim=2, keepdim=True).transpose(2, 3)]
        mixed = functional.hardswish(self.norm(self.mix(torch.cat(means, dim=2))))
        rows, columns = mixed.split([int(height), int(width)], dim=2)
        return x * torch.sigmoid(self.rows(rows)) * torch.sigmoid(self.columns(columns.transpose(2, 3)))


class CmSsmBlock(nn.Module):
    """x += DropPath(SS2D(LN(x))), x += DropPath(CMN(LN(x))); (N, H, W, C) throughout. A ratio of 0 leaves SE or CMN out."""

    def __init__(self, channels: int, drop: float, *, states: int, se_ratio: int, cmn_ratio: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        squeeze = SqueezeExcitation(2 * channels, ratio=se_ratio) if se_ratio else None
        self.scan = SS2D(channels, states=states, between=squeeze)
        self.drop = DropPath(drop)
        self.mix_norm = nn.LayerNorm(channels) if cmn_ratio else None
        self.mix = ChannelMixing(channels, ratio=cmn_ratio) if cmn_ratio else None

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        x = x + self.drop(self.scan(self.norm(x)))
        if self.mix is not None and self.mix_norm is not None:
            x = x + self.drop(self.mix(self.mix_norm(x)))
        return x


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    se: bool = True,
    cmn: bool = True,
    cra: bool = True,
    se_ratio: int = 16,
    cmn_ratio: int = 4,
    cra_reduction: int = 32,
    base: int = 96,
    encoder_depths: Sequence[int] = (2, 2, 2, 2),
    decoder_depths: Sequence[int] = (2, 2, 2, 1),
    states: int = 16,
    drop_path: float = 0.2,
    skips: str = "code",
    features: str = "stages",
) -> nn.Module:
    """The paper's network; ``se``, ``cmn`` and ``cra`` are its modules, without any it is VM-UNet, whose options it has."""
    check_spatial_dims("cm_ssm_unet", spatial_dims, 2)
    return MambaUNet(
        in_channels=in_channels,
        out_channels=out_channels,
        base=base,
        encoder_depths=encoder_depths,
        decoder_depths=decoder_depths,
        drop_path=drop_path,
        skips=skips,
        features=features,
        make_block=lambda channels, drop: CmSsmBlock(
            channels,
            drop,
            states=states,
            se_ratio=se_ratio if se else 0,
            cmn_ratio=cmn_ratio if cmn else 0,
        ),
        make_skip=(lambda channels: CrossRegionAttention(channels, reduction=cra_reduction)) if cra else None,
    )
