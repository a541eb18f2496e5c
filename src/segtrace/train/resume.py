"""The state of an interrupted training: all that is needed to go on as if nothing had happened.

A state is one safetensors file in ``<run folder>/resume``: weights, their running average, optimiser, best
weights so far, the running loss, and in its metadata the position, the history and the identity of the run.
Random numbers need no saving, since they are functions of the position. The last two states are kept; a
damaged one is dropped with a line, and so are those of another run identity.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segtrace import checkpoint
from segtrace.errors import SegtraceError
from segtrace.train import interruption
from segtrace.train.step import Learner

KEPT = 2


@dataclass
class State:
    """Where a training stands; with the learner's tensors, all that a resumed one needs."""

    position: dict[str, Any]
    """epoch, index (steps taken in it), step (of all), history, best_epoch, best_dice: plain JSON."""
    loss_sum: Tensor
    """Of the epoch's steps so far, on the device."""
    best: dict[str, Tensor] | None = None
    """The weights of the best validation so far."""


class Saver:
    """Writes a state every so many seconds, or every so many steps where that is given."""

    def __init__(
        self,
        folder: Path,
        identity: str,
        learner: Learner,
        state: State,
        *,
        seconds: float,
        steps: int | None,
        asked_to_end: Callable[[], str] = lambda: "",
    ) -> None:
        self.folder, self.identity, self.learner, self.state = folder, identity, learner, state
        self.seconds, self.steps, self.asked_to_end = seconds, steps, asked_to_end
        self._saved = time.monotonic()

    def save_if_due(self, *, first: Callable[[], None] = lambda: None, epoch_ended: bool = False) -> None:
        """Save where it is time to, after ``first`` has found the state good; at an epoch's end, with steps, always.

        Where the process was asked to end, save and raise :class:`SystemExit`; so where any of its world was. Of a
        world, the first one writes.
        """
        world = self.learner.world
        ending = world.any(bool(self.asked_to_end()))
        if self.steps:
            due = epoch_ended or self.state.position["step"] % self.steps == 0
        else:
            due = time.monotonic() - self._saved > self.seconds
        if due or ending:
            first()
            if world.is_first:
                save(self.folder, identity=self.identity, learner=self.learner, state=self.state)
            self._saved = time.monotonic()
        if ending:
            world.told([0])  # none ends before the state is written
            at = self.state.position
            by = self.asked_to_end() or "by a signal to another of its processes"
            print(
                f"asked to end ({by}): the state at epoch {at['epoch'] + 1}, step {at['step']} is written; the same "
                "command goes on from there",
                flush=True,
            )
            raise SystemExit(interruption.STATUS)


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


def save(folder: Path, *, identity: str, learner: Learner, state: State) -> Path:
    """Write a state. Older states than the last two are removed."""
    position = state.position
    tensors = {f"weights.{name}": value for name, value in learner.network.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in (state.best or {}).items()}
    if learner.objective is not None:
        tensors |= {f"objective.{name}": value for name, value in learner.objective.state_dict().items()}
    if learner.average is not None:
        tensors |= {f"average.{name}": value for name, value in learner.average.state_dict().items()}
    tensors |= _optimiser_tensors(learner.optimiser)
    tensors["loss_sum"] = state.loss_sum
    path = _path(folder, position["step"], position["epoch"])
    checkpoint.save(path, tensors, metadata={"identity": identity, "position": dict(position)})
    for old in _states(folder)[KEPT:]:
        old.unlink()
    return path


def load(folder: Path, *, identity: str, learner: Learner, state: State) -> bool:
    """Put the newest sound state of this identity into ``learner`` and ``state``; whether there was one."""
    for path in _states(folder):
        try:
            metadata = checkpoint.read_metadata(path)
            if metadata["identity"] != identity:
                print(
                    f"{path}: of another configuration, data, code or machine; dropped, starting anew",
                    flush=True,
                )
                discard(folder)
                return False
            tensors, metadata = checkpoint.load(path)
        except SegtraceError as error:
            print(f"{error} (the state is dropped)", flush=True)
            path.unlink()
            continue
        _restore(tensors, metadata, learner=learner, state=state)
        return True
    return False


def load_together(folder: Path, *, identity: str, learner: Learner, state: State) -> bool:
    """:func:`load` in the first process of the learner's world, and the state that it chose in the others."""
    world = learner.world
    loaded = world.is_first and load(folder, identity=identity, learner=learner, state=state)
    at = state.position
    step, epoch = world.told([at["step"], at["epoch"]] if loaded else [-1, -1])
    if step < 0:
        return False
    if not world.is_first:
        _restore(*checkpoint.load(_path(folder, step, epoch)), learner=learner, state=state)
    return True


def _path(folder: Path, step: int, epoch: int) -> Path:
    return folder / "resume" / f"state-{step:09d}-{epoch:06d}.safetensors"


def _restore(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], *, learner: Learner, state: State
) -> None:
    """Put a state into ``learner`` and ``state``."""
    learner.network.load_state_dict(_under(tensors, "weights."))
    if learner.objective is not None:
        learner.objective.load_state_dict(_under(tensors, "objective."))
    if learner.average is not None:
        learner.average.load_state_dict(_under(tensors, "average."))
    _put(learner.optimiser, _under(tensors, "optimiser."))
    state.position, state.best = metadata["position"], _under(tensors, "best.") or None
    state.loss_sum.copy_(tensors["loss_sum"])


def _put(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put saved moments and counters into an optimiser."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    states: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            # the fused optimisers walk memory, so a moment must lie in memory as its parameter does
            value = torch.empty_like(parameter, requires_grad=False).copy_(value)
        states.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def discard(folder: Path) -> None:
    """Remove all states of a run folder."""
    shutil.rmtree(folder / "resume", ignore_errors=True)
