"""From class probabilities on the prepared grid to the most probable labels on another, plane by plane.

Linear interpolation of each class, in torch, on whatever device the probabilities lie on. Interpolating
probabilities instead of labels keeps borders smooth and small labels alive (Isensee et al., nnU-Net, Nature
Methods 18 (2021), resample softmax outputs likewise). Planes are taken as they are finished, so that the
probabilities of a whole volume never exist.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segtrace.errors import SegtraceError
from segtrace.geometry import Grid, format_numbers, places_along

#: How far outside the prepared field of view, in prepared voxels, a voxel still has its edge's value:
#: rounding the size to whole voxels can cut off this much.
EDGE_VOXELS = 0.5
#: Positions that differ by less than this part of a voxel are the same.
ROUNDING = 1e-6
#: Voxels of the target that are worked on at once.
CHUNK_VOXELS = 1 << 22


@dataclass(frozen=True)
class _Samples:
    """For each of some positions along an axis: its two neighbours in the source, and the second one's share."""

    low: np.ndarray
    high: np.ndarray
    share: np.ndarray

    def part(self, rows: slice, *, first: int) -> "_Samples":
        """The positions ``rows``, in a source that begins with plane ``first``."""
        return _Samples(self.low[rows] - first, self.high[rows] - first, self.share[rows])

    def of(self, array: Tensor, axis: int) -> Tensor:
        """``array`` at these positions along ``axis``."""
        if not self.share.any() and np.array_equal(self.low, np.arange(array.shape[axis])):
            return array
        if axis == array.dim() - 1 and axis > 0:  # picking along the last axis is slow: turn it to the front
            return self.of(array.transpose(axis, 0).contiguous(), 0).transpose(0, axis).contiguous()
        low, high, share = (
            torch.from_numpy(part).to(array.device) for part in (self.low, self.high, self.share)
        )
        shape = [1] * array.dim()
        shape[axis] = -1
        return array.index_select(axis, low).lerp_(array.index_select(axis, high), share.view(shape))


def _samples(places: np.ndarray, size: int) -> _Samples:
    """The neighbours of ``places`` (voxels of the source, from 0) along an axis of ``size`` voxels."""
    inside = np.clip(places, 0, size - 1)  # beyond the outer centres, the edge's value
    low = np.floor(inside).astype(np.int64)
    return _Samples(low, np.minimum(low + 1, size - 1), (inside - low).astype(np.float32))


@torch.inference_mode()
def labels_on(
    blocks: Iterable[tuple[int, Tensor]], *, prepared: Grid, target: Grid, device: torch.device | str = "cpu"
) -> np.ndarray:
    """The most probable label on ``target``, uint8 (D, H, W) or (H, W); of equal ones, the lowest.

    ``blocks`` are (number of the first plane, probabilities (K, n, H, W) or (K, n, W), float32 on ``device``):
    planes of the first axis of ``prepared``, in order, each once. ``target`` has the same direction. Each class
    is interpolated linearly; beyond the outer voxel centres the edge's value holds, and further than half a voxel
    beyond them the nearest voxel's. All this is SimpleITK's resampling, up to rounding. Voxels outside the prepared
    field of view are background.
    """
    places = places_along(prepared, target)
    axes = [_samples(along, size) for along, size in zip(places, prepared.array_shape, strict=True)]
    winner = torch.zeros(target.array_shape, dtype=torch.uint8, device=device)
    beyond = _beyond(places, prepared)
    nearest = torch.zeros(prepared.array_shape if any(b.any() for b in beyond) else (0,), dtype=torch.uint8)
    held: Tensor | None = None
    seen = done = 0
    for first, block in blocks:
        if first != seen or block.shape[2:] != prepared.array_shape[1:]:
            raise _unfit((first + block.shape[1], *block.shape[2:]), prepared)
        seen = first + block.shape[1]
        if prepared == target:
            winner[first:seen] = _most_probable(block)
            continue
        if nearest.numel():
            nearest[first:seen] = _most_probable(block)
        planes = block if held is None else torch.cat([held, block], dim=1)
        ready = int(np.searchsorted(axes[0].high, seen))
        for rows in _chunks(done, ready, target.array_shape):
            winner[rows] = _most_probable(_sampled(planes, axes, rows, first=seen - planes.shape[1]))
        done, held = ready, planes[:, -1:].clone()  # all further positions lie beyond this plane
    if seen != prepared.array_shape[0]:
        raise _unfit((seen, *prepared.array_shape[1:]), prepared)
    result = winner.cpu().numpy()
    if nearest.numel():
        _take_nearest(result, nearest.numpy(), places, beyond)
    for axis, inside in enumerate(_covered(places, prepared)):
        result[(slice(None),) * axis + (~inside,)] = 0
    return result


