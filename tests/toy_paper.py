"""A paper beside the toy project: published values, some of them recomputed, and claims."""

import json
from pathlib import Path
from typing import Any

from segtrace import files, layout, tables
from segtrace.config import load, runs
from segtrace.report.subject import Subject

PAPER = {
    "title": "Ellipses & other 100 % round things",
    "authors": ["Ann Özil", "Bo B_C", "Cy Dee"],
    "year": 2024,
    "venue": "Journal of Shapes",
    "url": "https://example.org/shapes",
    "notes": ["A note of the paper."],
    "claims": [
        {
            "claim": "Alpha-Net is 6 points above Beta-Net",
            "printed": "6.00",
            "where": "abstract",
            "operation": "difference",
            "terms": [
                {"experiment": "toy", "row": "Alpha-Net", "column": "Dice organ"},
                {"experiment": "toy", "row": "Beta-Net", "column": "Dice organ"},
            ],
        },
        {
            "claim": "Alpha-Net is 9 points above Gamma-Net",
            "printed": "9.0",
            "where": "section 4.1",
            "operation": "difference",
            "terms": [
                {"experiment": "toy", "row": "Alpha-Net", "column": "Dice organ"},
                {"experiment": "toy", "row": "Gamma-Net", "column": "Dice organ"},
            ],
            "note": "the table says otherwise",
        },
        {
            "claim": "a number of its own",
            "printed": "7",
            "where": "section 2",
            "operation": "value",
            "terms": [{"number": 7, "source": "the text"}],
        },
    ],
}
PUBLISHED: dict[str, Any] = {
    "paper": "shapes",
    "table": "Table 2",
    "convention": {"aggregation": "per_batch", "batch": 8, "grid": "prepared", "seeds": None},
    "columns": [
        {"name": "Dice organ", "metric": "dice", "label": 1, "scale": 0.01, "unit": "%"},
        {"name": "HD95", "metric": "hd95_mm", "label": 1, "unit": "mm"},
    ],
    "rows": [
        {"name": "Alpha-Net", "method": "alpha", "cells": ["86.49 ± 5.27", "4.1"]},
        {"name": "Beta-Net", "method": "beta", "cells": ["80.49", "5.12"]},
        {"name": "Gamma-Net", "cells": ["70.0", ""], "notes": ["taken from another paper"]},
    ],
    "errata": ["The distance of Gamma-Net is missing."],
    "notes": ["A note of the table."],
}
REASONS = ("the budget is smoke, not the published one", "the paper averages over batches")


def publish() -> None:
    """Give the toy experiment of the project in the working directory a paper and published values."""
    files.write_json(Path("config/papers/shapes.yaml"), PAPER)
    path = Path("config/experiments/toy.yaml")
    files.write_json(path, json.loads(path.read_text()) | {"published": PUBLISHED})


def row(name: str, column: str, **changes: Any) -> dict[str, Any]:
    """A row of the table ``published``, recomputed as 0.7123 or 4.44 mm."""
    published = {
        ("Alpha-Net", "Dice organ"): 0.8649,
        ("Alpha-Net", "HD95"): 4.1,
        ("Beta-Net", "Dice organ"): 0.8049,
        ("Beta-Net", "HD95"): 5.12,
        ("Gamma-Net", "Dice organ"): 0.70,
    }[name, column]
    metric = {"Dice organ": "dice", "HD95": "hd95_mm"}[column]
    recomputed = {"dice": 0.7123, "hd95_mm": 4.44}[metric] if name != "Gamma-Net" else float("nan")
    return {
        "paper": "shapes",
        "table": "Table 2",
        "row": name,
        "column": column,
        "printed": "as printed",
        "method": {"Alpha-Net": "alpha", "Beta-Net": "beta"}.get(name, ""),
        "label": 1,
        "metric": metric,
        "aggregation": "per_case",
        "published": published,
        "published_spread": float("nan"),
        "recomputed": recomputed,
        "low": recomputed * 0.9,
        "high": recomputed * 1.1,
        "difference": recomputed - published,
        "budget": "smoke",
        "seeds": 2,
        "comparable": "no",
        "reason": "; ".join(REASONS),
    } | changes


def table(**changes: Any) -> list[dict[str, Any]]:
    """The whole table; ``changes`` are of the cell of Alpha-Net's Dice."""
    cells = [
        ("Alpha-Net", "HD95"),
        ("Beta-Net", "Dice organ"),
        ("Beta-Net", "HD95"),
        ("Gamma-Net", "Dice organ"),
    ]
    return [row("Alpha-Net", "Dice organ", **changes), *(row(*cell) for cell in cells)]


def write_table(**changes: Any) -> None:
    """Write the table ``published`` of the toy experiment."""
    tables.write("published", table(**changes), layout.results("toy") / "published.csv")


def subject_of(*, seeds: tuple[int, ...] = (0,), budget: str = "smoke") -> Subject:
    """The toy experiment as its page sees it."""
    experiment = load.experiment("toy")
    dataset = load.dataset(experiment.dataset)
    return Subject(
        name="toy",
        experiment=experiment,
        dataset=dataset,
        recipe=dataset.recipes[experiment.recipe],
        protocol=dataset.protocols[experiment.protocol],
        methods={name: load.method(name) for name in experiment.methods},
        budget_name=budget,
        budget=load.load("budgets", budget),
        seeds=seeds,
        runs=tuple(runs.runs_of("toy", budget=budget, seeds=list(seeds))),
        variant=runs.variant_of(experiment),
    )
