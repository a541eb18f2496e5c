"""A request to end, as schedulers send before they kill: the training writes its state first.

Slurm sends SIGTERM some time before a job's time limit (``--signal=TERM@…``), at ``scancel``, and when it takes a
job's place for another. Between two steps the training sees that it was asked, writes a state to resume from, and
ends; started again, it goes on there and ends with the same bytes.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: What a shell gives for a process that SIGTERM ended: no success, and no fault of the training's.
STATUS = 128 + signal.SIGTERM


@contextmanager
def noticed() -> Iterator[Callable[[], bool]]:
    """While the block runs, SIGTERM ends nothing; gives a function that says whether one has come.

    Any further one is noted as well: a scheduler may send it to a job, and to all of its processes. In another
    thread than the main one, which alone may set handlers, the function says False.
    """
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGTERM, note)
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, before)
