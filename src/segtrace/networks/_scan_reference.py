"""The selective scan a step at a time: the definition, against which the quick forms are tested."""

import torch
from torch import Tensor


def scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """:func:`segtrace.networks._selective_scan.selective_scan` as a plain loop over time, differentiated by torch.

    Shapes as there, all of one type, float32 or float64. Every state is kept for the backward pass: G · B · L · D · N
    values, several times.
    """
    decays, state = a[:, None], u.new_zeros(*u.shape[:2], u.shape[3], a.shape[2])
    found = []
    for u_t, delta_t, b_t, c_t in zip(u.unbind(2), delta.unbind(2), b.unbind(2), c.unbind(2), strict=True):
        kept = torch.exp(delta_t[..., None] * decays)
        state = kept * state + (delta_t * u_t)[..., None] * b_t[..., None, :]
        found.append((state * c_t[..., None, :]).sum(-1))
    return torch.stack(found, 2) + d[:, None, None] * u
