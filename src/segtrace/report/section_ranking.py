"""The section of ranks and paired tests, for each label and metric."""

from collections.abc import Mapping, Sequence
from typing import Any

from segtrace import aggregation
from segtrace.report import chart_ranks, chart_tests, scores
from segtrace.report.charts import Figure, Group
from segtrace.report.prose import sentence
from segtrace.report.subject import Subject

#: With more methods than this, differences are shown to the best method alone: pairs grow with the square.
ALL_PAIRS = 5


def ranking(subject: Subject, results: scores.Results) -> list[Group]:
    """Charts of ranks and paired tests of each label, by Dice and by the distance; none for one method."""
    methods = list(subject.methods)
    made = []
    for label, name in subject.labels.items() if len(methods) > 1 else ():
        for metric in ("dice", subject.distance):
            of_cell = {
                table: [
                    row
                    for row in results.more.get(table, [])
                    if (row["label"], row["metric"]) == (label, metric)
                ]
                for table in ("ranks", "tests")
            }
            figures = [
                *_rank_figures(of_cell["ranks"], subject, label=label, metric=metric),
                *_test_figures(of_cell["tests"], results, subject, label=label, metric=metric),
            ]
            if figures:
                notes = {sentence(row["note"]) for table in of_cell.values() for row in table if row["note"]}
                made.append(
                    {
                        "name": name,
                        "heading": scores.heading(subject, metric),
                        "label": label,
                        "figures": figures,
                        "notes": sorted(notes),
                    }
                )
    return made


def _rank_figures(
    ranks: Sequence[Mapping[str, Any]], subject: Subject, *, label: int, metric: str
) -> list[Figure]:
    if not ranks:
        return []
    methods = list(subject.methods)
    heading, key = scores.heading(subject, metric), f"{label}-{metric}"
    by_scheme = {scheme: [row for row in ranks if row["scheme"] == scheme] for scheme in chart_ranks.SCHEMES}
    by_scheme = {scheme: rows for scheme, rows in by_scheme.items() if rows}
    made = [
        Figure(
            f"blobs-{key}-{scheme}",
            f"Ranks by {heading} ({chart_ranks.words(scheme)}): the area of a disc is how often the method has the rank "
            f"when the {rows[0]['cases']} cases are drawn again ({rows[0]['samples']} times); the line holds 95 % of "
            "the samples, the diamond is the rank over all cases.",
            chart_ranks.blobs(
                rows,
                methods=methods,
                description=f"Share of the bootstrap samples in which each method has each rank by {heading}, "
                f"{chart_ranks.words(scheme)}. The same numbers follow as a table.",
            ),
        )
        for scheme, rows in by_scheme.items()
    ]
    if len(by_scheme) > 1:
        content = chart_ranks.over_schemes(
            ranks,
            methods=methods,
            description=f"Rank of each method by {heading} under each way of ranking. The same numbers follow as a table.",
        )
        caption = f"Ranks by {heading} under each way of ranking: lines that cross are methods whose order hangs on it."
        made.append(Figure(f"schemes-{key}", caption, content))
    content = chart_ranks.taus(
        ranks,
        description=f"Kendall's tau of the rankings by {heading} of bootstrap samples and of all cases, by way of ranking. "
        "The same numbers follow as a table.",
    )
    if content["rows"]:
        caption = (
            "How far the ranking holds when the cases are drawn again: Kendall's tau between the ranking of a sample and "
            "that of all cases, median and 95 % of the samples. At 1 the order is the same, at 0 it is unrelated."
        )
        made.append(Figure(f"tau-{key}", caption, content))
    return made


def _test_figures(
    tests: Sequence[Mapping[str, Any]],
    results: scores.Results,
    subject: Subject,
    *,
    label: int,
    metric: str,
) -> list[Figure]:
    if not tests:
        return []
    methods = list(subject.methods)
    heading, key = scores.heading(subject, metric), f"{label}-{metric}"
    less = metric in aggregation.DISTANCES
    compared = chart_tests.pairs(tests, less_is_better=less)
    made = []
    if any(row["verdict"] != "not tested" for row in compared):
        content = chart_tests.significance(
            compared,
            methods=methods,
            description=f"For each pair of methods, whether the first is better than the second by {heading}. "
            "The same numbers follow as a table.",
        )
        caption = (
            f"By {heading}, the method of the row is better (▲) or worse (▼) than that of the column, or no difference is "
            f"shown (○): paired permutation test, Holm's correction, level {chart_tests.LEVEL}. ○ does not mean equal."
        )
        made.append(Figure(f"significance-{key}", caption, content))
    order = _by_mean(results, methods, label=label, metric=metric)
    shown = chosen_pairs(compared, order)
    if shown:
        whom = "of each pair" if len(methods) <= ALL_PAIRS else f"to {order[0]}, which has the best mean"
        content = chart_tests.differences(
            shown,
            title=f"mean difference, {heading}",
            description=f"Mean paired difference in {heading} {whom}, with its 95 % interval. "
            "The same numbers follow as a table.",
        )
        better = (
            "left of zero the first method is better" if less else "right of zero the first method is better"
        )
        caption = (
            f"Mean paired differences in {heading} {whom}, with 95 % intervals: {better}. Triangles differ after Holm's "
            "correction, circles do not."
        )
        made.append(Figure(f"differences-{key}", caption, content))
    return made


def chosen_pairs(compared: Sequence[Mapping[str, Any]], order: Sequence[str]) -> list[Mapping[str, Any]]:
    """One direction of each pair, the better method first; of many methods only those with the best one.

    ``order`` has the methods from best to worst.
    """
    first = order if len(order) <= ALL_PAIRS else order[:1]
    found = {(row["first"], row["second"]): row for row in compared if row["difference"] is not None}
    return [
        found[one, other]
        for position, one in enumerate(order)
        if one in first
        for other in order[position + 1 :]
        if (one, other) in found
    ]


def _by_mean(results: scores.Results, methods: Sequence[str], *, label: int, metric: str) -> list[str]:
    means = {
        row["method"]: row["mean"]
        for row in results.summary
        if (row["label"], row["metric"]) == (label, metric) and row["mean"] == row["mean"]
    }
    sign = 1 if metric in aggregation.DISTANCES else -1
    return sorted((m for m in methods if m in means), key=lambda m: (sign * means[m], methods.index(m)))
