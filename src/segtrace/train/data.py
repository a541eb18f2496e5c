"""A run's prepared cases and the batches made of them.

Small sets lie on the training device whole. Larger ones stay memory-mapped: of each step, the boxes that
its samples are made from are read by a thread while the device works on the step before. The samples are
the same.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segtrace import background, store
from segtrace.errors import SegtraceError, raise_all
from segtrace.train import augment, sampling
from segtrace.train.augment import Box, Pool
from segtrace.train.sampling import Labelled, Parameters

#: Share of the memory of the host, or of what is free on a GPU, that resident cases may take.
RESIDENT_SHARE = 0.4


@dataclass(frozen=True)
class Case:
    """A prepared case, arrays memory-mapped: image (C, *shape) float32, label (*shape) uint8."""

    image: np.ndarray
    label: np.ndarray
    labelled: Labelled


@dataclass(frozen=True)
class Cases:
    """The cases of a run by name; where they are resident, also as one pool on the device."""

    by_name: Mapping[str, Case]
    device: torch.device
    resident: tuple[Pool, Mapping[str, Box]] | None

    def whole(self, name: str) -> tuple[Tensor, Tensor]:
        """A case's image (C, *shape) and label (*shape), on the device where they are resident."""
        if self.resident is not None:
            pool, boxes = self.resident
            return pool.of(boxes[name])
        case = self.by_name[name]
        return torch.from_numpy(np.array(case.image)), torch.from_numpy(np.array(case.label))


def load(run: Mapping[str, Any], *, device: torch.device | str = "cpu", sharers: int = 1) -> Cases:
    """The training and validation cases of a run.

    ``sharers`` processes of this machine hold them, each in its own share of the memory.

    Every case that is missing, damaged, has no label, or does not fit the network (channels, dimensions,
    labels) is listed in one :class:`SegtraceError`.
    """
    device, folder = torch.device(device), Path(run["prepared"])
    found: dict[str, Case] = {}
    problems: list[str] = []
    for name in [*run["cases"]["train"], *run["cases"]["val"]]:
        case = _open(folder, name, run, problems)
        if case is not None:
            found[name] = case
    if not run["cases"]["train"]:
        problems.append("the split has no training case")
    if run["training"]["crop"] is None:
        shapes = sorted({found[name].label.shape for name in run["cases"]["train"] if name in found})
        if len(shapes) > 1 and run["training"]["cases_per_step"] > 1:
            problems.append(f"without a crop all training images must have one size; there are {shapes[:5]}")
    raise_all(
        problems,
        heading=f"{run['run']}: cannot train",
        remedy="Run prepare and validate again, or mend the recipe.",
    )
    whole = sum(case.image.nbytes + case.label.nbytes for case in found.values())
    memory = _memory(device) if device.type == "cuda" else _memory(device) // sharers
    return Cases(found, device, _resident(found, device) if whole < RESIDENT_SHARE * memory else None)


def _open(folder: Path, name: str, run: Mapping[str, Any], problems: list[str]) -> Case | None:
    """A case that fits the run; what does not fit goes to ``problems``."""
    network = run["network"]
    try:
        entry = store.open_case(folder, name)
        if not store.is_intact(folder, name, digest=entry.record["digest"]):
            problems.append(
                f"{folder}/{name}.*.npy: not the bytes that were prepared; delete them and prepare again"
            )
            return None
    except SegtraceError as error:
        problems.append(str(error))
        return None
    if entry.label is None:
        problems.append(f"{folder}/{name}: has no label, and is in the split")
        return None
    if entry.image.shape[0] != network["in_channels"] or entry.label.ndim != network["spatial_dims"]:
        problems.append(
            f"{folder}/{name}: image of shape {entry.image.shape}, the run expects {network['in_channels']} "
            f"channels in {network['spatial_dims']}-D"
        )
        return None
    highest, classes = int(entry.label.max()), background.classes_of(run)
    if highest >= classes:
        problems.append(f"{folder}/{name}: label {highest}, the run has 0 to {classes - 1}")
    return Case(entry.image, entry.label, Labelled.of(entry.label))


