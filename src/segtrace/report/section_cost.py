"""The section of cost: parameters, multiply-accumulates, time and memory against the main metric, and the table of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from segtrace.report import chart_cost, cost, scores
from segtrace.report.charts import Figure, Group, short
from segtrace.report.subject import Subject


def costs(subject: Subject, results: scores.Results, measured: Sequence[Mapping[str, Any]]) -> list[Group]:
    """Parameters, multiply-accumulates, training time and memory against the main metric, and the table of them.

    ``measured`` are the rows of :func:`segtrace.report.cost.rows`. Of one method there is the table alone.
    """
    rows = cost.by_method(measured, summary=results.summary, label=subject.main_label, metric="dice")
    fields = {**cost.COUNTED, **cost.MEASURED}
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
    if field == "multiply_accumulates":
        return (f"{value / 1e9:.3f} × 10⁹", f"at {row['size'].replace('x', ' × ')}", repr(value))
    least, most = short(row[f"{field}_least"]), short(row[f"{field}_most"])
    return (short(value), f"{least} to {most}" if least != most else "", repr(value))
