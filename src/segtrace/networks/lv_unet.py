"""LV-UNet: MobileNetV3 above, plain blocks below whose activation fades out in training, so that they merge afterwards.

Paper: Jiang et al., LV-UNet: a lightweight and vanilla model for medical image segmentation, BIBM 2024,
arXiv:2408.16886. Followed: the authors' published program, as its layers and counts were measured.

Encoder: the first ten layers of MobileNetV3-Large (Howard et al., ICCV 2019; here under torchvision's names,
``features.0`` …, so that a checkpoint of it fits), to 16, 24, 40, 80 channels; three blocks to 160, 240, 480, each halving
the size. Decoder: six blocks that double it, to 240, 160, 80, 40, 24, 16, each followed by the sum with the encoder's
feature of that size (the last has none), one more to 16 channels at full size, a 1×1 head.

A block: 1×1 convolution, batch normalisation, leaky ReLU of slope a, 1×1 convolution, batch normalisation, 2×2 max pooling
or bilinear doubling, then ReLU, depth-wise 3×3 convolution without bias (normal, 0.02, cut off at 2), batch normalisation;
ε = 1e-6. Deep training: a = 1 - cos(π/2 · share), the share of the epochs, which training tells by ``set_progress``. At a = 1
the two 1×1 convolutions are linear: :func:`merged` makes one of them and their normalisations, and folds that of the
depth-wise one, which is exact. MobileNetV3's own normalisations stay, as published.

Different from the program:

* its last epoch counts E - 1 of E, so that a ends at 0.9948 and merging is approximate; here epochs count from 1, a ends at
  1, and what has another slope is not merged. The weights of an earlier epoch (``best_val``) cannot be merged.
* its slope is no part of a checkpoint, and its test sets it to 0; here it is a buffer, stored with the weights.
* any number of channels and classes.

Its encoder starts from ImageNet's weights. Here MobileNetV3's layers are drawn as torchvision does (normal by outputs), the
others as PyTorch does; none are fetched.

Parameters, 3 → 1 channels: 934,545; merged 513,585.
"""

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace.errors import SegtraceError
from segtrace.networks import check_spatial_dims
from segtrace.networks._convolutions import Excitation
from segtrace.networks._network import Network

#: MobileNetV3-Large's layers 1 to 9: kernel, inner channels, outputs, squeeze and excitation, hard swish, stride.
MOBILE = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
)
#: The last layer of each stage, whose outputs are the skips (the first, of 16 channels at half size, is none).
STAGES = ((0, 1), (1, 3), (3, 6), (6, 10))
DOWN = (80, 160, 240, 480)
UP = (480, 240, 160, 80, 40, 24, 16, 16)


