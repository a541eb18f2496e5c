"""Learning rates, as a function of the epoch and the step."""

import math
from collections.abc import Mapping
from typing import Any


def learning_rate(training: Mapping[str, Any], *, epoch: int, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step; ``epoch`` and ``step`` (of all) count from 0.

    With t the epoch, or the fractional epoch where ``every`` is ``step``, T the epochs and b the base rate:
    ``step``: b·gamma^⌊t / step_epochs⌋; ``poly``: b·(1 - t/T)^power, not below ``minimum`` (Chen et al., DeepLab, 2017);
    ``cosine``: minimum + (b - minimum)·(1 + cos(πt/P))/2 with P = ``period_epochs`` or T, which rises again after P
    (Loshchilov and Hutter, SGDR, 2017, without the restart: torch's ``CosineAnnealingLR``); ``linear``: b until
    ``hold_epochs``, then straight to ``minimum`` at T. The first ``warmup_steps`` rise linearly to it.
    """
    base: float = training["learning_rate"]
    schedule, epochs = training["schedule"], training["epochs"]
    low = schedule["minimum"]
    t = step / steps_per_epoch if schedule["every"] == "step" else epoch
    if schedule["kind"] == "step":
        value = base * schedule["gamma"] ** math.floor(t / (schedule["step_epochs"] or epochs))
    elif schedule["kind"] == "poly":
        value = max(base * (1 - t / epochs) ** schedule["power"], low)
    elif schedule["kind"] == "cosine":
        value = low + (base - low) * (1 + math.cos(math.pi * t / (schedule["period_epochs"] or epochs))) / 2
    elif schedule["kind"] == "linear":
        hold = schedule["hold_epochs"]
        value = base if t <= hold else base + (low - base) * (t - hold) / (epochs - hold)
    else:
        value = base
    return value * min(1.0, (step + 1) / (schedule["warmup_steps"] + 1))
