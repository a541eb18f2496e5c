"""The section of volumes: Bland–Altman plots of each label and method, and the table of their lines."""

from collections.abc import Sequence
from typing import Any

from segtrace.report import agreement, chart_agreement, scores
from segtrace.report.charts import Figure, Group, short
from segtrace.report.subject import Subject


def volumes(subject: Subject, results: scores.Results) -> list[Group]:
    """Bland–Altman plots of each label and method, and the table of their lines.

    Where the table with the spacings is not on this machine, the one group has no figures and a ``problem``.
    """
    measured = agreement.scale(subject)
    if measured is None:
        return [{"name": "", "figures": [], "problem": "the table with the spacing of the cases"}]
    missing = {(value.method, value.case) for value in results.values if value.missing}
    found = agreement.pairs(results.scores, measured=measured, missing=missing)
    made = []
    for label, name in sorted(subject.dataset.scored.items()):
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
        made.append(
            {
                "name": name,
                "label": label,
                "unit": measured.unit,
                "figures": figures,
                "rows": rows,
                "problem": "",
            }
        )
    return made


def _extent(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _agreement_row(method: str, known: agreement.Limits, left_out: int) -> dict[str, Any]:
    """A row of the table of limits: its cells as (text, smaller text, value to sort by)."""

    def cell(value: tuple[float, float | None, float | None] | None) -> tuple[str, str, str]:
        if value is None:
            return ("–", "", "")
        ends = f"{short(value[1])} to {short(value[2])}" if None not in value else ""
        return (short(value[0]), ends, repr(value[0]))

    sd = ("–", "", "") if known.sd is None else (short(known.sd), "", repr(known.sd))
    return {
        "method": method,
        "cases": known.cases,
        "left_out": left_out,
        "cells": [cell(known.mean), sd, cell(known.lower), cell(known.upper)],
    }
