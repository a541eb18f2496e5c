"""Watching a training from outside: TensorBoard event files and DVCLive's files, both by choice.

They lie in ``logs/tracking/RUN/KIND``, are compared by nothing and decide nothing: a run that is tracked ends
with the same bytes as one that is not. Each start of a training writes them anew from the run's history, so
that neither a resumed nor a repeated training shows an epoch twice.
"""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from segtrace.errors import SegtraceError, advice, raise_all

FOLDER = Path("logs/tracking")
#: Hands the choice on to jobs: names joined by commas. No part of what a job is compared by.
VARIABLE = "SEGTRACE_TRACKING"
#: A row of the history: ``epoch`` (from 1), ``step``, ``learning_rate``, ``loss``, ``val_dice`` (or None).
Row = Mapping[str, Any]
#: What is drawn over the epochs.
SHOWN = ("learning_rate", "loss", "val_dice")


class _Writer(Protocol):
    def add(self, epoch: int, values: Mapping[str, float]) -> None: ...
    def show(self) -> None: ...
    def close(self) -> None: ...


class _TensorBoard:
    """One event file; TensorBoard reads it while it grows."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)

    def show(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _DvcLive:
    """DVCLive's tables and summary, and nothing else of it.

    No experiment is saved and no dvc.yaml written: the project has both of its own, and their stages decide what
    belongs to a commit. ``Live.end`` is left out for the same reason: within ``dvc exp run`` it would add files to git.
    """

    def __init__(self, folder: Path) -> None:
        os.environ["DVC_STUDIO_OFFLINE"] = "true"  # files only: nothing is sent anywhere
        from dvclive import Live

        self._live = Live(str(folder), save_dvc_exp=False, dvcyaml=None)

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        self._live.step = epoch
        for name, value in values.items():
            self._live.log_metric(name, value)

    def show(self) -> None:
        self._live.make_summary()

    def close(self) -> None:
        self._live.make_summary()


#: Name → (the writer, the package that it needs).
KINDS: dict[str, tuple[Callable[[Path], _Writer], str]] = {
    "tensorboard": (_TensorBoard, "tensorboard"),
    "dvclive": (_DvcLive, "dvclive"),
}


class Tracker:
    """Takes the rows of a training's history as they are made."""

    def __init__(self, writers: Sequence[_Writer]) -> None:
        self._writers = writers

    def epoch(self, row: Row) -> None:
        """Write one row; readers see it at once."""
        self._add(row)
        self._show()

    def _add(self, row: Row) -> None:
        values = {name: float(row[name]) for name in SHOWN if row.get(name) is not None}
        for writer in self._writers:
            writer.add(int(row["epoch"]), values)

    def _show(self) -> None:
        for writer in self._writers:
            writer.show()


def asked(given: str | None = None, *, default: Sequence[str] = ()) -> list[str]:
    """The kinds that are asked for: ``given`` (names joined by commas), else the environment's, else ``default``.

    Raises :class:`SegtraceError` for a name that is none of :data:`KINDS`.
    """
    text = os.environ.get(VARIABLE) if given is None else given
    names = list(default) if text is None else [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        if name not in KINDS:
            raise SegtraceError(
                f"tracking: no kind {name!r}; {advice(name, list(KINDS))} (--tracking, {VARIABLE}, or 'tracking' in "
                "config/config.yaml)"
            )
    return list(dict.fromkeys(names))


def require(kinds: Iterable[str]) -> None:
    """Raise one :class:`SegtraceError` that says what to install, where packages of ``kinds`` are missing."""
    missing = [
        package for _, package in (KINDS[kind] for kind in kinds) if importlib.util.find_spec(package) is None
    ]
    raise_all(
        [f"the package {package} is not installed" for package in missing],
        heading="tracking",
        remedy=f"Install with: pip install {' '.join(missing)}; or leave it out of 'tracking' in config/config.yaml.",
    )


@contextmanager
def tracker(kinds: Sequence[str], run_name: str, *, history: Iterable[Row] = ()) -> Iterator[Tracker]:
    """A :class:`Tracker` that writes each of ``kinds`` into ``logs/tracking/RUN_NAME``, closed however the block ends.

    What an earlier training of the run left there is removed; ``history`` are the rows of the epochs that are
    done, where one is resumed, and are written first. Without ``kinds`` nothing is touched and every row is ignored.
    Raises :class:`SegtraceError` where a package is missing or cannot start.
    """
    kinds = list(dict.fromkeys(kinds))
    require(kinds)
    folder = FOLDER / run_name
    with ExitStack() as stack:
        writers: list[_Writer] = []
        if kinds:
            shutil.rmtree(folder, ignore_errors=True)
        for kind in kinds:
            try:
                writers.append(KINDS[kind][0](folder / kind))
            except Exception as error:  # of whatever kind: it comes from another package
                raise SegtraceError(
                    f"tracking: {kind} cannot start in {folder / kind} ({type(error).__name__}: {error}); mend this, or "
                    "leave it out of 'tracking' in config/config.yaml"
                ) from error
            stack.callback(writers[-1].close)
        result = Tracker(writers)
        for row in history:
            result._add(row)
        result._show()
        yield result
