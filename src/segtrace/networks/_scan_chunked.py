"""The selective scan in chunks that run side by side, in plain torch, with its gradient written by hand.

Time is cut into chunks of T steps. A tile holds K chunks of some rows; in it all is done T steps long for K chunks at
once: exp(Δ A) and Δ u B for the whole tile; then, unless K is 1, T steps from a state of zero tell where each chunk ends,
K steps over those ends tell where each starts, and T steps from there give the states. The gradient runs the
other way in the same manner. Nothing is divided and every decay is the exponential of a sum of steps, so strong decays
underflow to zero as they do step by step. Nothing of N states a token outlives its tile but the states at the chunks'
starts, which the backward pass needs to compute all others again: memory grows linearly with L, by N / T of the input's.

Sums over channels and states are matrix products, sums over time plain sums in a fixed order: no operation without a
deterministic form on a GPU (cumulative sums are one).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

#: Steps a chunk, and the least values that a step should work on: on a processor a tile's arrays must stay near it, on
#: a GPU each call must be worth its start.
STEPS = {"cpu": 16, "other": 64}
VALUES = {"cpu": 2**16, "other": 2**22}


@dataclass(frozen=True)
class Tile:
    """Some rows and some chunks of them, side by side."""

    rows: slice
    chunks: slice


@dataclass(frozen=True)
class Tiling:
    """How R rows of ``chunks`` chunks of ``steps`` steps are cut into tiles of at most ``rows`` and ``side`` chunks."""

    rows: int
    steps: int
    chunks: int
    tile_rows: int
    tile_chunks: int

    @classmethod
    def of(cls, u: Tensor, *, states: int, steps: int | None = None, values: int | None = None) -> "Tiling":
        """For ``u`` (R, L, D): as many rows as give a step ``values`` values, then as many chunks."""
        kind = "cpu" if u.device.type == "cpu" else "other"
        rows, length, channels = u.shape
        steps = min(steps or STEPS[kind], length)
        chunks = -(-length // steps)
        want = max(1, (values or VALUES[kind]) // max(1, channels * states))
        tile_rows = min(rows, want)
        return cls(rows, steps, chunks, tile_rows, min(chunks, max(1, want // tile_rows)))

    def tiles(self, *, backwards: bool = False) -> Iterator[Tile]:
        """All tiles of one set of rows after another, in the order of time or against it."""
        starts = range(0, self.chunks, self.tile_chunks)
        for row in range(0, self.rows, self.tile_rows):
            for start in reversed(starts) if backwards else starts:
                yield Tile(slice(row, row + self.tile_rows), slice(start, start + self.tile_chunks))

    def cut(self, x: Tensor) -> Tensor:
        """(R, L, X) as (R, chunks, T, X), zeros at its end where L is no multiple of T: steps of zero change nothing."""
        missing = self.chunks * self.steps - x.shape[1]
        if missing:
            x = torch.nn.functional.pad(x, (0, 0, 0, missing))
        return x.unflatten(1, (self.chunks, self.steps))


@dataclass(frozen=True)
class Array:
    """A tile's array (T, K, r, N, D) and its T steps, views of it."""

    whole: Tensor
    steps: tuple[Tensor, ...]


class Workspace:
    """Arrays kept for the next tile of the same shape: fresh memory and views cost as much as what is done in them."""

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self.held: dict[tuple[str, torch.Size], Array] = {}

    def product(self, name: str, left: Tensor, right: Tensor) -> Array:
        """``left`` times ``right``, in the array ``name``, which is overwritten."""
        shape = torch.broadcast_shapes(left.shape, right.shape)
        if (name, shape) not in self.held:
            made = self.like.new_empty(shape)
            self.held[name, shape] = Array(made, made.unbind(0))
        found = self.held[name, shape]
        torch.mul(left, right, out=found.whole)
        return found


def take(x: Tensor, tile: Tile) -> Tensor:
    """A tile of (R, chunks, T, X) as (T, K, r, X), in one piece."""
    return x[tile.rows, tile.chunks].permute(2, 1, 0, 3).contiguous()


def put(x: Tensor, tile: Tile, found: Tensor) -> None:
    """Write (T, K, r, X) to its place in (R, chunks, T, X)."""
    x[tile.rows, tile.chunks] = found.permute(2, 1, 0, 3)


def weighed(weights: Tensor, values: Tensor) -> Tensor:
    """Sum over N of ``weights`` (…, N) times ``values`` (…, N, D): (…, D)."""
    flat = torch.bmm(weights.reshape(-1, 1, weights.shape[-1]), values.reshape(-1, *values.shape[-2:]))
    return flat.view(*values.shape[:-2], values.shape[-1])


def against(values: Tensor, weights: Tensor) -> Tensor:
    """Sum over D of ``values`` (…, N, D) times ``weights`` (…, D): (…, N)."""
    rows = values.reshape(-1, *values.shape[-2:]).transpose(1, 2)
    # three times quicker than the values times a column
    return torch.bmm(weights.reshape(-1, 1, weights.shape[-1]), rows).view(values.shape[:-1])


def recur(values: Array, kept: Array, state: Tensor) -> None:
    """Make ``values`` the states: each plus ``kept`` times the one before, from ``state``."""
    for value, keep in zip(values.steps, kept.steps, strict=True):
        state = torch.addcmul(value, keep, state, out=value)


