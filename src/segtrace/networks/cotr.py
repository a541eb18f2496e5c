"""CoTr: a residual encoder and decoder with a deformable transformer over its two deepest levels.

Paper: Xie et al., CoTr, MICCAI 2021, arXiv:2103.03024. Followed, as measured on the authors' published program: a 7³
convolution of stride (1, 2, 2) to 64 channels; residual stages of 192 (3 blocks), 384 (3) and 384 (2) channels,
one 3³ convolution a block, the first of stride 2 with a 1³ convolution beside it; instance normalisation with
learned scale and shift, LeakyReLU; convolutions without bias. Six post-norm transformer layers over the tokens of the
last two stages (width 384, 6 heads, 4 sampling points a head and level, MLP 1536 with GELU, dropout 0.1), 3-D sine
positions and a learned level embedding; deformable attention samples by trilinear interpolation. Decoder: transposed
convolutions without bias, features *added*, residual blocks of two 3³ convolutions; trilinear upsampling by (1, 2, 2)
and a 1³ head.

Different: the published program has three heads more for deep supervision (643 parameters a class); here that is
the framework ``deep_supervision``, which has its own. So 1 → 3 channels count 41,862,787, the published 41,864,716
less 3 · 643; 1 → 8: 41,863,112 of 41,868,256. The first axis keeps its size in the stem, so scales differ by axis.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace.errors import SegtraceError
from segtrace.networks import check_spatial_dims
from segtrace.networks._network import Network


def _norm(channels: int) -> nn.Module:
    return nn.InstanceNorm3d(channels, affine=True)


class Block(nn.Module):
    """A residual block of one or two 3³ convolutions; a stride or other channels make a 1³ convolution beside it."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, convolutions: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(convolutions):
            first = number == 0
            step = stride if first else 1
            layers += [
                nn.Conv3d(inputs if first else outputs, outputs, 3, stride=step, padding=1, bias=False),
                _norm(outputs),
            ]
            if number + 1 < convolutions:
                layers.append(nn.LeakyReLU(inplace=True))
        self.main = nn.Sequential(*layers)
        beside = stride > 1 or inputs != outputs
        self.beside = (
            nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride=stride, bias=False), _norm(outputs))
            if beside
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C', D / stride, H / stride, W / stride)."""
        return functional.leaky_relu(self.main(x) + self.beside(x))


def sine_positions(size: Sequence[int], width: int, *, like: Tensor) -> Tensor:
    """Fixed positions (1, tokens, ``width``) of a grid (D, H, W): sines and cosines of each axis side by side.

    After the two-dimensional form of Carion et al., DETR, arXiv:2005.12872, with a third of the width for each
    axis, coordinates scaled to 2π.
    """
    part = width // 3 // 2 * 2
    rates = 10000.0 ** (torch.arange(0, part, 2, device=like.device, dtype=torch.float32) / part)
    axes = []
    for axis, side in enumerate(size):
        place = (torch.arange(1, side + 1, device=like.device, dtype=torch.float32)) / side * 2 * math.pi
        angle = place[:, None] / rates
        coded = torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)
        shape = [1, 1, 1, part]
        shape[axis] = side
        axes.append(coded.view(shape).expand(*size, part))
    found = torch.cat(axes, dim=3).flatten(0, 2)
    return functional.pad(found, (0, width - found.shape[1])).unsqueeze(0).to(like.dtype)


