"""The selective scan on a processor, for machines on which numba is installed: one pass over the inputs each way.

Rows (groups times batch) are cut into blocks of channels, W at most. A block goes along time with its states (N, W), which
stay in the processor's nearest memory, the channels side by side in its vector registers. The forward pass keeps the
states at the start of every T steps; the backward pass goes over these tiles from the last to the first, computes
a tile's states again, and takes its gradients: beside its outputs it needs memory for one tile a thread.

Blocks do not depend on the number of threads and each writes its own part of the outputs. What is summed over channels
(gradients of B and C) is written block by block and added by torch. So equal inputs give equal bits, however many threads
there are; the kernels run outside of Python's lock in as many threads as torch has.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numba import njit, types
from numba.extending import overload
from torch import Tensor

#: Channels of a block at most, a multiple of what a vector register holds, and steps of a tile.
CHANNELS = 192
STEPS = 32
#: Pieces of work a thread, at most: another's work on a core then holds up a piece, not all.
PIECES = 4

# A product and a sum are rounded once where the processor can; nothing else about rounding is left to the compiler.
_FUSED = {"contract"}
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": _FUSED, "error_model": "numpy"}

_F = np.float32
_LOWEST, _HIGHEST = _F(-88), _F(89)
_LOG2_E, _ROUNDER = _F(1.442695040888963407), _F(1.5 * 2**23)
_LN_2 = _F(0.693147180559945309)
_BIAS, _MANTISSA = np.int32(127), np.int32(23)
_ONE = _F(1)
_C6, _C5, _C4, _C3, _C2 = (_F(1 / math.factorial(power)) for power in range(6, 1, -1))


def _exp(x: Any) -> Any:
    """exp(x), of float32 in steps that a vector register can take; infinite from 89, 0 from -88."""
    return np.exp(x)


def _exp_float32(x: Any) -> Any:
    # exp(x) = 2^n exp(r), |r| ≤ ln(2) / 2; NaN stays NaN
    x = _LOWEST if x < _LOWEST else x
    x = _HIGHEST if x > _HIGHEST else x
    # the sum's last bits are n, and with the exponent's bias in its place n is 2^n
    shifted = x * _LOG2_E + _ROUNDER
    r = x - (shifted - _ROUNDER) * _LN_2
    series = (((((_C6 * r + _C5) * r + _C4) * r + _C3) * r + _C2) * r + _ONE) * r + _ONE
    bits = np.int32((np.float32(shifted).view(np.int32) + _BIAS) << _MANTISSA)
    return series * np.int32(bits).view(np.float32)


def _exp_float64(x: Any) -> Any:
    return math.exp(x)


@overload(_exp, jit_options={"fastmath": _FUSED})
def _(x: Any) -> Callable[[Any], Any]:
    return _exp_float32 if x == types.float32 else _exp_float64


# A view costs more than what a register holds, so these take all states of one step: arrays (N, W) and (W), b and c (N).


@njit(**_OPTIONS)
def _advance(state: Any, delta: Any, decays: Any, driven: Any, b: Any, c: Any, y: Any) -> None:
    """One step of the states, and their sum by c into y."""
    for n in range(state.shape[0]):
        for i in range(state.shape[1]):
            state[n, i] = _exp(delta[i] * decays[n, i]) * state[n, i] + driven[i] * b[n]
            y[i] += c[n] * state[n, i]


@njit(**_OPTIONS)
def _advance_keeping(
    before: Any, after: Any, kept: Any, delta: Any, decays: Any, driven: Any, b: Any
) -> None:
    """One step, from ``before`` to ``after``; ``kept`` is what is kept of the states."""
    for n in range(before.shape[0]):
        for i in range(before.shape[1]):
            kept[n, i] = _exp(delta[i] * decays[n, i])
            after[n, i] = kept[n, i] * before[n, i] + driven[i] * b[n]


@njit(**_OPTIONS)
def _weigh(worth: Any, carry: Any, kept: Any, outer: Any, b: Any, c: Any, through: Any) -> None:
    """What one step's states are worth: by its own output and, ``carry``, by the next step's states."""
    for n in range(worth.shape[0]):
        for i in range(worth.shape[1]):
            worth[n, i] = outer[i] * c[n] + carry[n, i]
            carry[n, i] = worth[n, i] * kept[n, i]
            through[i] += worth[n, i] * b[n]


@njit(**_OPTIONS)
def _change(carry: Any, before: Any, delta: Any, decays: Any, da: Any, ddelta: Any) -> None:
    """Gradients by Δ A: ``carry`` is worth times decay."""
    for n in range(carry.shape[0]):
        for i in range(carry.shape[1]):
            change = carry[n, i] * before[n, i]
            da[n, i] += change * delta[i]
            ddelta[i] += change * decays[n, i]


@njit(nogil=True, fastmath={"contract", "reassoc"}, error_model="numpy")
def _dots(x: Any, y: Any, found: Any) -> None:
    """Into ``found`` (N) the sums of x (N, W) times y (W)."""
    for n in range(x.shape[0]):
        # several partial sums side by side: their order is settled when this is compiled
        total = x[n, 0] * y[0]
        for i in range(1, x.shape[1]):
            total += x[n, i] * y[i]
        found[n] = total


@njit(**_OPTIONS)
def _forward(
    first: int, last: int, batch: int, width: int, steps: int,
    u: Any, delta: Any, a: Any, b: Any, c: Any, d: Any, y: Any, starts: Any,
) -> None:  # fmt: skip
    """Blocks ``first`` to ``last``; rows first: u, delta, y (R, L, D), b, c (R, L, N), starts (tiles, R, N, D)."""
    length, channels = u.shape[1:]
    blocks = -(-channels // width)
    for unit in range(first, last):
        row, begin = unit // blocks, unit % blocks * width
        end = min(begin + width, channels)
        decays, direct = a[row // batch, :, begin:end].copy(), d[row // batch, begin:end]
        state = np.zeros_like(decays)
        driven = np.empty(end - begin, u.dtype)
        for time in range(length):
            if time % steps == 0:
                starts[time // steps, row, :, begin:end] = state
            step, inputs, found = (
                delta[row, time, begin:end],
                u[row, time, begin:end],
                y[row, time, begin:end],
            )
            for i in range(driven.size):
                driven[i] = step[i] * inputs[i]
                found[i] = direct[i] * inputs[i]
            _advance(state, step, decays, driven, b[row, time], c[row, time], found)


@njit(**_OPTIONS)
def _backward(
    first: int, last: int, batch: int, width: int, steps: int,
    dy: Any, u: Any, delta: Any, a: Any, b: Any, c: Any, d: Any, starts: Any,
    du: Any, ddelta: Any, da: Any, db: Any, dc: Any, dd: Any,
) -> None:  # fmt: skip
    """As :func:`_forward`; db and dc are (blocks, R, L, N), da (R, N, D), dd (R, D)."""
    length, channels = u.shape[1:]
    states = a.shape[1]
    blocks = -(-channels // width)
    for unit in range(first, last):
        row, block = unit // blocks, unit % blocks
        begin = block * width
        end = min(begin + width, channels)
        decays, direct = a[row // batch, :, begin:end].copy(), d[row // batch, begin:end]
        # Sums over time: float32 within a tile, float64 over the tiles, so that no error grows with the length.
        changed, changed_direct = np.empty_like(decays), np.empty(end - begin, u.dtype)
        total, total_direct = np.zeros(decays.shape), np.zeros(end - begin)
        carry, worth = np.zeros_like(decays), np.empty_like(decays)
        kept = np.empty((steps, states, end - begin), u.dtype)
        values = np.empty((steps + 1, states, end - begin), u.dtype)
        driven, through = np.empty((steps, end - begin), u.dtype), np.empty(end - begin, u.dtype)
        for tile in range(starts.shape[0] - 1, -1, -1):
            offset = tile * steps
            here = min(steps, length - offset)
            changed[:], changed_direct[:] = 0, 0
            values[0] = starts[tile, row, :, begin:end]
            for t in range(here):
                step, inputs = delta[row, offset + t, begin:end], u[row, offset + t, begin:end]
                for i in range(end - begin):
                    driven[t, i] = step[i] * inputs[i]
                _advance_keeping(
                    values[t], values[t + 1], kept[t], step, decays, driven[t], b[row, offset + t]
                )
            for t in range(here - 1, -1, -1):
                time = offset + t
                step, inputs = delta[row, time, begin:end], u[row, time, begin:end]
                outer = dy[row, time, begin:end]
                into, change = du[row, time, begin:end], ddelta[row, time, begin:end]
                for i in range(end - begin):
                    through[i] = 0
                    change[i] = 0
                _dots(values[t + 1], outer, dc[block, row, time])
                _weigh(worth, carry, kept[t], outer, b[row, time], c[row, time], through)
                _dots(worth, driven[t], db[block, row, time])
                _change(carry, values[t], step, decays, changed, change)
                for i in range(end - begin):
                    into[i] = through[i] * step[i] + direct[i] * outer[i]
                    change[i] += through[i] * inputs[i]
                    changed_direct[i] += outer[i] * inputs[i]
            total += changed
            total_direct += changed_direct
        da[row, :, begin:end], dd[row, begin:end] = total, total_direct


def _run(kernel: Any, *, rows: int, channels: int, batch: int, steps: int, arrays: list[Any]) -> None:
    """The kernel over all blocks, in as many threads as torch has."""
    units = rows * -(-channels // CHANNELS)
    threads = min(torch.get_num_threads(), units)

    def piece(first: int, last: int) -> None:
        kernel(first, last, batch, CHANNELS, steps, *arrays)

    if threads == 1:
        piece(0, units)
        return
    number = min(units, PIECES * threads)
    cuts = [units * part // number for part in range(number + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(piece, cuts[:-1], cuts[1:]))


def forward(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, *, steps: int
) -> tuple[Tensor, Tensor]:
    """y (G, B, L, D) and the states at the tiles' starts (⌈L / ``steps``⌉, G · B, N, D).

    Inputs are those of :func:`segtrace.networks._selective_scan.selective_scan`, of one type, float32 or float64.
    """
    groups, batch, length, channels = u.shape
    y = torch.empty(u.shape, dtype=u.dtype)
    starts = u.new_empty(-(-length // steps), groups * batch, a.shape[2], channels)
    arrays = [*_arrays(u, delta, a, b, c, d), y.flatten(0, 1).numpy(), starts.numpy()]
    _run(_forward, rows=groups * batch, channels=channels, batch=batch, steps=steps, arrays=arrays)
    return y, starts


def backward(
    dy: Tensor,
    u: Tensor,
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Tensor,
    starts: Tensor,
    *,
    steps: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of :func:`forward` for its six inputs, from that of y."""
    groups, batch, length, channels = u.shape
    rows, states = groups * batch, a.shape[2]
    du, ddelta = (torch.empty(u.shape, dtype=u.dtype) for _ in range(2))
    da, dd = u.new_empty(rows, states, channels), u.new_empty(rows, channels)
    db, dc = (u.new_empty(-(-channels // CHANNELS), rows, length, states) for _ in range(2))
    arrays = [
        dy.contiguous().flatten(0, 1).numpy(),
        *_arrays(u, delta, a, b, c, d),
        starts.contiguous().numpy(),
    ]
    arrays += [part.numpy() for part in (du.flatten(0, 1), ddelta.flatten(0, 1), da, db, dc, dd)]
    _run(_backward, rows=rows, channels=channels, batch=batch, steps=steps, arrays=arrays)
    return (
        du,
        ddelta,
        da.unflatten(0, (groups, batch)).sum(1).transpose(1, 2).contiguous(),
        db.sum(0).view(b.shape),
        dc.sum(0).view(c.shape),
        dd.unflatten(0, (groups, batch)).sum(1),
    )


def _arrays(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> list[Any]:
    """As the kernels take them: rows first, A as (G, N, D)."""
    parts = [u.flatten(0, 1), delta.flatten(0, 1), a.transpose(1, 2), b.flatten(0, 1), c.flatten(0, 1), d]
    return [part.detach().contiguous().numpy() for part in parts]
