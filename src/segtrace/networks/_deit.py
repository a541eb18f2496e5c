"""The transformer of DeiT (Touvron et al., ICML 2021) as a branch: patches in, a map of tokens out.

Its parameters have the names of DeiT's published checkpoints, so that these fit; the layers are those of its paper.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Sides of a patch.
PATCH = 16


class Attention(nn.Module):
    """Self-attention of ``heads`` heads over tokens (N, T, C)."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        queries, keys, values = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=2)
        )
        seen = functional.scaled_dot_product_attention(queries, keys, values)
        y: Tensor = self.proj(seen.transpose(1, 2).flatten(2))
        return y


class Block(nn.Module):
    """A pre-norm transformer block over tokens (N, T, C), its MLP four times as wide."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads=heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x))))


class Transformer(nn.Module):
    """(N, C, H, W) → tokens as a map (N, width, H / 16, W / 16), for images of one size.

    ``class_token`` holds one that nothing uses. Linear layers and positions are drawn as there: normal, 0.02, cut off at 2.
    """

    def __init__(
        self, in_channels: int, *, size: Sequence[int], width: int, depth: int, heads: int, class_token: bool
    ) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(in_channels, width, PATCH, stride=PATCH)})
        self.pos_embed = nn.Parameter(torch.zeros(1, math.prod(side // PATCH for side in size), width))
        if class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads=heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                nn.init.zeros_(part.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The map."""
        patches = self.patch_embed["proj"](x)
        tokens = self.norm(self.blocks(patches.flatten(2).transpose(1, 2) + self.pos_embed))
        return tokens.transpose(1, 2).reshape(patches.shape)
