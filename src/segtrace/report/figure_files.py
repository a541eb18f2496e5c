"""The page's charts as files: SVG pictures beside the page, and in Snakemake's own report.

A chart gets there by being named in :data:`FIGURES`; its caption stands in ``workflow/report/NAME.rst``. Pictures are
made from the same specifications as the page's charts, by the same library, without a browser and without a network.
"""

import copy
import math
from collections.abc import Mapping
from typing import Any

import vl_convert

from segtrace.report.subject import Subject

#: Where figures lie, beside the page.
FOLDER = "figures"
#: Figure → the identifier of its chart on the page; MAIN is the label by which cases are ranked.
FIGURES = {
    "cases": "points-MAIN-dice",
    "training_loss": "curve-loss",
    "validation_dice": "curve-val_dice",
    "published": "chart-published-1",
}
#: Width of a figure in pixels.
WIDTH = 720
#: The library brings Liberation Sans along, which is as wide as Arial: layout is the same on every machine.
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
CONFIG = {
    "background": "white",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "gridColor": "#e3e7eb"},
    "legend": {"labelFontSize": 12},
    "tick": {"color": "#1b2127"},
    "rule": {"color": "#1b2127"},
}


def pictures(subject: Subject, drawn: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """File below the page's folder → SVG text, of each figure whose chart the page draws.

    ``drawn`` maps a chart's identifier to its ``spec`` and its ``rows``, as lists by column.
    """
    made = {}
    for name, identifier in FIGURES.items():
        chart = drawn.get(identifier.replace("MAIN", str(subject.main_label)))
        if chart is not None:
            made[f"{FOLDER}/{name}.svg"] = svg(chart["spec"], chart["rows"])
    return made


def svg(spec: Mapping[str, Any], columns: Mapping[str, list[Any]]) -> str:
    """A chart as SVG, on white, with its description for screen readers."""
    full = copy.deepcopy(dict(spec))
    count = len(next(iter(columns.values()), []))
    rows = [{key: _known(column[place]) for key, column in columns.items()} for place in range(count)]
    full["datasets"] = {**full.get("datasets", {}), "rows": rows}
    if full.get("width") == "container":
        full["width"] = WIDTH
    # A specification's own configuration, where it has one, wins over the one of all figures.
    full["config"] = {**CONFIG, **full.get("config", {})}
    text: str = vl_convert.vegalite_to_svg(full)
    return text if text.endswith("\n") else text + "\n"


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
