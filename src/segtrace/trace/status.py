"""``segtrace status``: of every configured output, whether it still holds; of every training, where it stands."""

import argparse
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from segtrace.options import add_asked, asked

if TYPE_CHECKING:
    from segtrace.config.models import Config
    from segtrace.trace.check import Problem
    from segtrace.trace.failures import State
    from segtrace.trace.jobs import Job

#: Problems printed unless all are asked for.
SHOWN = 20
STATES = ("hold", "do not hold", "missing")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON, with every problem")
    parser.add_argument("--all", action="store_true", help=f"print every problem, not the first {SHOWN}")
    add_asked(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the state of every configured output.

    Raises :class:`segtrace.errors.SegtraceError`, so that the exit status is 1, unless all are there and hold.
    """
    from segtrace.config import load
    from segtrace.errors import SegtraceError

    found = status(load.main_config(asked(arguments)))
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        _print(found, shown=None if arguments.all else SHOWN)
    total = {state: sum(counts[state] for counts in found["phases"].values()) for state in STATES}
    if not found["holds"]:
        raise SegtraceError(
            f"of {sum(total.values())} configured outputs, {total['do not hold']} do not hold and "
            f"{total['missing']} are missing; 'segtrace why FILE' says why of one, snakemake makes them"
        )


def status(config: "Config") -> dict[str, Any]:
    """``phases`` (phase → how many outputs ``hold``, ``do not hold``, are ``missing``), ``problems`` and
    ``holds``, of all jobs that the configuration asks for; and ``runs``: phase → how many trainings, predictions and
    scorings are ``done``, ``running``, ``failed`` and ``remaining``, with the ``failures`` and their reasons.
    """
    from segtrace.trace import check, failures, jobs

    phases: dict[str, dict[str, int]] = {}
    problems: list[Problem] = []
    wanted = jobs.configured(config)
    for job in wanted:
        found = check.problems(job, config)
        problems += found
        counts = Counter(_states(job, found))
        known = phases.setdefault(job.phase, dict.fromkeys(STATES, 0))
        phases[job.phase] = {state: known[state] + counts[state] for state in STATES}
    return {
        "experiments": list(config.experiments),
        "phases": phases,
        "problems": [
            {"job": str(p.job), "what": p.what, "recorded": p.recorded, "now": p.now} for p in problems
        ],
        "holds": not problems,
        "runs": _runs([failures.state(job) for job in wanted if job.phase in ("train", "predict", "score")]),
    }


def _runs(found: "list[State]") -> dict[str, Any]:
    """How many jobs of runs stand where, by phase, and each that failed with its reason."""
    from segtrace.trace import failures

    phases = dict.fromkeys(one.job.phase for one in found)
    counts = {
        phase: {
            state: sum(one.job.phase == phase and one.state == state for one in found)
            for state in failures.STATES
        }
        for phase in phases
    }
    failed = [{"job": str(one.job), "reason": one.reason} for one in found if one.state == "failed"]
    return {
        "counts": counts,
        "failures": failed,
        "running": [str(o.job) for o in found if o.state == "running"],
    }


def _states(job: "Job", problems: "list[Problem]") -> list[str]:
    """The state of each output of a job. A problem of one output's bytes or record is its own; any other is
    every output's.
    """
    from segtrace.trace import jobs

    outputs = jobs.outputs(job)
    own = {str(path): str(output) for output in outputs for path in (output, jobs.record_of(output))}
    shared = any(problem.what not in own for problem in problems)
    broken = {own[problem.what] for problem in problems if problem.what in own}
    return [
        "missing" if not output.is_file() else "do not hold" if shared or str(output) in broken else "hold"
        for output in outputs
    ]


def _print(found: dict[str, Any], *, shown: int | None) -> None:
    from segtrace.trace.changes import told

    rows: list[tuple[str, ...]] = [("phase", *STATES)]
    rows += [(phase, *(str(counts[s]) for s in STATES)) for phase, counts in found["phases"].items()]
    totals = [sum(counts[state] for counts in found["phases"].values()) for state in STATES]
    rows.append(("all", *map(str, totals)))
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells))
    for phase, counts in found["runs"]["counts"].items():
        print(f"{phase}: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    for job in found["runs"]["running"]:
        print(f"running: {job}")
    for failure in found["runs"]["failures"]:
        print(f"failed: {failure['job']}: {failure['reason']}")
    listed = [f"{problem['job']}: {told(problem)}" for problem in found["problems"]]
    for line in listed[:shown]:
        print(line)
    if shown is not None and len(listed) > shown:
        print(f"and {len(listed) - shown} more: segtrace status --all")
