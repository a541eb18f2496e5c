"""Cost against accuracy: what a method takes, beside what it gives."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from segtrace.report.charts import colour, drawn, finished, rows, shape

#: A logarithmic axis is used where the greatest value is so many times the least.
DECADE = 10


def cost(
    methods_cost: Sequence[Mapping[str, Any]],
    *,
    methods: Sequence[str],
    field: str,
    title: str,
    metric: str,
    description: str,
) -> dict[str, Any]:
    """One point a method, told apart by colour and shape: ``field`` against the mean of ``metric`` with its 95 % interval.

    ``methods_cost`` come from :func:`segtrace.report.cost.by_method`. Methods without either value are left out.
    A line across is the range of ``field`` over the method's runs.
    """
    # a count is drawn whole, for the page shows all its digits; what is measured is rounded
    whole = field in ("parameters", "multiply_accumulates")
    known = float if whole else drawn
    kept = [row for row in methods_cost if row[field] is not None and row["mean"] is not None]
    shown = [
        {
            "method": row["method"],
            "cost": known(row[field]),
            "least": known(row.get(f"{field}_least", row[field])),
            "most": known(row.get(f"{field}_most", row[field])),
            **{key: drawn(row[key]) for key in ("mean", "low", "high")},
        }
        for row in kept
    ]
    values = [row[key] for row in shown for key in ("least", "most")]
    wide = bool(values) and min(values) > 0 and max(values) >= DECADE * min(values)
    scale = (
        alt.Scale(type="log", nice=True) if wide else alt.Scale(domain=[0, max(values, default=1)], nice=True)
    )
    x = alt.X(
        "cost:Q",
        title=title,
        scale=scale,
        axis=alt.Axis(
            format="~s" if whole else ",~r",
            labelExpr="datum.value === 0 ? '0' : datum.label",
            tickCount=5,
        ),
    )
    y_scale = alt.Scale(zero=False, nice=True)
    tooltip = [
        alt.Tooltip("method:N", title="method"),
        alt.Tooltip("cost:Q", title=title, format=",.0f" if whole else ",.3~r"),
        alt.Tooltip("mean:Q", title=metric, format=".4f"),
        alt.Tooltip("low:Q", title="95 % interval, from", format=".4f"),
        alt.Tooltip("high:Q", title="95 % interval, to", format=".4f"),
    ]
    legend = alt.Legend(orient="bottom", title=None, columns=2, labelLimit=150)
    base = alt.Chart(rows()).encode(tooltip=tooltip, color=colour(methods, legend=legend))
    y = alt.Y("mean:Q", title=metric, scale=y_scale)
    layers = [
        base.mark_rule(strokeWidth=1.5).encode(
            x=x, y=alt.Y("low:Q", scale=y_scale, title=metric), y2=alt.Y2("high:Q")
        )
    ]
    if any(row["least"] != row["most"] for row in shown):
        layers.append(
            base.mark_rule(strokeWidth=1.5).encode(
                x=alt.X("least:Q", scale=scale, title=title), x2=alt.X2("most:Q"), y=y
            )
        )
    layers.append(
        base.mark_point(filled=True, size=110, opacity=1).encode(
            x=x, y=y, shape=shape(methods, legend=legend)
        )
    )
    chart = alt.layer(*layers).properties(height=260)
    columns = {"method": "Method", "cost": title, "mean": metric, "low": "95 % from", "high": "95 % to"}
    return finished(chart, shown, description=description, columns=columns)
