"""Writing files so that nothing half-written ever has its final name, and locking folders.

Every write goes to a temporary name in the same folder, is flushed to disk, and is then renamed.
A folder lock is a ``flock``: the kernel frees it when its owner dies, however it dies.
"""

import _thread
import fcntl
import hashlib
import json
import os
import queue
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from segtrace.errors import SegtraceError

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_safe_name(name: str, *, what: str) -> str:
    """Return ``name`` if it can be a file name anywhere; raise :class:`SegtraceError` otherwise."""
    if not SAFE_NAME.fullmatch(name):
        raise SegtraceError(
            f"{what} {name!r} cannot be used as a file name: "
            "use letters, digits, dot, hyphen and underscore, starting with a letter or digit"
        )
    return name


@contextmanager
def atomic(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside ``path`` and rename it to ``path`` when the block succeeds.

    On any failure, a full disk included, the temporary file is removed and an earlier file under ``path`` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        encoding = None if "b" in mode else "utf-8"
        newline = None if "b" in mode else ""
        with os.fdopen(descriptor, mode, encoding=encoding, newline=newline) as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_together(contents: Mapping[Path, Sequence[bytes | memoryview]]) -> None:
    """Write files of one folder; each content is in parts.

    All are flushed to the disk, side by side, before the first gets its final name; the names are given in the
    order of ``contents``. Flushed one after the other, each would wait for the disk anew. On a failure
    before the names are given, earlier files stay as they were.
    """
    handles: dict[Path, IO[bytes]] = {}
    temporaries: dict[Path, Path] = {}
    try:
        for path, parts in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
            temporaries[path] = Path(name)
            handles[path] = os.fdopen(descriptor, "wb")
            for part in parts:
                handles[path].write(part)
            handles[path].flush()
            os.fchmod(descriptor, 0o644)
        _flush([handle.fileno() for handle in handles.values()])
        for path, handle in handles.items():
            handle.close()
            os.replace(temporaries[path], path)
    except BaseException:
        for handle in handles.values():
            with suppress(OSError):
                handle.close()
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
        raise


def _flush(descriptors: Sequence[int]) -> None:
    """Flush open files to the disk, side by side: the file system then commits them together."""
    ended: queue.SimpleQueue[OSError | None] = queue.SimpleQueue()

    def flush(descriptor: int) -> None:
        try:
            os.fsync(descriptor)
            ended.put(None)
        except OSError as error:
            ended.put(error)

    for descriptor in descriptors[1:]:
        # not threading.Thread, whose start waits until the thread runs; and none is left when a process forks
        _thread.start_new_thread(flush, (descriptor,))
    flush(descriptors[0])
    errors = [error for error in [ended.get() for _ in descriptors] if error is not None]
    if errors:
        raise errors[0]


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` in one step."""
    with atomic(path) as handle:
        handle.write(text)


def json_text(value: Any) -> str:
    """The one JSON form of ``value``: keys sorted, one a line, no NaN, newline at the end."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as deterministic JSON in one step."""
    write_text(path, json_text(value))


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or damaged one is an error that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SegtraceError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SegtraceError(f"{path}: not valid JSON ({error}); delete it and run again") from None


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_files(root: Path, names: Sequence[str]) -> str:
    """One SHA-256 for several files under ``root``: see :func:`joined`."""
    return joined([sha256_file(Path(root) / name) for name in names])


def joined(sums: Sequence[str]) -> str:
    """One checksum for those of several files, in order: a single one stays as it is, none is empty text."""
    return "".join(sums) if len(sums) < 2 else hashlib.sha256("\n".join(sums).encode()).hexdigest()


def lock_of(folder: Path) -> Path:
    """The file of a folder's lock."""
    name = str(folder).strip("/").replace("/", "~")
    return Path(".segtrace/locks") / f"{name}.lock"


@contextmanager
def hold(folder: Path, *, what: str) -> Iterator[None]:
    """Hold the folder's lock while the block runs; wait, saying so once, while another process holds it.

    The lock is the file ``.segtrace/locks/<folder>.lock`` under the working directory. It is freed by
    the kernel when the holder ends, so a killed job leaves nothing to clean up and an orphaned job
    that is still running is never doubled.
    """
    path = lock_of(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            print(
                f"{what}: {folder} is in use by process {owner}, which is still running; waiting for it "
                f"(lock {path}; stop that process to go on at once)",
                flush=True,
            )
            fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        handle.truncate()
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)
