"""Where the walk of a mean over some cases, or some images, starts: those of one published class, and corrupted ones."""

from collections.abc import Mapping, Sequence

from segtrace import layout, robustness, subgroups
from segtrace.aggregation import statistics
from segtrace.config import load
from segtrace.regions import enters
from segtrace.trace import jobs
from segtrace.trace.cells import Subject
from segtrace.trace.explain import arithmetic, comparisons
from segtrace.trace.explain.facts import Facts
from segtrace.trace.explain.links import need
from segtrace.trace.explain.means import NOT_AGAIN, Start
from segtrace.trace.jobs import Job


def of_subgroups(subject: Subject, facts: Facts, begun: Start) -> None:
    """Rows of the ``subgroups`` table, or one cell: all but the ends of intervals is computed again."""
    name = subject.job.name
    made = arithmetic.experiment_cells(name, facts)
    dataset = load.experiment(name).dataset
    classes = {row["case"]: row.get("group") or "" for row in facts.rows(layout.cases(dataset))}
    need(begun.needs, subject.job, (), "")
    divided = subgroups.divided(made.values, classes)
    for number, row in subject.lines:
        key = (row["subgroup"], comparisons.key_of(row))
        values = divided.get(key, [])
        _scored(begun, facts, name, row, cases={value.case for value in values})
        need(begun.needs, jobs.index(dataset), [value.case for value in values], "class")
        if made.cells:
            again = statistics(values) if key in divided else None
            comparisons.compared(begun, subject, number, row, again)
    if not made.cells:
        begun.how.append(NOT_AGAIN)
    elif not subject.one:
        comparisons.whole(begun, subject, "one a method, label, metric and published class of the cases")
    elif values:
        begun.how.append(
            f"over the {len(values)} scored cases whose class is {row['subgroup']} in {layout.cases(dataset)}"
        )
        begun.how += comparisons.of_an_interval({"kind": "bca", "note": row["note"]})
        begun.cases = [
            {"case": v.case, "value": v.value, "as_worst": v.as_worst, "missing": v.missing} for v in values
        ]


def _scored(
    begun: Start,
    facts: Facts,
    experiment: str,
    row: Mapping[str, str],
    *,
    cases: set[str],
    scorings: Sequence[Job] | None = None,
) -> None:
    """The score rows that a row of a table goes through: of its method and label, those of ``cases``.

    They are of ``scorings``, where given, else of the experiment's own.
    """
    for job in arithmetic.scorings(experiment, facts) if scorings is None else scorings:
        if jobs.run_of(job).method != row["method"]:
            continue
        need(begun.needs, job, (), "")
        for found in facts.rows(jobs.outputs(job)[0]):
            if found["case"] in cases and enters(int(found["label"]), int(row["label"])):
                need(begun.needs, job, (found["case"],), found["label"])


def of_robustness(subject: Subject, facts: Facts, begun: Start) -> None:
    """Rows of the ``robustness`` table, or one cell: all but the ends of intervals is computed again."""
    name = subject.job.name
    made = arithmetic.experiment_cells(name, facts)
    need(begun.needs, subject.job, (), "")
    again: dict[str, dict[tuple[str, int], robustness.Drop]] = {}
    for number, row in subject.lines:
        corruption = layout.corruption_name(row["corruption"], float(row["strength"]))
        scorings = _corrupted(name, corruption, facts)
        if corruption not in again:
            again[corruption] = robustness.drops(made.values, arithmetic.values_of(scorings, facts))
        drop = again[corruption].get((row["method"], int(row["label"])))
        cases = set(drop.cases) if drop else set()
        _scored(begun, facts, name, row, cases=cases)
        _scored(begun, facts, name, row, cases=cases, scorings=scorings)
        if made.cells and again[corruption]:
            comparisons.compared(begun, subject, number, row, drop.statistics if drop else None)
    if not made.cells or not all(again.values()):
        begun.how.append(NOT_AGAIN)
    elif not subject.one:
        comparisons.whole(begun, subject, "one a method, corruption, strength and label")
    elif drop:
        begun.how.append(
            f"mean over {len(drop.cases)} cases of the {robustness.METRIC} on the clean image − that under {row['corruption']} "
            f"of strength {row['strength']} ({layout.CORRUPTIONS[row['corruption']]})"
        )
        begun.how += comparisons.of_an_interval({"kind": "bca", "note": row["note"]})
        begun.cases = [
            {"case": case, "value": value, "as_worst": False, "missing": False}
            for case, value in zip(drop.cases, drop.drops, strict=True)
        ]


def _corrupted(experiment: str, corruption: str, facts: Facts) -> list[Job]:
    """The scorings under a corruption that a table was made from: those of its record, else the configured ones."""
    recorded = facts.record(jobs.outputs(Job("compare", experiment))[0])
    listed = (recorded or {}).get("inputs", {}).get("corrupted")
    every = [jobs.of_file(path) for path in listed] if listed else jobs.corrupted(experiment, facts.config)
    return [job for job in every if jobs.variant_of(job).corruption == corruption]


START = {"subgroups": of_subgroups, "robustness": of_robustness}
