"""SS2D: a selective scan over a map of tokens in four directions.

Paper: Liu et al., VMamba: visual state space model, NeurIPS 2024, arXiv:2401.10166; as VM-UNet (Ruan and Xiang,
arXiv:2402.02491) uses it. Followed: the published program of VM-UNet, whose values are reproduced.

A linear layer C → 2d (d = 2C, no bias) gives x and z; x goes through a depth-wise 3×3 convolution and SiLU, then is read in
four directions: row by row, column by column, and both backwards. Each direction k has coefficients of its own:
[Δ, B, C] = W_k x, of R = ⌈C / 16⌉ and N = 16 and N values; Δ = softplus(V_k Δ + bias_k); A = -exp(A_log). The four scans are
put back in place and added, layer normalised, multiplied by SiLU(z), and a linear layer d → C (no bias) ends it.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace.networks._selective_scan import selective_scan

DIRECTIONS = 4
#: Initial steps Δ are drawn between these, evenly in their logarithms.
STEPS = (1e-3, 1e-1)


class SS2D(nn.Module):
    """(N, H, W, C) to the same; ``between`` is applied to the summed scans (N, H, W, 2C), before the normalisation."""

    def __init__(self, channels: int, *, states: int = 16, between: nn.Module | None = None) -> None:
        super().__init__()
        width, rank = 2 * channels, math.ceil(channels / 16)
        self.sizes = [rank, states, states]
        self.enter = nn.Linear(channels, 2 * width, bias=False)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.coefficients = nn.Parameter(torch.empty(DIRECTIONS, rank + 2 * states, width))
        self.steps = nn.Parameter(torch.empty(DIRECTIONS, width, rank))
        self.steps_bias = nn.Parameter(torch.empty(DIRECTIONS, width))
        self.decay_log = nn.Parameter(torch.empty(DIRECTIONS * width, states))
        self.direct = nn.Parameter(torch.ones(DIRECTIONS * width))
        self.between = nn.Identity() if between is None else between
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, channels, bias=False)
        self._draw()

    @torch.no_grad()
    def _draw(self) -> None:
        for linear in (self.enter, self.leave):
            nn.init.trunc_normal_(linear.weight, std=0.02)
        nn.init.uniform_(self.coefficients, -(self.leave.in_features**-0.5), self.leave.in_features**-0.5)
        nn.init.uniform_(self.steps, -(self.sizes[0] ** -0.5), self.sizes[0] ** -0.5)
        nn.init.uniform_(self.steps_bias, *(math.log(step) for step in STEPS))
        first = self.steps_bias.exp()
        self.steps_bias.copy_(first + torch.log(-torch.expm1(-first)))  # what softplus makes ``first`` of
        self.decay_log.copy_(
            torch.log(torch.arange(1, self.sizes[1] + 1, dtype=torch.float32)).expand_as(self.decay_log)
        )

    def scans(self, x: Tensor) -> Tensor:
        """The four directions' scans of ``x`` (N, H, W, d), put back in place and added; of its shape."""
        number, height, width, channels = x.shape
        rows, columns = x.flatten(1, 2), x.transpose(1, 2).flatten(1, 2)
        u = torch.stack([rows, columns, rows.flip(1), columns.flip(1)])  # (4, N, L, d)
        mixed = torch.matmul(u, self.coefficients.transpose(1, 2)[:, None])
        rough, b, c = mixed.split(self.sizes, dim=-1)
        delta = torch.matmul(rough, self.steps.transpose(1, 2)[:, None]) + self.steps_bias[:, None, None]
        y = selective_scan(
            u,
            functional.softplus(delta),
            -torch.exp(self.decay_log).view(DIRECTIONS, channels, -1),
            b,
            c,
            self.direct.view(DIRECTIONS, channels),
        )
        both = (y[:2] + y[2:].flip(2)).view(2, number, -1, channels)
        across = both[1].view(number, width, height, channels).transpose(1, 2)
        return both[0].view(number, height, width, channels) + across

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to the same."""
        x, gate = self.enter(x).chunk(2, dim=-1)
        x = functional.silu(self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        y = self.norm(self.between(self.scans(x)))
        found: Tensor = self.leave(y * functional.silu(gate))
        return found