class DeformableAttention(nn.Module):
    """Each token looks at a few learned places around its own, in every level, head by head.

    Zhu et al., Deformable DETR, arXiv:2010.04159, in three dimensions. Offsets are in voxels of the level that is
    sampled; outside is zero.
    """

    def __init__(self, width: int, *, levels: int, heads: int, points: int) -> None:
        super().__init__()
        self.levels, self.heads, self.points = levels, heads, points
        self.offsets = nn.Linear(width, heads * levels * points * 3)
        self.weights = nn.Linear(width, heads * levels * points)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self._first_weights()

    def _first_weights(self) -> None:
        """Each head looks in a direction of its own, its points one voxel farther each; all weigh the same."""
        with torch.no_grad():
            nn.init.zeros_(self.offsets.weight)
            nn.init.zeros_(self.weights.weight)
            nn.init.zeros_(self.weights.bias)
            nn.init.xavier_uniform_(self.value.weight)
            nn.init.zeros_(self.value.bias)
            nn.init.xavier_uniform_(self.output.weight)
            nn.init.zeros_(self.output.bias)
            if self.offsets.bias.device.type == "meta":
                return
            angle = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
            direction = torch.stack([angle.cos(), angle.sin(), (3 * angle).cos()], dim=1)
            direction = direction / direction.abs().amax(dim=1, keepdim=True)
            spread = direction.view(self.heads, 1, 1, 3).repeat(1, self.levels, self.points, 1)
            spread *= torch.arange(1, self.points + 1, dtype=torch.float32).view(1, 1, -1, 1)
            self.offsets.bias.copy_(spread.flatten())

    def forward(self, query: Tensor, tokens: Tensor, sizes: Sequence[Sequence[int]]) -> Tensor:
        """``query`` and ``tokens`` are (N, T, C), the tokens of all levels, (D, H, W) of each in ``sizes``; (N, T, C)."""
        n, t, c = query.shape
        deep = c // self.heads
        value = self.value(tokens).view(n, t, self.heads, deep)
        offsets = self.offsets(query).view(n, t, self.heads, self.levels, self.points, 3)
        weights = self.weights(query).view(n, t, self.heads, self.levels * self.points).softmax(-1)
        weights = weights.view(n, t, self.heads, self.levels, self.points)
        places = _centres(sizes, like=query)  # (T, 3) in [-1, 1], as x, y, z
        seen = torch.zeros_like(value)
        first = 0
        for level, size in enumerate(sizes):
            count = math.prod(size)
            grid = value[:, first : first + count].permute(0, 2, 3, 1).reshape(n * self.heads, deep, *size)
            scale = offsets.new_tensor([2.0 / side for side in reversed(size)])
            at = places.view(1, t, 1, 1, 3) + offsets[:, :, :, level] * scale
            at = at.permute(0, 2, 1, 3, 4).reshape(n * self.heads, t * self.points, 3)
            sampled = sample(grid, at).view(n * self.heads, t, self.points, deep)
            share = weights[:, :, :, level].permute(0, 2, 1, 3).reshape(n * self.heads, t, self.points, 1)
            got = (sampled * share).sum(2)  # (NH, T, deep)
            seen = seen + got.view(n, self.heads, t, deep).transpose(1, 2)
            first += count
        result: Tensor = self.output(seen.reshape(n, t, c))
        return result


def sample(grid: Tensor, places: Tensor) -> Tensor:
    """Values (B, P, C) of ``grid`` (B, C, D, H, W) at ``places`` (B, P, 3), x, y, z from -1 to 1, linear between voxels.

    ``torch.nn.functional.grid_sample`` with zeros outside and ``align_corners=False``, whose gradient has no
    deterministic form on a GPU. Rows of the grid are looked up instead, of the eight voxels around each place.
    """
    batch, channels, *size = grid.shape
    rows = grid.flatten(2).transpose(1, 2).reshape(-1, channels)
    sides = torch.tensor(size[::-1], device=grid.device)  # (W, H, D), as places
    steps = torch.tensor([1, size[2], size[1] * size[2]], device=grid.device)
    start = torch.arange(batch, device=grid.device).view(-1, 1) * math.prod(size)
    at = ((places + 1) * sides - 1) / 2
    low = at.floor()
    found = grid.new_zeros(batch, places.shape[1], channels)
    for corner in itertools.product((0, 1), repeat=3):
        step = torch.tensor(corner, device=grid.device)
        voxel = low.detach().long() + step
        weight = torch.where(step == 1, at - low, 1 - (at - low)).prod(-1)
        inside = ((voxel >= 0) & (voxel < sides)).all(-1)
        index = (voxel.clamp(min=0).minimum(sides - 1) * steps).sum(-1) + start
        value = rows.index_select(0, index.flatten()).view_as(found)
        found = found + value * (weight * inside).unsqueeze(-1).to(value.dtype)
    return found


def _centres(sizes: Sequence[Sequence[int]], *, like: Tensor) -> Tensor:
    """Centres of the voxels of all levels in one frame, (T, 3) as x, y, z from -1 to 1 (``grid_sample``'s)."""
    parts = []
    for size in sizes:
        axes = [(torch.arange(side, device=like.device) + 0.5) / side * 2 - 1 for side in size]
        mesh = torch.meshgrid(*axes, indexing="ij")
        parts.append(torch.stack(mesh[::-1], dim=-1).flatten(0, 2))
    return torch.cat(parts).to(torch.promote_types(like.dtype, torch.float32))


