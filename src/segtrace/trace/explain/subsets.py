"""Where the walk of a mean over some of the cases starts: the cases of one published class."""

from collections.abc import Mapping

from segtrace import layout, subgroups
from segtrace.aggregation import statistics
from segtrace.config import load
from segtrace.regions import enters
from segtrace.trace import jobs
from segtrace.trace.cells import Subject
from segtrace.trace.explain import arithmetic, comparisons
from segtrace.trace.explain.facts import Facts
from segtrace.trace.explain.links import need
from segtrace.trace.explain.means import NOT_AGAIN, Start


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


def _scored(begun: Start, facts: Facts, experiment: str, row: Mapping[str, str], *, cases: set[str]) -> None:
    """The score rows that a row of a table goes through: of its method and label, those of ``cases``."""
    for job in arithmetic.scorings(experiment, facts):
        if jobs.run_of(job).method != row["method"]:
            continue
        need(begun.needs, job, (), "")
        for found in facts.rows(jobs.outputs(job)[0]):
            if found["case"] in cases and enters(int(found["label"]), int(row["label"])):
                need(begun.needs, job, (found["case"],), found["label"])


START = {"subgroups": of_subgroups}
