"""Voxel counts of all labels from one joint histogram, and the metrics that follow from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Counts:
    """True and false positives and negatives of one label, in voxels."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def prediction(self) -> int:
        """Voxels of the predicted mask."""
        return self.tp + self.fp

    @property
    def reference(self) -> int:
        """Voxels of the reference mask."""
        return self.tp + self.fn


def check_pair(prediction: np.ndarray, reference: np.ndarray) -> None:
    """Raise :class:`ValueError` unless both are label maps (bool or whole numbers) of one shape."""
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction of shape {prediction.shape}, reference of shape {reference.shape}")
    if prediction.dtype.kind not in "bui" or reference.dtype.kind not in "bui":
        raise ValueError(f"label maps hold whole numbers, got {prediction.dtype} and {reference.dtype}")


def count(prediction: np.ndarray, reference: np.ndarray, *, labels: Sequence[int]) -> dict[int, Counts]:
    """The counts of each of ``labels`` in two label maps of one shape, (D, H, W) or (H, W).

    Both maps are read once for all labels. Where both are background nothing is looked up, so that a
    small object in a large image costs little. Raises :class:`ValueError` for maps of different shape and
    for values below 0; values that are not in ``labels`` count as background.
    """
    check_pair(prediction, reference)
    seen = np.flatnonzero((prediction != 0) | (reference != 0))
    found, true = prediction.ravel()[seen], reference.ravel()[seen]
    width = 1 + max([0, *labels, *(int(part.max()) for part in (found, true) if part.size)])
    if any(part.size and part.min() < 0 for part in (found, true)):
        raise ValueError("a label map holds no negative values")
    table = np.bincount(true.astype(np.int64) * width + found, minlength=width * width).reshape(width, width)
    result = {}
    for label in labels:
        tp = int(table[label, label])
        fp, fn = int(table[:, label].sum()) - tp, int(table[label].sum()) - tp
        result[label] = Counts(tp, fp, fn, prediction.size - tp - fp - fn)
    return result


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def dice(counts: Counts) -> float | None:
    """2 TP / (2 TP + FP + FN) (Dice 1945); None where both masks are empty."""
    return _ratio(2 * counts.tp, counts.prediction + counts.reference)


def iou(counts: Counts) -> float | None:
    """TP / (TP + FP + FN), the Jaccard index; None where both masks are empty."""
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def precision(counts: Counts) -> float | None:
    """TP / (TP + FP); None where the prediction is empty."""
    return _ratio(counts.tp, counts.prediction)


def recall(counts: Counts) -> float | None:
    """TP / (TP + FN), the sensitivity; None where the reference is empty."""
    return _ratio(counts.tp, counts.reference)


def accuracy(counts: Counts) -> float:
    """(TP + TN) / all voxels; raises :class:`ZeroDivisionError` for an image without voxels."""
    return (counts.tp + counts.tn) / (counts.tp + counts.fp + counts.fn + counts.tn)