def _normalised(
    inputs: int, outputs: int, *, kernel: int, activation: type[nn.Module] | None, **how: int
) -> Any:
    """MobileNetV3's convolution, batch normalisation and activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **how),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


def _divisible(value: int) -> int:
    """The multiple of 8 nearest to ``value``, and not below nine tenths of it."""
    near = max(8, (value + 4) // 8 * 8)
    return near if near >= 0.9 * value else near + 8


class Inverted(nn.Module):
    """MobileNetV3's inverted residual block."""

    def __init__(
        self, inputs: int, kernel: int, inner: int, outputs: int, squeeze: bool, swish: bool, stride: int
    ) -> None:
        super().__init__()
        kind = nn.Hardswish if swish else nn.ReLU
        layers = [_normalised(inputs, inner, kernel=1, activation=kind)] if inner != inputs else []
        layers.append(_normalised(inner, inner, kernel=kernel, activation=kind, stride=stride, groups=inner))
        layers += [Excitation(inner, _divisible(inner // 4), gate=functional.hardsigmoid)] if squeeze else []
        layers.append(_normalised(inner, outputs, kernel=1, activation=None))
        self.block = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H / stride, W / stride)."""
        y: Tensor = self.block(x)
        return x + y if self.adds else y


class Block(nn.Module):
    """A plain block; ``down`` halves the size, else it is doubled. ``merged`` is its form for deployment."""

    def __init__(self, inputs: int, outputs: int, *, down: bool, merged: bool) -> None:
        super().__init__()
        self.down = down
        self.first = nn.Identity() if merged else _unit(nn.Conv2d(inputs, inputs, 1))
        second = nn.Conv2d(inputs, outputs, 1)
        self.second = second if merged else _unit(second)
        depthwise = nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs, bias=merged)
        nn.init.trunc_normal_(depthwise.weight, std=0.02)
        self.depthwise = depthwise if merged else _unit(depthwise)

    def forward(self, x: Tensor, slope: Tensor | None) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H / 2, W / 2) or (N, outputs, 2H, 2W); ``slope`` is a, None where merged."""
        x = self.first(x)
        if slope is not None:
            x = slope * x + (1 - slope) * torch.relu(x)
        x = self.second(x)
        x = functional.max_pool2d(x, 2) if self.down else _doubled(x)
        y: Tensor = self.depthwise(torch.relu(x))
        return y

    @torch.no_grad()
    def merge_from(self, trained: "Block") -> None:
        """Take over what ``trained``, whose activation between its convolutions is linear, computes in evaluation mode."""
        first, first_bias = _folded(trained.first)
        second, second_bias = _folded(trained.second)
        _set(
            self.second,
            (second.flatten(1) @ first.flatten(1))[:, :, None, None],
            second.flatten(1) @ first_bias + second_bias,
        )
        _set(self.depthwise, *_folded(trained.depthwise))


def _unit(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels, eps=1e-6))


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _folded(unit: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias, float64, of one convolution that gives what a convolution and its batch normalisation give."""
    convolution, norm = unit
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = (
        -norm.running_mean.double()
        if convolution.bias is None
        else convolution.bias - norm.running_mean.double()
    )
    return convolution.weight.double() * scale[:, None, None, None], norm.bias.double() + scale * bias


def _set(convolution: Any, weight: Tensor, bias: Tensor) -> None:
    convolution.weight.copy_(weight)
    convolution.bias.copy_(bias)


class LVUNet(Network):
    """MobileNetV3's stages, three blocks down, seven up; see the module's documentation."""

    encoder_channels = (24, 40, 80, 160, 240)
    encoder_scales = (4, 8, 16, 32, 64)
    decoder_channels = UP[:-1]
    decoder_scales = (128, 64, 32, 16, 8, 4, 2)
    divisor = 128

    def __init__(self, *, in_channels: int, out_channels: int, deep_training: bool, merged: bool) -> None:
        super().__init__()
        self.deep_training = deep_training
        if not merged:
            self.register_buffer("slope", torch.zeros(()))
        stem = _normalised(in_channels, 16, kernel=3, activation=nn.Hardswish, stride=2)
        layers, inputs = [stem], 16
        for layer in MOBILE:
            layers.append(Inverted(inputs, *layer))
            inputs = layer[2]
        self.features = nn.Sequential(*layers)
        for part in self.features.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out")
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        self.down = nn.ModuleList(Block(i, o, down=True, merged=merged) for i, o in itertools.pairwise(DOWN))
        self.up = nn.ModuleList(Block(i, o, down=False, merged=merged) for i, o in itertools.pairwise(UP))
        self.head = nn.Conv2d(UP[-1], out_channels, 1)

    def set_progress(self, share: float) -> None:
        """Set the slope for an epoch; ``share`` is that epoch's number, from 1, by the number of epochs."""
        if self.deep_training:
            self.slope.fill_(1 - math.cos(math.pi / 2 * share))

    def forward_features(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, encoder features at scales 4, 8, 16, 32, 64, decoder features at 128 (bottleneck), 64, 32, 16, 8, 4, 2."""
        slope = getattr(self, "slope", None)
        encoder: list[Tensor] = []
        for first, last in STAGES:
            x = self.features[first:last](x)
            encoder.append(x)
        for block in self.down:
            encoder.append(block(encoder[-1], slope))
        decoder = [encoder.pop()]
        skips = [*reversed(encoder[1:]), None, None]
        for block, skip in zip(self.up, skips, strict=True):
            x = block(decoder[-1], slope)
            decoder.append(x if skip is None else x + skip)
        return self.head(decoder.pop()), encoder[1:], decoder


def merged(network: nn.Module) -> nn.Module:
    """The form for deployment of an LV-UNet at the end of deep training, in evaluation mode, on the same device.

    Raises :class:`SegtraceError` for another network, one that is merged already, and one whose slope is not 1: its two
    convolutions are not linear together.
    """
    slope = getattr(network, "slope", None)
    if not isinstance(network, LVUNet) or slope is None:
        raise SegtraceError(f"{type(network).__name__}: only an lv_unet can be merged, and only once")
    if float(slope) != 1:
        raise SegtraceError(
            f"lv_unet: the slope of its activation is {float(slope):.4f}, so that merging would change what it computes; "
            "take the weights after the last epoch of deep training (checkpoint last), whose slope is 1"
        )
    head = network.head
    result = LVUNet(
        in_channels=network.features[0][0].in_channels,
        out_channels=head.out_channels,
        deep_training=False,
        merged=True,
    ).to(head.weight.device)
    result.features.load_state_dict(network.features.state_dict())
    result.head.load_state_dict(head.state_dict())
    for ours, theirs in zip([*result.down, *result.up], [*network.down, *network.up], strict=True):
        ours.merge_from(theirs)
    return result.eval()


def build(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int | None = None,
    deep_training: bool = True,
    merged: bool = False,
) -> nn.Module:
    """An LV-UNet; without ``deep_training`` its slope stays 0, ``merged`` is the form for deployment."""
    check_spatial_dims("lv_unet", spatial_dims, 2)
    return LVUNet(
        in_channels=in_channels,
        out_channels=out_channels,
        deep_training=deep_training and not merged,
        merged=merged,
    )
