"""The figures of a page, section by section: which charts there are, of which rows, with what captions.

Each section is a list of groups; a group is a dictionary with ``name`` and ``figures``, and what its template needs
besides. A section without anything to draw is an empty list. :func:`contents` gathers what scripts draw.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segtrace import aggregation
from segtrace.report import (
    agreement,
    chart_agreement,
    chart_cases,
    chart_cost,
    chart_ranks,
    chart_tests,
    chart_training,
    cost,
    scores,
)
from segtrace.report.subject import Subject

#: With more methods than this, differences are shown to the best method alone: pairs grow with the square.
ALL_PAIRS = 5


@dataclass(frozen=True)
class Figure:
    """A chart on the page: ``name`` is its place there, ``content`` what a chart builder returned."""

    name: str
    caption: str
    content: dict[str, Any]


Group = dict[str, Any]


def contents(*sections: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """Name → content of all figures of these sections."""
    figures: Iterable[Figure] = (
        figure for groups in sections for group in groups for figure in group["figures"]
    )
    return {figure.name: figure.content for figure in figures}


def every_case(subject: Subject, results: scores.Results) -> list[Group]:
    """Charts of all cases, a Dice and a distance one for each label."""
    made = []
    for label, name in subject.labels.items():
        figures = []
        for metric in ("dice", subject.distance):
            rows = scores.points(subject, results, label=label, metric=metric)
            if not rows:
                continue
            heading = scores.HEADINGS[metric][0]
            means = [row for row in results.summary if (row["label"], row["metric"]) == (label, metric)]
            given = {row["constant"] for row in means if metric == "dice"}
            constant = next((value for value in given if value == value), None)
            content = chart_cases.case_points(
                rows,
                methods=list(subject.methods),
                means=means,
                title=heading,
                bounded=metric in aggregation.OVERLAPS,
                constant=constant,
                description=f"{heading} of every case, {name}, one band a method, with the methods' means. "
                "The same numbers follow as a table.",
            )
            caption = _case_caption(heading, rows, means, constant)
            figures.append(Figure(f"points-{label}-{metric}", caption, content))
        made.append({"name": name, "label": label, "figures": figures})
    return made


def _case_caption(
    heading: str,
    rows: Sequence[Mapping[str, Any]],
    means: Sequence[Mapping[str, Any]],
    constant: float | None,
) -> str:
    text = f"{heading} of every case; the diamond is the mean"
    if any(row["low"] == row["low"] for row in means):
        text += ", the line through it its 95 % interval"
    if constant is not None:
        text += f"; dashed: the best constant prediction, {constant:.3f}"
    if chart_cases.is_many(rows):
        return (
            f"{text}. The area above is the density of the cases, of the same height in every method; the bar "
            "holds the middle half of them."
        )
    return f"{text}. With no more than {chart_cases.FEW} cases a density would show its smoothing: none is drawn."


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
                *_rank_figures(of_cell["ranks"], methods, label=label, metric=metric),
                *_test_figures(of_cell["tests"], results, methods, label=label, metric=metric),
            ]
            if figures:
                notes = {row["note"] for table in of_cell.values() for row in table if row["note"]}
                made.append(
                    {
                        "name": name,
                        "heading": scores.HEADINGS[metric][0],
                        "label": label,
                        "figures": figures,
                        "notes": sorted(notes),
                    }
                )
    return made


def _rank_figures(
    ranks: Sequence[Mapping[str, Any]], methods: Sequence[str], *, label: int, metric: str
) -> list[Figure]:
    if not ranks:
        return []
    heading, key = scores.HEADINGS[metric][0], f"{label}-{metric}"
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
    methods: Sequence[str],
    *,
    label: int,
    metric: str,
) -> list[Figure]:
    if not tests:
        return []
    heading, key = scores.HEADINGS[metric][0], f"{label}-{metric}"
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


def volumes(subject: Subject, results: scores.Results) -> list[Group]:
    """Bland–Altman plots of each label and method, and the table of their lines."""
    measured = agreement.scale(subject)
    if measured is None:
        return []
    missing = {(value.method, value.case) for value in results.values if value.missing}
    found = agreement.pairs(results.scores, measured=measured, missing=missing)
    made = []
    for label, name in sorted(subject.dataset.labels.items()):
        of_label = {method: found.get((method, label), ([], 0)) for method in subject.methods}
        every = [pair for pairs, _ in of_label.values() for pair in pairs]
        if not every:
            continue
        limits = {
            method: agreement.limits([pair.difference for pair in pairs])
            for method, (pairs, _) in of_label.items()
            if pairs
        }
        extent = {
            "mean": _extent([pair.mean for pair in every]),
            "difference": _extent(
                [0.0, *(pair.difference for pair in every)]
                + [
                    v
                    for known in limits.values()
                    for line in (known.lower, known.upper)
                    if line
                    for v in line
                ]
            ),
        }
        figures = [
            Figure(
                f"agreement-{label}-{method}",
                f"{method}: {known.cases} cases"
                + (f", {of_label[method][1]} left out without a prediction" if of_label[method][1] else "")
                + ".",
                chart_agreement.bland_altman(
                    of_label[method][0],
                    found=known,
                    unit=measured.unit,
                    method=method,
                    methods=list(subject.methods),
                    extent=extent,
                    description=f"Difference of predicted and reference {name} against their mean, {method}. The lines are "
                    "in the table of limits; the cases follow as a table.",
                ),
            )
            for method, known in limits.items()
        ]
        rows = [_agreement_row(method, known, of_label[method][1]) for method, known in limits.items()]
        made.append({"name": name, "label": label, "unit": measured.unit, "figures": figures, "rows": rows})
    return made


def _extent(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _short(value: float | None) -> str:
    """Three significant digits, never as a power of ten above 1, with a true minus sign."""
    if value is None:
        return "–"
    rounded = float(f"{value:.3g}")
    text = f"{rounded:,.0f}".replace(",", "\u202f") if abs(rounded) >= 1000 else f"{rounded:g}"
    return text.replace("-", "−")


def _agreement_row(method: str, known: agreement.Limits, left_out: int) -> dict[str, Any]:
    """A row of the table of limits: its cells as (text, smaller text, value to sort by)."""

    def cell(value: tuple[float, float | None, float | None] | None) -> tuple[str, str, str]:
        if value is None:
            return ("–", "", "")
        ends = f"{_short(value[1])} to {_short(value[2])}" if None not in value else ""
        return (_short(value[0]), ends, repr(value[0]))

    sd = ("–", "", "") if known.sd is None else (_short(known.sd), "", repr(known.sd))
    return {
        "method": method,
        "cases": known.cases,
        "left_out": left_out,
        "cells": [cell(known.mean), sd, cell(known.lower), cell(known.upper)],
    }


def costs(subject: Subject, results: scores.Results, measured: Sequence[Mapping[str, Any]]) -> list[Group]:
    """Parameters, training time and memory against the main metric, and the table of them.

    ``measured`` are the rows of :func:`segtrace.report.cost.rows`. Of one method there is the table alone.
    """
    rows = cost.by_method(measured, summary=results.summary, label=subject.main_label, metric="dice")
    fields = {"parameters": "Parameters", **cost.MEASURED}
    known = [field for field in fields if any(row[field] is not None for row in rows)]
    if not known:
        return []
    name = subject.labels[subject.main_label]
    figures = []
    for field in known:
        there = [row for row in rows if row[field] is not None and row["mean"] is not None]
        if len(there) < 2:
            continue
        content = chart_cost.cost(
            there,
            methods=list(subject.methods),
            field=field,
            title=fields[field],
            metric=f"Dice, {name}",
            description=f"{fields[field]} of each method against its mean Dice, {name}. The same numbers are in the table.",
        )
        caption = (
            f"{fields[field]} against Dice ({name}): further left is cheaper, higher is better. Upright lines are 95 % "
            "intervals of the mean"
        )
        if any(row.get(f"{field}_least") != row.get(f"{field}_most") for row in there):
            caption += ", level ones the range over runs"
        figures.append(Figure(f"cost-{field}", f"{caption}.", content))
    headings = [fields[field] for field in known]
    table = [
        {"method": row["method"], "runs": row["runs"], "cells": [_cost_cell(row, field) for field in known]}
        for row in rows
    ]
    return [
        {
            "name": "cost",
            "figures": figures,
            "headings": headings,
            "rows": table,
            "machines": cost.machines(measured),
            "timed": any(field in known for field in cost.MEASURED),
        }
    ]


def _cost_cell(row: Mapping[str, Any], field: str) -> tuple[str, str, str]:
    """(text, range over runs, value to sort by)."""
    value = row[field]
    if value is None:
        return ("–", "", "")
    if field == "parameters":
        return (f"{value:,.0f}".replace(",", "\u202f"), "", repr(value))
    least, most = row[f"{field}_least"], row[f"{field}_most"]
    return (_short(value), f"{_short(least)} to {_short(most)}" if least != most else "", repr(value))


def training(subject: Subject, runs: Sequence[Mapping[str, Any]]) -> list[Group]:
    """Curves of training loss, validation Dice and learning rate over epochs, of those that were recorded."""
    figures = []
    for field, title in (
        ("loss", "Training loss"),
        ("val_dice", "Validation Dice"),
        ("learning_rate", "Learning rate"),
    ):
        rows = chart_training.history_rows(runs, field=field)
        if not rows:
            continue
        content = chart_training.curves(
            rows,
            methods=list(subject.methods),
            field=field,
            title=title,
            description=f"{title} over epochs, one line a run. The same numbers follow as a table.",
        )
        caption = f"{title} by epoch, one line a run."
        if any(row["best"] for row in rows):
            caption += " The large sign is the epoch of the run's best validation Dice."
        figures.append(Figure(f"curve-{field}", caption, content))
    return [{"name": "training", "figures": figures}] if figures else []
