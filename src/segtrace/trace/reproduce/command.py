"""``segtrace reproduce TABLE --row … --column …``: recompute one number from raw data, and compare."""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtrace.options import at_least_one

if TYPE_CHECKING:
    from segtrace.trace.reproduce.differences import Step
    from segtrace.trace.reproduce.recompute import Plan, Say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "table",
        type=Path,
        help="a table of results/EXP (summary.csv, ranks.csv, metrics.json …), or scores/RUN/VARIANT.csv",
    )
    parser.add_argument(
        "--row",
        help="KEY=VALUE,KEY=VALUE that one row alone has, or its line in the file (the header is line 1)",
    )
    parser.add_argument(
        "--column", required=True, help="column of the number; of a JSON file its keys joined by dots"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="recompute here, and leave it there: a folder that is empty or does not exist",
    )
    parser.add_argument("--keep", action="store_true", help="leave the temporary folder, and say where it is")
    parser.add_argument(
        "--cores",
        type=at_least_one,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="cores that Snakemake may use (default: all, %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON; what happens goes to standard error")


def run(arguments: argparse.Namespace) -> None:
    """Recompute and compare; ends with 1 where the number, or anything that it descends from, differs."""
    from segtrace.trace.reproduce import recompute

    plan = recompute.plan(arguments.table, row=arguments.row, column=arguments.column)

    def say(line: str) -> None:
        print(line, file=sys.stderr if arguments.json else sys.stdout, flush=True)

    with _folder(arguments.folder, keep=arguments.keep, say=say) as folder:
        result = reproduce(plan, folder, cores=arguments.cores, say=say)
    if arguments.json:
        print(json.dumps(result, indent=1, ensure_ascii=False))
    if not result["identical"]:
        raise SystemExit(1)


@contextmanager
def _folder(given: Path | None, *, keep: bool, say: "Say") -> Iterator[Path]:
    """The clean folder, as an absolute path; a temporary one is removed when the block ends."""
    from segtrace.errors import SegtraceError

    if given is not None:
        if given.exists() and (not given.is_dir() or any(given.iterdir())):
            raise SegtraceError(f"--folder {given}: it must be empty, or not exist")
        given.mkdir(parents=True, exist_ok=True)
        yield given.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="segtrace-reproduce-")).resolve()
    try:
        yield folder
    finally:
        if keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def reproduce(plan: "Plan", folder: Path, *, cores: int, say: "Say") -> dict[str, Any]:
    """Recompute the plan's cell in the clean ``folder`` and compare, telling ``say`` of each step.

    Returns ``identical``, the two values, every step, and why a difference was to be expected.
    """
    from segtrace.trace.reproduce import differences, recompute

    for line in _heading(plan):
        say(line)
    reasons = differences.expected(plan)
    if reasons:
        say("a difference is to be expected, for this is not as it was:")
    else:
        say("code, configuration, environment, processor and threads are those of the records")
    for reason in reasons:
        say(f"  - {reason}")
    raw = differences.raw(plan)
    say(str(raw))
    edited = differences.edits(plan)
    if edited:
        more = f" and {len(edited) - 3} more" if len(edited) > 3 else ""
        say(f"  not as they were unpacked: {', '.join(edited[:3])}{more}")
    if not raw.same:
        return _result(plan, [raw], reasons, say=say)
    say(f"recomputing in {folder} on {cores} cores; log: {recompute.LOG} there")
    recompute.prepare(plan, folder)
    recompute.run(plan, folder, cores=cores, say=say)
    found = differences.steps(plan, folder)
    for step in found:
        say(str(step))
    return _result(plan, [raw, *found], reasons, say=say)


def _heading(plan: "Plan") -> Iterator[str]:
    from segtrace.trace.reproduce.differences import place, shown

    yield f"{place(plan.cell)} = {shown(plan.cell.text)}"
    for run in plan.runs:
        yield f"  from {run}, {plan.variant}"


def _result(plan: "Plan", steps: "list[Step]", reasons: list[str], *, say: "Say") -> dict[str, Any]:
    """The result as JSON, and its last lines."""
    from segtrace.trace.reproduce.differences import shown

    first = next((step for step in steps if not step.same), None)
    if first is None:
        say(f"identical: {shown(plan.cell.text)}")
    else:
        if reasons:
            say("a difference was to be expected, for this is not as it was: " + "; ".join(reasons))
        say(
            f"first differs at {first.name}: {first.where}: recorded {shown(first.recorded)}, "
            f"recomputed {shown(first.recomputed)}"
        )
    last = steps[-1]
    return {
        "table": str(plan.cell.file),
        "row": plan.cell.row,
        "column": plan.cell.column or ".".join(plan.cell.path),
        "recorded": plan.cell.text,
        "recomputed": None if last.name != "cell" else plan.cell.text if last.same else last.recomputed,
        "identical": first is None,
        "first_difference": None if first is None else first.name,
        "expected": reasons,
        "steps": [
            {
                "name": step.name,
                "same": step.same,
                "what": step.what,
                "where": step.where,
                "recorded": step.recorded,
                "recomputed": step.recomputed,
            }
            for step in steps
        ],
    }
