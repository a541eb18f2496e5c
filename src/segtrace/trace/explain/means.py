"""Where the walk of a mean starts: the score rows that it is over, and the mean computed from them again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segtrace import layout
from segtrace.aggregation import split_summary
from segtrace.config import load
from segtrace.regions import enters
from segtrace.trace import jobs
from segtrace.trace.cells import BESIDES, Subject
from segtrace.trace.dotted import at, leaves
from segtrace.trace.explain import arithmetic
from segtrace.trace.explain.facts import Facts
from segtrace.trace.explain.links import Needs, need
from segtrace.trace.jobs import Job


@dataclass
class Start:
    """How a number follows from what it is made from, and what that is."""

    how: list[str] = field(default_factory=list)
    needs: Needs = field(default_factory=dict)
    checked: int = 0
    """Cells that were computed again."""
    differences: list[tuple[str, Any, Any]] = field(default_factory=list)
    """Cells that came out different: which, as the table has it, as it comes out."""
    cases: list[dict[str, Any]] = field(default_factory=list)
    """Values of the cases that a mean is over."""

    def compare(self, cell: str, *, table: Any, again: Any) -> None:
        """Note a cell that was computed again."""
        self.checked += 1
        if not arithmetic.same(table, again):
            self.differences.append((cell, table, again))


def summary(subject: Subject, facts: Facts, begun: Start) -> None:
    """Rows of an experiment's summary, or one cell."""
    made = arithmetic.experiment_cells(subject.job.name, facts)
    told, gate = _told(subject.job.name, facts)
    of_split = {column: told[column] for column in _OF_SPLIT if told} | _input(subject.job.name)
    need(begun.needs, jobs.of_file(gate), (), "")
    for number, row in subject.lines:
        key, again = _key(row), made.cells.get(_key(row), {})
        again = {**again, **of_split} if again else {}
        for column in [subject.column] if subject.column else row:
            if column in again:
                begun.compare(f"line {number}, {column}", table=row[column], again=again[column])
        if made.cells and not again:
            begun.differences.append(
                (f"line {number}", "there", "no such method, label or metric in the scores")
            )
        constant = subject.column in (None, "constant") and bool(row["constant"])
        _scored(begun, facts, subject.job.name, key, constant=constant)
    if not subject.one:
        begun.how.append(f"{len(subject.lines)} rows, one a method, label and metric: statistics over cases")
    elif key in made.cells:
        column, name = subject.column or "mean", row["label_name"]
        if column in ("recipe", "input"):
            begun.how.append("copied from the configuration: the recipe by which images became arrays")
            return
        if column in _OF_SPLIT:
            begun.how.append(_COPIED.format(gate))
            return
        words = arithmetic.sentences(column, key, made, name=name)
        begun.how += words if subject.column else [f"mean: {words[0]}", *words[1:]]
        begun.cases = case_values(key, made) if column not in ("constant", "seeds", "folds") else []
    if not made.cells:
        begun.how.append(NOT_AGAIN)


_COPIED = "copied from {}, which 'segtrace split' wrote; leaks are counted in the folds that were used"
#: Columns of a summary that are about the split.
_OF_SPLIT = ("protocol", "published", "leaks")
#: What is said where scores cannot be had.
NOT_AGAIN = "it cannot be computed again: scores are missing or damaged"


def _key(row: Mapping[str, str]) -> arithmetic.Key:
    return row["method"], int(row["label"]), row["metric"]


def case_values(key: arithmetic.Key, made: arithmetic.Recomputed) -> list[dict[str, Any]]:
    """The values of a cell's cases, as :attr:`Start.cases` has them."""
    return [
        {"case": v.case, "value": v.value, "as_worst": v.as_worst, "missing": v.missing}
        for v in made.values[key]
    ]


def _scored(begun: Start, facts: Facts, experiment: str, key: arithmetic.Key, *, constant: bool) -> None:
    """The score rows of a cell: of its method, or of all methods where the best constant is asked for."""
    method, label, _ = key
    for job in arithmetic.scorings(experiment, facts):
        if not constant and jobs.run_of(job).method != method:
            continue
        need(begun.needs, job, (), "")
        for row in facts.rows(jobs.outputs(job)[0]):
            if enters(int(row["label"]), label) or constant:
                need(begun.needs, job, (row["case"],), row["label"])


