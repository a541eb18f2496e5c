"""What the comparisons share: timing two sides in turns, tables of medians and ratios, and the machine.

The sides are called alternately, so that whatever else the machine does falls on both alike; a ratio is
that of the medians, with the interval of the ratios of the single turns' quartiles left to the reader's
judgement by the fastest and the slowest beside each median. Ratios below 1.3 on a shared machine are ties.
"""

import argparse
import contextlib
import gc
import importlib.metadata
import io
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

#: Packages whose versions decide a comparison.
PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "monai",
    "nnunetv2",
    "batchgeneratorsv2",
    "MedPy",
    "surface-distance",
    "SimpleITK",
)


def machine() -> str:
    """Processor, cores, system and versions, a line each."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = []
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{package} {importlib.metadata.version(package)}")
    return (
        f"{cpu}, {cores} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}\n"
        f"Python {platform.python_version()}, {', '.join(found)}"
    )


def arguments(description: str | None, *, repeats: int, check: bool = False) -> argparse.ArgumentParser:
    """A parser with what every comparison takes."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=repeats, help=f"turns of each side ({repeats})")
    if check:
        parser.add_argument(
            "--check", action="store_true", help="only assert equal output, on small data, without the peers"
        )
    return parser


def in_turns(
    sides: Mapping[str, Callable[[], object]], *, repeats: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Milliseconds of ``repeats`` calls of each side, taken in turns after ``warm_up`` calls that do not count."""
    for _ in range(warm_up):
        for side in sides.values():
            side()
    found: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeats):
            for name in order:
                start = time.perf_counter()
                sides[name]()
                found[name].append(1e3 * (time.perf_counter() - start))
            order.reverse()  # neither side always comes after the other
    finally:
        gc.enable()
    return found


def in_processes(
    sides: Mapping[str, tuple[Callable[..., Callable[[], object]], tuple[object, ...]]],
    *,
    repeats: int,
    warm_up: int = 2,
) -> dict[str, list[float]]:
    """As :func:`in_turns`, but each side in a process of its own, which waits while it is the other's turn.

    For sides that set up their process: threads, memory, determinism. A side is a function of a module, and
    its arguments; called in its process, it gives the call that is timed.
    """
    context = multiprocessing.get_context("spawn")
    ends, processes = {}, []
    try:
        for name, (build, given) in sides.items():
            ends[name], other = context.Pipe()
            processes.append(context.Process(target=_serve, args=(other, build, given)))
            processes[-1].start()
            other.close()
            ends[name].recv()  # ready; the next side sets itself up alone
        found: dict[str, list[float]] = {name: [] for name in sides}
        order = list(sides)
        for turn in range(warm_up + repeats):
            for name in order:
                ends[name].send(True)
                taken = ends[name].recv()
                if turn >= warm_up:
                    found[name].append(taken)
            order.reverse()
        return found
    finally:
        for end in ends.values():
            with contextlib.suppress(OSError):
                end.send(False)
        for process in processes:
            process.join(20)
            process.kill()


def _serve(end: Connection, build: Callable[..., Callable[[], object]], given: tuple[object, ...]) -> None:
    """A side's process: build the call, then time it whenever the other end asks for it."""
    call = build(*given)
    end.send("ready")
    while end.recv():
        start = time.perf_counter()
        call()
        end.send(1e3 * (time.perf_counter() - start))


def shown(values: Sequence[float]) -> str:
    """``median (fastest to slowest)``."""
    digits = 1 if statistics.median(values) >= 10 else 2
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """How many times as long they take, by medians."""
    return statistics.median(theirs) / statistics.median(ours)


def head(title: str, columns: Sequence[str]) -> None:
    """Print a table's title and columns."""
    print(f"\n{title}\n{'':34s}" + "".join(f"{column:>30s}" for column in columns) + "    ratio", flush=True)


def row(name: str, times: Mapping[str, Sequence[float]], *, bar: float | None = None) -> None:
    """Print a row: each side's times, the first being segtrace's, and how much longer each of the others takes."""
    ours, *others = times.values()
    ratios = ", ".join(f"{ratio(theirs, ours):.2f}x" for theirs in others)
    wanted = f"   (bar {bar:g}x)" if bar is not None else ""
    print(
        f"{name:34s}" + "".join(f"{shown(v):>30s}" for v in times.values()) + f"    {ratios}{wanted}",
        flush=True,
    )


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow what a peer prints, unless it fails."""
    kept = io.StringIO()
    try:
        with contextlib.redirect_stdout(kept), contextlib.redirect_stderr(kept):
            yield
    except BaseException:
        sys.stderr.write(kept.getvalue())
        raise
