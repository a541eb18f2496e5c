"""The selective scan by doubling, in a few standard operations: the form that ONNX and torch.export can write."""

import torch
from torch import Tensor


def scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """:func:`segtrace.networks._selective_scan.selective_scan` in log2(L) passes over all states.

    Shapes as there, all of one type. After the pass with shift s each state holds what the last 2s steps gave. It takes
    G · B · L · D · N values of memory several times over, and no loop of L steps.
    """
    length = int(u.shape[2])
    kept = torch.exp(delta[..., None] * a[:, None, None])
    states = (delta * u)[..., None] * b[..., None, :]
    shift = 1
    while shift < length:
        later, earlier = slice(shift, length), slice(0, length - shift)
        moved = states[:, :, later] + kept[:, :, later] * states[:, :, earlier]
        states = torch.cat([states[:, :, :shift], moved], 2)
        kept = torch.cat([kept[:, :, :shift], kept[:, :, later] * kept[:, :, earlier]], 2)
        shift *= 2
    return (states * c[..., None, :]).sum(-1) + d[:, None, None] * u
