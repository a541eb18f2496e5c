"""Charts of published against recomputed values: one a printed column, both values in the paper's unit."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from segtrace.report.charts import COLOURS, columnar

#: What the two signs of a chart stand for.
KINDS = ["published", "recomputed here"]


def rows(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the chart draws: the cells that were recomputed, each with both values."""
    return [
        {
            "row": cell["row"],
            "column": cell["heading"],
            "published": cell["published"],
            "recomputed here": cell["value"],
            "low": cell["low"],
            "high": cell["high"],
            "printed": cell["printed"],
            "comparable": "comparable" if cell["comparable"] else "not comparable",
        }
        for cell in cells
        if cell["value"] is not None
    ]


def charts(drawn: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Identifier → chart, one a printed column, for columns differ in unit; ``drawn`` come from :func:`rows`."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for row in drawn:
        grouped.setdefault(row["column"], []).append(row)
    return {
        f"published-{place}": {"heading": column, **_chart(column, rows)}
        for place, (column, rows) in enumerate(grouped.items(), 1)
    }


def _chart(column: str, drawn: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A dot for each recomputed value with its interval, a diamond for the published one."""
    names = list(dict.fromkeys(row["row"] for row in drawn))
    band = alt.Y("row:N", sort=names, title=None, axis=alt.Axis(labelLimit=130, labelPadding=6, ticks=False))
    colour = alt.Scale(domain=KINDS, range=[COLOURS[1], COLOURS[0]])
    tooltip = [
        alt.Tooltip("row:N", title="row"),
        alt.Tooltip("printed:N", title="published"),
        alt.Tooltip("recomputed here:Q", format=".5~g"),
        alt.Tooltip("comparable:N", title="the two are"),
    ]
    base = alt.Chart(alt.Data(name="rows"))
    scale = alt.Scale(zero=False, nice=True, padding=8)
    layers = []
    if any(row["low"] is not None for row in drawn):
        bars = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2.5)
        layers.append(
            bars.encode(x=alt.X("low:Q", title=column, scale=scale), x2="high:Q", y=band, tooltip=tooltip)
        )
    signs = base.transform_fold(KINDS, as_=["kind", "value"]).mark_point(size=110, filled=True, opacity=1)
    layers.append(
        signs.encode(
            x=alt.X("value:Q", title=column, scale=scale),
            y=band,
            color=alt.Color("kind:N", scale=colour, legend=alt.Legend(orient="bottom", title=None)),
            shape=alt.Shape("kind:N", scale=alt.Scale(domain=KINDS, range=["diamond", "circle"])),
            tooltip=tooltip,
        )
    )
    chart = alt.layer(*layers).properties(height=34 * len(names) + 10)
    words = (
        f"{column}: published and recomputed values of {len(drawn)} rows. The same numbers are in the table."
    )
    spec: dict[str, Any] = chart.properties(
        width="container", description=words, autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
    ).to_dict()
    spec.pop("config", None)  # the page's own
    return {
        "spec": spec,
        "rows": columnar(drawn),
        "columns": {key: key for key in ("row", "printed", KINDS[1], "low", "high")},
    }