def end(values: Array, kept: Array) -> Tensor:
    """The last state of :func:`recur` from zero; ``values`` stay."""
    state = values.steps[0].clone()
    for value, keep in zip(values.steps[1:], kept.steps[1:], strict=True):
        torch.addcmul(value, keep, state, out=state)
    return state


def recur_back(worth: Array, kept: Array, *, steps: Tensor, decays: Tensor, carry: Tensor) -> Tensor:
    """Add to each of ``worth`` the next one times its decay, from ``carry``, in place; what the tile before this gets."""
    flipped, following = worth.steps[::-1], kept.steps[:0:-1]
    entering = carry[None]
    if entering.shape[0] != worth.whole.shape[1]:
        state = flipped[0].clone()
        for value, keep in zip(flipped[1:], following, strict=True):
            torch.addcmul(value, keep, state, out=state)
        totals = whole_decays(steps, decays).flip(0)
        entering = linked(state.mul_(kept.steps[0]).flip(0), totals, carry)[0].flip(0)
    state = flipped[0].add_(entering)
    for value, keep in zip(flipped[1:], following, strict=True):
        state = torch.addcmul(value, keep, state, out=value)
    return kept.steps[0][0] * state[0]


def whole_decays(steps: Tensor, decays: Tensor) -> Tensor:
    """What each of K chunks keeps of the state that it starts from: (K, r, N, D)."""
    return (steps.sum(0)[..., None, :] * decays).exp_()


def linked(ends: Tensor, totals: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
    """Where each of K chunks starts, and where the last ends: from their ends (K, …) from zero and whole decays."""
    starts = torch.empty_like(ends)
    for start, stop, total in zip(starts.unbind(0), ends.unbind(0), totals.unbind(0), strict=True):
        start.copy_(carry)
        carry = torch.addcmul(stop, total, carry)
    return starts, carry


def forward(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, plan: Tiling) -> tuple[Tensor, Tensor]:
    """y and the states at the chunks' starts, (R, L, D) and (chunks, R, N, D).

    ``u`` and ``delta`` are (R, L, D), ``a`` is (R, N, D), ``b`` and ``c`` are (R, L, N): each row has its own.
    """
    length = u.shape[1]
    u, delta, b, c = (plan.cut(part) for part in (u, delta, b, c))
    y = torch.empty_like(u)
    starts = u.new_empty(plan.chunks, *a.shape)
    carry, held = a, Workspace(a)
    for tile in plan.tiles():
        if tile.chunks.start == 0:
            carry = torch.zeros_like(a[tile.rows])
        steps, decays = take(delta, tile), a[tile.rows]
        kept = held.product("kept", steps[..., None, :], decays)
        kept.whole.exp_()
        driven = steps * take(u, tile)
        values = held.product("values", driven[..., None, :], take(b, tile)[..., None])
        if steps.shape[1] == 1:
            recur(values, kept, carry[None])
            starts[tile.chunks, tile.rows] = carry
            carry = values.steps[-1][0].clone()
        else:
            begin, carry = linked(end(values, kept), whole_decays(steps, decays), carry)
            recur(values, kept, begin)
            starts[tile.chunks, tile.rows] = begin
        put(y, tile, weighed(take(c, tile), values.whole))
    return y.flatten(1, 2)[:, :length], starts


def backward(
    dy: Tensor, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, starts: Tensor, plan: Tiling
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of :func:`forward` for ``u``, ``delta``, ``a``, ``b`` and ``c``, from that of y, (R, L, D)."""
    length = u.shape[1]
    dy, u, delta, b, c = (plan.cut(part) for part in (dy, u, delta, b, c))
    du, ddelta, db, dc = (torch.empty_like(part) for part in (u, delta, b, c))
    da = torch.zeros_like(a)
    carry, held = a, Workspace(a)
    for tile in plan.tiles(backwards=True):
        if tile.chunks.stop >= plan.chunks:
            carry = torch.zeros_like(a[tile.rows])
        steps, inputs, outer, decays = take(delta, tile), take(u, tile), take(dy, tile), a[tile.rows]
        driven, entering, begin = steps * inputs, take(b, tile), starts[tile.chunks, tile.rows]
        kept = held.product("kept", steps[..., None, :], decays)
        kept.whole.exp_()
        values = held.product("values", driven[..., None, :], entering[..., None])
        recur(values, kept, begin)
        put(dc, tile, against(values.whole, outer))
        # what each state is worth: its own output, and the next state's worth times what is kept of it
        worth = held.product("worth", outer[..., None, :], take(c, tile)[..., None])
        carry = recur_back(worth, kept, steps=steps, decays=decays, carry=carry)
        put(db, tile, against(worth.whole, driven))
        through = weighed(entering, worth.whole)
        # kept becomes the gradient of Δ A
        change = kept.whole.mul_(worth.whole)
        change[1:].mul_(values.whole[:-1])
        change[0].mul_(begin)
        total = torch.zeros_like(change[0])
        for step, part in zip(steps[..., None, :].unbind(0), kept.steps, strict=True):
            total.addcmul_(step, part)
        da[tile.rows] += total.sum(0)
        put(du, tile, through * steps)
        put(ddelta, tile, torch.addcmul(change.mul_(decays).sum(-2), through, inputs))
    du, ddelta, db, dc = (part.flatten(1, 2)[:, :length] for part in (du, ddelta, db, dc))
    return du, ddelta, da, db, dc
