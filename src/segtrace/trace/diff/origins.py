"""Why results differ: digests of data, code, configuration and environment, phase by phase, from the records.

Of the data and of the tables, each job is compared. Of trainings, predictions and scorings, those of runs whose
scores differ: of each method the first one, since its other folds and seeds are made from the same configuration
and code.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrace import layout
from segtrace.errors import SegtraceError
from segtrace.trace import changes, jobs
from segtrace.trace.changes import Change
from segtrace.trace.diff.sides import Side
from segtrace.trace.jobs import Job


@dataclass(frozen=True)
class Origin:
    """One job on both sides, and what differs in what it was made from; ``note`` says why that cannot be told."""

    job: str
    changes: tuple[Change, ...] = ()
    note: str = ""


def origins(old: Side, new: Side, *, names: tuple[str, str]) -> list[Origin]:
    """Jobs behind an experiment, called ``names`` on the two sides, that were made from something else, in order."""
    tables = tuple(layout.results(name) / "per_case.csv" for name in names)
    records = old.record(tables[0]), new.record(tables[1])
    if records[0] is None or records[1] is None:
        lacking = [side.name for side, found in zip((old, new), records, strict=True) if found is None]
        return [
            Origin(
                str(Job("compare", names[1])),
                note=f"no provenance record beside the tables of {', '.join(lacking)}",
            )
        ]
    found = list(_above(old, new, (records[0], records[1])))
    found.append(Origin(str(Job("compare", names[1])), tuple(_tables(records[0], records[1]))))
    return [origin for origin in found if origin.changes or origin.note]


def _above(old: Side, new: Side, records: tuple[Mapping[str, Any], Mapping[str, Any]]) -> Iterator[Origin]:
    """The jobs that the tables are made from, where both sides have the rest of their project."""
    for side in (old, new):
        if side.root is None:
            note = f"{side.name} is no folder 'results' of a project, so their records are not beside it"
            yield Origin("data and runs", note=note)
            return
    lacking: dict[str, list[Path]] = {}
    for job in (*_data(*records), *_runs(*records)):
        output: Path = jobs.outputs(job)[-1 if job.phase == "train" else 0]
        then, now = old.record(output), new.record(output)
        for side, found in ((old, then), (new, now)):
            if found is None:
                lacking.setdefault(side.name, []).append(output)
        if then is not None and now is not None:
            yield _origin(job, then, now)
    for side in (old, new):
        if side.name in lacking:
            yield Origin(f"records that {side.name} lacks", note=side.remedy(lacking[side.name]))


def _tables(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    """What differs for the tables themselves; scores and split are told of by their own jobs."""
    for part in changes.between(then, now):
        if not part.name.startswith("inputs."):
            yield from (Change(f"{part.name}: {c.what}", c.recorded, c.now) for c in part.changes)


def _data(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Job]:
    """The jobs of the data that both sides have in common by name: index, prepared cases, split."""
    found: list[list[Job]] = []
    for record in (then, now):
        asked = record["configuration"].get("experiment", {})
        dataset, recipe, protocol = (str(asked.get(key, "")) for key in ("dataset", "recipe", "protocol"))
        found.append([jobs.index(dataset), jobs.validate(dataset, recipe), jobs.split(dataset, protocol)])
    return [job for job in found[0] if job in found[1]]


def _runs(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Job]:
    """Training, prediction and scoring of the first run of each method whose scores differ."""
    before, after = then["inputs"].get("scores", {}), now["inputs"].get("scores", {})
    chosen: dict[str, list[Job]] = {}
    for path in sorted(before.keys() & after.keys()):
        if before[path] == after[path]:
            continue
        try:
            scored = jobs.of_file(path)
        except SegtraceError:  # a table of another version of the project, with other names
            continue
        run, variant = jobs.run_of(scored), jobs.variant_of(scored)
        chosen.setdefault(run.method, [jobs.train(run), jobs.predict(run, variant), scored])
    return [job for of_method in chosen.values() for job in of_method]


def _origin(job: Job, then: Mapping[str, Any], now: Mapping[str, Any]) -> Origin:
    found = [
        Change(f"{part.name}: {change.what}", change.recorded, change.now)
        for part in changes.between(then, now)
        for change in part.changes
    ]
    return Origin(str(job), tuple(found))
