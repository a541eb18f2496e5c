"""Intensity steps: what turns a scanner's numbers into a network's input."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segtrace.errors import SegtraceError


def apply(image: np.ndarray, steps: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Apply intensity steps to each channel of ``image``, (C, D, H, W) or (C, H, W), on its own.

    A step is a :class:`segtrace.config.models.Intensity` as a mapping; of ``minmax`` with ``together`` the channels
    share their ends. Statistics are taken in double precision. A channel without contrast becomes zeros: nothing
    is ever divided by zero. Returns float32 and what each step measured, by channel.
    """
    result = image.astype(np.float32)
    notes: list[dict[str, Any]] = []
    for step in steps:
        measured = []
        for number, one in enumerate(_of_channels(step, result)):
            result[number], found = _KINDS[step["kind"]](result[number], one)
            measured.append(found)
        notes.append({"kind": step["kind"], "channels": measured})
    return result, notes


def _of_channels(step: Mapping[str, Any], image: np.ndarray) -> list[Mapping[str, Any]]:
    """The step for each channel: with its own mean and deviation, or with the ends that all channels share."""
    shared = {"ends": (float(image.min()), float(image.max()))} if step.get("together") else {}
    given = {key: step[key] for key in ("mean", "deviation") if step.get(key)}
    for key, values in given.items():
        if len(values) not in (1, len(image)):
            raise SegtraceError(
                f"the intensity step {step['kind']} has {len(values)} values of {key}, the image {len(image)} channels"
            )
    return [
        {**step, **shared, **{key: values[number % len(values)] for key, values in given.items()}}
        for number in range(len(image))
    ]


def _window(values: np.ndarray, step: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, float]]:
    """Clip to [low, high], then scale to [0, 1]."""
    low, high = float(step["low"]), float(step["high"])
    values = np.clip(values, low, high)
    values -= np.float32(low)
    values /= np.float32(high - low)
    return values, {"low": low, "high": high}


def _minmax(values: np.ndarray, step: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, float]]:
    """Scale the smallest value to 0 and the largest to 1, or the ``ends`` that all channels share."""
    low, high = step.get("ends") or (float(values.min()), float(values.max()))
    measured = {"minimum": low, "maximum": high}
    if high <= low:
        return np.zeros_like(values), measured
    return ((values.astype(np.float64) - low) / (high - low)).astype(np.float32), measured


def _zscore(values: np.ndarray, step: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, float]]:
    """Subtract the mean and divide by the (population) deviation; with ``nonzero``, of non-zero voxels only."""
    chosen = values != 0 if step.get("nonzero") else None
    inside = (values.ravel() if chosen is None else values[chosen]).astype(np.float64)
    if not inside.size:
        return np.zeros_like(values), {"mean": 0.0, "deviation": 0.0}
    mean, deviation = float(inside.mean()), float(inside.std())
    result = np.zeros_like(values)
    if deviation > 1e-6 * abs(mean):  # below that, the deviation is rounding noise of a constant
        scaled = ((inside - mean) / deviation).astype(np.float32)
        if chosen is None:
            return scaled.reshape(values.shape), {"mean": mean, "deviation": deviation}
        result[chosen] = scaled
    return result, {"mean": mean, "deviation": deviation}


def _standardise(values: np.ndarray, step: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, float]]:
    """Subtract the given mean and divide by the given deviation."""
    mean, deviation = float(step["mean"]), float(step["deviation"])
    scaled = ((values.astype(np.float64) - mean) / deviation).astype(np.float32)
    return scaled, {"mean": mean, "deviation": deviation}


_KINDS = {"window": _window, "minmax": _minmax, "zscore": _zscore, "standardise": _standardise}
