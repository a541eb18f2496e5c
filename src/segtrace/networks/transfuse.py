"""TransFuse-S: a convolutional and a transformer branch side by side, fused on three levels.

Paper: Zhang et al., TransFuse: fusing transformers and CNNs for medical image segmentation, MICCAI 2021, arXiv:2102.08005.
Followed: the authors' published program, as its layers and counts were measured.

* convolutional branch: ResNet-34 (He et al.) up to its third stage: 64, 128, 256 channels at 1/4, 1/8, 1/16 of the size.
* transformer branch: the first 8 of the 12 blocks of DeiT-small (Touvron et al.; patches of 16, 384 wide, 6 heads, no
  class token, a learned position for each patch), a last normalisation; doubled to 128 channels at 1/8 and 64 at 1/4.
* fusion on each level: the transformer's feature through squeeze and excitation (a 4th, a half, all of its channels), the
  other's through spatial attention (7×7 convolution of channel maximum and mean), and the product of both after 1×1
  convolutions; a pre-activation bottleneck over all three. The fused features are joined from 1/16 to 1/4 by a gate on the finer.
* going up: bilinear (corners aligned), then two 3×3 convolutions with a 1×1 one beside them. Channel dropout of ``dropout``
  after each feature of a branch, half of it after a fusion.
* three heads: on the joined 1/4 (it predicts), the transformer's 1/4, the fused 1/16, each enlarged bilinearly (corners
  aligned). Their losses weigh 0.5, 0.3 and 0.2; the published loss is ``structure``.

The heads' and decoder's convolutions are drawn as published (normal by inputs; bias uniform). Both branches start from
ImageNet's weights there; here they are drawn as their own programs do and nothing is fetched. Their parts have the names of
torchvision's ResNet-34 (``cnn``) and of DeiT's program (``transformer``), so that checkpoints of these fit.

Different: the program holds a class token (384 parameters) that nothing uses. It is held, unused, so that sizes
compare; ``unused: false`` leaves it out, and nothing else changes.

The positions fix the image's size: ``size``, (192, 256) as published or another.

Parameters, 3 → 1 channels: 26,248,725 at 192 × 256, 26,273,301 at 256 × 256.
"""

import math
from collections.abc import Sequence

import torch
from monai.networks.nets.resnet import ResNet
from torch import Tensor, nn
from torch.nn import functional

from segtrace.errors import SegtraceError
from segtrace.networks import check_spatial_dims
from segtrace.networks._network import Network

PATCH = 16


def _enlarged(x: Tensor, factor: int) -> Tensor:
    return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=True)


def _unit(inputs: int, outputs: int, *, kernel: int, bias: bool = True) -> list[nn.Module]:
    """A convolution and batch normalisation."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
    return [convolution, nn.BatchNorm2d(outputs)]


def _head(inputs: int, inner: int, outputs: int, *, narrow: bool = False) -> nn.Sequential:
    """3×3 convolution, normalisation, ReLU, 3×3 convolution to logits; with ``narrow`` a 1×1 unit to ``inner`` first."""
    first = [*_unit(inputs, inner, kernel=1), nn.ReLU()] if narrow else []
    middle = _unit(inner if narrow else inputs, inner, kernel=3)
    return nn.Sequential(*first, *middle, nn.ReLU(), nn.Conv2d(inner, outputs, 3, padding=1))


class Attention(nn.Module):
    """Self-attention over tokens (N, T, C)."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        n, t, c = x.shape
        qkv = self.qkv(x).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        y: Tensor = self.proj(seen.transpose(1, 2).reshape(n, t, c))
        return y


