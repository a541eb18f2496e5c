"""The ``aggregates`` table: the mean of every method, label and metric by every named way of averaging.

How each is computed is in :mod:`segtrace.metrics.averages`; here the numbers get names, and notes on what a reader
has to know of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from segtrace.aggregation import RunValues
from segtrace.metrics.averages import Average, averages


def rows(
    scores: Sequence[Mapping[str, Any]], *, values: RunValues, labels: Mapping[int, str], batch: int
) -> list[dict[str, Any]]:
    """Rows of the ``aggregates`` table, for ``labels`` and label 0, the mean of the others.

    ``scores`` are rows of the ``per_case`` table, ``values`` those of each run; ``labels`` maps all labels, with 0,
    to names; ``batch`` is the number of images that ``per_batch`` pools.
    """
    even = len({row["tp"] + row["fp"] + row["fn"] + row["tn"] for row in scores}) <= 1
    made = averages(scores, values=values, labels=[label for label in labels if label], batch=batch)
    return [
        {
            "method": method,
            "label": label,
            "label_name": labels[label],
            "metric": metric,
            "aggregation": found.aggregation,
            "batch": batch if found.aggregation == "per_batch" else 0,
            "units": found.units,
            "mean": found.mean,
            "sd": found.sd,
            "note": "; ".join(_notes(found, even=even)),
        }
        for (method, label, metric), several in made.items()
        for found in several
    ]


def _notes(found: Average, *, even: bool) -> list[str]:
    told = []
    if found.mean is None:
        return ["no case has a value"]
    if found.aggregation in ("pooled", "per_batch") and not even:
        told.append("images differ in size, and large ones weigh more")
    if found.aggregation in ("per_fold", "per_seed") and found.units == 1:
        told.append(f"one {found.aggregation.removeprefix('per_')}: there is no deviation over several")
    if found.missing:
        told.append(f"{found.missing} cases lack a prediction in some run, and count as worst")
    return told
