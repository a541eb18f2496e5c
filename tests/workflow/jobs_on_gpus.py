"""Which job works on which fake GPU, looked at from outside: by processes and what their logs say."""

import re
import threading
import time
from pathlib import Path

import psutil

SAID = re.compile(r"on the fake GPU (\S+) ")


class Watcher:
    """Looks at a project's trainings until it is told to stop.

    ``samples`` are (seconds, device → processes on it), and ``most`` how many trainings there were at once at the most.
    """

    def __init__(self, project: Path, pid: int, *, every: float = 0.05) -> None:
        self.samples: list[tuple[float, dict[str, set[int]]]] = []
        self.most = 0
        self._project, self._pid, self._every = project, pid, every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, and keep what was seen."""
        self._ended.set()
        self._thread.join()

    def now(self) -> dict[str, set[int]]:
        """Device → processes of trainings that said that they are on it, of those that live."""
        try:
            children = psutil.Process(self._pid).children(recursive=True)
        except psutil.Error:
            return {}
        trainings: dict[psutil.Process, str | None] = {}
        tree, copied = {self._pid} | {child.pid for child in children}, set()
        for child in children:  # parents come before their children
            try:
                line, parent = child.cmdline(), child.ppid()
                if len(line) < 4 or not line[1].endswith("/segtrace") or line[2] != "train":
                    continue
                copied.add(child.pid)
                if parent in copied or parent not in tree:
                    continue  # a copy of a training that is about to become another program, or outlived it
                said = SAID.search((self._project / f"logs/train/{line[3]}.log").read_text())
                trainings[child] = said.group(1) if said else None
            except (psutil.Error, OSError):
                continue
        found: dict[str, set[int]] = {}
        count = 0
        # Looked at one after the other: who has ended since its turn may have left its device to one that came later.
        for child, device in trainings.items():
            if not _lives(child):
                continue
            count += 1
            if device:
                found.setdefault(device, set()).add(child.pid)
        self.most = max(self.most, count)
        return found

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            self.samples.append((time.monotonic(), self.now()))

    def most_per_device(self) -> dict[str, int]:
        """Device → the most trainings that were on it at once."""
        devices = {device for _, now in self.samples for device in now}
        return {device: max(len(now.get(device, ())) for _, now in self.samples) for device in devices}

    def busy(self) -> dict[str, float]:
        """Device → part of the time in which it had a training: from the first one's start to when all had one for the
        last time. After that there are fewer trainings than devices.
        """
        devices = self.most_per_device()
        first = next(when for when, now in self.samples if now)
        last = max(when for when, now in self.samples if len(now) == len(devices))
        spans = zip(self.samples, self.samples[1:], strict=False)
        parts = [(later - when, now) for (when, now), (later, _) in spans if first <= when <= last]
        whole = sum(seconds for seconds, _ in parts)
        return {d: sum(seconds for seconds, now in parts if d in now) / whole for d in sorted(devices)}


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False
