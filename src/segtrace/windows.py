"""The windows of a sliding-window prediction: where they lie, what they weigh, in which order they are run."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from segtrace.errors import SegtraceError

Place = tuple[slice, ...]


def axis_starts(size: int, window: int, overlap: float) -> list[int]:
    """First voxels of the windows that cover an axis; the last is moved inwards to end with it."""
    interval = window if window == size else max(int(window * (1 - overlap)), 1)
    count = 1 if size <= window else math.ceil((size - window) / interval) + 1
    return [min(i * interval, size - window) for i in range(count)]


def gaussian_weights(window: Sequence[int], *, sigma_scale: float = 0.125) -> Tensor:
    """Weights of a window's voxels, float32 of the window's shape: a Gaussian of ``sigma_scale`` sides.

    Never below 1e-3, so that every voxel counts (as in MONAI).
    """
    weights = torch.ones(())
    for side in window:
        x = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
        weights = weights.unsqueeze(-1) * torch.exp(x**2 / (-2 * (sigma_scale * side) ** 2))
    return weights.clamp(min=max(float(weights.min()), 1e-3))


def pad_to(image: Tensor, size: Sequence[int]) -> tuple[Tensor, list[slice]]:
    """Pad (C, D, H, W) or (C, H, W) on both sides with edge values to at least ``size``.

    Returns the padded image and the slices of (D, H, W) or (H, W) that cut the original out again.
    """
    shape = image.shape[1:]
    before = [max(want - have, 0) // 2 for want, have in zip(size, shape, strict=True)]
    after = [max(want - have, 0) - left for want, have, left in zip(size, shape, before, strict=True)]
    inside = [slice(left, left + have) for left, have in zip(before, shape, strict=True)]
    if any(before) or any(after):
        pairs = [n for left, right in reversed(list(zip(before, after, strict=True))) for n in (left, right)]
        image = functional.pad(image.unsqueeze(0), pairs, mode="replicate").squeeze(0)
    return image, inside


@dataclass(frozen=True)
class Step:
    """Windows that are run together, perhaps none, and those between them that are skipped."""

    run: list[Place]
    skipped: list[Place]

    @property
    def first(self) -> int:
        """The first plane that the windows touch."""
        return min(place[0].start for place in [*self.run, *self.skipped])

    @property
    def end(self) -> int:
        """The plane after the last that the windows touch."""
        return max(place[0].stop for place in [*self.run, *self.skipped])


@dataclass(frozen=True)
class Plan:
    """A padded image (C, D, H, W) or (C, H, W), the windows that cover it, and how they are weighted."""

    image: Tensor
    inside: list[slice]
    window: tuple[int, ...]
    starts: list[list[int]]
    weights: Tensor | None
    """Of a window's voxels; None where all are 1."""
    steps: list[Step]
    flips: list[tuple[int, ...]]
    """Axes of (N, C, D, H, W) that each look at a window is mirrored along."""
    batch: int
    precision: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the padded image, without channels."""
        return tuple(self.image.shape[1:])


def make_plan(
    networks: Sequence[nn.Module],
    image: Tensor | np.ndarray,
    *,
    window: Sequence[int] | None,
    overlap: float,
    weighting: str,
    batch: int,
    device: torch.device | str,
    precision: str,
    mirror: Sequence[int],
    skip_empty: bool,
) -> Plan:
    """The plan of an image; arguments are those of :func:`segtrace.sliding.predict_logits`.

    Raises :class:`SegtraceError` for a window or for mirrored axes that the image or a network cannot take.
    """
    if isinstance(image, np.ndarray):  # torch takes no array that must not be written to
        image = torch.from_numpy(image if image.flags.writeable else image.copy())
    pixels = image.to(device=torch.device(device), dtype=torch.float32)
    dimensions = pixels.dim() - 1
    divisor = math.lcm(*(int(getattr(network, "divisor", 16)) for network in networks))
    if window is None:
        window = [math.ceil(side / divisor) * divisor for side in pixels.shape[1:]]
    if len(window) != dimensions or any(side % divisor for side in window):
        raise SegtraceError(
            f"inference window {list(window)}: this network takes {dimensions} sides, each a multiple of {divisor}"
        )
    if sorted(set(mirror)) != sorted(mirror) or not set(mirror) <= set(range(dimensions)):
        raise SegtraceError(
            f"inference mirror {list(mirror)}: the axes of this image are 0 to {dimensions - 1}, each at most once"
        )
    padded, inside = pad_to(pixels, window)
    starts = [axis_starts(size, side, overlap) for size, side in zip(padded.shape[1:], window, strict=True)]
    places = [
        tuple(slice(start, start + side) for start, side in zip(corner, window, strict=True))
        for corner in itertools.product(*starts)
    ]
    chosen = [axes for n in range(len(mirror) + 1) for axes in itertools.combinations(sorted(mirror), n)]
    return Plan(
        image=padded,
        inside=inside,
        window=tuple(window),
        starts=starts,
        weights=gaussian_weights(window).to(pixels.device) if weighting == "gaussian" else None,
        steps=_steps(places, _empty(padded, places) if skip_empty else [False] * len(places), batch),
        flips=[tuple(axis + 2 for axis in axes) for axes in chosen],
        batch=batch,
        precision=precision,
    )


def _empty(image: Tensor, places: Sequence[Place]) -> list[bool]:
    """For each window, whether each channel holds one value throughout."""
    axes = tuple(range(1, image.dim()))
    parts = (image[(slice(None), *place)] for place in places)
    flags: list[bool] = torch.stack([(p.amax(axes) == p.amin(axes)).all() for p in parts]).tolist()
    return flags


def _steps(places: Sequence[Place], empty: Sequence[bool], batch: int) -> list[Step]:
    """Windows in groups of at most ``batch`` that are run; skipped ones go along with windows of their own planes.

    So a step is never much higher than a window, however many windows are skipped. A step may run none.
    """
    steps = [Step([], [])]
    for place, skip in zip(places, empty, strict=True):
        known = [*steps[-1].run, *steps[-1].skipped]
        moved_on = skip and bool(known) and known[0][0].start != place[0].start
        if moved_on or (not skip and len(steps[-1].run) == batch):
            steps.append(Step([], []))
        (steps[-1].skipped if skip else steps[-1].run).append(place)
    return steps


def weight_sums(plan: Plan, first: int, end: int) -> Tensor:
    """Sums of the weights of all windows at the planes from ``first`` to ``end`` of the padded image, (n, H, W) or (n, W).

    Made anew for each block of planes, so that they are never held for the whole image.
    """
    if plan.weights is None:  # then they are numbers of windows, and a product over the axes
        total = torch.ones((), device=plan.image.device)
        for axis, (size, side) in enumerate(zip(plan.shape, plan.window, strict=True)):
            counts = torch.zeros(size)
            for start in plan.starts[axis]:
                counts[start : start + side] += 1
            total = total.unsqueeze(-1) * (counts if axis else counts[first:end]).to(total.device)
        return total
    total = torch.zeros((end - first, *plan.shape[1:]), device=plan.image.device)
    for start in plan.starts[0]:
        low, high = max(start, first), min(start + plan.window[0], end)
        if low >= high:
            continue
        weights = plan.weights[low - start : high - start]
        for corner in itertools.product(*plan.starts[1:]):
            place = [slice(a, a + side) for a, side in zip(corner, plan.window[1:], strict=True)]
            total[(slice(low - first, high - first), *place)] += weights
    return total
