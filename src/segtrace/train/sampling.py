"""What a training sample looks like: a function of (seed, epoch, case, draw) and of nothing else.

A sample's parameters are drawn here, apart from their application (:mod:`segtrace.train.augment`), and are
plain JSON: any sample can be written down and replayed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segtrace.train.randomness import key_of, uniforms

Parameters = dict[str, Any]
#: Numbers drawn for each sample. Each has its place, needed or not, so that switching one augmentation leaves
#: the others as they were; the last ones are spare.
WIDTH = 32


@dataclass(frozen=True)
class Labelled:
    """Where a label map, (D, H, W) or (H, W), has labels: counted row by row, so that few bytes are kept."""

    label: np.ndarray
    before: np.ndarray
    """Labelled voxels before each row (last axis), and after the last: int64, one more than there are rows."""

    @classmethod
    def of(cls, label: np.ndarray) -> "Labelled":
        """Count the labelled voxels of each row."""
        counts = np.count_nonzero(label, axis=-1).ravel()
        return cls(label, np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]))

    def voxel(self, fraction: float, *, foreground: bool) -> int:
        """The flat index at ``fraction`` of the labelled voxels, or of the others; of all, if there are none of these."""
        count, voxels, width = int(self.before[-1]), self.label.size, self.label.shape[-1]
        if (count if foreground else voxels - count) == 0:
            return int(fraction * voxels)
        before = self.before if foreground else np.arange(len(self.before)) * width - self.before
        rank = int(fraction * int(before[-1]))
        row = int(np.searchsorted(before, rank, side="right")) - 1
        values = self.label[np.unravel_index(row, self.label.shape[:-1])] != 0
        return row * width + int(np.flatnonzero(values == foreground)[rank - int(before[row])])


def epoch_order(seed: int, epoch: int, cases: Sequence[str]) -> list[str]:
    """The cases in the order of an epoch: by a hash of (seed, epoch, case), whatever order they come in."""
    return sorted(cases, key=lambda case: (key_of("order", seed, epoch, case), case))


def draw(
    *,
    seed: int,
    epoch: int,
    case: str,
    count: int,
    labelled: Labelled,
    crop: Mapping[str, Any] | None,
    augmentation: Mapping[str, Any],
) -> list[Parameters]:
    """Draw the parameters of samples 0 to ``count`` - 1 of a case in an epoch; sample i does not depend on ``count``.

    With a crop, the centre is a voxel drawn from the labelled or the other voxels by the crop's weights,
    moved so that the crop lies inside the image. Where the image is smaller, it is centred and padded with
    edge values. ``crop`` and ``augmentation`` are :class:`segtrace.config.models.Crop` and ``Augmentation`` as
    mappings.
    """
    table = uniforms(count, WIDTH, key=key_of("sample", seed, epoch, case))
    return [
        {"case": case, "epoch": epoch, "draw": number}
        | _place(row, labelled, crop)
        | _change(row, labelled.label.ndim, crop or {"size": labelled.label.shape}, augmentation)
        for number, row in enumerate(table.tolist())
    ]


def _place(row: Sequence[float], labelled: Labelled, crop: Mapping[str, Any] | None) -> Parameters:
    """Size and first voxel of the crop."""
    shape = labelled.label.shape
    if crop is None:
        return {"size": list(shape), "start": [0] * len(shape)}
    wanted = row[0] * (crop["foreground"] + crop["background"]) < crop["foreground"]
    rest, middle = labelled.voxel(row[1], foreground=wanted), list[int]()
    for side in reversed(shape):
        rest, place = divmod(rest, side)
        middle.insert(0, place)
    size = list(crop["size"])
    start = [
        min(max(m - s // 2, 0), n - s) if n >= s else -((s - n) // 2)
        for m, s, n in zip(middle, size, shape, strict=True)
    ]
    return {"size": size, "start": start}


def _change(
    row: Sequence[float], axes: int, crop: Mapping[str, Any], augmentation: Mapping[str, Any]
) -> Parameters:
    """What is done to the crop. Neutral values stand for what is not done."""

    def happens(place: int, name: str) -> bool:
        return row[place] < augmentation[name]

    def around(place: int) -> float:
        return 2 * row[place] - 1

    def between(place: int, low: float, high: float) -> float:
        return low + row[place] * (high - low)

    # a quarter turn changes the shape of a crop that is not square in its last two axes: only half turns then
    turns = 1 + int(row[6] * 3) if crop["size"][-1] == crop["size"][-2] else 2
    planes = 3 if axes == 3 else 1
    return {
        "flip": [happens(2 + axis, "flip_p") for axis in range(axes)],
        "rot90": turns if happens(5, "rot90_p") else 0,
        "shift": around(9) * augmentation["shift"] if happens(7, "shift_p") else 0.0,
        "scale": 1 + around(10) * augmentation["scale"] if happens(8, "scale_p") else 1.0,
        "rotate": [
            around(12 + plane) * augmentation["rotate_degrees"][plane] if happens(11, "rotate_p") else 0.0
            for plane in range(planes)
        ],
        "zoom": between(16, *augmentation["zoom"]) if happens(15, "zoom_p") else 1.0,
        "elastic": row[18] * augmentation["elastic_voxels"] if happens(17, "elastic_p") else 0.0,
        "elastic_spacing": augmentation["elastic_spacing"],
        "noise": row[20] * augmentation["noise"] if happens(19, "noise_p") else 0.0,
        "gamma": between(22, *augmentation["gamma"]) if happens(21, "gamma_p") else 1.0,
        "key": int(row[23] * 2**53),
    }
