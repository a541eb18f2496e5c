"""The section of trainings: their curves."""

from collections.abc import Mapping, Sequence
from typing import Any

from segtrace.report import chart_training
from segtrace.report.charts import Figure, Group
from segtrace.report.subject import Subject


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
