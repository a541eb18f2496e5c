"""Where facts about this machine come from, and what a look at it found.

Every probe takes its facts from a :class:`Machine`, so that a test can give it another. Only the standard
library is imported: ``segtrace doctor`` must also answer where the environment is broken.
"""

import fcntl
import importlib.metadata
import locale
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from segtrace import gpus, leases

#: From harmless to what stops a run or makes its results untrue.
LEVELS = ("ok", "note", "warning", "error")
#: Seconds that a command may take before it counts as unanswered.
PATIENCE = 10.0


@dataclass(frozen=True)
class Finding:
    """One thing that was seen: ``level``, what it is, and what to do about it (nothing if it is well)."""

    level: str
    what: str
    remedy: str = ""


@dataclass(frozen=True)
class Answer:
    """What a command answered; ``code`` is None where it could not be run or did not end in time."""

    code: int | None
    output: str = ""
    errors: str = ""


def ask(command: Sequence[str]) -> Answer:
    """Run a command in the working directory, for at most :data:`PATIENCE` seconds."""
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
            env=os.environ | {"DVC_NO_ANALYTICS": "1"},
        )
    except FileNotFoundError:
        return Answer(None, errors=f"{command[0]}: not found")
    except subprocess.TimeoutExpired:
        return Answer(None, errors=f"{command[0]}: no answer within {PATIENCE:g} s")
    return Answer(done.returncode, done.stdout, done.stderr)


def version_of(package: str) -> str | None:
    """The installed version of a package, without importing it; None where it is missing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def torch_cuda() -> str | None:
    """The CUDA version that torch was built with, read from its files; None where it was built without."""
    with suppress(importlib.metadata.PackageNotFoundError, OSError):
        path = importlib.metadata.distribution("torch").locate_file("torch/version.py")
        for line in Path(str(path)).read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            if name.partition(":")[0].strip() == "cuda":
                found = value.strip().strip("'\"")
                return None if found in ("", "None") else found
    return None


def modified(path: Path) -> int:
    """Write to ``path`` and give its modification time in nanoseconds, as the file system says it."""
    path.write_bytes(b"x")
    return path.stat().st_mtime_ns


def excludes(path: Path) -> bool:
    """Whether a ``flock`` on a file keeps a second one out; raises :class:`OSError` where there is none."""
    with path.open("w") as first, path.open("w") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def encodings() -> dict[str, str]:
    """Purpose → the encoding that text is in."""
    return {
        "file names": sys.getfilesystemencoding(),
        "files": locale.getpreferredencoding(False),
        "output": getattr(sys.stdout, "encoding", None) or "utf-8",
    }


def _free(path: Path) -> int:
    return shutil.disk_usage(path).free


@dataclass(frozen=True)
class Machine:
    """Sources of facts; the project is the working directory."""

    proc: Path = Path("/proc")
    cgroups: Path = Path("/sys/fs/cgroup")
    temporary: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    scripts: Path = Path(sys.executable).parent
    python: tuple[int, int, int] = sys.version_info[:3]
    host: str = field(default_factory=platform.node)
    ask: Callable[[Sequence[str]], Answer] = ask
    version_of: Callable[[str], str | None] = version_of
    torch_cuda: Callable[[], str | None] = torch_cuda
    gpus: Callable[[], int] = gpus.visible
    leases: Callable[[], Sequence[object]] = leases.held
    now: Callable[[], float] = time.time
    modified: Callable[[Path], int] = modified
    excludes: Callable[[Path], bool] = excludes
    free: Callable[[Path], int] = _free
    cores: Callable[[], int] = lambda: len(os.sched_getaffinity(0))
    open_files: Callable[[], int] = lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    encodings: Callable[[], Mapping[str, str]] = encodings

    def tool(self, name: str) -> str:
        """A command of the running environment, or the one that is found on the path."""
        own = self.scripts / name
        return str(own) if own.is_file() else name


# --- limits of the control group -------------------------------------------------------------------------


def _groups(machine: Machine, controller: str) -> list[Path]:
    """Folders of the process's control group and of those above it, for either version of them."""
    try:
        lines = (machine.proc / "self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = machine.cgroups / controllers if controllers else machine.cgroups
        below = top / path.strip("/")
        while True:
            found.append(below)
            if below in (top, below.parent):
                break
            below = below.parent
    return found


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError, IndexError):
        return None


def cpu_limit(machine: Machine) -> float | None:
    """CPUs' worth of time that the control group allows; None without a limit."""
    found = []
    for folder in _groups(machine, "cpu"):
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        with suppress(OSError, ValueError):
            words = (folder / "cpu.max").read_text(encoding="utf-8").split()
            quota, period = float(words[0]), float(words[1])  # "max" is no number: no limit
        if quota is not None and period and quota > 0:
            found.append(quota / period)
    return min(found, default=None)


def memory_free(machine: Machine) -> int | None:
    """Bytes of memory that a process here can still take; None where the machine does not say."""
    found: list[float] = []
    with suppress(OSError, ValueError, IndexError):
        for line in (machine.proc / "meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(float(line.split()[1]) * 1024)
    for folder in _groups(machine, "memory"):
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            most, taken = _number(folder / limit), _number(folder / used)
            if most is not None and taken is not None:
                # Pages that hold files count as used, but are given up when memory is asked for.
                found.append(most - taken + _cached(folder))
    return int(max(0.0, min(found))) if found else None


def _cached(folder: Path) -> float:
    with suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                return float(value)
    return 0.0
