"""Voxel counts of all labels from one joint histogram, and the metrics that follow from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

#: Voxels that are counted at once; even, so that only the last piece can have a voxel without a neighbour.
CHUNK = 2**18


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


def count(
    prediction: np.ndarray,
    reference: np.ndarray,
    *,
    labels: Sequence[int],
    regions: Mapping[int, Sequence[int]] | None = None,
) -> dict[int, Counts]:
    """The counts of each of ``labels`` in two label maps of one shape, (D, H, W) or (H, W).

    ``regions`` maps numbers to the labels that they unite: their counts, union against union, follow the labels'.

    Both maps are read once for all labels, in pieces that stay in the processor's cache. Raises
    :class:`ValueError` for maps of different shape and for values below 0; values that are not in
    ``labels`` count as background.
    """
    check_pair(prediction, reference)
    maps = [part.view(np.uint8) if part.dtype == bool else part for part in (prediction, reference)]
    if any(part.dtype.kind == "i" and part.size and part.min() < 0 for part in maps):
        raise ValueError("a label map holds no negative values")
    unions = regions or {}
    every = [*labels, *(label for members in unions.values() for label in members)]
    width = 1 + max([0, *every, *(int(part.max()) for part in maps if part.size)])
    table = _joint_histogram(*maps, width=width)
    result = {}
    for label in labels:
        tp = int(table[label, label])
        fp, fn = int(table[:, label].sum()) - tp, int(table[label].sum()) - tp
        result[label] = Counts(tp, fp, fn, prediction.size - tp - fp - fn)
    for number, members in unions.items():
        own = sorted(set(members))
        tp = int(table[np.ix_(own, own)].sum())
        fp, fn = int(table[:, own].sum()) - tp, int(table[own].sum()) - tp
        result[number] = Counts(tp, fp, fn, prediction.size - tp - fp - fn)
    return result


def _joint_histogram(prediction: np.ndarray, reference: np.ndarray, *, width: int) -> np.ndarray:
    """How many voxels have each pair of values: (reference, prediction), ``width`` by ``width``.

    Up to 16 values make a pair of them one byte, and two neighbouring voxels one number of 16 bits: these
    are counted, which halves the work, and taken apart at the end. Background is counted by itself.
    """
    small = width <= 16
    kind: type[np.integer] = np.uint8 if small else np.int64
    counts = np.zeros(2**16 if small else width * width, np.int64)
    true, found = reference.ravel(), prediction.ravel()
    for start in range(0, true.size, CHUNK):
        part = slice(start, start + CHUNK)
        code = true[part].astype(kind, copy=False) * kind(width) + found[part].astype(kind, copy=False)
        if small:
            # the voxel that is left over makes a pair with background
            code = (np.append(code, kind(0)) if code.size % 2 else code).view(np.uint16)
        labelled = code != 0
        held = int(np.count_nonzero(labelled))
        if held < code.size / 2:
            counts[0] += code.size - held
            code = code[labelled]
        counts += np.bincount(code, minlength=counts.size)
    if small:
        pairs = counts.reshape(256, 256)
        counts = (pairs.sum(0) + pairs.sum(1))[: width * width]
        counts[0] -= true.size % 2
    return counts.reshape(width, width)


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
