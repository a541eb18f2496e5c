"""Learning rates, as a function of the epoch and the step."""

import math
from collections.abc import Mapping
from typing import Any


def learning_rate(training: Mapping[str, Any], *, epoch: int, step: int) -> float:
    """The learning rate of a step; ``epoch`` (constant within one, as papers do) and ``step`` count from 0.

    ``step``: base·gamma^⌊epoch / step_epochs⌋; ``poly``: base·(1 - epoch/epochs)^power; ``cosine``: half a
    cosine from base to ``minimum`` over all epochs. ``warmup_steps`` rise linearly to it.
    """
    base: float = training["learning_rate"]
    schedule, epochs = training["schedule"], training["epochs"]
    if schedule["kind"] == "step":
        value = base * schedule["gamma"] ** (epoch // (schedule["step_epochs"] or epochs))
    elif schedule["kind"] == "poly":
        value = max(base * (1 - epoch / epochs) ** schedule["power"], schedule["minimum"])
    elif schedule["kind"] == "cosine":
        low = schedule["minimum"]
        value = low + (base - low) * (1 + math.cos(math.pi * epoch / epochs)) / 2
    else:
        value = base
    return value * min(1.0, (step + 1) / (schedule["warmup_steps"] + 1))
