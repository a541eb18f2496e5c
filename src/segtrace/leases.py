"""Leases: who of this machine's jobs works on which device, as locks that the kernel frees when their holder ends.

A device has one lock file for every process of the machine, whatever project it works for. A job that has the
device to itself locks it exclusively; one that shares it holds the lock with others, and one of the device's numbered
places to itself. Jobs that find no device wait in a queue: only its first looks for one, so that each comes to
its turn and a job that needs a whole device is not passed by for ever. The queue is a lock as well.

No descriptor of a lock outlives its job: programs that it starts do not inherit them, and a forked process (a data
loader's worker, for instance) closes its copies at once.
"""

import fcntl
import hashlib
import os
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from segtrace.errors import SegtraceError

#: Names the folder of the locks, where it is another than :func:`folder` says.
FOLDER = "SEGTRACE_LEASES"
#: Between two looks of the queue's first for a free device.
WAIT_SECONDS = 0.2
_open: set[int] = set()


def _close_copies() -> None:
    """In a forked process: the lease is its parent's alone, and ends with it."""
    while _open:
        with suppress(OSError):
            os.close(_open.pop())


os.register_at_fork(after_in_child=_close_copies)


@dataclass(frozen=True)
class Holder:
    """A lease that is held now: of ``device``, by the process ``pid``, for ``what``."""

    device: str
    pid: str
    what: str

    def __str__(self) -> str:
        return f"{self.device}: {self.what or 'a job'} (process {self.pid or 'unknown'})"


def folder() -> Path:
    """Where the locks lie: one folder a user and machine, unless ``SEGTRACE_LEASES`` names another.

    Not in the project, since projects share devices. Not in ``TMPDIR`` or ``XDG_RUNTIME_DIR``: two shells of one user
    may differ in them, and the latter is removed when the user logs out, while jobs go on.
    """
    given = os.environ.get(FOLDER)
    return Path(given).expanduser() if given else Path(f"/tmp/segtrace-gpus-{os.getuid()}")


def _made(where: Path) -> Path:
    """The folder, made if need be; raises :class:`SegtraceError` where it is not a folder of this user's."""
    remedy = f"set {FOLDER} to a folder of this machine that you can write to"
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = where.lstat()
    except OSError as error:
        raise SegtraceError(
            f"{where}: no folder for the leases of GPUs ({error.strerror}); {remedy}"
        ) from None
    if FOLDER not in os.environ and (not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid()):
        raise SegtraceError(f"{where}: belongs to somebody else, or is a link; {remedy}")
    return where


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        _open.discard(descriptor)
        os.close(descriptor)


