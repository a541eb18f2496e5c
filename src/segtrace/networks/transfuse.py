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

from collections.abc import Sequence

import torch
from monai.networks.nets.resnet import ResNet
from torch import Tensor, nn
from torch.nn import functional

from segtrace.errors import raise_all
from segtrace.networks import check_spatial_dims
from segtrace.networks._convolutions import Excitation
from segtrace.networks._deit import PATCH, Transformer
from segtrace.networks._network import Network
from segtrace.networks.attention_unet import Gate


def _enlarged(x: Tensor, factor: int) -> Tensor:
    return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=True)


def _unit(inputs: int, outputs: int, *, kernel: int, bias: bool = True) -> list[nn.Module]:
    """A convolution and batch normalisation."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
    return [convolution, nn.BatchNorm2d(outputs)]


def _before(inputs: int, outputs: int, *, kernel: int) -> list[nn.Module]:
    """Batch normalisation and ReLU before a convolution."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    return [nn.BatchNorm2d(inputs), nn.ReLU(), convolution]


def _head(inputs: int, inner: int, outputs: int, *, narrow: bool = False) -> nn.Sequential:
    """3×3 convolution, normalisation, ReLU, 3×3 convolution to logits; with ``narrow`` a 1×1 unit to ``inner`` first."""
    first = [*_unit(inputs, inner, kernel=1), nn.ReLU()] if narrow else []
    middle = _unit(inner if narrow else inputs, inner, kernel=3)
    return nn.Sequential(*first, *middle, nn.ReLU(), nn.Conv2d(inner, outputs, 3, padding=1))


class Fusion(nn.Module):
    """Features of both branches, (N, C, H, W) and (N, D, H, W), in one, (N, outputs, H, W)."""

    def __init__(self, cnn: int, transformer: int, outputs: int, *, reduction: int, dropout: float) -> None:
        super().__init__()
        self.excite = Excitation(transformer, transformer // reduction)
        self.places = nn.Sequential(*_unit(2, 1, kernel=7, bias=False), nn.Sigmoid())
        self.of_cnn = nn.Sequential(*_unit(cnn, outputs, kernel=1))
        self.of_transformer = nn.Sequential(*_unit(transformer, outputs, kernel=1))
        self.product = nn.Sequential(*_unit(outputs, outputs, kernel=3), nn.ReLU())
        total, half = cnn + transformer + outputs, outputs // 2
        self.shortcut = nn.Conv2d(total, outputs, 1)
        self.bottleneck = nn.Sequential(
            *_before(total, half, kernel=1), *_before(half, half, kernel=3), *_before(half, outputs, kernel=1)
        )
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, cnn: Tensor, transformer: Tensor) -> Tensor:
        """The fused feature."""
        summary = torch.cat([cnn.amax(1, keepdim=True), cnn.mean(1, keepdim=True)], dim=1)
        together = self.product(self.of_cnn(cnn) * self.of_transformer(transformer))
        all_three = torch.cat([cnn * self.places(summary), self.excite(transformer), together], dim=1)
        y: Tensor = self.dropout(self.shortcut(all_three) + self.bottleneck(all_three))
        return y


class Up(nn.Module):
    """(N, inputs, H, W) → (N, outputs, 2H, 2W), with a gated skip of that size and ``skip`` channels where there is one."""

    def __init__(self, inputs: int, outputs: int, *, skip: int = 0) -> None:
        super().__init__()
        self.gate = Gate(skip, signal=inputs, inner=outputs) if skip else None
        self.convolutions = nn.Sequential(
            *_unit(inputs + skip, outputs, kernel=3), nn.ReLU(), *_unit(outputs, outputs, kernel=3)
        )
        self.beside = nn.Sequential(*_unit(inputs + skip, outputs, kernel=1))

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """The feature at twice the size."""
        x = _enlarged(x, 2)
        if self.gate is not None and skip is not None:
            x = torch.cat([self.gate(skip, x), x], dim=1)
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
            in_channels, size=size, width=width, depth=depth, heads=heads, class_token=unused
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
        for name, branch in self.named_children():
            for part in branch.modules() if name not in ("cnn", "transformer") else ():
                if isinstance(part, nn.Conv2d):
                    nn.init.kaiming_normal_(part.weight)  # by inputs; a bias stays uniform, as torch draws it

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

    def forward_auxiliary(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
        """What :meth:`forward_features` gives, and the logits (N, K, H, W) of the transformer's head and the fusion's."""
        found, seen = self._branches(x)
        logits, encoder, decoder = self._joined(found, seen)
        auxiliary = [
            _enlarged(self.transformer_head(seen[-1]), 4),
            _enlarged(self.fusion_head(decoder[0]), PATCH),
        ]
        return logits, encoder, decoder, auxiliary


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
    faults = []
    if len(size) != 2 or any(side < PATCH or side % PATCH for side in size):
        faults.append(f"size {list(size)}; it takes 2 sides, each a multiple of {PATCH}")
    if len(layers) != 3:
        faults.append(f"layers {list(layers)}; it takes the blocks of 3 stages")
    if base < 2:
        faults.append(f"base {base}; it takes 2 or more, for a fusion's bottleneck has half of it")
    if width % heads:
        faults.append(f"width {width} is no multiple of heads {heads}")
    if not 0 <= dropout < 1:
        faults.append(f"dropout {dropout}; it is a probability, at least 0 and below 1")
    raise_all(faults, heading="transfuse")
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
