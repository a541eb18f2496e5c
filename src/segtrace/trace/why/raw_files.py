"""A raw file, as ``segtrace why`` tells of it: whether it is as the receipt says, and what reads it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segtrace.config.models import Config

#: Cases that are printed of a longer list; JSON holds all.
SHOWN = 10


def is_raw(path: Path) -> bool:
    """Whether a path is that of a raw file."""
    return path.parts[:2] == ("data", "raw") and len(path.parts) > 3


def raw(path: Path, config: "Config") -> dict[str, Any]:
    """Of a raw file: whether it is as the receipt says, and which cases and jobs read it."""
    from segtrace import layout
    from segtrace.config import load
    from segtrace.errors import SegtraceError, advice
    from segtrace.seen import tree_sums
    from segtrace.trace import jobs
    from segtrace.trace.changes import parts, reasons, short
    from segtrace.trace.identity import rows
    from segtrace.trace.raw import listed

    dataset = path.parts[2]
    load.dataset(dataset)
    name = str(path.relative_to(layout.raw(dataset)))
    present = tree_sums(layout.raw(dataset)) or {}
    receipt = listed(dataset)
    if name not in present and name not in receipt:
        hint = advice(name, [*receipt, *(key for key in present if key not in receipt)][:50])
        raise SegtraceError(f"{path}: no such raw file, and the receipt lists none; {hint}")
    table = layout.cases(dataset)
    cases = [
        row["case"]
        for row in (rows(table) if table.is_file() else ())
        if name in json.loads(row["images"]) + json.loads(row["labels"])
    ]
    index = jobs.index(dataset)
    problems = reasons(index, config, parts(index, config))
    return {
        "file": str(path),
        "receipt": receipt.get(name),
        "now": present.get(name),
        "local_edit": present.get(name) != receipt.get(name),
        "cases": cases,
        "read_by": [str(index), *_readers(dataset, cases, config)],
        "index": problems,
        "sentence": (
            f"{index} would run again because {short(problems)}; what follows reruns where its cases come out different"
            if problems
            else "nothing that reads it would run again"
        ),
    }


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


def show(found: dict[str, Any]) -> None:
    """Print what :func:`raw` found."""
    from segtrace.trace.changes import told

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
        print(f"  {told(line)}")
    print(found["sentence"])
