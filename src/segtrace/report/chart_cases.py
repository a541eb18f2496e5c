"""Every case as a point; where there are many, as a raincloud: density, quartiles and points.

Allen et al., "Raincloud plots: a multi-platform tool for robust data visualization", Wellcome Open Research 4
(2019). A density of few cases shows the smoothing and not the data, so few cases are shown as points alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from segtrace.report.charts import bands, colour, drawn, finished, fixed, place, rows

#: Up to so many cases no density is drawn.
FEW = 60


def case_points(
    cases: Sequence[Mapping[str, Any]],
    *,
    methods: Sequence[str],
    means: Sequence[Mapping[str, Any]],
    title: str,
    bounded: bool,
    constant: float | None,
    description: str,
) -> dict[str, Any]:
    """Every case of every method, the methods' means with their intervals, ``constant`` as a dashed line.

    ``cases`` come from :func:`segtrace.report.scores.points`: method, case, value, note and spread (0 to 1, the
    place across the band). ``means`` have method, mean, low and high, unknown ones None. ``bounded`` values lie
    between 0 and 1. Pointing at a case marks it in all methods.
    """
    shown = [{**row, "value": drawn(row["value"])} for row in cases]
    many = is_many(shown)
    scale = alt.Scale(domain=[0, 1]) if bounded else alt.Scale(zero=True, nice=True)
    # The axis belongs to the band of one method; each mark has its place in it. The first method is on top.
    down = alt.Scale(domain=[len(methods) - 0.5, -0.5], nice=False, zero=False)
    y = alt.Y("place:Q", scale=down, axis=bands(methods))
    x = alt.X("value:Q", title=title, scale=scale)
    layers = [*(_cloud(methods, y, scale, bounded=bounded) if many else [])]
    layers += [_dots(shown, methods, x, y, title=title, decimals=4 if bounded else 2, many=many)]
    layers += _means(means, methods, y, scale, decimals=4 if bounded else 2)
    if constant is not None:
        line = alt.Chart(fixed([{"constant": drawn(constant)}])).mark_rule(strokeDash=[5, 4], strokeWidth=1.5)
        tip = alt.Tooltip("constant:Q", title="best constant prediction", format=".4f")
        layers.append(line.encode(x=alt.X("constant:Q", scale=scale), tooltip=[tip]))
    chart = alt.layer(*layers).properties(height=(66 if many else 46) * len(methods))
    columns = {"case": "Case", "method": "Method", "value": title}
    if any(row["note"] for row in shown):
        columns["note"] = "Note"
    return finished(chart, shown, description=description, columns=columns)


def is_many(cases: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there are so many different cases that their density means something."""
    return len({row["case"] for row in cases}) > FEW


def _dots(
    cases: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
    x: alt.X,
    y: alt.Y,
    *,
    title: str,
    decimals: int,
    many: bool,
) -> alt.Chart:
    pointed = alt.selection_point(
        name="pointed", fields=["case"], on="pointerover", clear="pointerout", empty=False
    )
    tooltip = [
        alt.Tooltip("case:N", title="case"),
        alt.Tooltip("method:N", title="method"),
        alt.Tooltip("value:Q", title=title, format=f".{decimals}f"),
    ]
    if any(row["note"] for row in cases):
        tooltip.append(alt.Tooltip("note:N", title="note"))
    # Beside the density, points lie below the mean; without it, on both sides.
    across = "0.1 + 0.3 * datum.spread" if many else "0.6 * (datum.spread - 0.5)"
    dots = alt.Chart(rows()).transform_calculate(place=f"{place('method', methods)} + {across}")
    return (
        dots.mark_circle(opacity=1, strokeWidth=2)
        .encode(
            x=x,
            y=y,
            color=colour(methods),
            size=alt.condition(pointed, alt.value(120), alt.value(8 if many else 38)),
            stroke=alt.condition(pointed, alt.value("#7f8792"), alt.value("transparent")),
            tooltip=tooltip,
        )
        .add_params(pointed)
    )


def _cloud(methods: Sequence[str], y: alt.Y, scale: alt.Scale, *, bounded: bool) -> list[alt.Chart]:
    """Half a density above each band's middle, all of the same height, and the quartiles as a bar."""
    band = place("method", methods)
    density = (
        alt.Chart(rows())
        .transform_density(
            "value",
            groupby=["method"],
            as_=["value", "density"],
            steps=120,
            **({"extent": [0, 1]} if bounded else {}),
        )
        .transform_joinaggregate(peak="max(density)", groupby=["method"])
        .transform_calculate(
            base=f"{band} - 0.08", place=f"{band} - 0.08 - 0.36 * datum.density / datum.peak"
        )
        .mark_area(opacity=0.35, interpolate="monotone")
        .encode(x=alt.X("value:Q", scale=scale), y=y, y2=alt.Y2("base:Q"), color=colour(methods))
    )
    quartiles = (
        alt.Chart(rows())
        .transform_aggregate(lower="q1(value)", upper="q3(value)", middle="median(value)", groupby=["method"])
        .transform_calculate(place=band)
    )
    tooltip = [
        alt.Tooltip("method:N", title="method"),
        alt.Tooltip("lower:Q", title="lower quartile", format=".4~f"),
        alt.Tooltip("middle:Q", title="median", format=".4~f"),
        alt.Tooltip("upper:Q", title="upper quartile", format=".4~f"),
    ]
    bar = quartiles.mark_rule(strokeWidth=7, opacity=0.5).encode(
        x=alt.X("lower:Q", scale=scale), x2=alt.X2("upper:Q"), y=y, color=colour(methods), tooltip=tooltip
    )
    return [density, bar]


def _means(
    means: Sequence[Mapping[str, Any]], methods: Sequence[str], y: alt.Y, scale: alt.Scale, *, decimals: int
) -> list[alt.Chart]:
    """The mean as a diamond and its interval as a line, in the colour of text."""
    kept = [
        {"method": row["method"], **{key: drawn(row[key]) for key in ("mean", "low", "high")}}
        for row in means
        if drawn(row["mean"]) is not None
    ]
    if not kept:
        return []
    tooltip = [
        alt.Tooltip("method:N", title="method"),
        alt.Tooltip("mean:Q", title="mean", format=f".{decimals}f"),
        *(
            alt.Tooltip(f"{key}:Q", title=f"95 % interval, {word}", format=f".{decimals}f")
            for key, word in (("low", "from"), ("high", "to"))
        ),
    ]
    base = alt.Chart(fixed(kept)).transform_calculate(place=place("method", methods))
    made = [
        base.mark_point(shape="diamond", size=90, filled=True, opacity=1, style="ink").encode(
            x=alt.X("mean:Q", scale=scale), y=y, tooltip=tooltip
        )
    ]
    if any(row["low"] is not None for row in kept):
        interval = base.mark_rule(strokeWidth=2.5).encode(
            x=alt.X("low:Q", scale=scale), x2=alt.X2("high:Q"), y=y, tooltip=tooltip
        )
        made.insert(0, interval)
    return made
