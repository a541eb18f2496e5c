"""UNet++: a U-Net whose skips are filled with nested, densely connected blocks; with or without deep supervision.

Paper: Zhou et al., UNet++, DLMIA 2018, arXiv:1807.10165. Followed is the widely compared re-implementation
4uiiurz1/pytorch-nested-unet: a grid of blocks X(i, j), depth i from 0 to 4 and j up to 4 - i, of two 3×3
convolutions (with bias), batch normalisation and ReLU; X(i, 0) reads the 2×2 max-pooled X(i - 1, 0), X(i, j) the
concatenation of X(i, 0) to X(i, j - 1) and of X(i + 1, j - 1) upsampled bilinearly (corners aligned), without a
convolution; widths 32 to 512; a 1×1 head with bias on X(0, 4). With ``deep_supervision`` there are such heads on
X(0, 1) to X(0, 4); all four are trained with equal weight and the last one predicts. PyTorch's default initialisation.
The authors' own program goes up with transposed convolutions instead and is under a non-commercial licence; it was not
used. Written anew from this description. Different: logits come out, for any number of classes.

Parameters: 3 → 1 channels: 9,163,329; with deep supervision 9,163,428.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segtrace.networks import check_spatial_dims
from segtrace.networks._convolutions import double_convolution
from segtrace.networks._network import Network, check_widths


class UNetPlusPlus(Network):
    """A grid of blocks of five depths; see the module's documentation.

    ``blocks[i][j]`` is X(i, j); ``auxiliary_heads[j]`` reads X(0, j + 1) and is there with deep supervision alone.
    """

    encoder_scales = (1, 2, 4, 8)
    decoder_scales = (16, 8, 4, 2)
    divisor = 16

    def __init__(
        self, *, in_channels: int, out_channels: int, widths: Sequence[int], deep_supervision: bool
    ) -> None:
        super().__init__()
        self.encoder_channels = tuple(widths[:-1])
        self.decoder_channels = tuple(reversed(widths[1:]))
        before = (in_channels, *widths)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                double_convolution(before[i] if j == 0 else j * width + widths[i + 1], width)
                for j in range(len(widths) - i)
            )
            for i, width in enumerate(widths)
        )
        self.head = nn.Conv2d(widths[0], out_channels, 1)
        heads = len(widths) - 2 if deep_supervision else 0
        self.auxiliary_heads = nn.ModuleList(nn.Conv2d(widths[0], out_channels, 1) for _ in range(heads))
        self.main_weight = 1 / (heads + 1)
        self.auxiliary_weights = (1 / (heads + 1),) * heads

    def _grid(self, x: Tensor) -> list[list[Tensor]]:
        """X(i, j) as ``grid[i][j]``, diagonal by diagonal from shallow to deep."""
        grid: list[list[Tensor]] = []
        for depth, row in enumerate(self.blocks):
            grid.append([row[0](x if depth == 0 else self.pool(grid[-1][0]))])
            for i in range(depth - 1, -1, -1):  # what the new depth makes possible above it
                j = depth - i
                grid[i].append(self.blocks[i][j](torch.cat([*grid[i], self.up(grid[i + 1][j - 1])], dim=1)))
        return grid

    def _outputs(self, grid: list[list[Tensor]]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        decoder = [row[-1] for row in reversed(grid)]
        return self.head(decoder.pop()), [row[0] for row in grid[:-1]], decoder

    def forward_auxiliary(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
        """What :meth:`forward_features` gives, and the logits (N, K, H, W) of the heads on X(0, 1), X(0, 2), X(0, 3)."""
        grid = self._grid(x)
        auxiliary = [head(part) for head, part in zip(self.auxiliary_heads, grid[0][1:], strict=False)]
        return *self._outputs(grid), auxiliary

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features X(i, 0) at scales 1, 2, 4, 8, decoder features X(i, 4 - i) at 16 (bottleneck), 8, 4, 2."""
        return self._outputs(self._grid(x))


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    widths: Sequence[int] = (32, 64, 128, 256, 512),
    deep_supervision: bool = False,
) -> nn.Module:
    """A 2-D UNet++; ``widths`` are the channels of its five depths."""
    check_spatial_dims("unet_plus_plus", spatial_dims, 2)
    check_widths("unet_plus_plus", widths)
    return UNetPlusPlus(
        in_channels=in_channels, out_channels=out_channels, widths=widths, deep_supervision=deep_supervision
    )
