"""Sampling cases under affine and elastic maps: images linearly, label maps by the nearest voxel or by vote.

The neighbours of each position are gathered from the flat voxels and weighted here: on a CPU, PyTorch's
own ``grid_sample`` works on one thread a sample in 3-D. On a CPU the output is made in small pieces, in
buffers that stay in the cache, and on one thread, since to wake others costs more than they would take
over; on a GPU in one piece, whatever the cases' shapes. Nothing depends on the order of threads.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from segtrace.errors import SegtraceError

LabelMode = Literal["nearest", "linear"]
#: Output voxels that a CPU works on at a time: PyTorch splits up to so many over no threads, and they fit the cache.
PIECE_VOXELS = 1 << 15
#: Shares of a vote that differ by less are equal: the sums of a tie differ in their last digits.
TIE = 1e-6


class _Place(NamedTuple):
    """Where samples come from: plain numbers for one sample, tensors (N, 1, 1[, 1]) for several."""

    start: Any
    lengths: list[Any]  # voxels of the case along each axis
    strides: list[Any]  # voxels from one index to the next, 0 along an axis of one voxel
    matrix: list[list[Any]]


class _Work(NamedTuple):
    """Buffers (N, rows, …) of a piece."""

    positions: list[Tensor]  # by axis: positions in the case, float32; later, the upper neighbour's weight
    indices: list[Tensor]  # by axis: whole numbers; of the last axis, at the end, flat indices
    values: list[Tensor]  # float32, one more than axes


def sample_affine(
    images: Tensor,
    labels: Tensor,
    matrices: Tensor,
    size: Sequence[int],
    *,
    starts: Sequence[int],
    shapes: Sequence[Sequence[int]],
    label_mode: LabelMode = "nearest",
    displacement: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Samples (N, C, *size) float32 and their labels (N, *size) uint8, each from a case of its own shape.

    ``images`` (C, V) float32 and ``labels`` (V,) uint8 hold the voxels of one or many cases, one case after
    another, on one device. Sample n is taken from the case of ``shapes[n]``, (D, H, W) or (H, W), that
    begins at voxel ``starts[n]``. ``matrices`` (N, S, S + 1), for S axes, map the index of an output voxel,
    (z, y, x) or (y, x), to a position in the case in voxels: matrix[:, :S] · index + matrix[:, S].
    ``displacement`` (N, S, *size), in voxels of the case, is added to the position. Outside the case, the
    nearest of its voxels is taken ("border").

    Images are interpolated linearly along each axis. Labels by ``label_mode``: ``nearest`` takes the nearest
    voxel's label (of equally near ones, that of the higher index), ``linear`` the label with the largest
    linearly interpolated share (of equal ones, the lowest). Raises :class:`SegtraceError` where the
    arguments do not fit each other.
    """
    _check(images, labels, matrices, size, starts, shapes, displacement)
    count, device = len(matrices), images.device
    result = images.new_empty((count, len(images), *size))
    result_labels = labels.new_empty((count, *size))
    together, rows = count, size[0]
    if _in_pieces(device):
        together, rows = 1, min(size[0], max(1, PIECE_VOXELS // math.prod(size[1:])))
    work = _buffers((together, rows, *size[1:]), device, wide=together > 1 and len(labels) >= 1 << 31)
    for first in range(0, count, together):
        chosen = slice(first, first + together)
        place = _place(matrices[chosen], starts[chosen], shapes[chosen], device)
        moved = None if displacement is None else displacement[chosen]
        _sample(images, labels, place, work, moved, label_mode, result[chosen], result_labels[chosen])
    return result, result_labels


def _sample(
    images: Tensor,
    labels: Tensor,
    place: _Place,
    work: _Work,
    displacement: Tensor | None,
    label_mode: LabelMode,
    result: Tensor,
    result_labels: Tensor,
) -> None:
    """Fill ``result`` (N, C, *size) and ``result_labels`` (N, *size), as many rows at a time as ``work`` has."""
    size, step = result_labels.shape[1:], work.values[0].shape[1]
    index = _output_index(size, images.device)
    votes = []
    for first in range(0, size[0], step):
        rows = slice(first, min(first + step, size[0]))
        part = _Work(*([buffer[:, : rows.stop - first] for buffer in group] for group in work))
        _find_positions(part, place, [index[0][:, rows], *index[1:]])
        for axis, (position, length) in enumerate(zip(part.positions, place.lengths, strict=True)):
            if displacement is not None:
                position.add_(displacement[:, axis, rows])
            position.clamp_(min=0).clamp_(max=length - 1)
        label = result_labels[:, rows]
        if label_mode == "nearest":
            _take(labels, _find_nearest(part, place), place.start, out=label)
        lowest = _find_neighbours(part, place)
        for channel, voxels in enumerate(images):
            result[:, channel, rows] = _interpolate(voxels, lowest, part, place)
        if label_mode == "linear":
            where, corners, weights = _vote(labels, lowest, part.positions, place, out=label)
            votes.append((where + first * math.prod(size[1:]), corners, weights))
    if votes:  # joined: those of a piece are too few to be worth so many calls
        where, corners, weights = (torch.cat(group, -1) for group in zip(*votes, strict=True))
        length = PIECE_VOXELS // len(corners) if _in_pieces(images.device) else max(1, len(where))
        parts = zip(corners.split(length, 1), weights.split(length, 1), strict=True)
        result_labels.view(-1).index_copy_(0, where, torch.cat([_largest(*part) for part in parts]))


def _check(
    images: Tensor,
    labels: Tensor,
    matrices: Tensor,
    size: Sequence[int],
    starts: Sequence[int],
    shapes: Sequence[Sequence[int]],
    displacement: Tensor | None,
) -> None:
    """Raise :class:`SegtraceError` unless the arguments of :func:`sample_affine` fit each other."""
    axes, count = len(size), len(matrices)
    voxels = images.shape[-1]
    faults = [
        axes not in (2, 3) and f"size {tuple(size)}: two or three axes are sampled",
        (images.ndim != 2 or labels.shape != images.shape[1:])
        and f"images {tuple(images.shape)} and labels {tuple(labels.shape)}: (C, V) and (V,) fit",
        (images.dtype != torch.float32 or labels.dtype != torch.uint8)
        and f"images are {images.dtype}, labels {labels.dtype}: float32 and uint8 are sampled",
        tuple(matrices.shape) != (count, axes, axes + 1)
        and f"matrices {tuple(matrices.shape)}: (N, {axes}, {axes + 1}) fits size {tuple(size)}",
        not (len(starts) == len(shapes) == count)
        and f"{len(starts)} starts and {len(shapes)} shapes for {count} matrices",
        displacement is not None
        and tuple(displacement.shape) != (count, axes, *size)
        and f"displacement {tuple(displacement.shape)}: {(count, axes, *size)} fits",
        *(
            (len(shape) != axes or start < 0 or min(shape) < 1 or start + math.prod(shape) > voxels)
            and f"a case of shape {tuple(shape)} from voxel {start} on does not lie in {voxels} voxels"
            for start, shape in zip(starts, shapes, strict=False)
        ),
        *(
            math.prod(shape) >= 1 << 31 and f"a case of shape {tuple(shape)} is too large to be indexed"
            for shape in shapes
        ),
    ]
    found = [fault for fault in faults if fault]
    if found:
        raise SegtraceError(f"cannot sample: {'; '.join(found)}")


def _in_pieces(device: torch.device) -> bool:
    """Whether samples are made one by one and in pieces."""
    return device.type == "cpu"


def _buffers(shape: Sequence[int], device: torch.device, *, wide: bool) -> _Work:
    """Buffers of a shape (N, rows, …); whole numbers of 64 bits if ``wide``."""
    axes = len(shape) - 1
    whole = torch.int64 if wide else torch.int32
    return _Work(
        *(
            [torch.empty(*shape, dtype=kind, device=device) for _ in range(count)]
            for kind, count in ((torch.float32, axes), (whole, axes), (torch.float32, axes + 1))
        )
    )


def _output_index(size: Sequence[int], device: torch.device) -> list[Tensor]:
    """By axis, the output's indices, shaped so that they broadcast to (N, *size)."""
    return [
        torch.arange(n, dtype=torch.float32, device=device).view(
            [1, *(-1 if other == axis else 1 for other in range(len(size)))]
        )
        for axis, n in enumerate(size)
    ]


def _place(
    matrices: Tensor, starts: Sequence[int], shapes: Sequence[Sequence[int]], device: torch.device
) -> _Place:
    strides = [
        [math.prod(shape[axis + 1 :]) * (length > 1) for axis, length in enumerate(shape)] for shape in shapes
    ]
    if len(starts) == 1 and _in_pieces(device):  # on a GPU, to look at the matrix would make it wait
        return _Place(starts[0], list(shapes[0]), list(strides[0]), matrices[0].tolist())
    axes = range(len(shapes[0]))
    ones = (1,) * len(shapes[0])

    def column(values: Sequence[int], kind: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=kind).to(device, non_blocking=True).view(-1, *ones)

    on_device = matrices.to(device, torch.float32, non_blocking=True)
    return _Place(
        column(starts, torch.int64),
        [column([shape[axis] for shape in shapes], torch.int32) for axis in axes],
        [column([stride[axis] for stride in strides], torch.int32) for axis in axes],
        [[on_device[:, row, c].view(-1, *ones) for c in range(len(axes) + 1)] for row in axes],
    )


def _find_positions(work: _Work, place: _Place, index: Sequence[Tensor]) -> None:
    """Write where in the case the voxels of output ``index`` lie; not limited to the case."""
    for position, row in zip(work.positions, place.matrix, strict=True):
        outer = index[0] * row[0] + row[-1]
        for along, factor in zip(index[1:-1], row[1:-2], strict=True):
            outer = outer + along * factor
        torch.add(outer, index[-1] * row[-2], out=position)  # the one pass over all voxels


def _find_nearest(work: _Work, place: _Place) -> Tensor:
    """The flat index of the nearest voxel, within its case."""
    for position, index in zip(work.positions, work.indices, strict=True):
        index.copy_(torch.add(position, 0.5, out=work.values[0]))  # positive: the copy rounds down
    return _flatten(work, place)


def _find_neighbours(work: _Work, place: _Place) -> Tensor:
    """The flat index of the lowest of the neighbours; positions become the upper neighbour's weight."""
    for position, index, length in zip(work.positions, work.indices, place.lengths, strict=True):
        index.copy_(position).clamp_(max=length - 2).clamp_(min=0)
        position.sub_(work.values[0].copy_(index))
    return _flatten(work, place)


def _flatten(work: _Work, place: _Place) -> Tensor:
    """Flat indices from those along the axes, in place of those of the last axis."""
    pairs = zip(work.indices[:-1], work.indices[1:], place.lengths[1:], strict=True)
    for outer, inner, length in pairs:
        if isinstance(length, Tensor):
            inner.add_(outer * length)
        else:
            inner.add_(outer, alpha=length)
    return work.indices[-1]


def _take(voxels: Tensor, index: Tensor, offset: Any, out: Tensor | None = None) -> Tensor:
    """``voxels`` (V,) at ``index + offset``, in the shape of ``index``."""
    if isinstance(offset, Tensor):
        index = index + offset.to(index.dtype)
    else:
        voxels = voxels[offset:]
    if out is None:
        out = voxels.new_empty(index.shape)
    torch.index_select(voxels, 0, index.view(-1), out=out.view(-1))
    return out


def _interpolate(voxels: Tensor, lowest: Tensor, work: _Work, place: _Place) -> Tensor:
    """Linear interpolation of ``voxels`` (V,) between neighbours, the last axis first."""

    def along(axis: int, offset: Any, buffer: int) -> Tensor:
        if axis == len(place.strides):
            return _take(voxels, lowest, offset, out=work.values[buffer])
        lower = along(axis + 1, offset, buffer)
        upper = along(axis + 1, offset + place.strides[axis], buffer + 1)
        return lower.lerp_(upper, work.positions[axis])

    return along(0, place.start, 0)


def _vote(
    labels: Tensor, lowest: Tensor, weights: Sequence[Tensor], place: _Place, *, out: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Write the neighbours' label where all have the same; else what has to be judged by :func:`_largest`.

    Returns, for M voxels, their flat indices in ``out`` (N, rows, …), the neighbours' labels (2^S, M) and the
    weights (S, M).
    """
    offsets = [
        place.start + sum(stride * side for stride, side in zip(place.strides, upper, strict=True))
        for upper in _sides(len(place.strides))
    ]
    _take(labels, lowest, offsets[0], out=out)
    corners = [out, *(_take(labels, lowest, offset) for offset in offsets[1:])]
    if _in_pieces(labels.device):
        unequal = torch.zeros_like(out, dtype=torch.bool)
        for corner in corners[1:]:
            unequal |= corner != out
        chosen = unequal.view(-1).nonzero().view(-1)
    else:  # to look for unequal neighbours would make the GPU wait
        chosen = torch.arange(out.numel(), device=out.device)
    return (
        chosen,
        torch.stack([corner.view(-1)[chosen] for corner in corners]),
        torch.stack([weight.view(-1)[chosen] for weight in weights]),
    )


def _sides(axes: int) -> list[tuple[int, ...]]:
    """The neighbours of a position: by axis, 0 for the lower, 1 for the upper."""
    return list(itertools.product((0, 1), repeat=axes))


def _largest(corners: Tensor, weights: Tensor) -> Tensor:
    """The label (M,) of the largest share; of equal shares, the lowest label. Arguments as :func:`_vote` gives them."""
    shares = torch.ones(corners.shape, dtype=torch.float32, device=corners.device)
    for share, upper in zip(shares, _sides(len(weights)), strict=True):
        for weight, side in zip(weights, upper, strict=True):
            share.mul_(weight if side else 1 - weight)
    total = torch.stack([(shares * (corners == label)).sum(0) for label in corners])
    return corners.masked_fill(total < total.amax(0) - TIE, 255).amin(0)
