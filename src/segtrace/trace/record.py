"""Provenance records: beside every output, what it was made from and the checksum of its bytes.

A record is deterministic: it holds no time and no path of the machine, so that equal runs have equal records.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segtrace import digests, upkeep
from segtrace.config import load, models
from segtrace.errors import SegtraceError
from segtrace.files import read_json, write_json
from segtrace.trace import jobs
from segtrace.trace.identity import identity
from segtrace.trace.jobs import Job

#: The key of a record's configuration that names the methods that outputs were made without.
LEFT_OUT = "left_out"


def begin(job: Job, config: models.Config | None = None) -> dict[str, Any]:
    """What ``job`` is about to be made from. Call it before anything is read, so that an edit meanwhile
    is not taken for what was read.
    """
    return identity(job, load.main_config() if config is None else config)


def write(
    job: Job,
    made: Mapping[str, Any],
    *,
    contents: Mapping[Path, str] | None = None,
    unlisted: Mapping[Path, str] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write the record of each output of ``job``, after the outputs.

    ``made`` is what :func:`begin` gave. ``contents`` are files that the outputs vouch for, with checksums that
    the caller has just computed: noted, so that they need not be read again to be checked. ``unlisted`` are more
    such files, which no table names: the record does. ``notes`` is what a reader should know besides.
    """
    seen = jobs.seen(job)
    seen.note({**(contents or {}), **(unlisted or {})})
    more: dict[str, Any] = {"notes": dict(notes)} if notes else {}
    if unlisted:
        more["contents"] = {str(path): sha256 for path, sha256 in sorted(unlisted.items())}
    for output in jobs.outputs(job):
        write_json(
            jobs.record_of(output),
            {
                "output": str(output),
                "sha256": seen.sha256(output),
                "phase": job.phase,
                "job": job.name,
                "inputs": made["inputs"],
                "configuration": made["configuration"],
                "code_digest": digests.digest(made["code"]),
                "code": made["code"],
                "environment": made["environment"],
                **more,
            },
        )
    seen.save()


def write_incomplete(
    job: Job,
    made: Mapping[str, Any],
    without: Mapping[str, str],
    *,
    unlisted: Mapping[Path, str] | None = None,
) -> None:
    """Write the record of outputs that were made without some methods, each with its reason: they never hold.

    The outputs are dated back, so that Snakemake makes them anew as soon as it can, even where it knows nothing of them.
    """
    configuration = {**made["configuration"], LEFT_OUT: dict(without)}
    write(job, {**made, "configuration": configuration}, unlisted=unlisted)
    for output in jobs.outputs(job):
        upkeep.date_back(output)


def is_incomplete(job: Job) -> bool:
    """Whether a job's outputs were made without some methods."""
    found = read(jobs.outputs(job)[0])
    return found is not None and LEFT_OUT in found["configuration"]


def read(output: Path) -> dict[str, Any] | None:
    """The record of an output; None where there is none, or none that can be read."""
    path = jobs.record_of(output)
    if not path.is_file():
        return None
    try:
        found = read_json(path)
    except SegtraceError:
        return None
    return found if isinstance(found, dict) and _sound(found) else None


def _sound(found: Mapping[str, Any]) -> bool:
    """Whether a record has all its keys, each of its type."""
    texts = ("output", "sha256", "phase", "job", "environment")
    mappings = [found.get("inputs"), found.get("code"), found.get("contents", {})]
    return (
        all(isinstance(found.get(key), str) for key in texts)
        and all(isinstance(value, dict) for value in mappings)
        and isinstance(found.get("configuration"), dict)
    )
