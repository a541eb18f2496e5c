"""A request to end, as schedulers send before they kill: the training writes its state first.

Slurm sends SIGTERM some time before a job's time limit (``--signal=TERM@…``), at ``scancel``, and when it takes a
job's place for another; scripts of many sites ask for SIGUSR1 (``--signal=USR1@…``). Between two steps the training sees
that it was asked, writes a state to resume from, and ends; started again, it goes on there and ends with the same bytes.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: What asks a training to end.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
#: What a shell gives for a process that SIGTERM ended: no success, and no fault of the training's. So for any of them.
STATUS = 128 + signal.SIGTERM


@contextmanager
def noticed() -> Iterator[Callable[[], str]]:
    """While the block runs, :data:`SIGNALS` end nothing; gives a function that names the first that has come, "" if none.

    Any further one is noted as well: a scheduler may send it to a job, and to all of its processes. In another
    thread than the main one, which alone may set handlers, the function names none.
    """
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: ""
        return
    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield lambda: signal.Signals(received[0]).name if received else ""
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
