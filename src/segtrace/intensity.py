"""Intensity steps: what turns a scanner's numbers into a network's input."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def apply(image: np.ndarray, steps: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Apply intensity steps to each channel of ``image``, (C, D, H, W) or (C, H, W), on its own.

    A step is a :class:`segtrace.config.models.Intensity` as a mapping. Statistics are taken in double
    precision. A channel without contrast becomes zeros: nothing is ever divided by zero. Returns
    float32 and what each step measured, by channel.
    """
    result = np.empty(image.shape, np.float32)
    notes: list[dict[str, Any]] = [{"kind": step["kind"], "channels": []} for step in steps]
    for number, channel in enumerate(image):
        values = channel.astype(np.float32)
        for step, note in zip(steps, notes, strict=True):
            values, measured = _KINDS[step["kind"]](values, step)
            note["channels"].append(measured)
        result[number] = values
    return result, notes


def _window(values: np.ndarray, step: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, float]]:
    """Clip to [low, high], then scale to [0, 1]."""
    low, high = float(step["low"]), float(step["high"])
    values = np.clip(values, low, high)
    values -= np.float32(low)
    values /= np.float32(high - low)
    return values, {"low": low, "high": high}


def _minmax(values: np.ndarray, step: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, float]]:
    """Scale the smallest value to 0 and the largest to 1."""
    low, high = float(values.min()), float(values.max())
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


_KINDS = {"window": _window, "minmax": _minmax, "zscore": _zscore}
