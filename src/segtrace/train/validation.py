"""The validation curve: mean Dice on the prepared grid, by the same sliding window as prediction."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from segtrace.background import classes_of
from segtrace.sliding import inference_of, predict_planes
from segtrace.train.data import Cases
from segtrace.train.world import World


def validate(
    network: nn.Module,
    cases: Cases,
    *,
    run: Mapping[str, Any],
    device: torch.device,
    world: World | None = None,
) -> float | None:
    """Mean Dice over validation cases and foreground labels, on the prepared grid; None without any.

    A label that is in neither the reference nor the prediction of a case is left out of the mean. The processes of a
    ``world`` take every so many cases each; the value is the same, to the bit, and all have it.
    """
    world = world or World()
    names = run["cases"]["val"]
    classes = classes_of(run)
    plain = inference_of(run) | {"mirror": [], "skip_empty": False}  # a curve, not a result
    values = torch.zeros((2, len(names), classes), dtype=torch.float64)  # Dice, and whether there is any
    for place in range(world.rank, len(names), world.size):
        name = names[place]
        image, label = cases.whole(name)
        pairs = torch.zeros(classes**2, dtype=torch.int64, device=device)
        blocks = predict_planes([network], image, device=device, **plain)
        for first, logits in blocks:
            found_here = logits[0].argmax(0)
            reference = label[first : first + len(found_here)].to(device)
            pairs += torch.bincount((reference.long() * classes + found_here).flatten(), minlength=classes**2)
        counts = pairs.view(classes, classes).tolist()
        for value in range(1, classes):
            both = sum(counts[value]) + sum(row[value] for row in counts)
            if both:
                values[:, place, value] = torch.tensor([2 * counts[value][value] / both, 1.0])
    dice, there = world.total(values)
    found = dice[there > 0].tolist()
    return math.fsum(found) / len(found) if found else None
