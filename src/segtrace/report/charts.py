"""Charts of a page: Vega-Lite specifications made with Altair, their data beside them by column.

The page carries the drawing library once. Expressions are interpreted, not evaluated, so the page's
security policy needs no ``unsafe-eval``. Colours of axes and text come from the page at drawing time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import vl_convert

#: At most so many points of a training curve are drawn.
CURVE_POINTS = 200
#: Colours that stand out from a light and from a dark page (contrast of at least 3 with both); the first
#: ones follow Okabe and Ito's order of hues, which readers with colour-blindness can tell apart.
COLOURS = [
    "#2f86cc",
    "#d9631e",
    "#0f9d76",
    "#c0679c",
    "#8a7a1f",
    "#7d6fd0",
    "#d14b4b",
    "#5c8f9b",
    "#a5682a",
    "#7f8792",
    "#4f9a3c",
    "#b35fd0",
]


def library() -> str:
    """The drawing library (Vega, Vega-Lite, Vega-Embed) as one script."""
    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def columnar(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows as lists by column, which is several times smaller."""
    return {key: [row[key] for row in rows] for key in (rows[0] if rows else ())}


def _spec(chart: Any, *, description: str) -> dict[str, Any]:
    made: dict[str, Any] = chart.properties(
        width="container",
        description=description,
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
    ).to_dict()
    made.pop("config", None)  # the page's own
    return made


def case_points(
    rows: Sequence[Mapping[str, Any]],
    *,
    methods: Sequence[str],
    title: str,
    bounded: bool,
    constant: float | None,
    description: str,
) -> dict[str, Any]:
    """Every case as a point, methods as bands, their mean as a bar; ``constant`` as a dashed line.

    ``rows`` come from :func:`segtrace.report.scores.points`. ``bounded`` values lie between 0 and 1.
    """
    scale = alt.Scale(domain=[0, 1]) if bounded else alt.Scale(zero=True, nice=True)
    band = alt.Y(
        "method:N", sort=list(methods), title=None, axis=alt.Axis(labelLimit=130, labelPadding=6, ticks=False)
    )
    colour = alt.Color(
        "method:N", scale=alt.Scale(domain=list(methods), range=_colours(len(methods))), legend=None
    )
    tooltip = [
        alt.Tooltip("case:N", title="case"),
        alt.Tooltip("method:N", title="method"),
        alt.Tooltip("value:Q", title=title, format=".4f" if bounded else ".2f"),
    ]
    if any(row["note"] for row in rows):
        tooltip.append(alt.Tooltip("note:N", title="note"))
    base = alt.Chart(alt.Data(name="rows"))
    dots = base.mark_circle(size=34, opacity=0.7).encode(
        x=alt.X("value:Q", title=title, scale=scale),
        y=band,
        yOffset=alt.YOffset("spread:Q", scale=alt.Scale(domain=[-0.15, 1.15])),
        color=colour,
        tooltip=tooltip,
    )
    means = base.mark_tick(thickness=3, size=30).encode(
        x=alt.X("mean(value):Q"), y=band, tooltip=[alt.Tooltip("mean(value):Q", title="mean", format=".4f")]
    )
    layers = [dots, means]
    if constant is not None:
        line = alt.Chart(alt.Data(values=[{"constant": constant}])).mark_rule(
            strokeDash=[5, 4], strokeWidth=1.5
        )
        layers.append(
            line.encode(
                x=alt.X("constant:Q"),
                tooltip=[alt.Tooltip("constant:Q", title="best constant prediction", format=".4f")],
            )
        )
    chart = alt.layer(*layers).properties(height=46 * len(methods))
    return {"spec": _spec(chart, description=description), "rows": columnar(rows)}


def curves(
    rows: Sequence[Mapping[str, Any]], *, methods: Sequence[str], field: str, title: str, description: str
) -> dict[str, Any]:
    """One line a run over epochs, coloured by method; ``rows`` have run, method, epoch and ``field``."""
    chart = (
        alt.Chart(alt.Data(name="rows"))
        .mark_line(point=alt.OverlayMarkDef(size=14), strokeWidth=1.5, opacity=0.85)
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y(f"{field}:Q", title=title, scale=alt.Scale(zero=field == "val_dice")),
            color=alt.Color(
                "method:N",
                scale=alt.Scale(domain=list(methods), range=_colours(len(methods))),
                legend=alt.Legend(orient="bottom", title=None, columns=2, labelLimit=140),
            ),
            detail="run:N",
            tooltip=["run:N", "epoch:Q", alt.Tooltip(f"{field}:Q", title=title, format=".4f")],
        )
        .properties(height=240)
    )
    return {"spec": _spec(chart, description=description), "rows": columnar(rows)}


def thinned(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most :data:`CURVE_POINTS` of a curve's rows, evenly spaced, the last one always kept."""
    step = -(-len(rows) // CURVE_POINTS)
    return [row for place, row in enumerate(rows) if (len(rows) - 1 - place) % step == 0] if rows else []


def _colours(count: int) -> list[str]:
    return [COLOURS[place % len(COLOURS)] for place in range(count)]
