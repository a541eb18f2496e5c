"""What the 2-D networks of convolutions share: 3×3 units with batch normalisation and ReLU, weights for channels."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def convolution(inputs: int, outputs: int, *, bias: bool = True) -> list[nn.Module]:
    """A padded 3×3 convolution of ``inputs`` to ``outputs`` channels, batch normalisation and ReLU."""
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def double_convolution(
    inputs: int, outputs: int, *, middle: int | None = None, bias: bool = True
) -> nn.Sequential:
    """Two of :func:`convolution`, by way of ``middle`` channels (``outputs`` where not given)."""
    between = middle or outputs
    return nn.Sequential(*convolution(inputs, between, bias=bias), *convolution(between, outputs, bias=bias))


class Excitation(nn.Module):
    """Squeeze and excitation by way of ``inner`` channels, weights by ``gate``; (N, C, H, W) throughout.

    Hu et al., Squeeze-and-excitation networks, CVPR 2018. The layers have torchvision's names.
    """

    def __init__(
        self, channels: int, inner: int, *, gate: Callable[[Tensor], Tensor] = torch.sigmoid
    ) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, inner, 1)
        self.fc2 = nn.Conv2d(inner, channels, 1)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        """The input's shape."""
        means = x.mean((2, 3), keepdim=True)
        return x * self.gate(self.fc2(torch.relu(self.fc1(means))))
