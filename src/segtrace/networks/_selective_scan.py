"""The selective scan, a linear recurrence with coefficients that depend on the input.

Paper: Gu and Dao, Mamba: linear-time sequence modeling with selective state spaces, 2023, arXiv:2312.00752.

Five forms give the same values, within rounding: the definition, a step at a time (``_scan_reference``, for tests); chunks
side by side in plain torch, on any device (``_scan_chunked``); one fused kernel each way, on a GPU for which triton is
installed (``_scan_triton``) and on a processor with numba (``_scan_numba``); and doubling, where a network is exported
(``_scan_doubling``). The second to the fourth have gradients written by hand, and are one operation for torch,
``segtrace::selective_scan``, which states its own count.
"""

import importlib.util
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from segtrace.errors import SegtraceError
from segtrace.networks import _scan_chunked, _scan_doubling

#: Values of the states from which on a processor the fused kernel is used: its compilation takes seconds, once a process.
FUSED_FROM = 2**20


def selective_scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """h_t = exp(Δ_t A) h_{t-1} + Δ_t B_t u_t, y_t = C_t h_t + D u_t, from h = 0, for G groups of sequences at once.

    ``u`` and ``delta`` are (G, B, L, D): groups with coefficients of their own, batch, time, channels; ``a`` is (G, D, N)
    with N states a channel, negative; ``b`` and ``c`` are (G, B, L, N); ``d`` is (G, D). Steps ``delta`` are taken as they are:
    bias and softplus come before. The result is (G, B, L, D). Computed in float64 where all are float64, else in float32,
    whatever autocast says. Raises :class:`SegtraceError` for shapes that do not fit.
    """
    _check(u, delta, a, b, c, d)
    given = (u, delta, a, b, c, d)
    kind = torch.float64 if all(part.dtype == torch.float64 for part in given) else torch.float32
    u, delta, a, b, c, d = (part.to(kind) for part in given)
    if torch.jit.is_tracing() or torch.compiler.is_exporting():
        with torch.autocast(u.device.type, enabled=False):
            return _scan_doubling.scan(u, delta, a, b, c, d)
    found: Tensor = _scan(u, delta, a, b, c, d)[0]
    return found


def multiply_accumulates(*, sequences: int, length: int, channels: int, states: int) -> int:
    """Of a scan: nine a state and step, as papers count it, and one a channel and step for D u.

    ``sequences`` are G · B.
    """
    return sequences * length * channels * (9 * states + 1)


def _check(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> None:
    if u.dim() == 4 and a.dim() == 3:
        groups, batch, length, channels = u.shape
        states = a.shape[2]
        inner = (groups, batch, length, states)
        wanted = (u.shape, u.shape, (groups, channels, states), inner, inner, (groups, channels))
        if (
            tuple(tuple(part.shape) for part in (u, delta, a, b, c, d)) == tuple(map(tuple, wanted))
            and length
        ):
            return
    shapes = ", ".join(
        f"{name} {list(part.shape)}"
        for name, part in zip(["u", "delta", "a", "b", "c", "d"], (u, delta, a, b, c, d), strict=True)
    )
    raise SegtraceError(
        f"selective scan of {shapes}; give u and delta as (G, B, L, D), a as (G, D, N), b and c as (G, B, L, N), "
        "d as (G, D), with L at least 1"
    )


def _fused(u: Tensor, states: int) -> ModuleType | None:
    """The module of the fused kernels to use, if any."""
    if u.device.type == "cuda" and _installed("triton"):
        from segtrace.networks import _scan_triton

        return _scan_triton
    if u.device.type == "cpu" and u.numel() * states >= FUSED_FROM and _installed("numba"):
        from segtrace.networks import _scan_numba

        return _scan_numba
    return None


@cache
def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _plan(u: Tensor, states: int) -> _scan_chunked.Tiling:
    return _scan_chunked.Tiling.of(u.flatten(0, 1), states=states)


_Rows = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def _rows(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> _Rows:
    """Groups and batch as rows, each with decays (N, D) of its own."""
    decays = a.transpose(1, 2)[:, None].expand(-1, u.shape[1], -1, -1)
    return u.flatten(0, 1), delta.flatten(0, 1), decays.flatten(0, 1), b.flatten(0, 1), c.flatten(0, 1)


@torch.library.custom_op("segtrace::selective_scan", mutates_args=())
def _scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """y, and the states at the chunks' starts, which the gradient needs."""
    fused = _fused(u, a.shape[2])
    if fused is not None:
        y, starts = fused.forward(u, delta, a, b, c, d, steps=fused.STEPS)
        return y, starts
    with torch.autocast(u.device.type, enabled=False):
        y, starts = _scan_chunked.forward(*_rows(u, delta, a, b, c), _plan(u, a.shape[2]))
        return torch.addcmul(y.view_as(u), d[:, None, None], u), starts


@_scan.register_fake
def _(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    del delta, b, c, d
    fused = _fused(u, a.shape[2])
    if fused is not None:
        shape: tuple[int, ...] = (
            -(-u.shape[2] // fused.STEPS),
            u.shape[0] * u.shape[1],
            a.shape[2],
            a.shape[1],
        )
    else:
        shape = _plan(u, a.shape[2]).starts(a.new_empty(u.shape[0] * u.shape[1], a.shape[2], a.shape[1]))
    return torch.empty_like(u), u.new_empty(shape)


@torch.library.custom_op("segtrace::selective_scan_backward", mutates_args=())
def _scan_backward(
    dy: Tensor, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients for all six inputs of the scan."""
    fused = _fused(u, a.shape[2])
    if fused is not None:
        found: tuple[Tensor, ...] = fused.backward(dy, u, delta, a, b, c, d, starts, steps=fused.STEPS)
        return found
    with torch.autocast(u.device.type, enabled=False):
        plan = _plan(u, a.shape[2])
        du, ddelta, da, db, dc = _scan_chunked.backward(
            dy.flatten(0, 1), *_rows(u, delta, a, b, c), starts, plan
        )
        return (
            torch.addcmul(du.view_as(u), d[:, None, None], dy),
            ddelta.reshape(u.shape),
            da.unflatten(0, u.shape[:2]).sum(1).transpose(1, 2).contiguous(),
            db.reshape(b.shape),
            dc.reshape(c.shape),
            (dy * u).sum((1, 2)),
        )


@_scan_backward.register_fake
def _(dy: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    del dy
    return tuple(torch.empty_like(part) for part in inputs[:6])


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)  # zeros for the gradient of the states, as large as these, would be made
    ctx.save_for_backward(*inputs, output[1])


def _gradients(ctx: Any, dy: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if dy is None:
        return (None,) * 6
    found: tuple[Tensor, ...] = _scan_backward(dy.contiguous(), *ctx.saved_tensors)
    return found


_scan.register_autograd(_gradients, setup_context=_keep)


@register_flop_formula(torch.ops.segtrace.selective_scan)
def _operations(u_shape: Any, delta_shape: Any, a_shape: Any, *_: Any, **__: Any) -> int:
    """Floating-point operations, two a multiply-accumulate."""
    groups, batch, length, channels = u_shape
    return 2 * multiply_accumulates(
        sequences=groups * batch, length=length, channels=channels, states=a_shape[2]
    )
