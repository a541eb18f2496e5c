"""From an image in memory to its labels: a run's settings, its networks, and what they say of each voxel."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segtrace import checkpoint, device, networks
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid
from segtrace.predict import pipeline, restore
from segtrace.sliding import predict_planes


def load_network(run: Mapping[str, Any], weights: Path, *, on: torch.device) -> nn.Module:
    """The run's network with its trained weights on the device ``on``, in the memory layout that is fastest there."""
    network = networks.of_run(run)
    checkpoint.load_weights(weights, network)
    precision, axes = run["training"]["precision"], run["network"]["spatial_dims"]
    layout = device.memory_format(on, precision=precision, axes=axes)
    return network.eval().to(on, memory_format=layout)


def labels_of(
    networks: Sequence[nn.Module],
    image: np.ndarray,
    *,
    inference: Mapping[str, Any],
    on: torch.device,
    prepared: Grid,
    target: Grid,
) -> np.ndarray:
    """The most probable labels, uint8 on ``target``, of an image (C, D, H, W) or (C, H, W) on the grid ``prepared``.

    Class probabilities are the mean over ``networks``, which lie on the device ``on``. Raises
    :class:`SegtraceError` if they are not finite.
    """
    blocks = _probabilities(networks, image, inference=inference, on=on)
    return restore.labels_on(blocks, prepared=prepared, target=target, device=on)


@torch.inference_mode()
def _probabilities(
    networks: Sequence[nn.Module], image: np.ndarray, *, inference: Mapping[str, Any], on: torch.device
) -> Iterator[tuple[int, Tensor]]:
    """(number of the first plane, class probabilities (K, n, H, W) or (K, n, W)) of blocks of planes, in order."""
    for first, logits in predict_planes(networks, image, device=on, **inference):
        shares = torch.softmax(logits[0], dim=0)
        for other in logits[1:]:
            shares += torch.softmax(other, dim=0)
        if len(logits) > 1:
            shares /= len(logits)
        if not bool(torch.isfinite(shares[0]).all()):  # one value that is not makes those of all classes so
            raise SegtraceError(
                "the network's output is not finite; its weights are unfit or precision is too low"
            )
        yield first, shares


@contextmanager
def memory_told(what: str, *, run: Mapping[str, Any], on: torch.device) -> Iterator[None]:
    """Say what to lower where ``what`` needs more memory than the device has."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise pipeline.FatalError(
            f"{what}: out of memory on {on} ({error}); lower inference.batch or "
            f"inference.window in config/training/{run['training_name']}.yaml"
        ) from None
