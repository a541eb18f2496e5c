"""The walk: from what is explained down to the raw files and the archive, a step a job, as plain data.

Each step takes from the one above which cases, files or rows the number goes through, looks them up in its
own table, says whether the link holds, and hands down what it was made from in turn. A case counts where it
was scored, and where the network was trained or selected on it.
"""

from typing import Any

from segtrace.errors import SegtraceError
from segtrace.trace import jobs
from segtrace.trace.cells import Subject
from segtrace.trace.explain.facts import Facts
from segtrace.trace.explain.links import Needs, Step, broken
from segtrace.trace.explain.phases import FOLLOW
from segtrace.trace.explain.starts import start
from segtrace.trace.jobs import PHASES


def walk(needs: Needs, facts: Facts) -> list[Step]:
    """The steps from the jobs in ``needs`` down to ``acquire``, in the order from the table to the raw files.

    ``needs`` is added to on the way.
    """
    steps = []
    for phase in reversed(PHASES):
        for job in sorted((job for job in needs if job.phase == phase), key=lambda job: job.name):
            step = Step(job)
            try:
                FOLLOW[phase](step, needs, facts)
            except (KeyError, ValueError, TypeError, IndexError, SegtraceError) as error:
                step.broken(f"what {job} wrote", recorded="can be read", now=f"damaged ({error!r})")
            _judge(step, facts)
            steps.append(step)
    return steps


def _judge(step: Step, facts: Facts) -> None:
    """Add a job's problems to its step. Those about files of cases that the number does not go through are
    told as notes: they are no link of this chain.
    """
    elsewhere = []
    vouched = set(facts.sums(step.job)) - {str(output) for output in jobs.outputs(step.job)}
    for problem in facts.problems(step.job):
        if problem.what in vouched and problem.what not in step.scope:
            elsewhere.append(problem.what)
            continue
        for change in facts.spelled_out(problem):
            step.broken(change.what, recorded=change.recorded, now=change.now)
    if elsewhere:
        step.notes.append(
            f"{len(elsewhere)} files of other cases, not in this chain, do not hold: {', '.join(elsewhere[:3])}"
        )


def explain(subject: Subject, facts: Facts) -> dict[str, Any]:
    """The chain of what ``subject`` names, as JSON: how it follows, its steps, and the links that are broken.

    ``steps`` go from the table to ``acquire``, each with the digests of its record, whether it holds, and
    what the number goes through in it; ``broken`` lists the links that do not hold, the raw data first.
    """
    begun = start(subject, facts)
    steps = walk(begun.needs, facts)
    found = broken(steps) + [
        {
            "step": f"recomputed {subject.file}",
            "what": cell,
            "recorded": _plain(table),
            "now": _plain(again),
        }
        for cell, table, again in begun.differences
    ]
    return {
        "table": str(subject.file),
        "kind": subject.kind,
        "line": subject.lines[0][0] if subject.one and subject.lines else None,
        "row": subject.keys or None,
        "path": ".".join(subject.path) or None,
        "column": subject.column,
        "value": subject.value if subject.column or subject.path else None,
        "values": dict(subject.lines[0][1]) if subject.one and subject.lines and not subject.column else None,
        "how": begun.how,
        "cases": begun.cases,
        "recomputed": {
            "cells": begun.checked,
            "equal": not begun.differences,
            "differences": [
                {"cell": cell, "table": table, "recomputed": again}
                for cell, table, again in begun.differences
            ],
        }
        if begun.checked or begun.differences
        else None,
        "steps": [
            {
                "phase": step.job.phase,
                "job": step.job.name,
                "holds": not step.links,
                "broken": [str(link) for link in step.links],
                "notes": step.notes,
                **step.shown,
                "record": facts.made(step.job),
            }
            for step in steps
        ],
        "broken": found,
        "holds": not found,
    }


def _plain(value: Any) -> str:
    return "unknown" if value in (None, "") else str(value)
