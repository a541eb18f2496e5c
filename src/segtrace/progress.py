"""Progress: a bar on a terminal, a few plain lines in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Counts towards ``total``; one bar on a terminal, at most some ten lines in a log."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done = label, total, 0
        self._started = self._spoke = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(stderr=True), transient=True, auto_refresh=False)
            self._task = self._bar.add_task(label, total=total)
            self._bar.start()

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        """Count ``steps`` more; ``note`` is shown beside the count."""
        self.done += steps
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, description=f"{self.label} {note}".strip())
            self._bar.refresh()
            return
        tenth = max(1, self.total // 10)
        crossed = self.done // tenth > (self.done - steps) // tenth
        if (crossed and now - self._spoke >= 5) or now - self._spoke >= 30:
            rate = self.done / max(now - self._started, 1e-9)
            left = (self.total - self.done) / rate
            print(
                f"{self.label}: {self.done}/{self.total} {note} ({left:.0f} s left)".replace("  ", " "),
                flush=True,
            )
            self._spoke = now

    def close(self) -> None:
        """Take the bar away; in a log, say the final count and the time."""
        if self._bar is not None:
            self._bar.stop()
        else:
            seconds = time.monotonic() - self._started
            print(f"{self.label}: {self.done}/{self.total} in {seconds:.1f} s", flush=True)


@contextmanager
def progress(label: str, total: int) -> Iterator[Progress]:
    """A :class:`Progress` that is closed however the block ends."""
    bar = Progress(label, total)
    try:
        yield bar
    finally:
        bar.close()
