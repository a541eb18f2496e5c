"""What a failed attempt at a run leaves for the next one.

A scheduler may start a failed job again. That helps a run that was killed or ran out of memory; any other
failure would only come again. A small file beside the states to resume from tells them apart.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from segtrace import determinism
from segtrace.errors import SegtraceError
from segtrace.files import read_json, write_json


def _path(folder: Path) -> Path:
    return folder / "resume" / "attempt.json"


def _note(folder: Path) -> dict[str, Any]:
    """What the last attempt left: ``parts`` after lack of memory, ``failed`` with the message of another failure."""
    try:
        found: dict[str, Any] = read_json(_path(folder))
    except SegtraceError:  # none, or damaged
        return {}
    return found


def parts(run: Mapping[str, Any], folder: Path) -> int:
    """Into how many parts a step is divided: the recipe's ``accumulate``, or more after memory was short."""
    configured: int = run["training"]["accumulate"]
    if run["training"]["when_out_of_memory"] != "halve":
        return configured
    return max(configured, int(_note(folder).get("parts", 1)))


@contextmanager
def told(run: Mapping[str, Any], folder: Path, attempt: int) -> Iterator[None]:
    """Turn a failure of the block into a note for the next attempt, and lack of memory into advice.

    ``attempt`` counts from 1, which is somebody's own start: what failed before is tried again. A later one
    raises :class:`SegtraceError` at once where the reason has not gone away.
    """
    note = _note(folder)
    failed = note.pop("failed", None)
    if failed is not None and attempt > 1:
        raise SegtraceError(f"attempt {attempt} would fail as the one before:\n{failed}")
    if failed is not None:
        write_json(_path(folder), note)
    try:
        yield
    except SegtraceError as error:
        write_json(_path(folder), note | {"failed": str(error)})
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(run, folder, error) from None
    except RuntimeError as error:
        if "DefaultCPUAllocator" in str(error):  # torch has no type of its own for the CPU's
            raise _out_of_memory(run, folder, error) from None
        advice = determinism.advice(error)
        if advice is None:
            raise
        refused = f"{run['run']}: {run['network']['name']} or its loss: {advice}"
        write_json(_path(folder), note | {"failed": refused})
        raise SegtraceError(refused) from None


def _out_of_memory(run: Mapping[str, Any], folder: Path, error: BaseException) -> SegtraceError:
    """The error that says what to lower; where the recipe allows it, the next attempt halves its parts."""
    training, now = run["training"], parts(run, folder)
    crop = training["crop"] or {"per_case": 1, "size": "the whole image"}
    samples = training["cases_per_step"] * crop["per_case"]
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    message = (
        f"{run['run']}: out of memory ({reason})\n"
        f"  a step: {samples} samples of {crop['size']} voxels, in {now} part{'s' if now > 1 else ''}\n"
    )
    more = min(2 * now, samples)
    if training["when_out_of_memory"] == "halve" and more > now:
        write_json(_path(folder), {"parts": more})
        return SegtraceError(f"{message}The next attempt takes {more} parts and goes on from the last state.")
    message += (
        f"In config/training/{run['training_name']}.yaml, raise accumulate (at most {samples}; the same gradients but "
        "for rounding and batch normalisation) or set when_out_of_memory: halve, or lower cases_per_step, "
        "crop.per_case or crop.size."
    )
    write_json(_path(folder), _note(folder) | {"failed": message})
    return SegtraceError(message)
