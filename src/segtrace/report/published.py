"""What a paper printed, beside what is recomputed here: the rows of the ``published`` table in the paper's own units.

Values are shown as printed. What was recomputed is brought into the printed unit and to the printed decimals, so
that both read alike; the table ``published.csv`` holds it in full, in this project's units.
"""

from collections.abc import Mapping
from typing import Any

from segtrace.config import load, models
from segtrace.config.published_models import COSTS, Column, Published, parts
from segtrace.report import claims, published_chart
from segtrace.report.scores import Results
from segtrace.report.scores import heading as metric_heading
from segtrace.report.subject import Subject

COST_WORDS = {
    "parameters": "parameters",
    "macs": "multiply-accumulates",
    "minutes_per_epoch": "minutes an epoch",
}
#: How means are taken, in words.
AGGREGATIONS = {
    "per_case": "mean over cases",
    "per_batch": "mean over batches",
    "pooled": "from the counts of all cases pooled",
    "per_fold": "mean over folds",
    "unknown": "not stated",
}
GRIDS = {
    "native": "grid of the original images",
    "prepared": "grid of the prepared images",
    "unknown": "not stated",
}
ROLES = {"test": "test cases", "val": "validation cases", "unknown": "not stated"}
CHECKPOINTS = {
    "last": "last epoch",
    "best_val": "best on the validation cases",
    "unknown": "not stated",
}


def section(subject: Subject, results: Results) -> dict[str, Any]:
    """Everything that the section shows; empty where the experiment has no published values."""
    given = subject.experiment.published
    if given is None:
        return {}
    paper = paper_of(given)
    cells = compared(subject, results)
    reasons = list(dict.fromkeys(reason for cell in cells for reason in cell["reasons"]))
    for cell in cells:
        cell["reason_numbers"] = [reasons.index(reason) + 1 for reason in cell["reasons"]]
    return {
        "table": given.table,
        "paper": paper,
        "paper_words": paper_words(given.paper),
        "columns": [
            {"name": column.name, "heading": heading(column), "what": what(subject, column)}
            for column in given.columns
        ],
        "rows": _rows(given, cells),
        "details": _details(cells),
        "reasons": reasons,
        "without": [row.name for row in given.rows if row.method is None],
        "conventions": conventions(subject, given),
        "errata": given.errata,
        "notes": [*given.notes, *given.convention.notes, *paper.notes],
        "row_notes": {row.name: row.notes for row in given.rows if row.notes},
        "claims": claims.of_experiment(subject.name, paper),
        "charts": [
            {"id": key, "heading": chart["heading"]} for key, chart in charts(subject, results).items()
        ],
        "budget": subject.budget_name,
    }


def charts(subject: Subject, results: Results) -> dict[str, dict[str, Any]]:
    """Identifier → chart of published against recomputed values of a column; none where nothing was recomputed."""
    return published_chart.charts(published_chart.rows(compared(subject, results)))


def paper_of(given: Published) -> models.Paper:
    """The paper of a published table."""
    paper: models.Paper = load.load("papers", given.paper)
    return paper


def paper_words(name: str) -> str:
    """A paper in words: 'Banerjee et al. 2025: Volumetric medical …'."""
    paper: models.Paper = load.load("papers", name)
    surnames = [author.split()[-1] for author in paper.authors]
    authors = " and ".join(surnames) if len(surnames) < 3 else f"{surnames[0]} et al."
    return f"{authors}{f' {paper.year}' if paper.year else ''}: {paper.title}"


def heading(column: Column) -> str:
    """A column's name as printed, with its unit where the name does not hold it."""
    unit = column.unit
    return column.name if not unit or f"({unit})" in column.name else f"{column.name} ({unit})"


def what(subject: Subject, column: Column) -> str:
    """What a column answers to here: 'Dice of anterior'."""
    if column.metric == "none":
        return "not measured here"
    if column.metric in COSTS:
        return COST_WORDS[column.metric]
    label = subject.labels.get(column.label) or next(iter(subject.dataset.labels.values()))
    return (
        f"{metric_heading(subject, column.metric)} of {label.replace('_', ' ')}"
        if column.label or len(subject.dataset.labels) == 1
        else (f"{metric_heading(subject, column.metric)}, {label}")
    )


