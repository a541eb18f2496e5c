"""Stopping at the first loss or gradient that is not finite, with all that is needed to find out why."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segtrace.errors import SegtraceError
from segtrace.files import write_json
from segtrace.train import resume
from segtrace.train.sampling import Parameters

#: On a GPU, losses are looked at every so many steps, so that the device is not made to wait each step.
GPU_CHECK_STEPS = 50
#: The samples of the step at which a run stopped; beside the states to resume from.
STOPPED = "stopped.json"


class _Seen(NamedTuple):
    loss: Tensor
    norm: Tensor
    epoch: int
    step: int
    samples: Sequence[Parameters]
    rate: float


class Watch:
    """Looks at each step's loss and gradient norm: at once on a CPU, every 50 steps on a GPU."""

    def __init__(self, run: Mapping[str, Any], folder: Path, device: torch.device) -> None:
        self.run, self.folder = run, folder
        self.every = 1 if device.type == "cpu" else GPU_CHECK_STEPS
        self.last_loss = math.nan
        self._seen: list[_Seen] = []

    def see(
        self,
        loss: Tensor,
        norm: Tensor,
        *,
        position: Mapping[str, Any],
        samples: Sequence[Parameters],
        rate: float,
    ) -> None:
        """Remember a step that was just taken; raises as :meth:`check` where it is time to look."""
        self._seen.append(_Seen(loss, norm, position["epoch"], position["step"], samples, rate))
        if len(self._seen) >= self.every:
            self.check()

    def check(self) -> None:
        """Look at every step since the last look; raises :class:`SegtraceError` for the first bad one."""
        if not self._seen:
            return
        values = torch.stack([torch.stack([s.loss.double(), s.norm.double()]) for s in self._seen]).tolist()
        for (loss, norm), seen in zip(values, self._seen, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._stop(loss, norm, seen)
        self.last_loss = values[-1][0]
        self._seen.clear()

    def _stop(self, loss: float, norm: float, seen: _Seen) -> None:
        # the same content from each process of a world: all know the whole step
        write_json(self.folder / "resume" / STOPPED, {"run": self.run["run"], "samples": list(seen.samples)})
        cases = sorted({sample["case"] for sample in seen.samples})
        good = resume.newest(self.folder)
        raise SegtraceError(
            f"{self.run['run']}: stopped, loss {loss} and gradient norm {norm} at epoch {seen.epoch + 1}, "
            f"step {seen.step + 1}\n"
            f"  cases: {', '.join(cases)}\n"
            f"  learning rate: {seen.rate}; precision: {self.run['training']['precision']}\n"
            f"  last good state: {good or 'none yet'}\n"
            f"  the step's samples: {self.folder / 'resume' / STOPPED} (segtrace train RUN --replay writes one out)\n"
            f"Look at these cases in {self.run['prepared']}; if they are sound, lower training.learning_rate or "
            f"set training.clip_norm in config/training/{self.run['training_name']}.yaml."
        )
