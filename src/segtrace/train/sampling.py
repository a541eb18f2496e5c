"""What a training sample looks like: a function of (seed, epoch, case, draw) and of nothing else.

Random numbers come from a counter-based generator (Philox) keyed by a hash of these four, so neither
order nor workers, devices or restarts change a sample. Its parameters are drawn apart from their
application and are plain JSON: any sample can be written down and replayed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Parameters = dict[str, Any]


def key_of(*parts: Any) -> int:
    """A 128-bit number from a hash of ``parts`` (JSON values)."""
    text = json.dumps(parts, separators=(",", ":"), ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def torch_seed(*parts: Any) -> int:
    """A 63-bit seed from a hash of ``parts``."""
    return key_of(*parts) >> 65


def epoch_order(seed: int, epoch: int, cases: Sequence[str]) -> list[str]:
    """The cases in the order of an epoch: by a hash of (seed, epoch, case), whatever order they come in."""
    return sorted(cases, key=lambda case: (key_of("order", seed, epoch, case), case))


def draw(
    *,
    seed: int,
    epoch: int,
    case: str,
    number: int,
    shape: Sequence[int],
    foreground: np.ndarray,
    crop: Mapping[str, Any] | None,
    augmentation: Mapping[str, Any],
) -> Parameters:
    """Draw the parameters of sample ``number`` of a case in an epoch.

    ``shape`` is the case's (D, H, W) or (H, W); ``foreground`` holds the flat indices of its labelled
    voxels, ascending. With a crop, the centre is a voxel drawn from the foreground or the background by
    the crop's weights, moved so that the crop lies inside the image. Where the image is smaller, it is
    centred and padded with edge values.
    """
    random = np.random.Generator(np.random.Philox(key=key_of("sample", seed, epoch, case, number)))
    # every number is drawn, needed or not, so that switching one augmentation leaves the others as they were
    use_foreground, centre = random.random(2)
    flips = random.random(len(shape))
    rotate, quarter, shift_now, scale_now = random.random(4)
    shift, scale = random.uniform(-1, 1, 2)
    size = list(shape) if crop is None else list(crop["size"])
    start = [0] * len(size)
    if crop is not None:
        wanted = use_foreground * (crop["foreground"] + crop["background"]) < crop["foreground"]
        voxel = _voxel(centre, foreground, int(np.prod(shape)), from_foreground=wanted)
        middle = np.unravel_index(voxel, tuple(shape))
        start = [
            int(np.clip(m - s // 2, 0, n - s)) if n >= s else -((s - n) // 2)
            for m, s, n in zip(middle, size, shape, strict=True)
        ]
    # a quarter turn changes the shape of a crop that is not square in its last two axes: only half turns then
    turns = 1 + int(quarter * 3) if size[-1] == size[-2] else 2
    return {
        "size": size,
        "start": start,
        "flip": [bool(value < augmentation["flip_p"]) for value in flips],
        "rot90": turns if rotate < augmentation["rot90_p"] else 0,
        "shift": float(shift * augmentation["shift"]) if shift_now < augmentation["shift_p"] else 0.0,
        "scale": float(1 + scale * augmentation["scale"]) if scale_now < augmentation["scale_p"] else 1.0,
    }


def _voxel(fraction: float, foreground: np.ndarray, voxels: int, *, from_foreground: bool) -> int:
    """The flat index at ``fraction`` of the foreground, or of the background; of all, if that one is empty."""
    count = len(foreground)
    if from_foreground and count:
        return int(foreground[int(fraction * count)])
    if from_foreground or count == voxels:
        return int(fraction * voxels)
    rank = int(fraction * (voxels - count))
    # background voxels before each foreground voxel: found without listing the background
    before = foreground - np.arange(count)
    return rank + int(np.searchsorted(before, rank, side="right"))


def offsets(parameters: Parameters, shape: Sequence[int]) -> np.ndarray:
    """Flat indices into an image of ``shape`` that give the crop, padded, flipped and turned: int64, the crop's shape."""
    result = np.zeros((1,) * len(shape), np.int64)
    stride = 1
    for axis in reversed(range(len(shape))):
        start, size = parameters["start"][axis], parameters["size"][axis]
        along = np.clip(np.arange(start, start + size), 0, shape[axis] - 1) * stride
        result = result + along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        stride *= shape[axis]
    result = np.flip(result, tuple(axis for axis, flip in enumerate(parameters["flip"]) if flip))
    return np.rot90(result, parameters["rot90"], axes=(-2, -1))


def apply(image: np.ndarray, label: np.ndarray, parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """The sample: image (C, *crop) float32 and label (*crop) uint8 of a case's (C, *shape) and (*shape)."""
    where = offsets(parameters, label.shape)
    pixels = np.stack([np.asarray(channel.reshape(-1)[where]) for channel in image])
    pixels *= np.float32(parameters["scale"])
    pixels += np.float32(parameters["shift"])
    return pixels, np.asarray(label.reshape(-1)[where])
