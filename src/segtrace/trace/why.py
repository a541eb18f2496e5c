"""``segtrace why FILE``: which digest would make a file be made again."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segtrace.config.models import Config
    from segtrace.trace.jobs import Job
    from segtrace.trace.parts import Change, Part

#: Jobs and cases that are printed of a longer list; JSON holds all.
SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("file", help="a file that the workflow makes, or a raw file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--experiments", help="asked of the workflow, by commas (default: config/config.yaml)"
    )
    parser.add_argument("--budget", help="budget asked of the workflow (default: config/config.yaml)")
    parser.add_argument(
        "--seeds", help="seeds asked of the workflow, by commas (default: config/config.yaml)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Print what would make the file be made again; the last line says it in one sentence.

    Raises :class:`segtrace.errors.SegtraceError` for a file that no job makes.
    """
    from segtrace.config import load

    asked = {key: getattr(arguments, key) for key in ("experiments", "budget", "seeds")}
    config = load.main_config(asked)
    path = _relative(arguments.file)
    found = raw(path, config) if _is_raw(path) else why(path, config)
    if arguments.json:
        print(json.dumps(found, indent=1))
    elif "read_by" in found:
        _print_raw(found)
    else:
        _print(found)


def _relative(file: str) -> Path:
    """The path relative to the project's root where it lies in it; :func:`jobs.of_file` judges the rest."""
    path = Path(file)
    return path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path


# --- a file that a job makes --------------------------------------------------------------------------


def why(path: Path, config: "Config") -> dict[str, Any]:
    """What would make the job of ``path`` run again: ``bytes``, ``parts``, ``above``, ``again``, ``sentence``.

    ``parts`` is None where there is no record. Raises :class:`segtrace.errors.SegtraceError` for a path that
    no job makes, and for configuration that cannot be read.
    """
    from segtrace.trace import check, jobs
    from segtrace.trace.parts import parts
    from segtrace.trace.subjects import check_known

    path = Path(str(path).removesuffix(jobs.RECORD))
    job = jobs.of_file(path)
    check_known(job)
    own = _bytes(path, job)
    compared = parts(job, config)
    upstream = [other for other in jobs.above([job], config) if other != job]
    above = [_entry(other, config) for other in upstream if check.problems(other, config)]
    causes = {entry["job"] for entry in above}
    for entry, other in zip(above, [o for o in upstream if str(o) in causes], strict=True):
        entry["first"] = not causes & {str(j) for j in jobs.above([other], config) if j != other}
    because = _reasons(job, config, compared)
    return {
        "file": str(path),
        "job": str(job),
        "configured": job in jobs.configured(config),
        "bytes": own,
        "parts": None if compared is None else [_plain(part) for part in compared],
        "because": because,
        "above": above,
        "again": bool(because or above),
        "sentence": _sentence(because, above),
    }


def _bytes(path: Path, job: "Job") -> dict[str, Any]:
    """The checksum that is recorded of a file, by its record or by the table that vouches for it, and the present."""
    from segtrace.errors import SegtraceError, advice
    from segtrace.seen import Seen
    from segtrace.trace import check, jobs, record

    seen = Seen(f"{job.phase}/{job.name}")
    outputs, recorded, by = jobs.outputs(job), None, None
    if path in outputs:
        made = record.read(path)
        recorded, by = (None, None) if made is None else (made["sha256"], str(jobs.record_of(path)))
    else:
        try:
            vouched = check.contents(job)
        except (SegtraceError, KeyError):  # a table that is missing or damaged vouches for nothing
            vouched = {}
        if path in vouched:
            recorded, by = vouched[path], str(outputs[0])
        elif job.phase != "prepare" or path.suffix != ".json":  # a case's own record has no checksum
            known = [str(item) for item in [*outputs, *vouched]]
            raise SegtraceError(f"{path}: {job} does not make this file; {advice(str(path), known)}")
    now = seen.sha256(path)
    return {"recorded": recorded, "by": by, "now": now, "same": recorded == now if recorded else None}


