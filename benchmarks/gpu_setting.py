"""Where, at what size and for how long the table of a GPU is measured, and one line of it."""

import contextlib
import dataclasses
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import steps
import synthetic


class Late(BaseException):
    """A part has used up its time."""


@dataclasses.dataclass
class Row:
    """One line of the table; ``met`` says whether the bar is met, None where there is none.

    A bar that ``must`` be met is one of equality, which no machine excuses.
    """

    part: str
    what: str
    value: str
    bar: str = ""
    met: bool | None = None
    must: bool = False
    numbers: dict[str, Any] = dataclasses.field(default_factory=dict)


class Setting:
    """Where and at what size to measure, and how much time is left."""

    def __init__(self, *, dry: bool, seconds: float, folder: Path) -> None:
        self.dry, self.folder = dry, folder
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.zeros((), device=self.device)  # wakes the GPU, whose memory is counted from here on
        self._end = time.monotonic() + seconds
        self.times: dict[str, float] = {}
        self.run = synthetic.hippocampus()
        cases = (2, 1) if dry else synthetic.HIPPOCAMPUS_CASES
        if dry:
            self.run = synthetic.small(spatial_dims=3)
            self.run["training"] |= {"cases_per_step": 1, "validate_every": 2}
        shapes = synthetic.sizes(sum(cases), synthetic.HIPPOCAMPUS_SIDES)
        synthetic.write_cases(self.run, folder / "cases", shapes, validation=cases[1])

    @property
    def left(self) -> float:
        """Seconds that are left for all."""
        return self._end - time.monotonic()

    def watch(self) -> steps.Stopwatch:
        """A stopwatch with the warm-up and the number of steps that are asked for."""
        return steps.Stopwatch(self.device, **({"warm": 1, "timed": 2} if self.dry else {}))

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise :class:`Late` in the block after ``seconds``."""

    def late(*_: object) -> None:
        raise Late

    before, started = signal.signal(signal.SIGALRM, late), time.monotonic()
    outer, _ = signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        rest = max(outer - (time.monotonic() - started), 0.01) if outer else 0
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, rest)  # that of the block around this one


@contextlib.contextmanager
def tf32(on: bool) -> Iterator[None]:
    """Whether convolutions may round float32 to TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = on
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
