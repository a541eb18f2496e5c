"""The ``robustness`` table: how far each method's mean Dice drops under each corruption of the images."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pandas as pd

from segtrace import aggregation, layout, robustness
from segtrace.aggregation import CaseValue, Cell
from segtrace.compare import tables
from segtrace.compare.intervals import of_cases
from segtrace.samples import too_small


def read(
    runs: Sequence[layout.RunName],
    *,
    variants: Sequence[layout.Variant],
    clean: pd.DataFrame,
    methods: Sequence[str],
    labels: Sequence[int],
) -> dict[str, dict[Cell, list[CaseValue]]]:
    """Corruption → the values of its scores, of all ``runs``.

    ``clean`` are the scores of the same runs on clean images. Raises :class:`segtrace.errors.SegtraceError` for scores
    that are missing or damaged, or of other references or cases than the clean ones.
    """
    found = {}
    for variant in variants:
        scores = tables.read_scores(runs, variant=variant, labels=labels)
        tables.refuse_others(clean, scores, name=variant.corruption)
        rows = cast("list[dict[str, Any]]", scores.to_dict("records"))
        found[variant.corruption] = aggregation.values_of_cells(rows, methods=methods, labels=labels)
    return found


def rows(
    cells: Mapping[Cell, Sequence[CaseValue]],
    corrupted: Mapping[str, Mapping[Cell, Sequence[CaseValue]]],
    *,
    labels: Mapping[int, str],
) -> list[dict[str, Any]]:
    """Rows of the ``robustness`` table, none where ``corrupted`` is empty.

    ``cells`` are the values on clean images, ``corrupted`` is from :func:`read`; ``labels`` names labels, 0 among them.
    Intervals of drops are from the draws that all tables share.
    """
    found = {
        (name, key): drop
        for name, values in corrupted.items()
        for key, drop in robustness.drops(cells, values).items()
    }
    ends = of_cases({key: drop.drops for key, drop in found.items()})
    made = []
    for (name, (method, label)), drop in found.items():
        kind, strength = layout.parse_corruption(name)
        low, high = ends.get(((name, (method, label)), "bca"), (None, None))
        made.append(
            {
                "method": method,
                "corruption": kind,
                "strength": strength,
                "label": label,
                "label_name": labels[label],
                "metric": robustness.METRIC,
                **drop.statistics,
                "low": low,
                "high": high,
                "note": too_small(drop.drops),
            }
        )
    return made
