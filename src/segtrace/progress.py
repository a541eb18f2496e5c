"""Progress: a bar on a terminal, a few plain lines in a log.

Both say what is done of what, how long the rest takes, and where they are given: how many units go
through a second (``images/s``) and how much memory is in use.
"""

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: Seconds over which rates are averaged; what lies further back counts less and less.
SMOOTHING = 15.0
#: Seconds between two drawings of the bar: a fast device does hundreds of steps in one.
REDRAW = 0.2


class Rate:
    """Events a second, smoothed: each stretch of time counts by its length, older ones fade.

    Until :data:`SMOOTHING` seconds have passed it is close to the plain mean, so the first value is no accident of
    the first step.
    """

    def __init__(self) -> None:
        self._count = self._weight = 0.0
        self._pending, self._stretch = 0.0, 0.0

    def see(self, count: float, seconds: float) -> None:
        """``count`` events happened in ``seconds``; a stretch too short to tell is added to the next one."""
        self._pending += count
        self._stretch += seconds
        if self._stretch < 1e-3:
            return
        fade = math.exp(-self._stretch / SMOOTHING)
        self._count = self._count * fade + self._pending
        self._weight = self._weight * fade + self._stretch
        self._pending = self._stretch = 0.0

    @property
    def value(self) -> float:
        """Events a second; 0 before there were any."""
        return self._count / self._weight if self._weight else 0.0


class Progress:
    """Counts towards ``total``; one bar on a terminal, at most some ten lines in a log."""

    def __init__(
        self,
        label: str,
        total: int,
        *,
        done: int = 0,
        unit: str = "",
        memory: Callable[[], str] | None = None,
    ) -> None:
        self.label, self.total, self.done = label, total, done
        self._unit, self._memory = unit, memory
        self._started = self._spoke = self._last = self._drawn = time.monotonic()
        self._steps, self._units = Rate(), Rate()
        self._bar = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(stderr=True), transient=True, auto_refresh=False)
            self._task = self._bar.add_task(label, total=total, completed=done)
            self._bar.start()

    def advance(self, steps: int = 1, *, units: int = 0, note: str = "") -> None:
        """Count ``steps`` more, which held ``units`` of the unit; ``note`` is shown beside the count."""
        self.done += steps
        now = time.monotonic()
        self._steps.see(steps, now - self._last)
        self._units.see(units, now - self._last)
        self._last = now
        if self._bar is not None:
            if now - self._drawn >= REDRAW or self.done >= self.total:
                shown = f"{self.label}{self._aside(note)}"
                self._bar.update(self._task, completed=self.done, description=shown)
                self._bar.refresh()
                self._drawn = now
            return
        tenth = max(1, self.total // 10)
        crossed = self.done // tenth > (self.done - steps) // tenth
        if (crossed and now - self._spoke >= 5) or now - self._spoke >= 30:
            print(f"{self.label}: {self.done}/{self.total}{self._aside(note)}", flush=True)
            self._spoke = now

    def _aside(self, note: str) -> str:
        """What stands beside the count: the note, units a second, memory, and the time that the rest takes."""
        rate = self._units.value
        parts = [note, f"{significant(rate)} {self._unit}/s" if self._unit and rate else ""]
        parts.append(self._memory() if self._memory is not None else "")
        left = (
            f" ({duration((self.total - self.done) / self._steps.value)} left)" if self._steps.value else ""
        )
        return f" {', '.join(part for part in parts if part)}".rstrip() + left

    def close(self) -> None:
        """Take the bar away; in a log, say the final count and the time."""
        if self._bar is not None:
            self._bar.stop()
        else:
            seconds = time.monotonic() - self._started
            print(f"{self.label}: {self.done}/{self.total} in {seconds:.1f} s", flush=True)


def duration(seconds: float) -> str:
    """A time to wait, as one reads it: ``42 s``, ``12 min``, ``3 h 20 min``, ``2 d 5 h``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h"


def significant(value: float) -> str:
    """A rate with three significant digits, never in powers of ten: ``0.0213``, ``4.25``, ``1830``."""
    if value <= 0:
        return "0"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def resident_memory() -> str:
    """The memory that this process holds now, such as ``1.4 GiB resident``; empty where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return ""
    return f"{pages * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB resident"


@contextmanager
def progress(
    label: str, total: int, *, done: int = 0, unit: str = "", memory: Callable[[], str] | None = None
) -> Iterator[Progress]:
    """A :class:`Progress` that is closed however the block ends.

    ``done`` of ``total`` steps were done before, and count for no rate. With a ``unit`` (``images``), each
    :meth:`Progress.advance` says how many went through, and their rate is shown. ``memory`` gives a text, asked for
    only when something is shown: :func:`resident_memory`, or what ``segtrace.device`` says of a GPU.
    """
    bar = Progress(label, total, done=done, unit=unit, memory=memory)
    try:
        yield bar
    finally:
        bar.close()