def _means(begun: Start, facts: Facts, experiment: str, nested: Any, path: tuple[str, ...]) -> None:
    """Means nested as method → label → metric, all of them or the one at ``path``."""
    made = arithmetic.experiment_cells(experiment, facts)
    numbers = arithmetic.label_names(experiment, facts)
    found = [path] if path else [(m, n, k) for m in nested for n in nested[m] for k in nested[m][n]]
    for method, name, metric in found:
        key = (method, numbers.get(name, -1), metric)
        if not made.cells:
            _scored(begun, facts, experiment, key, constant=False)
            continue
        if key not in made.cells:
            begun.differences.append((f"{method}.{name}.{metric}", at(nested, (method, name, metric)), None))
            continue
        begun.compare(
            f"{method}.{name}.{metric}",
            table=at(nested, (method, name, metric)),
            again=made.cells[key]["mean"],
        )
        _scored(begun, facts, experiment, key, constant=False)
    if path and key in made.cells:
        begun.how += arithmetic.sentences("mean", key, made, name=path[1])
        begun.cases = case_values(key, made)
    if not made.cells:
        begun.how.append(NOT_AGAIN)


def _split(begun: Start, facts: Facts, experiment: str, *, table: Any, path: tuple[str, ...]) -> None:
    """What an experiment's tables say of the split that its runs were divided by, all of it or the part at ``path``."""
    again, gate = _told(experiment, facts)
    for key in [path] if path else [(name,) for name in table]:
        value = table if path else table[key[0]]
        begun.compare(".".join(("split", *key)), table=value, again=again.get(key[0]))
    for row in facts.rows(layout.split(*jobs.of_file(gate).name.split("/"))):
        need(begun.needs, jobs.of_file(gate), (row["case"],), row["fold"])
    begun.how.append(_COPIED.format(gate))


def _input(experiment: str) -> dict[str, str]:
    """What an experiment's tables should say of the recipe of its input."""
    made = load.experiment(experiment)
    return {"recipe": made.recipe, "input": load.dataset(made.dataset).recipes[made.recipe].input}


def _told(experiment: str, facts: Facts) -> tuple[dict[str, Any], Path]:
    """What an experiment's tables should say of its split, and the file that says it."""
    made = load.experiment(experiment)
    gate = layout.split_gate(made.dataset, made.protocol)
    folds = {jobs.run_of(scoring).fold for scoring in arithmetic.scorings(experiment, facts)}
    return split_summary(facts.json(gate), folds=folds), gate


def metrics(subject: Subject, facts: Facts, begun: Start) -> None:
    """An experiment's nested means, or one; or the checksum of a scores file."""
    content, name = facts.json(subject.file), subject.job.name
    recorded = content.get("scores_sha256", {})
    if subject.path[:1] == ("split",) or not subject.path:
        _split(begun, facts, name, table=at(content, subject.path or ("split",)), path=subject.path[1:])
    if subject.path[:1] not in [(key,) for key in BESIDES]:
        _means(begun, facts, name, content.get(name, {}), subject.path[1:])
    if not subject.path:
        begun.how.append(f"{len(leaves(content.get(name, {})))} means, by method, label and metric")
    if subject.path[:1] == ("scores_sha256",):
        begun.how.append("checksum of a scores file, taken when the tables were made")
        recorded = {path: recorded[path] for path in subject.path[1:] or recorded}
        for path in recorded:
            _whole(begun, facts, jobs.of_file(path))
    if not subject.path or subject.path[:1] == ("scores_sha256",):
        for path, sha256 in recorded.items():
            now = facts.sums(jobs.of_file(path)).get(path)
            begun.compare(f"scores_sha256.{path}", table=sha256, again=now)


def _whole(begun: Start, facts: Facts, job: Job) -> None:
    """All rows of a scores table."""
    need(begun.needs, job, (), "")
    for row in facts.rows(jobs.outputs(job)[0]):
        need(begun.needs, job, (row["case"],), row["label"])


def all_metrics(subject: Subject, facts: Facts, begun: Start) -> None:
    """The nested means of all experiments, or one."""
    content = facts.json(subject.file)
    for name in subject.path[:1] or tuple(content):
        need(begun.needs, Job("compare", name), (), "")
        own = facts.json(layout.results(name) / "metrics.json").get(name, {})
        if own != content[name]:
            begun.differences.append(
                (f"{name}: as {layout.results(name) / 'metrics.json'} has it", content[name], own)
            )
        _means(begun, facts, name, content[name], subject.path[1:])
    if subject.path:
        begun.how.insert(0, f"copied from {layout.results(subject.path[0]) / 'metrics.json'}")
    else:
        begun.how.append(
            f"the means of {', '.join(content)}, each copied from results/EXPERIMENT/metrics.json"
        )
