"""Applying drawn parameters to a batch of samples at once, in torch, on the device where the voxels lie.

Voxels lie in a :class:`Pool`: whole cases, or boxes of them that were read for one step. A batch that is only
cropped, flipped and turned by right angles is one gather; samples that are rotated, zoomed or deformed are
interpolated (:mod:`segtrace.train.warp`). Intensities follow: noise, gamma, scale, shift, in this order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segtrace.train import warp
from segtrace.train.randomness import normals
from segtrace.train.sampling import Parameters

#: An elastic field is a normal number times its standard deviation; beyond this many, boxes do not reach.
FARTHEST_DEVIATION = 4.0


@dataclass(frozen=True)
class Box:
    """A part of a case in a pool: where it begins there, its sides, and its first voxel in the case of ``shape``."""

    first: int
    size: tuple[int, ...]
    origin: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Pool:
    """Boxes of images (C, V) float32 and labels (V,) uint8, one behind the other, on one device."""

    images: Tensor
    labels: Tensor

    def of(self, box: Box) -> tuple[Tensor, Tensor]:
        """A box as image (C, *size) and label (*size); views of the pool."""
        count = math.prod(box.size)
        image = self.images[:, box.first : box.first + count].view(-1, *box.size)
        return image, self.labels[box.first : box.first + count].view(box.size)


def is_warped(parameters: Parameters) -> bool:
    """Whether a sample has to be interpolated."""
    return any(parameters["rotate"]) or parameters["zoom"] != 1 or parameters["elastic"] != 0


def reach(parameters: Parameters, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(first voxel, size) of the box of a case of ``shape`` that a sample is made from, inside the case."""
    size, start = parameters["size"], parameters["start"]
    low, high = np.array(start), np.array(start) + size - 1
    if is_warped(parameters):
        matrix, offset = affine(parameters)
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in size], indexing="ij")).reshape(len(size), -1)
        places = matrix @ corners + offset[:, None]
        margin = FARTHEST_DEVIATION * parameters["elastic"] + 1
        low, high = np.floor(places.min(1) - margin), np.ceil(places.max(1) + margin)
    last = np.array(shape) - 1
    first, end = np.clip(low, 0, last).astype(int), np.clip(high, 0, last).astype(int)
    return tuple(first.tolist()), tuple((end - first + 1).tolist())