def _lock(path: Path, kind: int) -> int | None:
    """A descriptor that holds the lock of ``path``; None where another holds it and ``kind`` says not to wait."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # removed while we waited
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:
                raise SegtraceError(
                    f"{path}: a link to a file that cannot be made; remove it: it is no lock of a GPU"
                ) from None
            with suppress(OSError):  # somebody else's meanwhile
                os.fchmod(descriptor, 0o666)  # the folder's own mode decides who shares the leases
        _open.add(descriptor)
        try:
            fcntl.flock(descriptor, kind)
        except BlockingIOError:
            _close([descriptor])
            return None
        except BaseException:
            _close([descriptor])
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        _close([descriptor])  # the file was removed while we waited: it keeps nobody out


def _place(where: Path, device: str, place: int, *, places: int) -> list[int]:
    """Descriptors that hold one of the device's ``places`` (all of it where it has one); none where it is taken."""
    whole = _lock(where / f"{device}.lock", (fcntl.LOCK_EX if places == 1 else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    if whole is None or places == 1:
        return [] if whole is None else [whole]
    part = _lock(where / f"{device}.{place}.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
    if part is None:
        _close([whole])
        return []
    return [whole, part]


def _take(where: Path, devices: Sequence[str], count: int, places: int) -> dict[int, list[int]]:
    """Positions of ``count`` devices with the descriptors that hold them; nothing where there are fewer.

    The first place of every device comes before the second of any: jobs spread before they share.
    """
    found: dict[int, list[int]] = {}
    for place in range(places):
        for position, device in enumerate(devices):
            if position not in found and (taken := _place(where, device, place, places=places)):
                found[position] = taken
            if len(found) == count:
                return found
    for taken in found.values():
        _close(taken)
    return {}


def _sign(descriptor: int, what: str) -> None:
    """Write who holds the lock, and where it works, for the messages of others."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()} {what} in {Path.cwd()}\n".encode(), 0)


@contextmanager
def hold(
    devices: Sequence[str],
    *,
    what: str,
    count: int = 1,
    places: int = 1,
    where: Path | None = None,
    wait_seconds: float = WAIT_SECONDS,
) -> Iterator[tuple[int, ...]]:
    """Hold ``count`` of ``devices`` while the block runs; gives their positions, sorted.

    ``devices`` are names that are the same for every process of the machine, ``what`` is shown to those who wait, and
    ``places`` is how many jobs may share a device. A job of several devices has them to itself. Where all are taken
    it waits, which is said in one line. Raises :class:`SegtraceError` where there are fewer devices, or where no
    locks can be kept.
    """
    if count > len(set(devices)):  # the variable may name one twice
        raise SegtraceError(
            f"{what}: asks for {count} GPUs, and {len(set(devices))} are visible; ask for fewer, or see CUDA_VISIBLE_DEVICES"
        )
    where = _made(where or folder())
    places = places if count == 1 else 1
    started, waited = time.monotonic(), False
    # Only jobs that choose among the same devices queue up behind each other: others might be free for the rest.
    choice = hashlib.sha256("\n".join(sorted(devices)).encode()).hexdigest()[:16]
    place_in_queue = where / f"queue-{choice}.lock"
    with _folder_in_use(where):
        first = _lock(place_in_queue, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if first is None:
            waited = _say_waiting(devices, where, what)
            first = _lock(place_in_queue, fcntl.LOCK_EX)
        assert first is not None
        try:
            while not (taken := _take(where, devices, count, places)):
                waited = waited or _say_waiting(devices, where, what)
                time.sleep(wait_seconds)
        finally:
            _close([first])
        try:
            for descriptors in taken.values():
                with suppress(OSError):  # a full disk; the lock holds without a name
                    _sign(descriptors[-1], what)
            if waited:
                print(f"{what}: a GPU is free after {time.monotonic() - started:.0f} s", flush=True)
            yield tuple(sorted(taken))
        finally:
            # A lease meant to last as long as its process is not to end with Python's own objects, which are thrown
            # away while the process, and with it the device's memory, lives on for some tenths of a second.
            if not sys.is_finalizing():
                for descriptors in taken.values():
                    _close(descriptors)


@contextmanager
def _folder_in_use(where: Path) -> Iterator[None]:
    """Keep the folder from being cleared as old, which systemd does with what lies in /tmp and is not locked."""
    descriptor = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
    _open.add(descriptor)
    try:
        with suppress(OSError):  # a network file system may not lock a folder, nor is it cleared
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    finally:
        _close([descriptor])


def _say_waiting(devices: Sequence[str], where: Path, what: str) -> bool:
    """Say once who holds the devices; always True."""
    now = "; ".join(str(holder) for holder in held(where) if holder.device in devices)
    number = f"all {len(devices)} GPUs are" if len(devices) > 1 else "the GPU is"
    print(f"{what}: {number} leased ({now or 'to jobs that queue'}); waiting (locks in {where})", flush=True)
    return True


def held(where: Path | None = None) -> list[Holder]:
    """The leases that are held now, by device; none where no job has ever run. Changes nothing."""
    found = []
    for path in sorted((where or folder()).glob("*.lock")):
        if path.name.startswith("queue-"):
            continue
        try:
            with path.open("rb") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    pid, _, what = handle.read().decode(errors="replace").strip().partition(" ")
                    device, _, place = path.name.removesuffix(".lock").rpartition(".")
                    found.append(Holder(device if device and place.isdecimal() else path.stem, pid, what))
        except OSError:  # somebody else's, or removed meanwhile
            continue
    return found
