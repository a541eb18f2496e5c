"""Case after case: while one is computed, the next is read and the one before is written, each by a thread.

At most three cases are in memory, one in each place. What comes out does not depend on the threads: one
alone computes, and one alone writes, both in the order of the cases.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from segtrace.errors import SegtraceError

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Made = TypeVar("Made")
Result = TypeVar("Result")


class FatalError(SegtraceError):
    """A fault that every further case would meet as well: nothing more is tried."""


class _AtOnce:
    """Stands in for a thread: what is submitted is done at once."""

    def submit(self, function: Callable[..., Any], *given: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(function(*given))
        except BaseException as error:  # raised where the result is asked for, as with a thread
            future.set_exception(error)
        return future


def run(
    items: Sequence[Item],
    *,
    read: Callable[[Item], Ready],
    compute: Callable[[Item, Ready], Made],
    write: Callable[[Item, Made], Result],
    name: Callable[[Item], str],
    advance: Callable[[], None] = lambda: None,
    threaded: bool = True,
) -> tuple[dict[int, Result], list[str]]:
    """``write(item, compute(item, read(item)))`` of each item: position → result, and the problems, in order.

    A :class:`SegtraceError` of one item does not stop the others; it becomes a problem that begins with the
    item's ``name``. :class:`FatalError` and any other exception stop all, the latter with a note that names the item;
    an item that is being written then is still finished. ``advance`` is called once an item is done or has failed.
    ``compute`` runs in the calling thread. Unless ``threaded``, all does.
    """
    results: dict[int, Result] = {}
    problems: dict[int, str] = {}

    @contextmanager
    def watched(position: int, doing: str) -> Iterator[None]:
        try:
            yield
        except FatalError:
            raise
        except SegtraceError as error:
            text, prefix = str(error), f"{name(items[position])}: "
            problems[position] = text if text.startswith(prefix) else prefix + text
            advance()
        except BaseException as error:
            error.add_note(f"{name(items[position])}, while it was {doing}")
            raise

    def finish(position: int, writing: "Future[Result]") -> None:
        with watched(position, "written"):
            results[position] = writing.result()
            advance()

    with ExitStack() as stack:
        reader: Any = stack.enter_context(ThreadPoolExecutor(1)) if threaded else _AtOnce()
        writer: Any = stack.enter_context(ThreadPoolExecutor(1)) if threaded else _AtOnce()
        upcoming: Any = reader.submit(read, items[0]) if items else None
        before: tuple[int, Future[Result]] | None = None
        for position, item in enumerate(items):
            reading, upcoming = upcoming, None
            with watched(position, "read"):
                ready = reading.result()
            del reading
            if position + 1 < len(items):
                upcoming = reader.submit(read, items[position + 1])
            if position in problems:
                continue
            with watched(position, "computed"):
                made = compute(item, ready)
            del ready
            if before is not None:
                finish(*before)
                before = None
            if position not in problems:
                before = position, writer.submit(write, item, made)
                del made
        if before is not None:
            finish(*before)
    return results, [problems[position] for position in sorted(problems)]
