"""What all charts of a page share: the drawing library, colours and shapes of methods, and their finish.

Charts are Vega-Lite specifications made with Altair. A builder (the modules ``chart_*.py``) returns
``{"spec", "rows", "columns"}``: the specification, whose data set ``rows`` is left open; the rows drawn, by
column; and the headings under which the page lists the same rows as a table. The page carries the drawing
library once. Expressions are interpreted, not evaluated, so its security policy needs no ``unsafe-eval``.
Colours of axes and text come from the page at drawing time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert
from altair.utils import schemapi

#: Colours that stand out from a light and from a dark page (contrast of at least 3 with both); the first
#: ones follow Okabe and Ito's order of hues, which readers with colour-blindness can tell apart. Charts never
#: rely on them alone: methods also have a band, a label or a shape of their own.
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
#: Together with the colours, no two of the first 24 methods look the same.
SHAPES = [
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
]
#: Longest label of a method beside a chart, in pixels; whole names are shown on hover and in tables.
LABEL = 150

#: Field → heading of the table that lists what a chart draws.
Columns = Mapping[str, str]


@dataclass(frozen=True)
class Figure:
    """A chart on the page: ``name`` is its place there, ``content`` what a chart builder returned."""

    name: str
    caption: str
    content: dict[str, Any]


# Altair checks each part of a chart against its schema as it is made. The tests do so with what is made here.
schemapi.disable_debug_mode()

#: Figures that belong together: ``name`` and ``figures``, and what the section's template needs besides.
Group = dict[str, Any]


def library() -> str:
    """The drawing library (Vega, Vega-Lite, Vega-Embed) as one script."""
    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def columnar(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows as lists by column, which is several times smaller."""
    return {key: [row[key] for row in rows] for key in (rows[0] if rows else ())}


def drawn(value: float | None) -> float | None:
    """A number to six significant digits, finer than any screen shows; None where it is unknown."""
    return None if value is None or value != value else float(f"{value:.6g}")


def finished(
    chart: Any, rows: Sequence[Mapping[str, Any]], *, description: str, columns: Columns
) -> dict[str, Any]:
    """The chart as wide as its place, with ``description`` for screen readers, its rows and their headings."""
    spec: dict[str, Any] = chart.properties(
        width="container",
        description=description,
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
    ).to_dict(validate=False)  # tests validate every specification; doing so here takes most of a page's time
    spec.pop("config", None)  # the page's own
    return {"spec": spec, "rows": columnar(rows), "columns": dict(columns)}


def rows() -> alt.Data:
    """The data set that the page fills in with a chart's rows."""
    return alt.Data(name="rows")


def fixed(values: Sequence[Mapping[str, Any]]) -> alt.Data:
    """Few values, such as lines, that stand in the specification itself."""
    return alt.Data(values=[dict(value) for value in values])


def colour(methods: Sequence[str], **options: Any) -> alt.Color:
    """The colour of a row's method, the same in every chart of a page; no legend unless given."""
    scale = alt.Scale(domain=list(methods), range=_cycle(COLOURS, len(methods)))
    return alt.Color("method:N", scale=scale, **{"legend": None, **options})


def shape(methods: Sequence[str], **options: Any) -> alt.Shape:
    """The shape of a row's method, the same in every chart of a page; no legend unless given."""
    scale = alt.Scale(domain=list(methods), range=_cycle(SHAPES, len(methods)))
    return alt.Shape("method:N", scale=scale, **{"legend": None, **options})


def bands(names: Sequence[str], **options: Any) -> alt.Axis:
    """An axis of whole numbers from 0 that shows ``names`` in their places."""
    labels = "[" + ",".join(quoted(name) for name in names) + "]"
    settings = {
        "values": list(range(len(names))),
        "labelExpr": f"{labels}[datum.value]",
        "title": None,
        "grid": False,
        "ticks": False,
        "domain": False,
        "labelLimit": LABEL,
        "labelPadding": 6,
    }
    return alt.Axis(**{**settings, **options})


def quoted(text: str) -> str:
    """``text`` as a literal of Vega's expression language."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", " ") + "'"


def place(field: str, names: Sequence[str]) -> str:
    """Expression: the place of a row's ``field`` among ``names``."""
    return f"indexof([{','.join(quoted(name) for name in names)}], datum.{field})"


def short(value: float | None) -> str:
    """Three significant digits, never as a power of ten above 1, with a true minus sign."""
    if value is None:
        return "–"
    rounded = float(f"{value:.3g}")
    text = f"{rounded:,.0f}".replace(",", "\u202f") if abs(rounded) >= 1000 else f"{rounded:g}"
    return text.replace("-", "−")


def _cycle(items: Sequence[str], count: int) -> list[str]:
    return [items[position % len(items)] for position in range(count)]
