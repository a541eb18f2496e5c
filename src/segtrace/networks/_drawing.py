"""How several 2-D networks draw their first weights."""

import math

from torch import nn


def draw_by_outputs(module: nn.Module) -> None:
    """Draw linear layers from a normal distribution of 0.02, cut off at 2, convolutions from one of √(2 / n).

    n are the outputs that a weight sees. Biases become 0. Parameters outside such layers stay as they are.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
        elif isinstance(part, nn.Conv1d | nn.Conv2d):
            seen = math.prod(part.kernel_size) * part.out_channels // part.groups
            nn.init.normal_(part.weight, std=math.sqrt(2 / seen))
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)
