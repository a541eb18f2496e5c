"""Where a walk starts: the jobs, cases and rows that a table, a row or a cell is made from, and how it follows."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from segtrace import convergence, layout
from segtrace.trace import jobs
from segtrace.trace.cells import FIRST, Subject
from segtrace.trace.explain import arithmetic, comparisons, means, subsets
from segtrace.trace.explain.facts import Facts
from segtrace.trace.explain.links import need
from segtrace.trace.explain.means import Start


def start(subject: Subject, facts: Facts) -> Start:
    """Where the walk of what ``subject`` names begins."""
    begun = Start()
    need(begun.needs, subject.job, (), "")
    _START[subject.kind](subject, facts, begun)
    return begun


# --- rows that are copied -----------------------------------------------------------------------------


def _per_case(subject: Subject, facts: Facts, begun: Start) -> None:
    for number, row in subject.lines:
        run = layout.RunName(
            row["dataset"],
            row["recipe"],
            row["protocol"],
            row["method"],
            row["budget"],
            int(row["fold"]),
            int(row["seed"]),
        )
        variant = layout.Variant(row["role"], row["checkpoint"], row["grid"], row["corruption"])
        job = jobs.score(run, variant)
        need(begun.needs, job, (row["case"],), row["label"])
        source = _copied(
            begun, facts, jobs.outputs(job)[0], number, row, subject.column, keys=("case", "label")
        )
        if subject.one and source:
            begun.how.append(f"copied from line {source} of {jobs.outputs(job)[0]}")
            begun.how += _of_a_score(row, subject.column)
    if not subject.one:
        begun.how.append(f"{len(subject.lines)} rows, copied from the scores of the runs")


def _copied(
    begun: Start,
    facts: Facts,
    table: Path,
    number: int,
    row: Mapping[str, str],
    column: str | None,
    *,
    keys: Iterable[str],
) -> int | None:
    """Compare a row with the one that it was copied from; the line of that one."""
    index = _by(facts, table, tuple(keys))
    found = index.get(tuple(row[key] for key in keys))
    if found is None:
        begun.differences.append((f"line {number}", "there", f"no such row in {table}"))
        return None
    for name in [column] if column else found[1]:
        if name in row and name in found[1]:
            begun.compare(f"line {number}, {name}", table=row[name], again=found[1][name])
    return found[0]


def _by(
    facts: Facts, table: Path, keys: tuple[str, ...]
) -> dict[tuple[str, ...], tuple[int, dict[str, str]]]:
    place = ("by", table, keys)
    if place not in facts.kept:
        facts.kept[place] = {
            tuple(row[key] for key in keys): (number, row)
            for number, row in enumerate(facts.rows(table), FIRST)
        }
    found: dict[tuple[str, ...], tuple[int, dict[str, str]]] = facts.kept[place]
    return found


def _of_a_score(row: Mapping[str, str], column: str | None) -> list[str]:
    told = [
        f"case {row['case']}, label {row['label']}: the label map compared with the reference, voxel by voxel"
    ]
    if column in arithmetic.FORMULAS and arithmetic.from_counts(row):
        counts = ", ".join(f"{key} {row[key]}" for key in ("tp", "fp", "fn", "tn"))
        told.append(f"{column} = {arithmetic.FORMULAS[column]}, with {counts}")
    surface = arithmetic.of_surfaces(row, column) if column and row.get(column) else ""
    told += [surface] if surface else []
    return [*told, *([f"reason: {row['reason']}"] if row.get("reason") else [])]


def _scores(subject: Subject, facts: Facts, begun: Start) -> None:
    del facts
    for number, row in subject.lines:
        need(begun.needs, subject.job, (row["case"],), row["label"])
        for name, again in arithmetic.from_counts(row).items():
            if subject.column in (None, name):
                begun.compare(f"line {number}, {name}", table=row[name], again=again)
    if subject.one:
        begun.how += _of_a_score(subject.lines[0][1], subject.column)
    else:
        begun.how.append(f"{len(subject.lines)} rows, one a case and label")


def _histories(subject: Subject, facts: Facts, begun: Start) -> None:
    for number, row in subject.lines:
        need(begun.needs, jobs.train(row["run"]), ("history.csv", "run.json"), "written by")
        table = layout.run(row["run"]) / "history.csv"
        source = _copied(begun, facts, table, number, row, subject.column, keys=("epoch",))
        if subject.one and source:
            begun.how.append(
                f"copied from line {source} of {table}, written in training after epoch {row['epoch']}"
            )
    if not subject.one:
        begun.how.append(f"{len(subject.lines)} rows, copied from the histories of the runs")


def _convergence(subject: Subject, facts: Facts, begun: Start) -> None:
    for number, row in subject.lines:
        need(begun.needs, jobs.train(row["run"]), ("history.csv", "run.json"), "written by")
        table = layout.run(row["run"]) / "history.csv"
        epochs = [
            {"epoch": of["epoch"], "val_dice": float(of["val_dice"] or "nan")} for of in facts.rows(table)
        ]
        again = asdict(convergence.of_history(epochs))
        for name in [subject.column] if subject.column else row:
            if name in again:
                begun.compare(f"line {number}, {name}", table=row[name], again=again[name])
    if subject.one:
        begun.how.append(
            f"epoch: the first in {table} whose validation Dice is at least {convergence.SHARE} × the last one; from the "
            "epoch 'stays' on none is below that"
        )
        begun.how += [f"note: {row['note']}"] if row["note"] else []
    else:
        begun.how.append(f"{len(subject.lines)} rows, one a run, from the histories of the runs")


def _trained(subject: Subject, facts: Facts, begun: Start) -> None:
    del facts
    need(begun.needs, subject.job, ("run.json", subject.file.name, "weights.safetensors"), "written by")
    if subject.kind == "history":
        epoch = f"epoch {subject.lines[0][1]['epoch']}" if subject.one else "each epoch"
        begun.how.append(f"written in training after {epoch}")
    else:
        begun.how.append("written by the training: the resolved run, its cases, its digests and its machine")


# --- tables of cases ----------------------------------------------------------------------------------


def _cases(how: str) -> Callable[[Subject, Facts, Start], None]:
    """A table with a row a case, made case by case."""

    def begin(subject: Subject, facts: Facts, begun: Start) -> None:
        del facts
        need(begun.needs, subject.job, [row["case"] for _, row in subject.lines], "listed")
        begun.how.append(how)

    return begin


def _duplicates(subject: Subject, facts: Facts, begun: Start) -> None:
    del facts
    need(
        begun.needs,
        subject.job,
        [row[end] for _, row in subject.lines for end in ("first", "second")],
        "listed",
    )
    begun.how.append("compared by bytes, by pixels and by thumbnails, as the index read them")


def _split(subject: Subject, facts: Facts, begun: Start) -> None:
    for _, row in subject.lines:
        need(begun.needs, subject.job, (row["case"],), row["fold"])
    chosen = [row["case"] for _, row in subject.lines]
    if subject.column not in ("case", "subject"):  # a role follows from all cases
        chosen = [row["case"] for row in facts.rows(layout.cases(jobs.dataset_of(subject.job)))]
    need(begun.needs, jobs.index(jobs.dataset_of(subject.job)), chosen, "split")
    begun.how.append(
        "fold and role follow from the protocol, and from the subjects and images of all indexed cases"
    )


def _gate(subject: Subject, facts: Facts, begun: Start) -> None:
    table = jobs.outputs(subject.job)[0]
    for row in facts.rows(table):  # of a split, each fold's
        need(begun.needs, subject.job, (row["case"],), row.get("fold", "judged"))
    begun.how.append(f"judged over all {len({row['case'] for row in facts.rows(table)})} cases of {table}")


def _receipt(subject: Subject, facts: Facts, begun: Start) -> None:
    files = facts.json(subject.file).get("files", {})
    names = [subject.path[1]] if subject.path[:1] == ("files",) and len(subject.path) > 1 else list(files)
    need(begun.needs, subject.job, names, "")
    begun.how.append(
        "written when the data set was unpacked or generated: "
        + json.dumps(names[:1])[1:-1]
        + (" …" if len(names) > 1 else "")
    )


_START: dict[str, Callable[[Subject, Facts, Start], None]] = {
    "summary": means.summary,
    "metrics": means.metrics,
    "all_metrics": means.all_metrics,
    **comparisons.START,
    **subsets.START,
    "per_case": _per_case,
    "scores": _scores,
    "histories": _histories,
    "convergence": _convergence,
    "history": _trained,
    "run": _trained,
    "predictions": _cases("the label map of each case, segmented with the weights of the run"),
    "prepared": _cases("the arrays of each case, as its batch made them, and its volumes before and after"),
    "mask_checks": _cases("the prepared mask of each case and label, compared with the raw one"),
    "batch": _cases("the arrays of each case, prepared by the recipe from the raw files"),
    "cases": _cases("read from the raw files of each case"),
    "duplicates": _duplicates,
    "split": _split,
    "gate": _gate,
    "receipt": _receipt,
}
