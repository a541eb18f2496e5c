"""Prediction by sliding window: overlapping windows, batched, whose logits are averaged.

Windows lie as in MONAI's ``sliding_window_inference``, and the result equals its own to 1e-5. There are two
forms of the one computation: :func:`predict_logits` returns the logits of the whole image, and
:func:`predict_planes` hands on the planes of the first axis as soon as no later window touches them, so
that only a slab about as high as a window is in memory, however large the image is.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segtrace import background
from segtrace.windows import Place, Plan, Step, make_plan, weight_sums

#: Logit of background in a window that is skipped: far above any that a network gives, so that it outweighs
#: every overlapping window, and small enough for sums in float32.
CERTAIN = 1e6
#: Values of one block of finished planes: what is made from it stays small.
BLOCK_VALUES = 1 << 21


@contextmanager
def _evaluating(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Networks in evaluation mode while the block runs; then in the mode that each had."""
    modes = [network.training for network in networks]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for network, mode in zip(networks, modes, strict=True):
            network.train(mode)


def _logits(network: nn.Module, plan: Plan, places: Sequence[Place]) -> Tensor:
    """Logits (N, K, *window), float32, of N windows, background first: the mean over all ways to mirror them."""
    stack = torch.stack([plan.image[(slice(None), *place)] for place in places])
    together = max(1, plan.batch // len(places))  # few windows leave room for several looks at once
    total: Tensor | None = None
    for first in range(0, len(plan.flips), together):
        flips = plan.flips[first : first + together]
        looks = [stack.flip(axes) if axes else stack for axes in flips]
        with torch.autocast(stack.device.type, torch.bfloat16, enabled=plan.precision == "bf16"):
            logits = network(looks[0] if len(looks) == 1 else torch.cat(looks))
        for axes, part in zip(flips, logits.float().split(len(places)), strict=True):
            back = part.flip(axes) if axes else part
            total = back if total is None else total + back
    assert total is not None  # one look is the window as it is
    mean = total if len(plan.flips) == 1 else total / len(plan.flips)
    return mean if background.given_by(network) else background.in_front(mean)


def _run(network: nn.Module, plan: Plan, step: Step, *, classes: int | None) -> tuple[Tensor | None, int]:
    """The logits of a step's windows, None where all are skipped, and the number of classes.

    Where it is not known yet, a skipped window is run to know it, and no more.
    """
    if step.run:
        logits = _logits(network, plan, step.run)
        return logits, logits.shape[1]
    return None, _logits(network, plan, step.skipped[:1]).shape[1] if classes is None else classes


def _add(slab: Tensor, logits: Tensor | None, plan: Plan, step: Step, *, first: int) -> None:
    """Add a step's ``logits``, weighted, to ``slab`` (K, n, H, W), whose first plane is number ``first`` of the image."""

    def part(place: Place) -> Tensor:
        return slab[(slice(None), slice(place[0].start - first, place[0].stop - first), *place[1:])]

    for place, values in zip(step.run, logits if logits is not None else [], strict=True):
        if plan.weights is None:
            part(place).add_(values)
        else:
            part(place).addcmul_(values, plan.weights)
    for place in step.skipped:
        part(place)[0].add_(CERTAIN if plan.weights is None else CERTAIN * plan.weights)


def _blocks(first: int, end: int, *, plane_values: int) -> Iterator[tuple[int, int]]:
    """(first, end) of parts of a run of planes, each of at most :data:`BLOCK_VALUES` values or one plane."""
    planes = max(1, BLOCK_VALUES // plane_values)
    return ((low, min(low + planes, end)) for low in range(first, end, planes))


@torch.inference_mode()
def predict_planes(
    networks: Sequence[nn.Module],
    image: Tensor | np.ndarray,
    *,
    window: Sequence[int] | None,
    overlap: float = 0.25,
    weighting: str = "constant",
    batch: int = 4,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    mirror: Sequence[int] = (),
    skip_empty: bool = False,
) -> Iterator[tuple[int, Tensor]]:
    """The logits of M ``networks`` for an image (C, D, H, W) or (C, H, W), in blocks of planes as they are finished.

    Gives (number of the block's first plane, logits (M, K, n, H, W) or (M, K, n, W), float32 on ``device``): the
    planes of the first axis in order, each once. A block is overwritten when the next is asked for. What is held is
    M times a slab of logits, of K classes and about a window's side, whatever the length of the image. All
    networks have K classes; where one gives no logit of the background, a zero stands for it
    (:mod:`segtrace.background`).

    ``window`` is (D, H, W) or (H, W), a multiple of the networks' ``divisor``; None predicts the whole
    image at once. An image smaller than the window, or no multiple of the divisor in one piece, is
    padded with edge values, and the padding is cut off again. ``overlap`` is the shared fraction of
    neighbouring windows; ``weighting`` is ``constant`` or ``gaussian``; ``batch`` windows run at once;
    ``precision`` is ``fp32`` or ``bf16`` (autocast; averaging is in float32 all the same). The networks
    must lie on ``device``; they are run in evaluation mode and left in the mode that they had.

    ``mirror`` names axes (0 is D, or H of a picture): each window is also looked at mirrored along each of
    them and all their combinations, and the logits, mirrored back, are averaged. With ``skip_empty``, a window
    in which each channel holds one value throughout is not run: its voxels are background, whatever
    overlapping windows say (their logits are :data:`CERTAIN` for background and 0 for the other classes, up
    to the average with those windows). At least one window is always run, to know the number of classes.
    """
    plan = make_plan(
        networks,
        image,
        window=window,
        overlap=overlap,
        weighting=weighting,
        batch=batch,
        device=device,
        precision=precision,
        mirror=mirror,
        skip_empty=skip_empty,
    )
    height = max(step.end - step.first for step in plan.steps)
    slab: Tensor | None = None
    with _evaluating(networks):
        for step, following in itertools.pairwise([*plan.steps, None]):
            assert step is not None
            for number, network in enumerate(networks):
                known = None if slab is None else slab.shape[1]
                logits, classes = _run(network, plan, step, classes=known)
                if slab is None:
                    shape = (len(networks), classes, height, *plan.shape[1:])
                    slab = torch.zeros(shape, device=plan.image.device)
                _add(slab[number], logits, plan, step, first=step.first)
            del logits
            assert slab is not None
            end = following.first if following is not None else plan.shape[0]
            yield from _finished(slab, plan, first=step.first, end=end)
            _move(slab, end - step.first)


def _finished(slab: Tensor, plan: Plan, *, first: int, end: int) -> Iterator[tuple[int, Tensor]]:
    """Planes ``first`` to ``end`` of the padded image, which ``slab`` begins with, divided and without padding."""
    inside = plan.inside[0]
    for low, high in _blocks(first, end, plane_values=slab[:, :, 0].numel()):
        planes = slab[:, :, low - first : high - first].div_(weight_sums(plan, low, high))
        keep = slice(max(inside.start - low, 0), max(inside.stop - low, 0))
        planes = planes[(slice(None), slice(None), keep, *plan.inside[1:])]
        if planes.shape[2]:
            yield max(low - inside.start, 0), planes


def _move(slab: Tensor, planes: int) -> None:
    """Drop the first ``planes`` planes of a slab (M, K, n, H, W): the others move up, and zeros follow."""
    rest, part = slab.shape[2] - planes, max(planes, 1)
    for low in range(0, rest if planes else 0, part):  # no part overlaps with where it comes from
        high = min(low + part, rest)
        slab[:, :, low:high] = slab[:, :, low + planes : high + planes]
    slab[:, :, max(rest, 0) :] = 0


@torch.inference_mode()
def predict_logits(network: nn.Module, image: Tensor | np.ndarray, **options: Any) -> Tensor:
    """The logits (K, D, H, W) or (K, H, W) of a whole image: the blocks of :func:`predict_planes`, whose options it takes."""
    total: Tensor | None = None
    for first, block in predict_planes([network], image, **options):
        if total is None:
            total = block.new_empty((block.shape[1], *image.shape[1:]))
        total[:, first : first + block.shape[2]] = block[0]
    assert total is not None  # an image has planes
    return total


def inference_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """How a run's images are segmented, by its ``run.json``: options of :func:`predict_planes`."""
    training = run["training"]
    inference, crop = training["inference"], training["crop"]
    return {
        **inference,
        "window": inference["window"] or (crop["size"] if crop else None),
        "precision": training["precision"],
    }