def _plain(part: "Part") -> dict[str, Any]:
    return {"part": part.name, "same": part.same, "changes": [_change(change) for change in part.changes]}


def _change(change: "Change") -> dict[str, str]:
    return {"what": change.what, "recorded": change.recorded, "now": change.now}


def _told(change: dict[str, str]) -> str:
    return f"{change['what']}: recorded {change['recorded']}, now {change['now']}"


def _reasons(job: "Job", config: "Config", compared: "list[Part] | None") -> list[dict[str, str]]:
    """Why a job itself does not hold: bytes first, then parts down to their keys and files."""
    from segtrace.trace import check
    from segtrace.trace.parts import spelled_out

    problems = check.problems(job, config)
    return [_change(change) for problem in problems for change in spelled_out(problem, compared)]


def _entry(job: "Job", config: "Config") -> dict[str, Any]:
    from segtrace.trace.parts import parts

    compared = parts(job, config)
    return {
        "job": str(job),
        "because": _reasons(job, config, compared),
        "parts": None if compared is None else [_plain(part) for part in compared],
    }


def _sentence(because: Sequence[dict[str, str]], above: Sequence[dict[str, Any]]) -> str:
    if because:
        text = f"it would run again because {_short(because)}"
        return text + ("; jobs above it would run before it" if above else "")
    first = [entry for entry in above if entry["first"]]
    if first:
        named = "; ".join(f"{entry['job']} ({_short(entry['because'])})" for entry in first[:3])
        more = f" and {len(first) - 3} more" if len(first) > 3 else ""
        return (
            f"it would run again because jobs that it builds on would: {named}{more}; "
            "it is spared only where what it reads comes out as it was"
        )
    return "nothing would make it run again"


def _short(because: Sequence[dict[str, str]]) -> str:
    """The first cause in a few words, and how many more there are."""
    first = because[0]
    state = "is missing" if first["now"].startswith("missing") else "has changed"
    return f"{first['what']} {state}" + (f", and {len(because) - 1} more" if len(because) > 1 else "")


def _print(found: dict[str, Any]) -> None:
    print(f"{found['file']}: made by {found['job']}")
    if not found["configured"]:
        print("  config/config.yaml does not ask for it: it runs only where it is asked for by name")
    own = found["bytes"]
    if own["now"] is None:
        print("  bytes: missing")
    elif own["recorded"] is None:
        print(f"  bytes: nothing recorded; sha256 {own['now']}")
    else:
        told = "as recorded" if own["same"] else f"changed: recorded sha256 {own['recorded']}, now"
        print(f"  bytes: {told}{' (' if own['same'] else ' '}sha256 {own['now']}{')' if own['same'] else ''}")
    if found["parts"] is None:
        print("  no record of what it was made from")
    for part in found["parts"] or ():
        print(f"  {part['part']}: {'same' if part['same'] else 'changed'}")
        for change in part["changes"]:
            print(f"    {change['what']}: recorded {change['recorded']}, now {change['now']}")
    if found["above"]:
        print("jobs above that would run again:")
    for entry in found["above"]:
        print(f"  {entry['job']}{' (first)' if entry['first'] else ''}")
        for line in entry["because"][:SHOWN]:
            print(f"    {_told(line)}")
        if len(entry["because"]) > SHOWN:
            print(f"    and {len(entry['because']) - SHOWN} more (--json)")
    print(found["sentence"])


# --- a raw file ---------------------------------------------------------------------------------------


def _is_raw(path: Path) -> bool:
    return path.parts[:2] == ("data", "raw") and len(path.parts) > 3