def affine(parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and offset that lead from a voxel of the sample to the case's: rotation, zoom, turns and flips.

    About the crop's middle, in voxels: rotation by the angles about each axis in turn, D first.
    """
    size, axes = np.array(parameters["size"]), len(parameters["size"])
    turn = np.eye(axes)
    for number, angle in enumerate(np.radians(parameters["rotate"])):
        first, second = [(1, 2), (0, 2), (0, 1)][number] if axes == 3 else (0, 1)
        one = np.eye(axes)
        one[first, first] = one[second, second] = math.cos(angle)
        one[first, second], one[second, first] = -math.sin(angle), math.sin(angle)
        turn = turn @ one
    matrix = turn / parameters["zoom"]
    # the sample is flipped, then turned: its own voxel goes the way back, turn first
    way_back = np.diag([-1.0 if flip else 1.0 for flip in parameters["flip"]])
    quarter = np.eye(axes)
    quarter[-2:, -2:] = np.linalg.matrix_power(np.array([[0.0, 1.0], [-1.0, 0.0]]), parameters["rot90"])
    matrix = matrix @ way_back @ quarter
    middle = (size - 1) / 2
    return matrix, np.array(parameters["start"]) + middle - matrix @ middle


def apply(
    pool: Pool,
    boxes: Sequence[Box],
    samples: Sequence[Parameters],
    *,
    label_interpolation: warp.LabelMode = "nearest",
) -> tuple[Tensor, Tensor]:
    """The batch: images (N, C, *size) float32 and labels (N, *size) uint8 on the pool's device.

    ``boxes[i]`` holds what sample i is made from (at least :func:`reach`); all samples have one size.
    """
    plain = [i for i, sample in enumerate(samples) if not is_warped(sample)]
    warped = [i for i, sample in enumerate(samples) if is_warped(sample)]
    parts = []
    if plain:
        parts.append(_gather(pool, [boxes[i] for i in plain], [samples[i] for i in plain]))
    if warped:
        parts.append(
            _warp(pool, [boxes[i] for i in warped], [samples[i] for i in warped], label_interpolation)
        )
    images, labels = parts[0]
    if len(parts) == 2:
        order = _to(torch.from_numpy(np.argsort(plain + warped)), pool.labels.device)
        images = torch.cat([part[0] for part in parts])[order]
        labels = torch.cat([part[1] for part in parts])[order]
    return _intensities(images, samples), labels


def _gather(pool: Pool, boxes: Sequence[Box], samples: Sequence[Parameters]) -> tuple[Tensor, Tensor]:
    """Samples that are cropped, padded, flipped and turned: every voxel is one of the pool's.

    A voxel's place in the pool is a sum of one number for each axis, so N·(D + H + W) numbers, counted here,
    say all. A quarter turn lets the last two axes change places.
    """
    size, axes, count = samples[0]["size"], len(samples[0]["size"]), len(samples)
    strides = np.ones((count, axes), np.int64)
    for axis in reversed(range(axes - 1)):
        strides[:, axis] = strides[:, axis + 1] * [box.size[axis + 1] for box in boxes]
    along: list[np.ndarray] = []
    for axis in range(axes):
        start, origin, last = (
            np.array(values)[:, None]
            for values in (
                [sample["start"][axis] for sample in samples],
                [box.origin[axis] for box in boxes],
                [box.shape[axis] - 1 for box in boxes],
            )
        )
        steps = (np.clip(start + np.arange(size[axis]), 0, last) - origin) * strides[:, axis, None]
        back = np.array([sample["flip"][axis] for sample in samples])[:, None]
        along.append(np.where(back, steps[:, ::-1], steps))
    along[0] += np.array([box.first for box in boxes])[:, None]
    for number, sample in enumerate(samples):
        if sample["rot90"]:
            rows, columns = along[-2][number].copy(), along[-1][number].copy()
            # the voxel at (i, j) of the turned crop is that at (j, n-1-i), (n-1-i, n-1-j), (n-1-j, i)
            along[-2][number] = [columns[::-1], rows[::-1], columns][sample["rot90"] - 1]
            along[-1][number] = [rows, columns[::-1], rows[::-1]][sample["rot90"] - 1]
    vectors = _to(torch.from_numpy(np.concatenate(along, axis=1)), pool.labels.device).split(size, dim=1)
    places = vectors[0]
    for vector in vectors[1:]:
        places = places.unsqueeze(-1) + vector.view(count, *[1] * (places.dim() - 1), -1)
    flat = places.reshape(-1)
    images = pool.images.index_select(1, flat).view(-1, *places.shape).transpose(0, 1)
    return images, pool.labels.index_select(0, flat).view(places.shape)


def _warp(
    pool: Pool,
    boxes: Sequence[Box],
    samples: Sequence[Parameters],
    label_interpolation: warp.LabelMode,
) -> tuple[Tensor, Tensor]:
    """Samples that are rotated, zoomed or deformed, each interpolated in its own box."""
    device, size = pool.labels.device, samples[0]["size"]
    maps = []
    for box, sample in zip(boxes, samples, strict=True):
        matrix, offset = affine(sample)
        maps.append(np.column_stack([matrix, offset - np.array(box.origin)]))
    fields = [displacement(sample, device=device) for sample in samples]
    deformed = any(field is not None for field in fields)
    still = torch.zeros((len(size), *size), device=device) if deformed else None
    return warp.sample_affine(
        pool.images,
        pool.labels,
        _to(torch.from_numpy(np.stack(maps)).float(), device),
        size,
        starts=[box.first for box in boxes],
        shapes=[box.size for box in boxes],
        label_mode=label_interpolation,
        displacement=torch.stack([still if field is None else field for field in fields])
        if still is not None
        else None,
    )


def displacement(parameters: Parameters, *, device: torch.device | str = "cpu") -> Tensor | None:
    """The elastic field of a sample, (axes, *size) float32 in voxels; None where it is not deformed.

    Normal numbers at control points, interpolated linearly between them.
    """
    if parameters["elastic"] == 0:
        return None
    size = parameters["size"]
    lattice = [max(2, math.ceil(side / parameters["elastic_spacing"]) + 1) for side in size]
    control = normals([1, len(size), *lattice], key=parameters["key"], device=device)
    control = control.clamp_(-FARTHEST_DEVIATION, FARTHEST_DEVIATION) * parameters["elastic"]
    mode = "trilinear" if len(size) == 3 else "bilinear"
    return functional.interpolate(control, size=tuple(size), mode=mode, align_corners=True)[0]


def _intensities(images: Tensor, samples: Sequence[Parameters]) -> Tensor:
    """Noise, gamma, scale and shift, each where it is asked for."""
    for number, sample in enumerate(samples):
        if sample["noise"]:
            image = images[number]
            images[number] += (
                normals(image.shape, key=sample["key"] + 1, device=image.device) * sample["noise"]
            )
        if sample["gamma"] != 1:
            images[number] = _gamma(images[number], sample["gamma"])
    for name, change in (("scale", images.mul_), ("shift", images.add_)):
        values = [sample[name] for sample in samples]
        if any(value != (name == "scale") for value in values):
            shape = (-1, *[1] * (images.dim() - 1))
            change(_to(torch.tensor(values, dtype=torch.float32), images.device).view(shape))
    return images


def _gamma(image: Tensor, power: float) -> Tensor:
    """Each channel of (C, *size) scaled to its own range, raised to ``power``, and scaled back."""
    low = image.flatten(1).amin(1).view(-1, *[1] * (image.dim() - 1))
    span = (image.flatten(1).amax(1).view_as(low) - low).clamp_(min=1e-7)
    return ((image - low) / span).pow_(power).mul_(span).add_(low)


def _to(small: Tensor, device: torch.device) -> Tensor:
    """``small`` on the device, without waiting for it."""
    return small.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else small
