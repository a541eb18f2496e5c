"""The selective scan, a linear recurrence with coefficients that depend on the input.

Paper: Gu and Dao, Mamba: linear-time sequence modeling with selective state spaces, 2023, arXiv:2312.00752.
"""

import torch
from torch import Tensor

from segtrace.networks import _scan_reference


def selective_scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """h_t = exp(Δ_t A) h_{t-1} + Δ_t B_t u_t, y_t = C_t h_t + D u_t, from h = 0, for G groups of sequences at once.

    ``u`` and ``delta`` are (G, B, L, D): groups with coefficients of their own, batch, time, channels; ``a`` is (G, D, N)
    with N states a channel, negative; ``b`` and ``c`` are (G, B, L, N); ``d`` is (G, D). Steps ``delta`` are taken as they are:
    bias and softplus come before. The result is (G, B, L, D). Computed in float64 where all are float64, else in float32,
    whatever autocast says.
    """
    given = (u, delta, a, b, c, d)
    kind = torch.float64 if all(part.dtype == torch.float64 for part in given) else torch.float32
    with torch.autocast(u.device.type, enabled=False):
        return _scan_reference.scan(*(part.to(kind) for part in given))
