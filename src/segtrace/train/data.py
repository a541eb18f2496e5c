"""A run's prepared cases: in memory when they fit, memory-mapped otherwise; the samples are the same."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segtrace import store
from segtrace.errors import SegtraceError, raise_all
from segtrace.train import sampling


@dataclass(frozen=True)
class LoadedCase:
    """A case ready for sampling: image (C, *shape), label (*shape), flat indices of labelled voxels."""

    case: str
    image: np.ndarray
    label: np.ndarray
    foreground: np.ndarray


def load(run: Mapping[str, Any]) -> dict[str, LoadedCase]:
    """The training and validation cases of a run, by name.

    Every case that is missing, has no label, or does not fit the network (channels, dimensions,
    labels) is listed in one :class:`SegtraceError`.
    """
    folder = Path(run["prepared"])
    network = run["network"]
    opened, problems = {}, []
    for case in [*run["cases"]["train"], *run["cases"]["val"]]:
        try:
            opened[case] = store.open_case(folder, case)
            if not store.is_intact(folder, case, digest=opened[case].record["digest"]):
                problems.append(
                    f"{folder}/{case}.*.npy: not the bytes that were prepared; delete them and prepare again"
                )
        except SegtraceError as error:
            problems.append(str(error))
    whole = sum(entry.image.nbytes for entry in opened.values())
    in_memory = whole < 0.4 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    loaded = {}
    for case, entry in opened.items():
        if entry.label is None:
            problems.append(f"{folder}/{case}: has no label, and is in the split")
            continue
        if entry.image.shape[0] != network["in_channels"] or entry.label.ndim != network["spatial_dims"]:
            problems.append(
                f"{folder}/{case}: image of shape {entry.image.shape}, the run expects {network['in_channels']} "
                f"channels in {network['spatial_dims']}-D"
            )
            continue
        image, label = (
            (np.array(entry.image), np.array(entry.label)) if in_memory else (entry.image, entry.label)
        )
        if int(label.max()) >= network["out_channels"]:
            problems.append(
                f"{folder}/{case}: label {int(label.max())}, the run has 0 to {network['out_channels'] - 1}"
            )
        loaded[case] = LoadedCase(case, image, label, np.flatnonzero(label))
    if not run["cases"]["train"]:
        problems.append("the split has no training case")
    if run["training"]["crop"] is None:
        shapes = sorted({loaded[case].label.shape for case in run["cases"]["train"] if case in loaded})
        if len(shapes) > 1 and run["training"]["cases_per_step"] > 1:
            problems.append(f"without a crop all training images must have one size; there are {shapes[:5]}")
    raise_all(
        problems,
        heading=f"{run['run']}: cannot train",
        remedy="Run prepare and validate again, or mend the recipe.",
    )
    return loaded


def batch(
    cases: Mapping[str, LoadedCase], names: Sequence[str], *, run: Mapping[str, Any], epoch: int
) -> tuple[Tensor, Tensor]:
    """The samples of one step: images (N, C, *crop) float32, labels (N, *crop) uint8, on the CPU."""
    training = run["training"]
    samples = []
    for name in names:
        entry = cases[name]
        for number in range(training["crop"]["per_case"] if training["crop"] else 1):
            parameters = sampling.draw(
                seed=run["seed"],
                epoch=epoch,
                case=name,
                number=number,
                shape=entry.label.shape,
                foreground=entry.foreground,
                crop=training["crop"],
                augmentation=training["augmentation"],
            )
            samples.append(sampling.apply(entry.image, entry.label, parameters))
    images, labels = zip(*samples, strict=True)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))
