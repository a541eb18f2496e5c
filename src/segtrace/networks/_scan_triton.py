"""The selective scan fused into one kernel each way, for GPUs for which triton is installed.

A program walks along one row of W channels, T steps at a time, with all N states of a tile (T, N, W) at once: the recurrence
within a tile is an associative scan, and the state goes from tile to tile in registers. Inputs are read once and outputs
written once, beside one state a tile, from which the backward pass computes all others again. Sums over channels are
written block by block and added by torch, not by atomic additions, so that equal inputs give equal bits.
"""

import contextlib

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Channels of a program, and steps of a tile, a power of two.
CHANNELS = 16
STEPS = 16
WARPS = 8


@triton.jit
def _combine(kept, value, kept_next, value_next):  # type: ignore[no-untyped-def]
    return kept * kept_next, kept_next * value + value_next


@triton.jit
def _forward(  # type: ignore[no-untyped-def]
    u, delta, a, b, c, d, y, starts, batch, length, channels,
    states: tl.constexpr, padded: tl.constexpr, span: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    rows = tl.num_programs(0)
    channel = tl.program_id(1) * width + tl.arange(0, width)
    state = tl.arange(0, padded)
    time = tl.arange(0, span)
    here = channel < channels
    both = (state < states)[:, None] & here[None, :]
    group = row // batch
    places = state[:, None] * channels + channel[None, :]
    decays = tl.load(a + group * states * channels + places, mask=both, other=0.0)
    skip = tl.load(d + group * channels + channel, mask=here, other=0.0)
    carry = tl.zeros((padded, width), dtype=decays.dtype)
    for tile in range(0, tl.cdiv(length, span)):
        step = tile * span + time
        live = (step < length)[:, None] & here[None, :]
        at = (row * length + step)[:, None] * channels + channel[None, :]
        steps = tl.load(delta + at, mask=live, other=0.0)
        inputs = tl.load(u + at, mask=live, other=0.0)
        mixed = (step < length)[:, None] & (state < states)[None, :]
        mixed_at = (row * length + step)[:, None] * states + state[None, :]
        entering = tl.load(b + mixed_at, mask=mixed, other=0.0)
        leaving = tl.load(c + mixed_at, mask=mixed, other=0.0)
        tl.store(starts + (tile * rows + row) * states * channels + places, carry, mask=both)
        kept = tl.exp(steps[:, None, :] * decays[None, :, :])
        values = (steps * inputs)[:, None, :] * entering[:, :, None]
        values += tl.where((time == 0)[:, None, None], kept * carry[None, :, :], 0.0)
        _, values = tl.associative_scan((kept, values), 0, _combine)
        carry = tl.sum(tl.where((time == span - 1)[:, None, None], values, 0.0), axis=0)
        found = tl.sum(values * leaving[:, :, None], axis=1) + skip[None, :] * inputs
        tl.store(y + at, found, mask=live)


@triton.jit
def _backward(  # type: ignore[no-untyped-def]
    dy, u, delta, a, b, c, d, starts, du, ddelta, da, db, dc, dd, batch, length, channels,
    states: tl.constexpr, padded: tl.constexpr, span: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    rows = tl.num_programs(0)
    block = tl.program_id(1)
    channel = block * width + tl.arange(0, width)
    state = tl.arange(0, padded)
    time = tl.arange(0, span)
    here = channel < channels
    both = (state < states)[:, None] & here[None, :]
    group = row // batch
    places = state[:, None] * channels + channel[None, :]
    decays = tl.load(a + group * states * channels + places, mask=both, other=0.0)
    skip = tl.load(d + group * channels + channel, mask=here, other=0.0)
    carry = tl.zeros((padded, width), dtype=decays.dtype)
    change_a = tl.zeros((padded, width), dtype=decays.dtype)
    change_d = tl.zeros((width,), dtype=decays.dtype)
    tiles = tl.cdiv(length, span)
    for back in range(0, tiles):
        tile = tiles - 1 - back
        step = tile * span + time
        live = (step < length)[:, None] & here[None, :]
        at = (row * length + step)[:, None] * channels + channel[None, :]
        steps = tl.load(delta + at, mask=live, other=0.0)
        inputs = tl.load(u + at, mask=live, other=0.0)
        outer = tl.load(dy + at, mask=live, other=0.0)
        mixed = (step < length)[:, None] & (state < states)[None, :]
        mixed_at = (row * length + step)[:, None] * states + state[None, :]
        entering = tl.load(b + mixed_at, mask=mixed, other=0.0)
        leaving = tl.load(c + mixed_at, mask=mixed, other=0.0)
        # the same one step earlier and one later, within the tile
        later = live & (time > 0)[:, None]
        before = tl.load(delta + at - channels, mask=later, other=0.0)
        before *= tl.load(u + at - channels, mask=later, other=0.0)
        entered = tl.load(b + mixed_at - states, mask=mixed & (time > 0)[:, None], other=0.0)
        after = (step + 1 < length)[:, None] & here[None, :] & (time < span - 1)[:, None]
        following = tl.load(delta + at + channels, mask=after, other=0.0)
        # what is kept of the state before: no difference of near numbers, nothing divided
        begin = tl.load(starts + (tile * rows + row) * states * channels + places, mask=both, other=0.0)
        kept = tl.exp(steps[:, None, :] * decays[None, :, :])
        earlier = before[:, None, :] * entered[:, :, None]
        earlier += tl.where((time == 0)[:, None, None], begin[None, :, :], 0.0)
        _, remains = tl.associative_scan((kept, kept * earlier), 0, _combine)
        driven = steps * inputs
        values = remains + driven[:, None, :] * entering[:, :, None]
        partial = (block * rows + row) * length * states
        mixed_to = partial + step[:, None] * states + state[None, :]
        tl.store(dc + mixed_to, tl.sum(values * outer[:, None, :], axis=2), mask=mixed)
        # what each state is worth: its own output, and the next state's worth times what is kept of it
        worth = outer[:, None, :] * leaving[:, :, None]
        worth += tl.where((time == span - 1)[:, None, None], carry[None, :, :], 0.0)
        decayed = tl.exp(following[:, None, :] * decays[None, :, :])
        _, worth = tl.associative_scan((decayed, worth), 0, _combine, reverse=True)
        carry = tl.sum(tl.where((time == 0)[:, None, None], kept * worth, 0.0), axis=0)
        tl.store(db + mixed_to, tl.sum(worth * driven[:, None, :], axis=2), mask=mixed)
        through = tl.sum(worth * entering[:, :, None], axis=1)
        change = worth * remains
        change_a += tl.sum(change * steps[:, None, :], axis=0)
        change_d += tl.sum(outer * inputs, axis=0)
        tl.store(du + at, through * steps + skip[None, :] * outer, mask=live)
        tl.store(ddelta + at, tl.sum(change * decays[None, :, :], axis=1) + through * inputs, mask=live)
    tl.store(da + row * states * channels + places, change_a, mask=both)
    tl.store(dd + row * channels + channel, change_d, mask=here)


def _on(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """Kernels start on the current GPU, which need not be that of ``x``; the interpreter has none."""
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()


def forward(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, *, steps: int
) -> tuple[Tensor, Tensor]:
    """y (G, B, L, D) and the states at the tiles' starts (⌈L / ``steps``⌉, G · B, N, D); ``steps`` is a power of two.

    Inputs are those of :func:`segtrace.networks._selective_scan.selective_scan`.
    """
    groups, batch, length, channels = u.shape
    states = a.shape[2]
    y = torch.empty(u.shape, dtype=u.dtype, device=u.device)
    starts = u.new_empty(-(-length // steps), groups * batch, states, channels)
    parts = [part.contiguous() for part in (u, delta, a.transpose(1, 2), b, c, d)]
    grid = (groups * batch, triton.cdiv(channels, CHANNELS))
    with _on(u):
        _forward[grid](
            *parts, y, starts, batch, length, channels, states=states, padded=triton.next_power_of_2(states), span=steps,
            width=CHANNELS, num_warps=WARPS,
        )  # fmt: skip
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
    states, blocks = a.shape[2], triton.cdiv(channels, CHANNELS)
    rows = groups * batch
    parts = [part.contiguous() for part in (dy, u, delta, a.transpose(1, 2), b, c, d, starts)]
    du, ddelta = (torch.empty(u.shape, dtype=u.dtype, device=u.device) for _ in range(2))
    da, dd = u.new_empty(groups, batch, states, channels), u.new_empty(groups, batch, channels)
    db, dc = (u.new_empty(blocks, groups, batch, length, states) for _ in range(2))
    with _on(u):
        _backward[rows, blocks](
            *parts, du, ddelta, da, db, dc, dd, batch, length, channels, states=states,
            padded=triton.next_power_of_2(states), span=steps, width=CHANNELS, num_warps=WARPS,
        )  # fmt: skip
    return du, ddelta, da.sum(1).transpose(1, 2).contiguous(), db.sum(0), dc.sum(0), dd.sum(1)
