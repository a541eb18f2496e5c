"""Distances between features: of a block to its teacher, and of a block's channels to each other.

Both are those of SelfReg-UNet (Zhu et al., arXiv:2406.14896) and its published program, which Ke et al. (An Effective
Algorithm for Skin Disease Segmentation) take over as cross-feature and internal feature distillation, Eqs. 8 and 9.
Features are (N, C, D, H, W) or (N, C, H, W). Nothing here calls an operation that strict mode refuses on a GPU:
adaptive average pooling has no deterministic backward pass there, so its windows are averaged in another way.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from segtrace.errors import SegtraceError

Distance = Callable[[Tensor, Tensor], Tensor]


def mean_square(one: Tensor, other: Tensor) -> Tensor:
    """The mean of squared differences over batch, channels and space: the published program's."""
    return (one - other).square().mean()


def square_norm(one: Tensor, other: Tensor) -> Tensor:
    """Squared differences summed over channels and space, the mean over the batch: Eqs. 8 and 9 as printed."""
    return (one - other).square().flatten(1).sum(1).mean()


#: Option ``norm`` → distance.
DISTANCES: dict[str, Distance] = {"mean": mean_square, "sum": square_norm}


def pooled(features: Tensor, size: Sequence[int]) -> Tensor:
    """Features averaged to ``size``, no axis of which may be longer: as torch's adaptive average pooling.

    Place i of m takes the places ⌊i·n/m⌋ to ⌈(i + 1)·n/m⌉ - 1 of the n that there are.
    """
    for axis, wanted in enumerate(size, start=2):
        length = features.shape[axis]
        if length % wanted == 0:
            features = features.unflatten(axis, (wanted, length // wanted)).mean(axis + 1)
        else:
            features = (features.movedim(axis, -1) @ _windows(length, wanted, like=features)).movedim(
                -1, axis
            )
    return features


def _windows(length: int, wanted: int, *, like: Tensor) -> Tensor:
    """The matrix (length, wanted) whose columns average one window each."""
    places = torch.arange(length)[:, None]
    i = torch.arange(wanted)[None]
    first, end = i * length // wanted, -((i + 1) * length // -wanted)
    inside = ((places >= first) & (places < end)).to(like)
    return inside / inside.sum(0)


def cross(
    student: Tensor,
    teacher: Tensor,
    *,
    channels: tuple[Tensor, Tensor] | None,
    distance: Distance,
) -> Tensor:
    """The distance of a student's features to its teacher's, both brought to the smaller size of each axis.

    ``channels`` are the numbers of those compared, of the student and of the teacher, equally many; without them
    channel k of the one is compared with channel k of the other, as many as the narrower has.
    """
    size = [min(pair) for pair in zip(student.shape[2:], teacher.shape[2:], strict=True)]
    if channels is None:
        count = min(student.shape[1], teacher.shape[1])
        one, other = student[:, :count], teacher[:, :count]
    else:
        one, other = student[:, channels[0]], teacher[:, channels[1]]
    return distance(pooled(one, size), pooled(other, size))


def internal(features: Tensor, *, sort: bool, one_way: bool, distance: Distance) -> Tensor:
    """The distance of the first half of the channels to the second; of an odd number the last is left out.

    ``sort``: the channels stand first in the order of their mean over batch and space after each map is divided by its
    L2 norm, the greatest first. ``one_way``: gradients stop at the first half, which then teaches the second.
    A single channel has no halves: zero.
    """
    half = features.shape[1] // 2
    if not half:
        return features.new_zeros(())
    if sort:
        order = _order(features)
        first, second = features[:, order[:half]], features[:, order[half : 2 * half]]
    else:
        first, second = features[:, :half], features[:, half : 2 * half]
    return distance(first.detach() if one_way else first, second)


@torch.no_grad()
def _order(features: Tensor) -> Tensor:
    """The channels' numbers by descending score; of equal ones the earlier first."""
    maps = torch.nn.functional.normalize(features.flatten(2), dim=2)
    return maps.mean((0, 2)).argsort(descending=True, stable=True)


def drawn(
    widths: Sequence[tuple[int, int]], *, key: int, device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """For each pair (student's channels, teacher's channels), which are compared: two draws of the smaller number.

    The draws of a pair depend on ``key``, the pair's place and its widths alone, and on no other generator's state.
    """
    if not 0 <= key < 2**128:
        raise SegtraceError(f"a key of random numbers has 128 bits; this is {key}")
    found: list[np.ndarray] = []
    for place, pair in enumerate(widths):
        for side, width in enumerate(pair):
            counter = np.array([0, 0, side, place], dtype=np.uint64)
            values = np.random.Generator(np.random.Philox(key=key, counter=counter)).random(width)
            found.append(np.argsort(values, kind="stable")[: min(pair)])
    lengths = [len(numbers) for numbers in found]
    # one copy to the device for all of them
    parts = torch.from_numpy(np.concatenate(found)).to(device).split(lengths)
    return list(zip(parts[::2], parts[1::2], strict=True))