class Layer(nn.Module):
    """A post-norm layer of deformable attention and an MLP over tokens (N, T, C)."""

    def __init__(self, width: int, *, levels: int, heads: int, points: int, mlp: int) -> None:
        super().__init__()
        self.attention = DeformableAttention(width, levels=levels, heads=heads, points=points)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.drop = nn.Dropout(0.1)
        self.mlp = nn.Sequential(
            nn.Linear(width, mlp), nn.GELU(), nn.Dropout(0.1), nn.Linear(mlp, width), nn.Dropout(0.1)
        )

    def forward(self, x: Tensor, positions: Tensor, sizes: Sequence[Sequence[int]]) -> Tensor:
        """The input's shape."""
        x = self.norm1(x + self.drop(self.attention(x + positions, x, sizes)))
        out: Tensor = self.norm2(x + self.mlp(x))
        return out


class CoTr(Network):
    """Encoder, deformable transformer and decoder; see the module's documentation."""

    encoder_scales = ((1, 2, 2), (2, 4, 4), (4, 8, 8))
    decoder_scales = ((8, 16, 16), (4, 8, 8), (2, 4, 4))
    divisor = 16

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        layers: int,
        heads: int,
        points: int,
        mlp: int,
    ) -> None:
        super().__init__()
        stem, first, second = widths
        self.encoder_channels = (stem, first, second)
        self.decoder_channels = (second, second, first)
        self.stem = nn.Sequential(
            nn.Conv3d(in_channels, stem, 7, stride=(1, 2, 2), padding=3, bias=False),
            _norm(stem),
            nn.LeakyReLU(inplace=True),
        )
        channels = (stem, first, second, second)
        self.stages = nn.ModuleList(
            nn.Sequential(Block(i, o, stride=2), *(Block(o, o) for _ in range(count - 1)))
            for (i, o), count in zip(itertools.pairwise(channels), (3, 3, 2), strict=True)
        )
        self.level = nn.Parameter(torch.empty(2, second).normal_())
        self.layers = nn.ModuleList(
            Layer(second, levels=2, heads=heads, points=points, mlp=mlp) for _ in range(layers)
        )
        pairs = ((second, second), (second, first), (first, stem))
        self.up = nn.ModuleList(nn.ConvTranspose3d(i, o, 2, stride=2, bias=False) for i, o in pairs)
        self.close = nn.ModuleList(Block(o, o, convolutions=2) for _, o in pairs)
        self.head = nn.Conv3d(stem, out_channels, 1)

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features (stem, stages 1 and 2), decoder features (bottom after the transformer, then up)."""
        encoder = [self.stem(x)]
        for stage in self.stages:
            encoder.append(stage(encoder[-1]))
        bottom = encoder.pop()
        seen, deepest = self._transformed(encoder[-1], bottom)
        decoder = [deepest]
        for up, close, skip in zip(self.up, self.close, (seen, encoder[1], encoder[0]), strict=True):
            decoder.append(close(up(decoder[-1]) + skip))
        fine = functional.interpolate(
            decoder.pop(), scale_factor=(1.0, 2.0, 2.0), mode="trilinear", align_corners=False
        )
        return self.head(fine), encoder, decoder

    def _transformed(self, shallow: Tensor, deep: Tensor) -> tuple[Tensor, Tensor]:
        """Both levels after the transformer, in their shapes."""
        maps = (shallow, deep)
        sizes = [tuple(level.shape[2:]) for level in maps]
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)
        width = tokens.shape[2]
        positions = torch.cat(
            [
                sine_positions(size, width, like=tokens) + self.level[number].to(tokens.dtype)
                for number, size in enumerate(sizes)
            ],
            dim=1,
        )
        for layer in self.layers:
            tokens = layer(tokens, positions, sizes)
        parts = tokens.split([math.prod(size) for size in sizes], dim=1)
        one, two = (
            part.transpose(1, 2).reshape(level.shape) for part, level in zip(parts, maps, strict=True)
        )
        return one, two


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    widths: Sequence[int] = (64, 192, 384),
    layers: int = 6,
    heads: int = 6,
    points: int = 4,
    mlp: int = 1536,
) -> nn.Module:
    """A CoTr; ``widths`` are the channels of stem, first stage, and second and third stage with the transformer."""
    check_spatial_dims("cotr", spatial_dims, 3)
    if len(widths) != 3 or widths[2] % heads:
        raise SegtraceError(
            f"cotr: widths {list(widths)}, heads {heads}; three widths, the last a multiple of heads"
        )
    return CoTr(
        in_channels=in_channels,
        out_channels=out_channels,
        widths=widths,
        layers=layers,
        heads=heads,
        points=points,
        mlp=mlp,
    )