def raw(path: Path, config: "Config") -> dict[str, Any]:
    """Of a raw file: whether it is as the receipt says, and which cases and jobs read it."""
    from segtrace import layout
    from segtrace.config import load
    from segtrace.errors import SegtraceError, advice
    from segtrace.seen import tree_sums
    from segtrace.trace import jobs
    from segtrace.trace.identity import rows
    from segtrace.trace.parts import parts

    dataset = path.parts[2]
    load.dataset(dataset)
    name = str(path.relative_to(layout.raw(dataset)))
    present = tree_sums(layout.raw(dataset)) or {}
    listed = _receipt_files(dataset)
    if name not in present and name not in listed:
        hint = advice(name, [*listed, *(key for key in present if key not in listed)][:50])
        raise SegtraceError(f"{path}: no such raw file, and the receipt lists none; {hint}")
    table = layout.cases(dataset)
    cases = [
        row["case"]
        for row in (rows(table) if table.is_file() else ())
        if name in json.loads(row["images"]) + json.loads(row["labels"])
    ]
    index = jobs.index(dataset)
    problems = _reasons(index, config, parts(index, config))
    return {
        "file": str(path),
        "receipt": listed.get(name),
        "now": present.get(name),
        "local_edit": present.get(name) != listed.get(name),
        "cases": cases,
        "read_by": [str(index), *_readers(dataset, cases, config)],
        "index": problems,
        "sentence": (
            f"{index} would run again because {_short(problems)}; what follows reruns where its cases come out different"
            if problems
            else "nothing that reads it would run again"
        ),
    }


def _receipt_files(dataset: str) -> dict[str, str]:
    """File → checksum, as the receipt lists them; empty where there is no receipt that can be read."""
    from segtrace import layout
    from segtrace.errors import SegtraceError
    from segtrace.files import read_json

    try:
        files = read_json(layout.receipt(dataset))["files"]
        return {name: str(sha256) for name, (_, sha256) in files.items()}
    except (SegtraceError, KeyError, TypeError, ValueError):
        return {}


def _readers(dataset: str, cases: Sequence[str], config: "Config") -> list[str]:
    """The configured jobs that open the raw files of these cases: their batches, and the scorings of them."""
    from segtrace import layout
    from segtrace.config import load
    from segtrace.errors import SegtraceError
    from segtrace.trace import jobs
    from segtrace.trace.identity import members

    count = load.dataset(dataset).batches
    batches = {layout.batch_of(case, count) for case in cases}
    found = []
    for job in jobs.configured(config, until="score"):
        if job.phase in ("prepare", "score") and jobs.dataset_of(job) == dataset:
            if job.phase == "prepare":
                read = int(job.name.rpartition("/")[2]) in batches
            else:
                try:
                    scored = {case for case, _ in members(jobs.run_of(job), (jobs.variant_of(job).role,))}
                except SegtraceError:  # not split yet
                    scored = set()
                read = jobs.variant_of(job).grid == "native" and not scored.isdisjoint(cases)
            if read:
                found.append(str(job))
    return found


def _print_raw(found: dict[str, Any]) -> None:
    print(f"{found['file']}: a raw file; no job writes to it once it is there")
    if found["now"] is None:
        print(f"  bytes: missing; the receipt has sha256 {found['receipt']}")
    elif found["receipt"] is None:
        print(f"  bytes: sha256 {found['now']}; the receipt does not list it: a local edit")
    elif found["local_edit"]:
        print(f"  bytes: a local edit: the receipt has sha256 {found['receipt']}, now sha256 {found['now']}")
    else:
        print(f"  bytes: as the receipt has them (sha256 {found['now']})")
    shown, rest = found["cases"][:SHOWN], len(found["cases"]) - SHOWN
    more = f" and {rest} more" if rest > 0 else ""
    print(f"  cases that it belongs to: {', '.join(shown) or 'none in the index'}{more}")
    print("  read by:")
    for job in found["read_by"]:
        print(f"    {job}")
    for line in found["index"]:
        print(f"  {_told(line)}")
    print(found["sentence"])
