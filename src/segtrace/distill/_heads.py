"""The heads by which a framework turns features into logits of the input's size.

Banerjee et al., 2025, section 2.3 ("bottleneck module"): a 1³ convolution to the classes and transposed
convolutions up. As in the authors' published code, one transposed convolution with kernel and stride 2 is applied
as often as the scale asks, its weights shared; at scale 1 it has kernel and stride 1. With other readings the
parameter counts of the paper do not come out. Where a network's scale differs by axis (CoTr), which the paper has not,
the transposed convolutions go as far as all axes do, and linear interpolation does the rest.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace.errors import SegtraceError

_CONVOLUTIONS = {2: (nn.Conv2d, nn.ConvTranspose2d), 3: (nn.Conv3d, nn.ConvTranspose3d)}


class Head(nn.Module):
    """Features (N, C, …) at 1/``scale`` of the input's size → logits (N, K, …) of its size.

    ``scale`` is a power of 2, or one for each axis.
    """

    def __init__(
        self, channels: int, out_channels: int, *, scale: int | Sequence[int], spatial_dims: int
    ) -> None:
        super().__init__()
        scales = [scale] * spatial_dims if isinstance(scale, int) else list(scale)
        if len(scales) != spatial_dims or any(one < 1 or one & (one - 1) for one in scales):
            raise SegtraceError(f"a head needs features at powers of 2; these are at scale {scale}")
        convolution, transposed = _CONVOLUTIONS[spatial_dims]
        self.doublings = min(scales).bit_length() - 1
        step = 2 if self.doublings else 1
        self.rest = [float(one >> self.doublings) for one in scales]
        self.project = convolution(channels, out_channels, 1)
        self.up = transposed(out_channels, out_channels, step, stride=step)

    def forward(self, features: Tensor) -> Tensor:
        """Logits of the input's size."""
        logits = _pointwise(features, self.project.weight.flatten(1), self.project.bias)
        if not self.doublings:
            logits = _pointwise(logits, self.up.weight.flatten(1).t(), self.up.bias)
        for _ in range(self.doublings):
            logits = self.up(logits)
        if max(self.rest) > 1:
            mode = "trilinear" if len(self.rest) == 3 else "bilinear"
            logits = functional.interpolate(logits, scale_factor=self.rest, mode=mode, align_corners=False)
        return logits


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution of kernel 1 as the matrix product that it is: the CPU's own is many times slower for few channels.

    ``x`` is (N, C, …) and ``weight`` (K, C); (N, K, …).
    """
    found = torch.baddbmm(bias[:, None], weight.expand(len(x), -1, -1), x.flatten(2))
    return found.unflatten(2, x.shape[2:])
