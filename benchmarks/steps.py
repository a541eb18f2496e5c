"""Times of single training steps: of the engine as it runs, and of the step alone on tensors that lie ready.

On a GPU times are those between CUDA events, after warm-up; on a CPU those of the clock.
"""

import contextlib
import gc
import io
import statistics
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from segtrace import device as devices
from segtrace.background import classes_of
from segtrace.train import loop, step
from segtrace.train.learner import prepare_learner

WARM, TIMED = 20, 50


class Enough(BaseException):
    """Enough steps were taken; no fault, so nothing between here and the loop may take it for one."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds a step (mean over the timed ones, and the median of single ones), memory, and how it ran."""

    ms: float
    median_ms: float
    memory_gib: float
    manner: str


class Stopwatch:
    """Takes a stamp after each step; on a GPU the stamp is an event among the kernels, which nothing waits for."""

    def __init__(self, device: torch.device, *, warm: int = WARM, timed: int = TIMED) -> None:
        self.device, self.warm, self.timed = device, warm, timed
        self._stamps: list[Any] = []

    def stamp(self) -> None:
        """A step is done; raises :class:`Enough` after the last one that counts."""
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._stamps.append(event)
        else:
            self._stamps.append(time.perf_counter())
        if len(self._stamps) > self.warm + self.timed:
            raise Enough

    def timing(self, manner: str) -> Timing:
        """The times of the steps after the warm-up."""
        counted = self._stamps[self.warm :]
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            single = [a.elapsed_time(b) for a, b in pairwise(counted)]
            memory = torch.cuda.max_memory_allocated(self.device) / 2**30
        else:
            single = [(b - a) * 1000 for a, b in pairwise(counted)]
            memory = 0.0
        return Timing(statistics.fmean(single), statistics.median(single), memory, manner)


class Bar:
    """Takes the place of the engine's progress bar: each step it counts is stamped."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    def advance(self, steps: int = 1, *, units: int = 0, note: str = "") -> None:
        """A step is done."""
        del units, note
        for _ in range(steps):
            self.watch.stamp()


def fresh(device: torch.device) -> None:
    """Forget what earlier measurements left in memory and in the compiler."""
    gc.collect()
    if device.type == "cuda":
        torch.compiler.reset()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


@contextlib.contextmanager
def _instrumented(watch: Stopwatch, *, constant: bool) -> Iterator[list[str]]:
    """The engine with a stopwatch for a bar, and by choice with one batch for all; yields how its network runs."""
    manners: list[str] = []
    batches = loop.data.batches

    @contextlib.contextmanager
    def bar(*_: Any, **__: Any) -> Iterator[Bar]:
        yield Bar(watch)

    def noted(*arguments: Any, **options: Any) -> step.Learner:
        learner = prepare_learner(*arguments, **options)
        manners.append(learner.manner)
        return learner

    def same(cases: Any, steps: Any, **options: Any) -> Iterator[Any]:
        first = next(iter(batches(cases, steps[:1], **options)))
        for _ in steps:
            yield first

    with (
        mock.patch.object(loop, "progress", bar),
        mock.patch.object(loop, "prepare_learner", noted),
        mock.patch.object(loop.data, "batches", same if constant else batches),
    ):
        yield manners


def engine(run: dict[str, Any], folder: Path, watch: Stopwatch, *, constant: bool = False) -> Timing:
    """The engine's own steps, all that it does between two of them included; ``constant`` gives it one batch for all.

    The training ends after the last timed step; its folder holds nothing. What it prints is shown only if it fails.
    """
    fresh(watch.device)
    printed = io.StringIO()
    with _instrumented(watch, constant=constant) as manners:
        try:
            with contextlib.redirect_stdout(printed):
                loop.train(run, folder=folder, save_seconds=1e9)
        except Enough:
            pass
        except BaseException:
            print(printed.getvalue(), flush=True)
            raise
    return watch.timing(manners[0])


def bare(run: dict[str, Any], watch: Stopwatch, *, shape: tuple[int, ...]) -> Timing:
    """The step alone (forward, loss, backward, update) on constant tensors of ``shape`` (N, C, D, H, W) or (N, C, H, W)."""
    fresh(watch.device)
    devices.set_determinism(run["determinism"], threads=run["threads"])
    with contextlib.redirect_stdout(io.StringIO()):
        learner = prepare_learner(run, watch.device, sides=run["training"]["crop"]["size"])
    images, labels = batch_of(shape, classes_of(run), watch.device)
    learner.network.train()
    rate = run["training"]["learning_rate"]
    with contextlib.suppress(Enough):
        while True:
            step.take(learner, images, labels, rate=rate)
            watch.stamp()
    return watch.timing(learner.manner)


def batch_of(shape: tuple[int, ...], classes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images of ``shape`` and labels (N, D, H, W) or (N, H, W), from a seed."""
    random = torch.Generator().manual_seed(0)
    images = torch.randn(shape, generator=random)
    labels = torch.randint(0, classes, (shape[0], *shape[2:]), generator=random, dtype=torch.uint8)
    return images.to(device), labels.to(device)


def shape_of(run: dict[str, Any]) -> tuple[int, ...]:
    """The shape of a step's images."""
    training = run["training"]
    count = training["cases_per_step"] * training["crop"]["per_case"]
    return (count, run["network"]["in_channels"], *training["crop"]["size"])


def host_waits(
    run: dict[str, Any], folder: Path, device: torch.device, *, steps: int = 25
) -> tuple[int, str]:
    """How often the host waits for the GPU in ``steps`` steps of the engine, and where first.

    Steps 21 on, before the first look at the losses at step 50, which waits on purpose.
    """
    watch = Stopwatch(device, warm=WARM, timed=steps - 1)
    plain = watch.stamp

    def stamp() -> None:
        try:
            plain()
        except Enough:
            torch.cuda.set_sync_debug_mode("default")
            raise
        if len(watch._stamps) == WARM:
            torch.cuda.set_sync_debug_mode("warn")

    watch.stamp = stamp  # type: ignore[method-assign]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            engine(run, folder, watch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    found = [entry for entry in caught if "synchroniz" in str(entry.message)]
    return len(found), f"{Path(found[0].filename).name}:{found[0].lineno}" if found else ""
