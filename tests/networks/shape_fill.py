"""Weights that depend on shapes alone, so that two programs of one network can be compared without copying weights."""

import torch
from torch import Tensor, nn


def _values(parameter: Tensor) -> Tensor:
    n = parameter.numel()
    c = torch.cos(0.37 * torch.arange(n, dtype=torch.float64) + 0.11 * (n % 57)).view(parameter.shape)
    if parameter.dim() >= 2:
        return c * (2 * parameter.shape[0] / n) ** 0.5
    return 1 + 0.1 * c if bool((parameter == 1).all()) else 0.1 * c


@torch.no_grad()
def fill(module: nn.Module) -> None:
    """Fill a freshly built ``module``: element k (row by row) of a parameter of n elements from cos(0.37 k + 0.11 (n mod 57)).

    Two and more axes are scaled by the square root of 2 * shape[0] / n; one axis becomes 1 + 0.1 cos where it was all
    ones, else 0.1 cos; running means become 0, running variances 1. Neither names nor the order of building matter.
    """
    for parameter in module.parameters():
        parameter.copy_(_values(parameter))
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.reset_running_stats()
