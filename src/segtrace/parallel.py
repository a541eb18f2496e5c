"""One function over many cases, on several cores, with bounded memory and collected errors.

Workers are forked, so start-up costs next to nothing; the phases that use them (index, prepare,
score) run no torch. A worker ends when its parent dies, however the parent died.
"""

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from segtrace.errors import SegtraceError, raise_all
from segtrace.progress import progress

Item = TypeVar("Item")
Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1


def _end_with_parent(parent: int) -> None:
    """Ask the kernel to kill this worker when its parent dies (Linux); interrupts are the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):  # not Linux: workers end when the pool's pipe closes
        return
    if os.getppid() != parent:  # the parent died before the call
        os._exit(1)


def map_cases(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    label: str,
    workers: int = 1,
    name: Callable[[Item], str] = str,
) -> list[Result]:
    """``[function(item) for item in items]`` over ``workers`` processes, in the order of ``items``.

    A :class:`SegtraceError` of one item does not stop the others: all are collected and raised
    together at the end. Any other exception is raised at once, with a note of the item that it comes from.
    At most twice ``workers`` items are in flight, so memory stays bounded. ``name`` names an item in
    messages. With one worker, all runs in this process.
    """
    results: dict[int, Result] = {}
    problems: dict[int, str] = {}
    with progress(label, len(items)) as bar:
        if workers <= 1 or len(items) <= 1:
            for position, item in enumerate(items):
                try:
                    results[position] = function(item)
                except SegtraceError as error:
                    problems[position] = str(error)
                except Exception as error:
                    error.add_note(f"while working on {name(item)}")
                    raise
                bar.advance()
        else:
            _run_pool(function, items, workers, name, results, problems, bar.advance)
    raise_all([problems[p] for p in sorted(problems)], heading=label)
    return [results[p] for p in range(len(items))]


def _run_pool(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    name: Callable[[Item], str],
    results: dict[int, Result],
    problems: dict[int, str],
    advance: Callable[[], None],
) -> None:
    context = multiprocessing.get_context("fork")
    waiting = iter(enumerate(items))
    running: dict[Future[Result], int] = {}
    with ProcessPoolExecutor(
        min(workers, len(items)), mp_context=context, initializer=_end_with_parent, initargs=(os.getpid(),)
    ) as pool:
        while True:
            while len(running) < 2 * workers and (entry := next(waiting, None)) is not None:
                running[pool.submit(function, entry[1])] = entry[0]
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                position = running.pop(future)
                try:
                    results[position] = future.result()
                except SegtraceError as error:
                    problems[position] = str(error)
                except BrokenProcessPool:
                    flight = sorted(name(items[p]) for p in [position, *running.values()])
                    raise SegtraceError(
                        f"a worker process was killed while it worked on one of: {', '.join(flight)}\n"
                        "The usual cause is too little memory: give fewer cores, or more memory."
                    ) from None
                except Exception as error:
                    error.add_note(f"while working on {name(items[position])}")
                    raise
                advance()