def _memory(device: torch.device) -> int:
    """Bytes of memory that resident cases share with the training."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _resident(cases: Mapping[str, Case], device: torch.device) -> tuple[Pool, dict[str, Box]]:
    """All cases in one pool on the device."""
    boxes = _boxes([(case.label.shape, (0,) * case.label.ndim, case.label.shape) for case in cases.values()])
    channels = next(iter(cases.values())).image.shape[0]
    count = sum(case.label.size for case in cases.values())
    pool = Pool(
        torch.empty((channels, count), device=device), torch.empty(count, dtype=torch.uint8, device=device)
    )
    for case, box in zip(cases.values(), boxes, strict=True):
        image, label = pool.of(box)
        image.copy_(torch.from_numpy(np.array(case.image)))
        label.copy_(torch.from_numpy(np.array(case.label)))
    return pool, dict(zip(cases, boxes, strict=True))


def _boxes(parts: Sequence[tuple[Sequence[int], Sequence[int], Sequence[int]]]) -> list[Box]:
    """Boxes of (size, origin, shape), one behind the other."""
    ends = np.cumsum([0, *(int(np.prod(size)) for size, _, _ in parts)]).tolist()
    return [
        Box(first, tuple(size), tuple(origin), tuple(shape))
        for (first, _), (size, origin, shape) in zip(pairwise(ends), parts, strict=True)
    ]


def draw(cases: Cases, names: Sequence[str], *, run: Mapping[str, Any], epoch: int) -> list[Parameters]:
    """The parameters of all samples of a step that holds the cases ``names``."""
    training = run["training"]
    return [
        sample
        for name in names
        for sample in sampling.draw(
            seed=run["seed"],
            epoch=epoch,
            case=name,
            count=training["crop"]["per_case"] if training["crop"] else 1,
            labelled=cases.by_name[name].labelled,
            crop=training["crop"],
            augmentation=training["augmentation"],
        )
    ]


def make(cases: Cases, samples: Sequence[Parameters], *, run: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """The batch of drawn samples: images (N, C, *size) float32, labels (N, *size) uint8, on the device.

    Raises :class:`SegtraceError` that names the case whose bytes cannot be read.
    """
    pool, boxes = _pool_of(cases, samples)
    how = run["training"]["augmentation"]["label_interpolation"]
    return augment.apply(pool, boxes, samples, label_interpolation=how)


def _pool_of(cases: Cases, samples: Sequence[Parameters]) -> tuple[Pool, list[Box]]:
    """Where the samples' voxels lie: in the resident pool, or in one that is read for them."""
    if cases.resident is not None:
        pool, all_boxes = cases.resident
        return pool, [all_boxes[sample["case"]] for sample in samples]
    shapes = [cases.by_name[sample["case"]].label.shape for sample in samples]
    reaches = [augment.reach(sample, shape) for sample, shape in zip(samples, shapes, strict=True)]
    boxes = _boxes([(size, first, shape) for (first, size), shape in zip(reaches, shapes, strict=True)])
    images, labels = [], []
    for sample, box in zip(samples, boxes, strict=True):
        case = cases.by_name[sample["case"]]
        part = tuple(slice(first, first + side) for first, side in zip(box.origin, box.size, strict=True))
        try:
            images.append(np.ascontiguousarray(case.image[(slice(None), *part)]).reshape(len(case.image), -1))
            labels.append(np.ascontiguousarray(case.label[part]).ravel())
        except (OSError, ValueError) as error:
            raise SegtraceError(
                f"case {sample['case']}: cannot be read ({error}); prepare it again"
            ) from None
    host = torch.from_numpy(np.concatenate(images, axis=1)), torch.from_numpy(np.concatenate(labels))
    if cases.device.type == "cuda":
        host = host[0].pin_memory(), host[1].pin_memory()
    return Pool(*(part.to(cases.device, non_blocking=True) for part in host)), boxes


def batches(
    cases: Cases,
    steps: Sequence[Sequence[str]],
    *,
    run: Mapping[str, Any],
    epoch: int,
    share: Callable[[int], Iterable[int]] = range,
) -> Iterator[tuple[list[Parameters], Tensor, Tensor]]:
    """(parameters, images, labels) of each of an epoch's ``steps``, each a list of case names.

    Parameters are of all samples of the step; images and labels of those at the positions that ``share`` gives for
    their number. Cases that are not resident are read one step ahead by a thread; its failure is raised here, at its step.
    """

    def batch(names: Sequence[str]) -> tuple[list[Parameters], Tensor, Tensor]:
        samples = draw(cases, names, run=run, epoch=epoch)
        return samples, *make(cases, [samples[place] for place in share(len(samples))], run=run)

    if cases.resident is not None:
        yield from map(batch, steps)
        return
    with ThreadPoolExecutor(1, "read ahead") as reader:
        ahead = None
        for names in steps:
            now, ahead = ahead, reader.submit(batch, names)
            if now is not None:
                yield now.result()
        if ahead is not None:
            yield ahead.result()
