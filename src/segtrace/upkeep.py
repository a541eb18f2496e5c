"""What the workflow asks of the machine, and whether files that a table vouches for are still there.

A batch of cases is one job whose declared output is its table; the cases' own files are named in it.
When such a file is missing the job must run again, once. Snakemake reruns a job when a parameter
differs from the recorded one, so the parameter is a count of repairs: one higher than the stored count
while a file is missing, and stored by the job when it has succeeded.
"""

import csv
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from segtrace.errors import SegtraceError
from segtrace.files import write_text


def mark(table: Path) -> Path:
    """Where the count of repairs of a table's files is stored: disposable state, not versioned."""
    return Path(".segtrace/repairs") / str(table).replace("/", "~")


def repairs(table: Path, files_of: Callable[[Mapping[str, str]], Iterable[Path]]) -> int:
    """The count of repairs that a job's parameter carries.

    ``files_of`` gives the files of one row of ``table``. The count is one more than the stored count
    if any of them is missing, so that the job runs; otherwise it is the stored count.
    """
    try:
        stored = int(mark(table).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        stored = 0
    if not table.is_file():
        return stored  # the job runs anyway: its declared output is missing
    with table.open(encoding="utf-8", newline="") as handle:
        try:
            complete = all(path.is_file() for row in csv.DictReader(handle) for path in files_of(row))
        except (KeyError, csv.Error):  # a damaged table vouches for nothing
            complete = False
    return stored if complete else stored + 1


def store(table: Path, count: int) -> None:
    """Store the count of repairs after a job has succeeded."""
    if count < 0:
        raise SegtraceError(f"{table}: a count of repairs cannot be {count}")
    write_text(mark(table), f"{count}\n")


def set_environment(*, mirror: str | None, given: bool) -> None:
    """Let jobs find the ``segtrace`` of the running environment, and the folder of archives.

    A ``mirror`` that was ``given`` on the command line wins over the environment variable
    ``SEGTRACE_MIRROR``, and that over the configuration file's.
    """
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if mirror and (given or "SEGTRACE_MIRROR" not in os.environ):
        os.environ["SEGTRACE_MIRROR"] = str(Path(mirror).expanduser())


def visible_gpus() -> int:
    """Number of CUDA devices that jobs may use: those of CUDA_VISIBLE_DEVICES, else all of the machine."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return len([device for device in chosen.split(",") if device.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


if __name__ == "__main__":
    store(Path(sys.argv[1]), int(sys.argv[2]))
