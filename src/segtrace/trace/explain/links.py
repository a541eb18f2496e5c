"""What a walk hands from step to step: what is needed of each job, what a step found, the links that do not hold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segtrace.trace.cells import FIRST
from segtrace.trace.jobs import Job

#: Job → what the number goes through in its output (cases, files) → the uses it is put to, or of scores the labels.
Needs = dict[Job, dict[str, set[str]]]


@dataclass(frozen=True)
class Link:
    """A link that does not hold: of which step, what, and its two values."""

    step: str
    what: str
    recorded: str
    now: str

    def __str__(self) -> str:
        return f"{self.step}: {self.what}: recorded {self.recorded}, now {self.now}"


@dataclass
class Step:
    """What one job contributes: ``shown`` is plain data that depends on the phase."""

    job: Job
    shown: dict[str, Any] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    scope: dict[str, str] = field(default_factory=dict)
    """File that the job's table vouches for → its case, for those that the number goes through."""

    def broken(self, what: str, *, recorded: Any, now: Any) -> None:
        """Note a link that does not hold."""
        self.links.append(Link(str(self.job), what, str(recorded), str(now)))


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


def file_entry(path: Path, sums: Mapping[str, str | None]) -> dict[str, Any]:
    """A declared output with the checksum of its present bytes."""
    return {"file": str(path), "sha256": sums.get(str(path))}
