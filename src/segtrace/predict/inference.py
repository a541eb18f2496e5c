"""From an image in memory to its labels: a run's settings, its networks, and what they say of each voxel."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segtrace import checkpoint, networks
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid
from segtrace.predict import pipeline, restore
from segtrace.sliding import predict_planes


def inference_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """How a run's images are segmented: arguments of :func:`segtrace.sliding.predict_planes`."""
    training = run["training"]
    inference, crop = training["inference"], training["crop"]
    return {
        "window": inference["window"] or (crop["size"] if crop else None),
        "overlap": inference["overlap"],
        "weighting": inference["weighting"],
        "batch": inference["batch"],
        "precision": training["precision"],
        "mirror": inference.get("mirror", []),  # runs trained before there were these two have neither
        "skip_empty": inference.get("skip_empty", False),
    }


def load_network(run: Mapping[str, Any], weights: Path) -> nn.Module:
    """The run's network with its trained weights, on the CPU."""
    spec = run["network"]
    network = networks.create(
        spec["name"],
        in_channels=spec["in_channels"],
        out_channels=spec["out_channels"],
        spatial_dims=spec["spatial_dims"],
        **spec["options"],
    )
    checkpoint.load_weights(weights, network)
    return network.eval()


def on_device(network: nn.Module, on: torch.device, *, precision: str, spatial_dims: int) -> nn.Module:
    """The network on the device ``on``, in the memory layout that is fastest there."""
    network = network.to(on)
    if on.type == "cpu" and precision == "bf16":
        # measured on a CPU with bfloat16 units: 2-D takes a third of the time, 3-D three quarters
        network = network.to(
            memory_format=torch.channels_last if spatial_dims == 2 else torch.channels_last_3d
        )
    return network


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