def _unfit(shape: Sequence[int], prepared: Grid) -> SegtraceError:
    return SegtraceError(
        f"probabilities of {format_numbers(shape[::-1])} voxels do not fit the prepared grid of size "
        f"{format_numbers(prepared.size)}"
    )


def _chunks(first: int, end: int, shape: Sequence[int]) -> list[slice]:
    """Parts of a run of planes of an array of ``shape``, each of at most :data:`CHUNK_VOXELS` voxels or one plane."""
    step = max(1, CHUNK_VOXELS // int(np.prod(shape[1:])))
    return [slice(low, min(low + step, end)) for low in range(first, end, step)]


def _most_probable(classes: Iterable[Tensor]) -> Tensor:
    """The number of the class with the greatest value, uint8, the lowest of equal ones; one class is held at a time.

    A few passes over memory, which ``argmax`` over the first axis does not do on a CPU.
    """
    best = winner = torch.empty(0)
    for label, values in enumerate(classes):
        if label == 0:
            best, winner = values.clone(), torch.zeros(values.shape, dtype=torch.uint8, device=values.device)
            continue
        ahead = (values > best).to(torch.uint8).mul_(label)
        torch.maximum(
            winner, ahead, out=winner
        )  # a class that is ahead has a greater number than those before
        torch.maximum(best, values, out=best)
    return winner


def _sampled(planes: Tensor, axes: Sequence[_Samples], rows: slice, *, first: int) -> Iterator[Tensor]:
    """Each class of ``planes`` (K, n, H, W), which begin with number ``first``, at the planes ``rows`` of the target."""
    low, high = int(axes[0].low[rows][0]), int(axes[0].high[rows][-1])
    needed = planes[:, low - first : high + 1 - first]
    across = list(enumerate(axes))[1:]
    along = (0, axes[0].part(rows, first=low))
    # fewer planes first: what is done along the other axes is then done on fewer
    order = [along, *across] if rows.stop - rows.start < needed.shape[1] else [*across, along]
    for values in needed:
        for axis, samples in order:
            values = samples.of(values, axis)
        yield values


def _beyond(places: Sequence[np.ndarray], prepared: Grid) -> list[np.ndarray]:
    """For each array axis, which of the ``places`` are more than half a voxel beyond the outer voxel centres."""
    return [
        (along < -0.5 - ROUNDING) | (along > size - 0.5 + ROUNDING)
        for along, size in zip(places, prepared.array_shape, strict=True)
    ]


def _take_nearest(
    result: np.ndarray, labels: np.ndarray, places: Sequence[np.ndarray], beyond: Sequence[np.ndarray]
) -> None:
    """Give the voxels of ``result`` that are ``beyond`` along any axis the nearest of ``labels``."""
    index = [
        np.clip(np.floor(along + 0.5).astype(np.int64), 0, size - 1)
        for along, size in zip(places, labels.shape, strict=True)
    ]
    for axis, rows in enumerate(beyond):
        chosen = [along[rows] if number == axis else along for number, along in enumerate(index)]
        result[(slice(None),) * axis + (rows,)] = labels[np.ix_(*chosen)]


def _covered(places: Sequence[np.ndarray], prepared: Grid) -> list[np.ndarray]:
    """For each array axis, which of the ``places`` are in the prepared field of view."""
    reach = 0.5 + EDGE_VOXELS + ROUNDING
    return [
        (along >= -reach) & (along <= size - 1 + reach)
        for along, size in zip(places, prepared.array_shape, strict=True)
    ]
