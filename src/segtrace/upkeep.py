"""What the workflow asks of the machine: the running environment, and who works in this folder."""

import argparse
import fcntl
import os
import socket
import sys
from collections.abc import Container, Sequence
from pathlib import Path
from typing import IO, Any

from segtrace.errors import SegtraceError, advice

SNAKEMAKE_LOCKS = Path(".snakemake/locks")
PRESENCE = Path(".segtrace/locks/workflow.lock")
_held: list[IO[Any]] = []


def set_environment(*, mirror: str | None, tracking: Sequence[str], given: Container[str]) -> None:
    """Let jobs find the ``segtrace`` of the running environment, the folder of archives, and how to be watched.

    ``given`` are the keys of the command line: such a ``mirror`` or ``tracking`` wins over the environment variable
    ``SEGTRACE_MIRROR`` or ``SEGTRACE_TRACKING``, and that over the configuration file's.
    """
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if mirror and ("mirror" in given or "SEGTRACE_MIRROR" not in os.environ):
        os.environ["SEGTRACE_MIRROR"] = str(Path(mirror).expanduser())
    if "tracking" in given or "SEGTRACE_TRACKING" not in os.environ:
        os.environ["SEGTRACE_TRACKING"] = ",".join(tracking)


def require_own_source() -> None:
    """Refuse to work in a folder with a source of segtrace of its own that is not the one that runs.

    That is so in a second clone or work tree, when the environment was installed from the first: edits here
    would change nothing, and digests of code would be those of the other folder.
    """
    own = Path("src/segtrace/__init__.py")
    running = Path(__file__).with_name("__init__.py")
    if own.is_file() and not own.samefile(running):
        raise SegtraceError(
            f"this folder has a source of segtrace of its own (src/segtrace), but the one that runs is "
            f"{running.parent}: edits here would change nothing. Run 'make install' here and use .venv/bin, or "
            "set PYTHONPATH=src for this folder"
        )


def require_profile(words: Sequence[str], *, beside: Path) -> None:
    """Refuse a ``--workflow-profile`` that is nowhere, neither here nor in ``beside``, the Snakefile's folder.

    ``words`` are Snakemake's. It says nothing of such a profile and goes on without one: on a cluster's login node every
    training would run there.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--workflow-profile", default="none")
    name = parser.parse_known_args(list(words))[0].workflow_profile
    folders = (Path("profiles"), beside / "profiles")
    if name != "none" and not any(path.exists() for path in (Path(name), *(f / name for f in folders))):
        known = sorted({path.parent.name for folder in folders for path in folder.glob("*/profile.yaml")})
        raise SegtraceError(
            f"--workflow-profile {name}: there is no such profile, and every job would run on this machine; {advice(name, known)}"
        )


def date_back(path: Path) -> None:
    """Give a file times of long ago: whatever Snakemake makes it from is newer."""
    os.utime(path, (86400, 86400))


def be_present() -> str:
    """Be known to be at work in this folder until the process ends, and free the lock of a Snakemake that died.

    Every Snakemake holds a shared ``flock``, which the kernel frees when it ends, however it ends. If one
    that was killed has left its own lock, and no other process holds the ``flock``, nobody is at work
    here, and that lock is removed. Returns a line to print, or nothing. Where the last to be here ran on
    another machine, nothing is removed: not every network file system shares such locks.
    """
    try:
        PRESENCE.parent.mkdir(parents=True, exist_ok=True)
        handle = PRESENCE.open("a+", encoding="utf-8")
    except OSError:  # a folder that cannot be written to: what would run says so itself
        return ""
    _held.append(handle)  # closed by the end of the process, and not before
    fcntl.flock(handle, fcntl.LOCK_SH)
    handle.seek(0)
    host, said = socket.gethostname(), ""
    left = sorted(SNAKEMAKE_LOCKS.glob("*.lock")) if handle.read().strip() == host else []
    if left:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            for lock in left:
                lock.unlink(missing_ok=True)
            said = "segtrace: a run was killed in this folder; the lock that it left is freed"
        fcntl.flock(handle, fcntl.LOCK_SH)
    handle.seek(0)
    handle.truncate()
    handle.write(f"{host}\n")
    handle.flush()
    return said
