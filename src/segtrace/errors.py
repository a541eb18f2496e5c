"""Errors that a user can cause.

A :class:`SegtraceError` is printed as it stands, without a traceback: it says what is wrong, in which
file or under which key, with the values, and what to do. Several faults are collected and shown at once.
"""

import difflib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager


class SegtraceError(Exception):
    """A fault that the user can mend; its text is the whole message."""


@contextmanager
def within(where: str) -> Iterator[None]:
    """What is raised inside is said to lie in ``where``, such as a file."""
    try:
        yield
    except SegtraceError as error:
        raise SegtraceError(f"{where}: {error}") from None


def raise_all(problems: Sequence[str], *, heading: str, remedy: str = "") -> None:
    """Raise one :class:`SegtraceError` that lists every problem; do nothing when there is none.

    ``heading`` says what was being done; ``remedy`` says what to do, on the last line.
    """
    if not problems:
        return
    count = f"{len(problems)} problem" + ("s" if len(problems) != 1 else "")
    lines = [f"{heading}: {count}", *(f"  - {problem}" for problem in problems)]
    if remedy:
        lines.append(remedy)
    raise SegtraceError("\n".join(lines))


def some(names: Sequence[str], limit: int = 5) -> str:
    """The first ``limit`` of ``names``, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def advice(name: str, known: Collection[str], *, otherwise: str = "there are") -> str:
    """What to say of an unknown ``name``: the nearest known one, or all of them after ``otherwise``."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"{otherwise}: {', '.join(known) or 'none'}"