def compared(subject: Subject, results: Results) -> list[dict[str, Any]]:
    """One entry a printed cell, in the paper's order: all texts for reading, in the paper's units."""
    given = subject.experiment.published
    if given is None:
        return []
    # as a file's lines are counted: the first row of a table is its second line
    found = {
        (row["row"], row["column"]): {**row, "line": line}
        for line, row in enumerate(results.more["published"], 2)
    }
    made = []
    for row in given.rows:
        for column, printed in zip(given.columns, row.cells, strict=True):
            if printed:
                entry = _cell(column, printed, found.get((row.name, column.name)))
                made.append(
                    entry
                    | {"row": row.name, "source": f"{given.table}, row {row.name}, column {column.name}"}
                )
    return made


def _cell(column: Column, printed: str, row: Mapping[str, Any] | None) -> dict[str, Any]:
    """One printed cell and what is recomputed of it; ``row`` is its row of the table, if it has one."""
    value, spread, factor = parts(printed)
    scale = factor * column.scale
    decimals = len(value.partition(".")[2])
    known = dict(row) if row is not None else {}

    def here(key: str) -> float | None:
        number = known.get(key)
        return None if number is None or number != number else number / scale

    recomputed, low, high = here("recomputed"), here("low"), here("high")
    difference = here("difference")
    reason = known.get("reason", "")
    return {
        "column": column.name,
        "heading": heading(column),
        "printed": printed,
        "method": known.get("method", ""),
        "line": known.get("line"),
        "published": float(value),
        "published_spread": float(spread) if spread else None,
        "value": recomputed,
        "low": low,
        "high": high,
        "recomputed": "–" if recomputed is None else minus(f"{recomputed:.{decimals}f}"),
        "interval": ""
        if low is None or high is None
        else minus(f"[{low:.{decimals}f}, {high:.{decimals}f}]"),
        "difference": "" if difference is None else minus(f"{difference:+.{decimals}f}"),
        "budget": known.get("budget", ""),
        "seeds": str(known["seeds"]) if known.get("seeds") else "",
        "comparable": known.get("comparable") == "yes",
        "reasons": [part.strip() for part in reason.split(";") if part.strip()],
    }


def minus(text: str) -> str:
    """A number's text with a minus sign in place of a hyphen."""
    return text.replace("-", "−")


def _rows(given: Published, cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The paper's table: its rows, each with one entry a column, None where nothing is printed."""
    found = {(cell["row"], cell["column"]): cell for cell in cells}
    return [
        {
            "name": row.name,
            "method": row.method,
            "cells": [found.get((row.name, column.name)) for column in given.columns],
        }
        for row in given.rows
    ]


def _details(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cells of each row that a method of this project answers to."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        if cell["method"]:
            grouped.setdefault(cell["row"], []).append(cell)
    return [
        {"row": row, "method": entries[0]["method"], "cells": entries} for row, entries in grouped.items()
    ]


def conventions(subject: Subject, given: Published) -> list[dict[str, Any]]:
    """How the paper computed its numbers and how they are computed here, one entry a choice."""
    own, printed = subject.experiment, given.convention
    batch = f" of {printed.batch} images" if printed.batch and printed.aggregation == "per_batch" else ""
    own_batch = f" of {own.batch} images" if own.aggregation == "per_batch" else ""
    seeds = "not stated" if printed.seeds is None else str(printed.seeds)
    pairs = [
        ("Averages", AGGREGATIONS[printed.aggregation] + batch, AGGREGATIONS[own.aggregation] + own_batch),
        ("Scored on the", GRIDS[printed.grid], GRIDS[own.grid]),
        ("Scored cases", ROLES[printed.role], ROLES[own.role]),
        ("Weights", CHECKPOINTS[printed.checkpoint], CHECKPOINTS[own.checkpoint]),
        (
            "Spread",
            {"none": "none given", "unknown": "not stated"}.get(printed.spread, printed.spread),
            "sd over cases",
        ),
        ("Trainings behind a number", seeds, str(len(subject.seeds))),
        ("Budget", "as published", subject.budget.title if not subject.budget.published else "as published"),
    ]
    return [
        {"what": name, "paper": paper, "here": here, "verdict": _verdict(paper, here)}
        for name, paper, here in pairs
    ]


def _verdict(paper: str, here: str) -> str:
    """Whether the two are the same, as far as the paper says."""
    if paper == "not stated":
        return "not stated in the paper"
    if paper == "none given":
        return "none in the paper"
    return "same" if paper == here else "differs"
