"""What the 2-D networks of the U-Net family share: 3×3 convolutions with batch normalisation and ReLU."""

from torch import nn


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
