"""The section of every case: a chart of Dice and one of the distance for each label."""

from collections.abc import Mapping, Sequence
from typing import Any

from segtrace import aggregation
from segtrace.report import chart_cases, scores
from segtrace.report.charts import Figure, Group
from segtrace.report.subject import Subject


def every_case(subject: Subject, results: scores.Results) -> list[Group]:
    """Charts of all cases, a Dice and a distance one for each label."""
    made = []
    for label, name in subject.labels.items():
        figures = []
        for metric in ("dice", subject.distance):
            rows = scores.points(subject, results, label=label, metric=metric)
            if not rows:
                continue
            heading = scores.heading(subject, metric)
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
