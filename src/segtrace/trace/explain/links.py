"""What a walk hands from step to step: what is needed of each job, what a step found, the links that do not hold."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segtrace.trace.cells import FIRST
from segtrace.trace.check import Problem
from segtrace.trace.jobs import Job

#: Job → what the number goes through in its output (cases, files) → the uses it is put to, or of scores the labels.
Needs = dict[Job, dict[str, set[str]]]


@dataclass
class Step:
    """What one job contributes: ``shown`` is plain data that depends on the phase."""

    job: Job
    shown: dict[str, Any] = field(default_factory=dict)
    links: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    scope: dict[str, str] = field(default_factory=dict)
    """File that the job's table vouches for → its case, for those that the number goes through."""

    def broken(self, what: str, *, recorded: Any, now: Any) -> None:
        """Note a link that does not hold."""
        self.links.append(Problem(self.job, what, str(recorded), str(now)))


def broken(steps: Sequence[Step]) -> list[dict[str, str]]:
    """The links that do not hold as plain data, the raw data first."""
    return [
        {"step": str(link.job), "what": link.what, "recorded": link.recorded, "now": link.now}
        for step in reversed(steps)
        for link in step.links
    ]


def need(needs: Needs, job: Job, names: Iterable[str], use: str) -> None:
    """Add to what is needed of a job."""
    wanted = needs.setdefault(job, {})
    for name in names:
        wanted.setdefault(name, set()).add(use)


def line_of(table: list[dict[str, str]], **wanted: str) -> tuple[int, dict[str, str]] | None:
    """The line and the row of the first row with these values; None where there is none."""
    for number, row in enumerate(table, FIRST):
        if all(row.get(key) == value for key, value in wanted.items()):
            return number, row
    return None


def row_of(
    step: Step, table: Path, rows: list[dict[str, str]], case: str
) -> tuple[int, dict[str, str]] | None:
    """The line and the row of a case; a table that lacks it, unless it is missing as a whole, is a broken link."""
    found = line_of(rows, case=case)
    if found is None and rows:
        step.broken(f"{table}: row of case {case}", recorded="there", now="missing")
    return found


def file_entry(path: Path, sums: Mapping[str, str | None]) -> dict[str, Any]:
    """A declared output with the checksum of its present bytes."""
    return {"file": str(path), "sha256": sums.get(str(path))}
