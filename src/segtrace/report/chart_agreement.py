"""Bland–Altman plots: the difference of predicted and reference volume against their mean."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from segtrace.report.agreement import Limits, Pair
from segtrace.report.charts import colour, drawn, finished, fixed, rows

#: Up to so many cases points are drawn large.
FEW = 60


def bland_altman(
    pairs: Sequence[Pair],
    *,
    found: Limits,
    unit: str,
    method: str,
    methods: Sequence[str],
    extent: Mapping[str, tuple[float, float]],
    description: str,
) -> dict[str, Any]:
    """One point a case; lines at the mean difference and the limits of agreement, bands at their intervals.

    ``extent`` gives the ranges of "mean" and "difference", which the methods of a label share so that their
    plots can be compared.
    """
    shown = [
        {
            "case": pair.case,
            "method": method,
            "reference": drawn(pair.reference),
            "predicted": drawn(pair.predicted),
            "mean": drawn(pair.mean),
            "difference": drawn(pair.difference),
        }
        for pair in pairs
    ]
    x = alt.X(
        "mean:Q",
        title=f"mean of predicted and reference ({unit})",
        scale=alt.Scale(domain=list(extent["mean"]), nice=True),
    )
    scale = alt.Scale(domain=list(extent["difference"]), nice=True)
    y = alt.Y("difference:Q", title=f"predicted − reference ({unit})", scale=scale)
    tooltip = [
        alt.Tooltip("case:N", title="case"),
        *(
            alt.Tooltip(f"{key}:Q", title=f"{key} ({unit})", format=".4~g")
            for key in ("predicted", "reference", "difference")
        ),
    ]
    few = len(shown) <= FEW
    points = (
        alt.Chart(rows())
        .mark_circle(size=36 if few else 10, opacity=1)
        .encode(x=x, y=y, color=colour(methods), tooltip=tooltip)
    )
    chart = alt.layer(*_lines(found, scale=scale, unit=unit), points).properties(
        height=230, title=alt.Title(text=method, anchor="start", fontSize=13, offset=6)
    )
    columns = {
        "case": "Case",
        "reference": f"Reference ({unit})",
        "predicted": f"Predicted ({unit})",
        "difference": f"Difference ({unit})",
    }
    return finished(chart, shown, description=description, columns=columns)


def _lines(found: Limits, *, scale: alt.Scale, unit: str) -> list[alt.Chart]:
    """Zero, the mean difference and the limits; below each the band of its interval."""
    entries = [
        {"what": what, "value": drawn(value[0]), "low": drawn(value[1]), "high": drawn(value[2])}
        for what, value in (
            ("upper limit of agreement", found.upper),
            ("mean difference", found.mean),
            ("lower limit of agreement", found.lower),
        )
        if value is not None
    ]
    tooltip = [
        alt.Tooltip("what:N", title="line"),
        alt.Tooltip("value:Q", title=unit, format=".4~g"),
        alt.Tooltip("low:Q", title="95 % interval, from", format=".4~g"),
        alt.Tooltip("high:Q", title="95 % interval, to", format=".4~g"),
    ]
    made = [
        alt.Chart(fixed([{"zero": 0}]))
        .mark_rule(strokeWidth=1, opacity=0.5)
        .encode(y=alt.Y("zero:Q", scale=scale))
    ]
    base = alt.Chart(fixed(entries))
    if found.lower is not None:
        bands = base.mark_rect(opacity=0.16, style="band").encode(
            y=alt.Y("low:Q", scale=scale), y2=alt.Y2("high:Q"), tooltip=tooltip
        )
        made.insert(0, bands)
    dashes = alt.condition(
        "datum.what == 'mean difference'", alt.StrokeDashValue([1, 0]), alt.StrokeDashValue([6, 4])
    )
    lines = base.mark_rule(strokeWidth=1.8).encode(
        y=alt.Y("value:Q", scale=scale), strokeDash=dashes, tooltip=tooltip
    )
    return [*made, lines]
