"""The selective scan in chunks that run side by side, in plain torch, with its gradient written by hand.

Time is cut into chunks of T steps. A tile holds K chunks of r rows; in it all is done T steps long for K chunks at
once: exp(Δ A) and Δ u B for the whole tile; then, unless K is 1, T steps from a state of zero tell where each chunk ends,
K steps over those ends tell where each starts, and T steps from there give the states. The gradient runs the
other way in the same manner. Nothing is divided and every decay is the exponential of a sum of steps, so strong decays
underflow to zero as they do step by step. Nothing of N states a token outlives its tile but the states at the chunks'
starts, which the backward pass needs to compute all others again: memory grows linearly with L, by N / T of the input's.

Sums over channels and states are matrix products, sums over time plain sums in a fixed order: no operation without a
deterministic form on a GPU (cumulative sums are one). Tiles do not depend on the number of threads.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

#: Steps a chunk, and how many values a step should work on: on a processor a tile's arrays must stay near it, on
#: a GPU each call must be worth its start.
STEPS = {"cpu": 16, "other": 64}
VALUES = {"cpu": 2**15, "other": 2**22}


@dataclass(frozen=True)
class Tiling:
    """R rows of L steps as (I, J) tiles of ``row`` rows and ``side`` chunks of ``steps`` steps."""

    length: int
    steps: int
    side: int
    row: int
    times: int
    """J, tiles one after another."""

    @classmethod
    def of(cls, u: Tensor, *, states: int, steps: int | None = None, values: int | None = None) -> "Tiling":
        """For ``u`` (R, L, D): as many rows as give a step ``values`` values, then as many chunks."""
        kind = "cpu" if u.device.type == "cpu" else "other"
        rows, length, channels = u.shape
        steps = min(steps or STEPS[kind], length)
        want = max(1, (values or VALUES[kind]) // max(1, channels * states))
        row = max(number for number in range(1, rows + 1) if rows % number == 0 and number <= want)
        chunks = -(-length // steps)
        times = -(-chunks // max(1, want // row))
        return cls(length, steps, -(-chunks // times), row, times)

    def starts(self, a: Tensor) -> tuple[int, ...]:
        """The shape of the states at chunks' starts for ``a`` (R, N, D): (I, J, K, r, N, D)."""
        return (a.shape[0] // self.row, self.times, self.side, self.row, *a.shape[1:])

    def cut(self, x: Tensor) -> Tensor:
        """(R, L, X) as tiles (I, J, T, K, r, X), with steps of zero at the end, which change nothing."""
        missing = self.times * self.side * self.steps - self.length
        if missing:
            x = functional.pad(x, (0, 0, 0, missing))
        x = x.unflatten(1, (self.times, self.side, self.steps)).unflatten(0, (-1, self.row))
        return x.permute(0, 2, 4, 3, 1, 5).contiguous()

    def joined(self, x: Tensor) -> Tensor:
        """What :meth:`cut` made of (R, L, X), as that again."""
        return x.permute(0, 4, 1, 3, 2, 5).flatten(2, 4).flatten(0, 1)[:, : self.length]


class Array:
    """A tile's array (T, K, r, N, D) and its steps, views of it: fresh memory and views cost as much as what they hold.

    There is a place before the first step, for the state that is started from.
    """

    def __init__(self, plan: Tiling, a: Tensor) -> None:
        self.all = a.new_empty(plan.steps + 1, plan.side, plan.row, *a.shape[1:])
        self.first, *steps = self.all.unbind(0)
        self.steps = tuple(steps)
        self.whole, self.before = self.all[1:], self.all[:-1]
        self.flat = self.whole.flatten(0, 2)

    def product(self, over_states: Tensor, others: Tensor) -> None:
        """Fill it with ``over_states`` (T, K, r, D), the same for all states, times ``others``."""
        torch.mul(over_states[..., None, :], others, out=self.whole)

    def weighed(self, weights: Tensor, out: Tensor) -> None:
        """Into ``out`` (T, K, r, D) its sum over states by ``weights`` (T, K, r, N)."""
        torch.bmm(weights.view(-1, 1, weights.shape[-1]), self.flat, out=out.view(-1, 1, out.shape[-1]))

    def against(self, weights: Tensor, out: Tensor) -> None:
        """Into ``out`` (T, K, r, N) its sum over channels by ``weights`` (T, K, r, D)."""
        # three times quicker than the array times a column
        columns = self.flat.transpose(1, 2)
        torch.bmm(weights.view(-1, 1, weights.shape[-1]), columns, out=out.view(-1, 1, out.shape[-1]))


def recur(values: Array, kept: Array, state: Tensor) -> None:
    """Make ``values`` the states: each plus ``kept`` times the one before, from ``state`` (K, r, N, D)."""
    for value, keep in zip(values.steps, kept.steps, strict=True):
        state = torch.addcmul(value, keep, state, out=value)


def end(values: Array, kept: Array) -> Tensor:
    """The last state of :func:`recur` from zero; ``values`` stay."""
    state = values.steps[0].clone()
    for value, keep in zip(values.steps[1:], kept.steps[1:], strict=True):
        torch.addcmul(value, keep, state, out=state)
    return state


def recur_back(worth: Array, kept: Array, *, totals: Tensor | None, carry: Tensor) -> Tensor:
    """Add to each of ``worth`` the next one times its decay, from ``carry``, in place; what the tile before this gets.

    ``totals`` are whole decays of the chunks where there are several.
    """
    flipped, following = worth.steps[::-1], kept.steps[:0:-1]
    entering = carry[None]
    if totals is not None:
        state = flipped[0].clone()
        for value, keep in zip(flipped[1:], following, strict=True):
            torch.addcmul(value, keep, state, out=state)
        entering = torch.empty_like(totals)
        linked(state.mul_(kept.steps[0]).flip(0), totals.flip(0), carry, out=entering)
        entering = entering.flip(0)
    state = flipped[0].add_(entering)
    for value, keep in zip(flipped[1:], following, strict=True):
        state = torch.addcmul(value, keep, state, out=value)
    return kept.steps[0][0] * state[0]


def whole_decays(delta: Tensor, decays: Tensor) -> Tensor | None:
    """What each of K chunks (T, K, r, D) keeps of the state that it starts from, (K, r, N, D); None for one."""
    return None if delta.shape[1] == 1 else (delta.sum(0)[..., None, :] * decays).exp_()


def linked(ends: Tensor, totals: Tensor, carry: Tensor, *, out: Tensor) -> Tensor:
    """Into ``out`` where each of K chunks starts, from ends (K, …) from zero and whole decays; where the last ends."""
    for start, stop, total in zip(out.unbind(0), ends.unbind(0), totals.unbind(0), strict=True):
        start.copy_(carry)
        carry = torch.addcmul(stop, total, carry)
    return carry


def forward(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, plan: Tiling) -> tuple[Tensor, Tensor]:
    """y (R, L, D), and the states at the chunks' starts in the shape of ``plan.starts``.

    ``u`` and ``delta`` are (R, L, D), ``a`` is (R, N, D), ``b`` and ``c`` are (R, L, N): each row has its own.
    """
    delta, b, c = (plan.cut(part) for part in (delta, b, c))
    driven = plan.cut(u) * delta  # a cut may be a view of what was given
    y, starts = torch.empty_like(driven), u.new_empty(plan.starts(a))
    kept, values = Array(plan, a), Array(plan, a)
    for row, decays in enumerate(a.unflatten(0, (-1, plan.row)).unbind(0)):
        carry = torch.zeros_like(decays)
        for time in range(plan.times):
            steps, begin = delta[row, time], starts[row, time]
            if plan.side == 1:
                begin.copy_(carry)  # before the array that holds it is filled again
            kept.product(steps, decays)
            kept.whole.exp_()
            values.product(driven[row, time], b[row, time][..., None])
            totals = whole_decays(steps, decays)
            if totals is not None:
                carry = linked(end(values, kept), totals, carry, out=begin)
            recur(values, kept, begin)
            if totals is None:
                carry = values.steps[-1][0]
            values.weighed(c[row, time], y[row, time])
    return plan.joined(y), starts


def backward(
    dy: Tensor, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, starts: Tensor, plan: Tiling
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of :func:`forward` for ``u``, ``delta``, ``a``, ``b`` and ``c``, from that of y, (R, L, D)."""
    dy, u, delta, b, c = (plan.cut(part) for part in (dy, u, delta, b, c))
    driven, through, ddelta = u * delta, torch.empty_like(u), torch.empty_like(u)
    db, dc, da = torch.empty_like(b), torch.empty_like(c), torch.empty_like(a)
    kept, values, worth = (Array(plan, a) for _ in range(3))
    for row, decays in enumerate(a.unflatten(0, (-1, plan.row)).unbind(0)):
        carry = torch.zeros_like(decays)
        changed = torch.zeros_like(kept.first)
        for time in reversed(range(plan.times)):
            here = (row, time)
            steps, outer = delta[here], dy[here]
            kept.product(steps, decays)
            kept.whole.exp_()
            values.first.copy_(starts[here])
            values.product(driven[here], b[here][..., None])
            recur(values, kept, values.first)
            values.against(outer, dc[here])
            # what each state is worth: its own output, and the next state's worth times what is kept of it
            worth.product(outer, c[here][..., None])
            carry = recur_back(worth, kept, totals=whole_decays(steps, decays), carry=carry)
            worth.against(driven[here], db[here])
            worth.weighed(b[here], through[here])
            # kept becomes the gradient of Δ A
            change = kept.whole.mul_(worth.whole).mul_(values.before)
            for step, part in zip(steps[..., None, :].unbind(0), kept.steps, strict=True):
                changed.addcmul_(step, part)
            torch.sum(change.mul_(decays), -2, out=ddelta[here])
        torch.sum(changed, 0, out=da[row * plan.row : (row + 1) * plan.row])
    ddelta.addcmul_(through, u)
    du = through.mul_(delta)
    return plan.joined(du), plan.joined(ddelta), da, plan.joined(db), plan.joined(dc)
