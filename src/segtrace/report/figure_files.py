"""The page's charts as files: SVG pictures beside the page, and in Snakemake's own report.

A chart gets there by its name on the page, which :data:`KINDS` assigns to a kind. A kind is a folder
``figures/KIND``, an output of the rule ``report``, and a caption ``workflow/report/KIND.rst`` that says how to read its
figures. Pictures are made from the same specifications as the page's charts, by the same library, without a browser
and without a network.
"""

import copy
import math
import re
import textwrap
from collections.abc import Mapping
from typing import Any

#: Where figures lie, beside the page: in a folder for each kind.
FOLDER = "figures"
#: Kind → the names of its charts on the page, as a pattern.
KINDS = {
    "cases": r"points-.+",
    "differences": r"(?:differences|significance)-.+",
    "ranking": r"(?:blobs|schemes|tau)-.+",
    "agreement": r"agreement-.+",
    "robustness": r"robustness-.+",
    "cost": r"cost-.+",
    "training": r"curve-.+",
    "published": r"published-\d+",
}
#: Width of a figure in pixels.
WIDTH = 720
#: Letters of a line of a figure's title.
TITLE = 110
#: The library brings Liberation Sans along, which is as wide as Arial: layout is the same on every machine.
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
CONFIG = {
    "background": "white",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "gridColor": "#e3e7eb"},
    "legend": {"labelFontSize": 12},
    "title": {"anchor": "start", "fontSize": 13, "fontWeight": "normal", "limit": WIDTH},
    "tick": {"color": "#1b2127"},
    "rule": {"color": "#1b2127"},
    "style": {
        "ink": {"color": "#1b2127", "fill": "#1b2127"},
        "band": {"color": "#55606b", "fill": "#55606b"},
    },
}


def pictures(drawn: Mapping[str, Mapping[str, Any]], *, label: int) -> dict[str, str]:
    """File below the page's folder → SVG text, of each chart of the page that is of a kind.

    ``drawn`` maps a chart's name to its ``spec`` and its ``rows``, as lists by column. Of charts that there are for
    every label, those of ``label`` are made, the page's first one; the others are on the page. Where a kind has none of
    ``label``, as there are no volumes of the mean of labels, those of its own first one are made.
    """
    made = {}
    for kind, pattern in KINDS.items():
        labels = {name: _label_of(name) for name in drawn if re.fullmatch(pattern, name)}
        there = {found for found in labels.values() if found is not None}
        shown = label if label in there else min(there, default=label)
        for name, found in labels.items():
            if found in (None, shown):
                made[f"{FOLDER}/{kind}/{name}.svg"] = svg(drawn[name]["spec"], drawn[name]["rows"])
    return made


def _label_of(name: str) -> int | None:
    """The label that a chart's name on the page says, if it says one."""
    found = re.match(r"(?:points|differences|significance|blobs|schemes|tau|agreement)-(\d+)", name)
    return int(found[1]) if found else None


def svg(spec: Mapping[str, Any], columns: Mapping[str, list[Any]]) -> str:
    """A chart as SVG, on white; the first sentence of its description is its title."""
    import vl_convert  # the workflow reads this module for its kinds alone

    full = copy.deepcopy(dict(spec))
    count = len(next(iter(columns.values()), []))
    rows = [{key: _known(column[place]) for key, column in columns.items()} for place in range(count)]
    full["datasets"] = {**full.get("datasets", {}), "rows": rows}
    if full.get("width") == "container":
        full["width"] = WIDTH
    if "title" not in full and full.get("description"):
        full["title"] = textwrap.wrap(full["description"].split(". ")[0].rstrip("."), width=TITLE)
    # A specification's own configuration, where it has one, wins over the one of all figures.
    full["config"] = {**CONFIG, **full.get("config", {})}
    text: str = vl_convert.vegalite_to_svg(full)
    return _numbered(text if text.endswith("\n") else text + "\n")


def _numbered(text: str) -> str:
    """SVG text with its ids counted anew: the library counts on from figure to figure."""
    ids = {
        name: f"part{place}"
        for place, name in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]+)"', text)), 1)
    }
    text = re.sub(r'\bid="([^"]+)"', lambda match: f'id="{ids[match[1]]}"', text)
    return re.sub(r"(url\(#|href=\"#)([^)\"]+)", lambda match: match[1] + ids.get(match[2], match[2]), text)


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
