"""What a corruption does to each method: mean Dice by strength, from the clean images on."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from segtrace.report.charts import colour, drawn, finished, rows, shape


def strengths(
    points: Sequence[Mapping[str, Any]],
    *,
    methods: Sequence[str],
    title: str,
    metric: str,
    description: str,
) -> dict[str, Any]:
    """One line a method over the strengths of a corruption, told apart by colour and shape.

    ``points`` have method, strength, mean, and low and high: the mean on clean images less the ends of the drop's
    interval (None: there is none, as on the clean images themselves).
    """
    shown = [
        {"method": row["method"], **{key: drawn(row[key]) for key in ("strength", "mean", "low", "high")}}
        for row in points
    ]
    chosen = alt.selection_point(name="chosen", fields=["method"], bind="legend")
    legend = alt.Legend(orient="bottom", title=None, columns=2, labelLimit=150)
    fading = alt.condition(chosen, alt.value(1), alt.value(0.08))
    scale = alt.Scale(zero=False, nice=True)
    y = alt.Y("mean:Q", title=metric, scale=scale)
    base = alt.Chart(rows()).encode(
        x=alt.X("strength:Q", title=title, scale=alt.Scale(zero=False)),
        color=colour(methods, legend=legend),
        opacity=fading,
        tooltip=[
            alt.Tooltip("method:N", title="method"),
            alt.Tooltip("strength:Q", title=title),
            alt.Tooltip("mean:Q", title=metric, format=".4f"),
            alt.Tooltip("low:Q", title="95 % interval of the drop, from", format=".4f"),
            alt.Tooltip("high:Q", title="95 % interval of the drop, to", format=".4f"),
        ],
    )
    ends = base.mark_rule(strokeWidth=1.5).encode(
        y=alt.Y("low:Q", title=metric, scale=scale), y2=alt.Y2("high:Q")
    )
    layers = [
        base.mark_line(strokeWidth=1.4).encode(y=y).add_params(chosen),
        ends,
        base.mark_point(filled=True, size=80).encode(y=y, shape=shape(methods, legend=legend)),
    ]
    chart = alt.layer(*layers).properties(height=240)
    columns = {"method": "Method", "strength": title, "mean": metric, "low": "95 % from", "high": "95 % to"}
    return finished(chart, shown, description=description, columns=columns)
