"""``segtrace why FILE``: which digest would make a file be made again."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtrace.options import add_asked, asked

if TYPE_CHECKING:
    from segtrace.config.models import Config
    from segtrace.trace.changes import Part
    from segtrace.trace.jobs import Job

#: Jobs and cases that are printed of a longer list; JSON holds all.
SHOWN = 10
#: Phase → phases of whose tables it reads some rows: it runs again only where the content of these differs.
BY_CONTENT = {
    "index": ("acquire",),
    "prepare": ("index",),
    "validate": ("index",),
    "split": ("index",),
    "train": ("validate", "split"),
    "predict": ("validate", "split"),
    "score": ("index", "validate", "split"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("file", help="a file that the workflow makes, or a raw file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_asked(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print what would make the file be made again; the last line says it in one sentence.

    Raises :class:`segtrace.errors.SegtraceError` for a file that no job makes.
    """
    from segtrace.config import load
    from segtrace.trace import jobs
    from segtrace.trace.why import raw_files

    config = load.main_config(asked(arguments))
    path = jobs.inside(arguments.file)
    a_raw_file = raw_files.is_raw(path)
    found = raw_files.raw(path, config) if a_raw_file else why(path, config)
    if arguments.json:
        print(json.dumps(found, indent=1))
    elif a_raw_file:
        raw_files.show(found)
    else:
        _print(found)


# --- a file that a job makes --------------------------------------------------------------------------


def why(path: Path, config: "Config") -> dict[str, Any]:
    """What would make the job of ``path`` run again: ``bytes``, ``parts``, ``above``, ``again``, ``sentence``.

    ``parts`` is None where there is no record. Raises :class:`segtrace.errors.SegtraceError` for a path that
    no job makes, and for configuration that cannot be read.
    """
    from segtrace.trace import check, jobs
    from segtrace.trace.changes import parts, reasons

    path = Path(str(path).removesuffix(jobs.RECORD))
    job = jobs.of_file(path)
    jobs.check_known(job)
    own = _bytes(path, job)
    compared = parts(job, config)
    wanted = [job, *_gates(job, config)]
    upstream = [other for other in jobs.above(wanted, config) if other != job]
    above = {other: _entry(other, config) for other in upstream if check.problems(other, config)}
    files = _by_file(job, config)
    for other, entry in above.items():
        entry["first"] = not above.keys() & set(jobs.above([other], config)) - {other}
        entry["brings"] = other in files
    because = reasons(job, config, compared)
    return {
        "file": str(path),
        "job": str(job),
        "configured": job in jobs.configured(config),
        "bytes": own,
        "parts": None if compared is None else [_plain(part) for part in compared],
        "because": because,
        "above": list(above.values()),
        "again": bool(because) or any(entry["brings"] for entry in above.values()),
        "sentence": _sentence(because, list(above.values())),
    }


def _gates(job: "Job", config: "Config") -> "list[Job]":
    """The gates that a split waits for, of all recipes that the experiments ask for with it."""
    from segtrace.config import load
    from segtrace.trace import jobs

    if job.phase != "split":
        return []
    for names in (config.experiments, load.names("experiments")):
        found = [load.experiment(name) for name in names]
        recipes = {one.recipe for one in found if job == jobs.split(one.dataset, one.protocol)}
        if recipes:
            return [jobs.validate(jobs.dataset_of(job), recipe) for recipe in sorted(recipes)]
    return []


def _by_file(job: "Job", config: "Config") -> "set[Job]":
    """The jobs that bring ``job`` with them when they run: a chain of files, each read whole, leads to it."""
    from segtrace.trace import jobs

    waiting = [job]
    found: set[Job] = set()
    while waiting:
        one = waiting.pop()
        apart = BY_CONTENT.get(one.phase, ())
        above = [other for other in jobs.upstream(one, config) if other.phase not in apart] + _gates(
            one, config
        )
        waiting += [other for other in above if other not in found]
        found.update(above)
    return found


def _bytes(path: Path, job: "Job") -> dict[str, Any]:
    """The checksum that is recorded of a file, by its record or by the table that vouches for it, and the present."""
    from segtrace.errors import SegtraceError, advice
    from segtrace.trace import check, jobs, record

    seen = jobs.seen(job)
    outputs, recorded, by = jobs.outputs(job), None, None
    if path in outputs:
        made = record.read(path)
        recorded, by = (None, None) if made is None else (made["sha256"], str(jobs.record_of(path)))
    else:
        try:
            vouched = check.contents(job)
        except SegtraceError:  # a table that is missing or damaged vouches for nothing
            vouched = {}
        if path in vouched:
            recorded, by = vouched[path], str(outputs[0])
        else:
            known = [str(item) for item in [*outputs, *vouched]]
            raise SegtraceError(f"{path}: {job} does not make this file; {advice(str(path), known)}")
    now = seen.sha256(path)
    return {"recorded": recorded, "by": by, "now": now, "same": recorded == now if recorded else None}


def _plain(part: "Part") -> dict[str, Any]:
    return {"part": part.name, "same": part.same, "changes": [asdict(change) for change in part.changes]}


def _entry(job: "Job", config: "Config") -> dict[str, Any]:
    from segtrace.trace.changes import parts, reasons

    compared = parts(job, config)
    return {
        "job": str(job),
        "because": reasons(job, config, compared),
        "parts": None if compared is None else [_plain(part) for part in compared],
    }


def _sentence(because: Sequence[dict[str, str]], above: Sequence[dict[str, Any]]) -> str:
    """The last line. Where jobs above run that do not bring this one with them, its inputs decide by content."""
    from segtrace.trace.changes import short

    if because:
        text = f"it would run again because {short(because)}"
        return text + ("; jobs above it would run before it" if above else "")
    first = [entry for entry in above if entry["first"]]
    named = "; ".join(f"{entry['job']} ({short(entry['because'])})" for entry in first[:3])
    more = f" and {len(first) - 3} more" if len(first) > 3 else ""
    if any(entry["brings"] for entry in above):
        return f"it would run again because jobs that it builds on would: {named}{more}"
    if above:
        return f"it would run again only if what it reads came out different, for jobs above it would: {named}{more}"
    return "nothing would make it run again"


def _print(found: dict[str, Any]) -> None:
    from segtrace.trace.changes import told

    print(f"{found['file']}: made by {found['job']}")
    if not found["configured"]:
        print("  config/config.yaml does not ask for it: it runs only where it is asked for by name")
    own = found["bytes"]
    if own["now"] is None:
        print("  bytes: missing")
    elif own["recorded"] is None:
        print(f"  bytes: nothing recorded; sha256 {own['now']}")
    else:
        state = "as recorded" if own["same"] else f"changed: recorded sha256 {own['recorded']}, now"
        print(
            f"  bytes: {state}{' (' if own['same'] else ' '}sha256 {own['now']}{')' if own['same'] else ''}"
        )
    if found["parts"] is None:
        print("  no record of what it was made from")
    for part in found["parts"] or ():
        print(f"  {part['part']}: {'same' if part['same'] else 'changed'}")
        for change in part["changes"]:
            print(f"    {told(change)}")
    if found["above"]:
        print("jobs above that would run again:")
    for entry in found["above"]:
        print(f"  {entry['job']}{' (first)' if entry['first'] else ''}")
        for line in entry["because"][:SHOWN]:
            print(f"    {told(line)}")
        if len(entry["because"]) > SHOWN:
            print(f"    and {len(entry['because']) - SHOWN} more (--json)")
    print(found["sentence"])
