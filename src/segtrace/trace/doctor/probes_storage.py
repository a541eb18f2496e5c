"""Probes of storage: the file system, its locks and times, room on the disks, own state."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from segtrace.trace.doctor.machine import Finding, Machine

GIB = 1024**3
STATE = Path(".segtrace")
#: Types of file systems that lie on another machine, or whose work a process does.
NETWORK = ("nfs", "nfs4", "lustre", "gpfs", "cifs", "smb3", "smbfs", "9p", "afs", "beegfs", "ceph", "panfs")
#: Seconds by which the clocks of the machine and of its file server may differ.
SKEW = 2.0


# --- the project's file system --------------------------------------------------------------------------


def file_system(machine: Machine) -> list[Finding]:
    """The type of the file system that the project lies on."""
    here = Path.cwd().resolve()
    best, kind, options = "", "unknown", ""
    for line in (machine.proc / "mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        place = _unescaped(words[1])
        # The last of two mounts on one place is the one that is seen.
        if len(place) >= len(best) and (here == Path(place) or Path(place) in here.parents):
            best, kind, options = place, words[2], words[3]
    if kind in NETWORK or kind.startswith("fuse"):
        locks = (
            "; it is mounted nolock: locks hold on this machine alone"
            if "nolock" in options.split(",")
            else ""
        )
        return [
            Finding(
                "warning",
                f"the project lies on a network file system ({kind}, {best}): many small files are slow there, "
                f"and a lock may not be seen by other machines{locks}",
                "run in a folder on a local disk, or never start two runs of this folder on different machines",
            )
        ]
    return [Finding("ok", f"the project lies on {kind} ({best})")]


def _unescaped(text: str) -> str:
    for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, sign)
    return text


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder in the project's state to try things in; removed, with the state where there was none."""
    fresh = not STATE.exists()
    STATE.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=STATE, prefix="doctor-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if fresh:
            with suppress(OSError):
                STATE.rmdir()


def trial(machine: Machine) -> list[Finding]:
    """Locks and file times, tried where the project's own state lies."""
    with _scratch() as folder:
        return [_locks(machine, folder), *_times(machine, folder)]


def _locks(machine: Machine, folder: Path) -> Finding:
    """Whether ``flock`` works."""
    try:
        why = "" if machine.excludes(folder / "lock") else f"flock in {STATE} keeps no second process out"
    except OSError as error:
        why = f"flock fails in {STATE} ({error.strerror or error})"
    if not why:
        return Finding("ok", "flock works")
    remedy = "move the project to a file system with locks, or mount this one with them (NFS: without nolock)"
    return Finding("error", f"{why}: two jobs could write the same file", remedy)


def _times(machine: Machine, folder: Path) -> list[Finding]:
    """Whether file times are finer than a second and agree with this machine's clock."""
    before = machine.now()
    stamps = [machine.modified(folder / str(number)) for number in range(3)]
    after = machine.now()
    found = []
    if all(stamp % 1_000_000_000 == 0 for stamp in stamps):
        found.append(
            Finding(
                "warning",
                "file times here are whole seconds: a file that is changed twice within one, to the same size, "
                "may pass for unchanged",
                "work on another file system, or remove .segtrace/seen after such changes",
            )
        )
    first, last = min(stamps) / 1e9, max(stamps) / 1e9
    skew = first - before if first < before else max(0.0, last - after)
    if abs(skew) > SKEW:
        found.append(
            Finding(
                "warning",
                f"a new file's time is {skew:+.1f} s off this machine's clock: the file server's clock differs, and "
                "what Snakemake concludes from times is not to be trusted",
                "set both clocks by NTP",
            )
        )
    return found or [Finding("ok", "file times are finer than a second and agree with the clock")]


# --- room -----------------------------------------------------------------------------------------------


def room(machine: Machine) -> list[Finding]:
    """Free room on the disks of the project and of temporary files."""
    return [
        room_of(machine, Path(), "the project", least=1.0, enough=5.0),
        room_of(machine, machine.temporary, str(machine.temporary), least=0.1, enough=1.0),
    ]


def room_of(machine: Machine, folder: Path, name: str, *, least: float, enough: float) -> Finding:
    """Judge the free room, in GiB, of the disk that ``folder`` lies on or will lie on."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    free = machine.free(place) / GIB
    level = "error" if free < least else "warning" if free < enough else "ok"
    remedy = "" if level == "ok" else f"free some room on the disk of {place}, or move to another"
    return Finding(level, f"free on the disk of {name}: {free:.1f} GiB", remedy)


# --- own state ------------------------------------------------------------------------------------------


def state(machine: Machine) -> list[Finding]:
    """State of segtrace that belongs to nothing any more: checksums of files that are gone, halves of writes."""
    orphans, damaged = [], []
    for path in sorted((STATE / "seen").glob("*.json")):
        try:
            known = list(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            damaged.append(path.name)
            continue
        if known and not any(os.path.lexists(name) for name in known):
            orphans.append(path.name)
    halves = _halves(machine.now())
    found = []
    if orphans:
        found.append(
            Finding(
                "note",
                f"checksums of files that are gone: {_some(orphans)}",
                f"rm -r {STATE}/seen (costs one reading of the files)",
            )
        )
    if damaged:
        found.append(Finding("note", f"damaged, and not used: {_some(damaged)}", f"rm -r {STATE}/seen"))
    if halves:
        found.append(Finding("note", f"left by writes that were killed: {_some(halves)}", "remove them"))
    return found or [Finding("ok", f"nothing orphaned in {STATE}")]


def _halves(now: float) -> list[str]:
    """Temporary files of writes that ended more than an hour ago, however they ended."""
    found = []
    for folder, _, names in os.walk(STATE):
        for path in (Path(folder, name) for name in names if name.startswith(".") and name.endswith(".tmp")):
            with suppress(OSError):  # removed meanwhile
                if now - path.stat().st_mtime > 3600:
                    found.append(str(path))
    return sorted(found)


def _some(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