class Block(nn.Module):
    """A pre-norm transformer block over tokens (N, T, C)."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads=heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x))))


class Transformer(nn.Module):
    """(N, C, H, W) → tokens as a map (N, width, H / 16, W / 16)."""

    def __init__(
        self, in_channels: int, *, size: Sequence[int], width: int, depth: int, heads: int, unused: bool
    ) -> None:
        super().__init__()
        if unused:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(in_channels, width, PATCH, stride=PATCH)})
        self.pos_embed = nn.Parameter(torch.zeros(1, math.prod(side // PATCH for side in size), width))
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


class Fusion(nn.Module):
    """Features of both branches, (N, C, H, W) and (N, D, H, W), in one, (N, outputs, H, W)."""

    def __init__(self, cnn: int, transformer: int, outputs: int, *, reduction: int, dropout: float) -> None:
        super().__init__()
        narrow = transformer // reduction
        self.excite = nn.Sequential(
            nn.Conv2d(transformer, narrow, 1), nn.ReLU(), nn.Conv2d(narrow, transformer, 1), nn.Sigmoid()
        )
        self.places = nn.Sequential(*_unit(2, 1, kernel=7, bias=False), nn.Sigmoid())
        self.of_cnn = nn.Sequential(*_unit(cnn, outputs, kernel=1))
        self.of_transformer = nn.Sequential(*_unit(transformer, outputs, kernel=1))
        self.product = nn.Sequential(*_unit(outputs, outputs, kernel=3), nn.ReLU())
        total, half = cnn + transformer + outputs, outputs // 2
        self.shortcut = nn.Conv2d(total, outputs, 1)
        self.bottleneck = nn.Sequential(
            nn.BatchNorm2d(total),
            nn.ReLU(),
            nn.Conv2d(total, half, 1),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.Conv2d(half, half, 3, padding=1),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.Conv2d(half, outputs, 1),
        )
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, cnn: Tensor, transformer: Tensor) -> Tensor:
        """The fused feature."""
        product = self.product(self.of_cnn(cnn) * self.of_transformer(transformer))
        seen = torch.cat([cnn.amax(1, keepdim=True), cnn.mean(1, keepdim=True)], dim=1)
        excited = transformer * self.excite(transformer.mean((2, 3), keepdim=True))
        all_three = torch.cat([cnn * self.places(seen), excited, product], dim=1)
        y: Tensor = self.dropout(self.shortcut(all_three) + self.bottleneck(all_three))
        return y


class Up(nn.Module):
    """(N, inputs, H, W) → (N, outputs, 2H, 2W), with a gated skip of that size and ``skip`` channels where there is one."""

    def __init__(self, inputs: int, outputs: int, *, skip: int = 0) -> None:
        super().__init__()
        if skip:
            self.signal = nn.Sequential(*_unit(inputs, outputs, kernel=1))
            self.skip = nn.Sequential(*_unit(skip, outputs, kernel=1))
            self.weight = nn.Sequential(*_unit(outputs, 1, kernel=1), nn.Sigmoid())
        self.convolutions = nn.Sequential(
            *_unit(inputs + skip, outputs, kernel=3), nn.ReLU(), *_unit(outputs, outputs, kernel=3)
        )
        self.beside = nn.Sequential(*_unit(inputs + skip, outputs, kernel=1))

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """The feature at twice the size."""
        x = _enlarged(x, 2)
        if skip is not None:
            weight = self.weight(torch.relu(self.signal(x) + self.skip(skip)))
            x = torch.cat([skip * weight, x], dim=1)
        return torch.relu(self.convolutions(x) + self.beside(x))


class TransFuse(Network):
    """Two branches, three fusions, three heads; see the module's documentation."""

    encoder_scales = (4, 8)
    decoder_scales = (16, 8, 4)
    divisor = 16
    main_weight = 0.5
    auxiliary_weights = (0.3, 0.2)

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        size: Sequence[int],
        base: int,
        layers: Sequence[int],
        width: int,
        depth: int,
        heads: int,
        dropout: float,
        unused: bool,
    ) -> None:
        super().__init__()
        low, middle, high = base, 2 * base, 4 * base
        self.fixed_size = tuple(size)
        self.encoder_channels = (low, middle)
        self.decoder_channels = (high, middle, low)
        self.cnn = _resnet(in_channels, base=base, layers=layers)
        self.transformer = Transformer(
            in_channels, size=size, width=width, depth=depth, heads=heads, unused=unused
        )
        self.dropout = nn.Dropout2d(dropout)
        self.raise_transformer = nn.ModuleList([Up(width, middle), Up(middle, low)])
        half = dropout / 2
        self.fuse = nn.ModuleList(
            [
                Fusion(high, width, high, reduction=4, dropout=half),
                Fusion(middle, middle, middle, reduction=2, dropout=half),
                Fusion(low, low, low, reduction=1, dropout=half),
            ]
        )
        self.join = nn.ModuleList([Up(high, middle, skip=middle), Up(middle, low, skip=low)])
        self.head = _head(low, low, out_channels)
        self.transformer_head = _head(low, low, out_channels)
        self.fusion_head = _head(high, low, out_channels, narrow=True)
        for name, part in self.named_children():
            if name not in ("cnn", "transformer"):
                part.apply(_draw)

    def _branches(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Features of the convolutional branch at 1/16, 1/8, 1/4, and those of the transformer."""
        seen = [self.dropout(self.transformer(x))]
        for block in self.raise_transformer:
            seen.append(self.dropout(block(seen[-1])))
        cnn = self.cnn
        x = cnn.maxpool(cnn.act(cnn.bn1(cnn.conv1(x))))
        found: list[Tensor] = []
        for stage in (cnn.layer1, cnn.layer2, cnn.layer3):
            x = self.dropout(stage(x))
            found.insert(0, x)
        return found, seen

    def forward_auxiliary(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
        """What :meth:`forward_features` gives, and the logits (N, K, H, W) of the transformer's head and the fusion's."""
        found, seen = self._branches(x)
        logits, encoder, decoder = self._joined(found, seen)
        auxiliary = [
            _enlarged(self.transformer_head(seen[-1]), 4),
            _enlarged(self.fusion_head(decoder[0]), PATCH),
        ]
        return logits, encoder, decoder, auxiliary

    def _joined(
        self, found: Sequence[Tensor], seen: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        fused = [fuse(*pair) for fuse, *pair in zip(self.fuse, found, seen, strict=True)]
        decoder = [fused[0]]
        for join, skip in zip(self.join, fused[1:], strict=True):
            decoder.append(join(decoder[-1], skip))
        return _enlarged(self.head(decoder[-1]), 4), [fused[2], fused[1]], decoder

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, the fused skips at scales 4, 8, decoder features at scales 16 (the deepest fusion), 8, 4."""
        return self._joined(*self._branches(x))


def _resnet(in_channels: int, *, base: int, layers: Sequence[int]) -> ResNet:
    """A ResNet of basic blocks without what follows its third stage."""
    widths = [base, 2 * base, 4 * base, 8 * base]
    network = ResNet(
        "basic",
        [*layers, 1],
        widths,
        spatial_dims=2,
        n_input_channels=in_channels,
        conv1_t_stride=2,
        feed_forward=False,
        bias_downsample=False,
    )
    del network.layer4, network.avgpool
    return network


def _draw(part: nn.Module) -> None:
    if isinstance(part, nn.Conv2d):
        nn.init.kaiming_normal_(part.weight, mode="fan_in")
        if part.bias is not None:
            bound = part.weight[0].numel() ** -0.5
            nn.init.uniform_(part.bias, -bound, bound)


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    size: Sequence[int] = (192, 256),
    base: int = 64,
    layers: Sequence[int] = (3, 4, 6),
    width: int = 384,
    depth: int = 8,
    heads: int = 6,
    dropout: float = 0.2,
    unused: bool = True,
) -> nn.Module:
    """A TransFuse for images of ``size`` (H, W) alone, each side a multiple of 16.

    ``base`` and ``layers`` are the channels and blocks of the convolutional branch, ``width``, ``depth`` and ``heads``
    those of the transformer; ``unused`` holds the published program's class token that nothing uses.
    """
    check_spatial_dims("transfuse", spatial_dims, 2)
    if len(size) != 2 or any(side < PATCH or side % PATCH for side in size):
        raise SegtraceError(f"transfuse: size {list(size)}; it takes 2 sides, each a multiple of {PATCH}")
    if width % heads:
        raise SegtraceError(f"transfuse: width {width} is no multiple of heads {heads}")
    return TransFuse(
        in_channels=in_channels,
        out_channels=out_channels,
        size=size,
        base=base,
        layers=layers,
        width=width,
        depth=depth,
        heads=heads,
        dropout=dropout,
        unused=unused,
    )
