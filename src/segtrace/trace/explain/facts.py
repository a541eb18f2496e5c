"""What a walk asks of a project, each thing once: tables, records, checksums, problems."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segtrace import digests
from segtrace.config import models
from segtrace.errors import SegtraceError
from segtrace.files import read_json
from segtrace.seen import tree_sums
from segtrace.trace import changes, check, identity, jobs, record
from segtrace.trace.check import Problem
from segtrace.trace.jobs import Job


class Facts:
    """Answers about a project, kept: many numbers share one walk's answers. It must not change meanwhile."""

    def __init__(self, config: models.Config) -> None:
        self.config = config
        self._problems: dict[Job, list[Problem]] = {}
        self._spelled: dict[Job, list[changes.Part] | None] = {}
        self._sums: dict[Job, dict[str, str | None]] = {}
        self._trees: dict[str, dict[str, str | None]] = {}
        self._json: dict[Path, Any] = {}
        self._records: dict[Path, dict[str, Any] | None] = {}
        self.kept: dict[Any, Any] = {}
        """What other modules compute from these answers, under keys of their own."""

    def rows(self, table: Path) -> list[dict[str, str]]:
        """A table's rows as text; none where it is missing, which its job's problems say."""
        try:
            return identity.rows(table)
        except SegtraceError:
            return []

    def json(self, path: Path) -> dict[str, Any]:
        """A JSON file's content; empty where it is missing or damaged."""
        if path not in self._json:
            try:
                found = read_json(path)
            except SegtraceError:
                found = {}
            self._json[path] = found if isinstance(found, dict) else {}
        content: dict[str, Any] = self._json[path]
        return content

    def record(self, output: Path) -> dict[str, Any] | None:
        """The provenance record of an output."""
        if output not in self._records:
            self._records[output] = record.read(output)
        return self._records[output]

    def problems(self, job: Job) -> list[Problem]:
        """Every reason for which a job does not hold, as it was asked for when it ran (:meth:`asked`)."""
        if job not in self._problems:
            self._problems[job] = check.problems(job, self.asked(job))
        return self._problems[job]

    def spelled_out(self, problem: Problem) -> list[changes.Change]:
        """A problem down to the keys and files that differ."""
        if problem.job not in self._spelled:
            self._spelled[problem.job] = changes.parts(problem.job, self.asked(problem.job))
        return changes.spelled_out(problem, self._spelled[problem.job])

    def asked(self, job: Job) -> models.Config:
        """The configuration with the budget, seeds and experiments that a table was asked for.

        They are given on the command line as often as in ``config/config.yaml``: a table that was made for
        other seeds than are asked for now is as sound as it was.
        """
        made = (self.record(jobs.outputs(job)[0]) or {}).get("configuration")
        changes: dict[str, Any] = {}
        if job.phase in ("compare", "report") and isinstance(made, dict):
            changes = dict(made.get("asked", {}))
        elif job.phase == "overview" and isinstance(made, dict):
            names = list(made.get("experiments", []))
            first = self.asked(Job("compare", names[0])) if names else self.config
            changes = {"experiments": names, "budget": first.budget, "seeds": first.seeds}
        return self.config.model_copy(update=changes)

    def sums(self, job: Job) -> Mapping[str, str | None]:
        """File → checksum of its present bytes: a job's outputs and the files that its table vouches for."""
        if job not in self._sums:
            try:
                vouched = check.contents(job)
            except SegtraceError:
                vouched = {}
            seen = jobs.seen(job)
            self._sums[job] = seen.sums([*jobs.outputs(job), *vouched])
            seen.save()
        return self._sums[job]

    def tree(self, folder: Path) -> Mapping[str, str | None]:
        """File below ``folder`` → checksum of its present bytes."""
        if str(folder) not in self._trees:
            self._trees[str(folder)] = tree_sums(folder) or {}
        return self._trees[str(folder)]

    def made(self, job: Job) -> dict[str, Any] | None:
        """What a job's record says of how it was made: digests, and the values of its configuration."""
        found = self.record(jobs.outputs(job)[0])
        if found is None:
            return None
        return {
            "code_digest": digests.digest(found["code"]),
            "configuration_digest": digests.digest(found["configuration"]),
            "configuration": found["configuration"],
            "environment_digest": found["environment"],
            "inputs": found["inputs"],
        }
