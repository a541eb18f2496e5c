"""The state of an interrupted training: all that is needed to go on as if nothing had happened.

A state is one safetensors file in ``<run folder>/resume``: weights, optimiser, best weights so far, the
running loss, and in its metadata the position, the history and the identity of the run. Random numbers
need no saving, since they are functions of the position. The last two states are kept; a damaged one,
or one of another run identity, is dropped with a line.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segtrace import checkpoint
from segtrace.errors import SegtraceError

KEPT = 2


def _states(folder: Path) -> list[Path]:
    """State files of a run folder, newest first."""
    return sorted((folder / "resume").glob("state-*.safetensors"), reverse=True)


def newest(folder: Path) -> Path | None:
    """The newest state of a run folder, or None."""
    return next(iter(_states(folder)), None)


def _optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimiser.state_dict()["state"]
    return {
        f"optimiser.{index}.{key}": value
        for index, entries in state.items()
        for key, value in entries.items()
        if value is not None
    }


def save(
    folder: Path,
    *,
    identity: str,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    best: Mapping[str, Tensor] | None,
    loss_sum: Tensor,
    position: Mapping[str, Any],
) -> Path:
    """Write a state; ``position`` is JSON with the key ``step``. Older states than the last two are removed."""
    tensors = {f"weights.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in (best or {}).items()}
    tensors |= _optimiser_tensors(optimiser)
    tensors["loss_sum"] = loss_sum
    path = folder / "resume" / f"state-{position['step']:09d}-{position['epoch']:06d}.safetensors"
    checkpoint.save(path, tensors, metadata={"identity": identity, "position": dict(position)})
    for old in _states(folder)[KEPT:]:
        old.unlink()
    return path


def load(
    folder: Path, *, identity: str, network: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[dict[str, Any], dict[str, Tensor] | None, Tensor] | None:
    """Put the newest sound state of this identity in place: (position, best weights, loss sum), or None."""
    for path in _states(folder):
        try:
            metadata = checkpoint.read_metadata(path)
            if metadata["identity"] != identity:
                print(
                    f"{path}: of another configuration, data, code or machine; dropped, starting anew",
                    flush=True,
                )
                discard(folder)
                return None
            tensors, metadata = checkpoint.load(path)
        except SegtraceError as error:
            print(f"{error} (the state is dropped)", flush=True)
            path.unlink()
            continue
        network.load_state_dict(_under(tensors, "weights."))
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in _under(tensors, "optimiser.").items():
            index, _, key = name.partition(".")
            parameter = parameters[int(index)]
            if value.shape == parameter.shape:
                # the fused optimisers walk memory, so a moment must lie in memory as its parameter does
                value = torch.empty_like(parameter, requires_grad=False).copy_(value)
            states.setdefault(int(index), {})[key] = value
        optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})
        return metadata["position"], _under(tensors, "best.") or None, tensors["loss_sum"]
    return None


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def discard(folder: Path) -> None:
    """Remove all states of a run folder."""
    shutil.rmtree(folder / "resume", ignore_errors=True)
