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
from segtrace.digests import digest
from segtrace.errors import SegtraceError
from segtrace.files import read_json, write_json
from segtrace.train.world import is_loss


def _path(folder: Path) -> Path:
    return folder / "resume" / "attempt.json"


def _note(run: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the last attempt left: ``parts`` after lack of memory, ``failed`` with the message of another failure.

    Nothing, if there is no note, or it is damaged or of another configuration, data or code.
    """
    try:
        found = read_json(_path(folder))
    except SegtraceError:
        return {}
    if not isinstance(found, dict) or found.get("identity") != digest(dict(run)):
        return {}
    return {key: found[key] for key in ("parts", "failed") if key in found}


def _write(run: Mapping[str, Any], folder: Path, note: Mapping[str, Any]) -> None:
    write_json(_path(folder), {"identity": digest(dict(run)), **note})


def parts(run: Mapping[str, Any], folder: Path) -> int:
    """Into how many parts a step is divided: the recipe's ``accumulate``, or more after memory was short."""
    configured: int = run["training"]["accumulate"]
    if run["training"]["when_out_of_memory"] != "halve":
        return configured
    return max(configured, int(_note(run, folder).get("parts", 1)))


@contextmanager
def told(run: Mapping[str, Any], folder: Path, attempt: int) -> Iterator[None]:
    """Turn a failure of the block into a note for the next attempt, and lack of memory into advice.

    ``attempt`` counts from 1, which is somebody's own start: what failed before is tried again. A later one
    raises :class:`SegtraceError` at once where the reason has not gone away. A full disk, a kill and an interrupt leave
    no note: they may pass.
    """
    note = _note(run, folder)
    failed = note.pop("failed", None)
    if failed is not None and attempt > 1:
        raise SegtraceError(f"attempt {attempt} would fail as the one before:\n{failed}")
    if failed is not None:
        _write(run, folder, note)
    try:
        yield
    except SegtraceError as error:
        _write(run, folder, note | {"failed": str(error)})
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(run, folder, error) from None
    except OSError:
        raise
    except Exception as error:
        if "DefaultCPUAllocator" in str(error):  # torch has no type of its own for the CPU's
            raise _out_of_memory(run, folder, error) from None
        if is_loss(error):
            raise  # another process of its world was gone, whose own reason decides
        told_why = _explained(run, error)
        _write(run, folder, note | {"failed": told_why or f"{type(error).__name__}: {error}"})
        if told_why is None:
            raise
        raise SegtraceError(told_why) from None


def _explained(run: Mapping[str, Any], error: Exception) -> str | None:
    """What to do about faults of torch's that have a known cause; None for any other."""
    where = f"config/training/{run['training_name']}.yaml"
    advice = determinism.advice(error)
    if advice is not None:
        return f"{run['run']}: {run['network']['name']} or its loss: {advice}"
    if "more than 1 value per channel" in str(error):
        return (
            f"{run['run']}: {run['network']['name']} has batch normalisation, and a batch was one sample of one voxel at "
            f"its deepest level; in {where}, raise crop.size, crop.per_case or cases_per_step, or lower accumulate"
        )
    if "more than 1 spatial element" in str(error):
        size = (run["training"]["crop"] or {}).get("size", "the whole image")
        return (
            f"{run['run']}: {run['network']['name']} has instance normalisation, and of {size} its deepest level is one "
            f"voxel; in {where} or the budget, raise a side of crop.size"
        )
    return None


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
        _write(run, folder, {"parts": more})
        return SegtraceError(f"{message}The next attempt takes {more} parts and goes on from the last state.")
    message += (
        f"In config/training/{run['training_name']}.yaml, raise accumulate (at most {samples}; the same gradients but "
        "for rounding and batch normalisation) or set when_out_of_memory: halve, or lower cases_per_step, "
        "crop.per_case or crop.size."
    )
    _write(run, folder, _note(run, folder) | {"failed": message})
    return SegtraceError(message)
