"""The ``subgroups`` table: the mean of every method, label and metric over the cases of each published class."""

from collections.abc import Mapping, Sequence
from typing import Any

from segtrace import subgroups
from segtrace.aggregation import CaseValue, Cell, statistics
from segtrace.compare.intervals import of_cases
from segtrace.samples import too_small

#: What a row takes from the statistics of its values.
COLUMNS = ("cases", "undefined", "as_worst", "missing", "mean", "sd")


def rows(
    cells: Mapping[Cell, Sequence[CaseValue]], classes: Mapping[str, str], *, labels: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Rows of the ``subgroups`` table, none where the cases are not of at least two classes.

    ``classes`` is from :func:`segtrace.subgroups.classes`; ``labels`` names labels, 0 among them. Intervals are
    those of ``intervals``, from the same draws for as many cases. A metric without any value has no rows.
    """
    divided = {
        key: values
        for key, values in subgroups.divided(cells, classes).items()
        if any(value.value is not None for value in cells[key[1]])
    }
    known = {
        key: [value.value for value in values if value.value is not None] for key, values in divided.items()
    }
    ends = of_cases(known)
    made = []
    for (name, cell), values in divided.items():
        method, label, metric = cell
        low, high = ends.get(((name, cell), "bca"), (None, None))
        made.append(
            {
                "method": method,
                "label": label,
                "label_name": labels[label],
                "metric": metric,
                "subgroup": name,
                **{column: value for column, value in statistics(values).items() if column in COLUMNS},
                "low": low,
                "high": high,
                "note": too_small(known[name, cell]),
            }
        )
    return made
