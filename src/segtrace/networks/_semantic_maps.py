"""UTNetV2's attention: features and small semantic maps that look at one another; see :mod:`segtrace.networks.utnet_v2`."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segtrace.networks._convolutions import Excitation
from segtrace.networks.transbts import Layer


def activated(inputs: int, outputs: int, *, kernel: int, groups: int = 1) -> nn.Sequential:
    """Batch normalisation, ReLU, convolution without bias."""
    return nn.Sequential(
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False),
    )


def separable(inputs: int, outputs: int) -> nn.Sequential:
    """A depth-wise 3×3 and a 1×1 convolution."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
        nn.Conv2d(inputs, outputs, 1, bias=False),
    )


class Bottleneck(nn.Module):
    """x + an inverted bottleneck with squeeze and excitation; (N, C, H, W) throughout."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.wide = nn.Sequential(
            activated(channels, wide, kernel=1), activated(wide, wide, kernel=3, groups=wide)
        )
        self.excite = Excitation(wide, wide // 4)
        self.narrow = nn.Sequential(nn.BatchNorm2d(wide), nn.Conv2d(wide, channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        y: Tensor = self.narrow(self.excite(self.wide(x)))
        return x + y


class Bidirectional(nn.Module):
    """Attention between a feature (N, C, H, W) and a map (N, C, s, s), and the feature's bottleneck; both shapes stay.

    Without ``to_map`` no map comes out.
    """

    def __init__(self, channels: int, *, heads: int, to_map: bool = True) -> None:
        super().__init__()
        self.heads, self.scale = heads, (channels // heads) ** -0.5
        self.feature_norm, self.map_norm = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.of_feature = separable(channels, 2 * channels)
        self.of_map = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.to_feature = separable(channels, channels)
        self.to_map = nn.Conv2d(channels, channels, 1, bias=False) if to_map else None
        self.bottleneck = Bottleneck(channels)

    def _queries_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Each (N, heads, C / heads, places); channel c belongs to head c mod heads, as in the published program."""
        x = x.flatten(2).unflatten(1, (2, -1, self.heads)).transpose(2, 3)
        return x[:, 0], x[:, 1]

    @staticmethod
    def _merged(x: Tensor, like: Tensor) -> Tensor:
        """(N, heads, C / heads, places) as (N, C, …) of the shape of ``like``."""
        return x.transpose(1, 2).reshape(like.shape)

    def forward(self, x: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The feature and the map; where no map is asked for, ``tokens`` come back."""
        feature_q, feature_v = self._queries_and_values(self.of_feature(self.feature_norm(x)))
        map_q, map_v = self._queries_and_values(self.of_map(self.map_norm(tokens)))
        scores = map_q.transpose(2, 3) @ feature_q * self.scale  # (N, heads, tokens, places)
        seen = self._merged(map_v @ torch.softmax(scores, dim=2), x)
        feature: Tensor = self.bottleneck(x + self.to_feature(seen))
        if self.to_map is None:
            return feature, tokens
        told = self._merged(feature_v @ torch.softmax(scores, dim=3).transpose(2, 3), tokens)
        return feature, tokens + self.to_map(told)


class MapOf(nn.Module):
    """A map (N, C, s, s) of a feature (N, C, H, W): means of features, weighted by softmax over the places."""

    def __init__(self, channels: int, *, size: int) -> None:
        super().__init__()
        self.size = size
        self.feature = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.places = nn.Conv2d(channels, size * size, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The map, a token a row and column."""
        weights = torch.softmax(self.places(x).flatten(2), dim=2)
        means = self.feature(x).flatten(2) @ weights.transpose(1, 2)
        return means.unflatten(2, (self.size, self.size))


class MapFusion(nn.Module):
    """Several maps through one transformer, by way of ``width`` channels; their shapes stay."""

    def __init__(self, channels: Sequence[int], *, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.enter = nn.ModuleList(nn.Conv2d(c, width, 1, bias=False) for c in channels)
        self.layers = nn.Sequential(
            *(Layer(width, heads=heads, mlp=width, dropout=0.0) for _ in range(layers))
        )
        self.leave = nn.ModuleList(nn.Conv2d(width, c, 1, bias=False) for c in channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The maps, (N, C_i, s, s) each."""
        inside = [enter(one) for enter, one in zip(self.enter, maps, strict=True)]
        tokens = self.layers(torch.cat([one.flatten(2) for one in inside], dim=2).transpose(1, 2))
        parts = tokens.transpose(1, 2).chunk(len(inside), dim=2)
        return [
            leave(part.reshape(one.shape)) for leave, part, one in zip(self.leave, parts, inside, strict=True)
        ]
