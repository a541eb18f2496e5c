"""The section of trainings: their curves, and how soon they reach what they end with."""

from collections.abc import Mapping, Sequence
from typing import Any

from segtrace import convergence
from segtrace.aggregation import mean
from segtrace.report import chart_training
from segtrace.report.charts import Figure, Group, short
from segtrace.report.subject import Subject


def training(
    subject: Subject, runs: Sequence[Mapping[str, Any]], costs: Sequence[Mapping[str, Any]] = ()
) -> list[Group]:
    """Curves of training loss, validation Dice and learning rate over epochs, of those that were recorded.

    ``converged`` is a row a method: how soon its runs reach 95 % of their final validation Dice. ``costs`` are the
    rows of :func:`segtrace.report.cost.rows`.
    """
    figures = []
    for field, title in (
        ("loss", "Training loss"),
        ("val_dice", "Validation Dice"),
        ("learning_rate", "Learning rate"),
    ):
        rows = chart_training.history_rows(runs, field=field)
        if not rows:
            continue
        means = chart_training.mean_rows(runs, field=field) if field == "val_dice" else []
        content = chart_training.curves(
            [*rows, *means],
            methods=list(subject.methods),
            field=field,
            title=title,
            description=f"{title} over epochs, one line a run. The same numbers follow as a table.",
        )
        caption = f"{title} by epoch, one line a run."
        if any(row["best"] for row in rows):
            caption += " The large sign is the epoch of the run's best validation Dice."
        if means:
            caption += " Thick lines are means over a method's runs, of the epochs that all of them have."
        figures.append(Figure(f"curve-{field}", caption, content))
    converged = _converged(subject, runs, costs)
    return [{"name": "training", "figures": figures, "converged": converged}] if figures else []


def _converged(
    subject: Subject, runs: Sequence[Mapping[str, Any]], costs: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A row a method with a validated run: the mean and range over runs of final Dice, epochs and seconds to 95 %."""
    seconds = {(row["method"], row["fold"], row["seed"]): row["seconds_to_95"] for row in costs}
    made = []
    for method in subject.methods:
        own = [run for run in runs if run["method"] == method and run["history"]]
        found = [convergence.of_history(run["history"]) for run in own]
        timed = [seconds.get((run["method"], run["fold"], run["seed"]), float("nan")) for run in own]
        cells = {
            "final": _cell([one.final for one in found if one.final is not None]),
            "epoch": _cell([one.epoch for one in found if one.epoch is not None]),
            "stays": _cell([one.stays for one in found if one.stays is not None]),
            "seconds": _cell([value for value in timed if value == value]),
        }
        if any(one.validated for one in found):
            notes = list(dict.fromkeys(one.note for one in found if one.note))
            made.append({"method": method, "runs": len(own), "cells": list(cells.values()), "notes": notes})
    return made


def _cell(values: Sequence[float]) -> tuple[str, str, str]:
    """(mean, range over runs, value to sort by)."""
    if not values:
        return ("–", "", "")
    least, most = short(min(values)), short(max(values))
    centre = mean(values)
    return (short(centre), f"{least} to {most}" if least != most else "", repr(centre))
