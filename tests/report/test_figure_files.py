"""Figures as files: each kind has a caption in the workflow and takes its charts by name; SVG without a network."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import toy_paper
from segtrace import layout
from segtrace.cli import main
from segtrace.report import charts, figure_files

ROOT = Path(__file__).parents[2]
SPEC = {
    "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
    "description": "Dice of every case. More words.",
    "data": {"name": "rows"},
    "mark": "point",
    "width": "container",
    "encoding": {
        "x": {"field": "value", "type": "quantitative"},
        "y": {"field": "method", "type": "nominal", "axis": {"title": None}},
    },
}


def test_a_chart_becomes_an_svg_that_is_the_same_every_time():
    columns = charts.columnar([{"method": "a <b>", "value": 0.5}, {"method": "c", "value": float("nan")}])
    text = figure_files.svg(SPEC, columns)
    clipped = SPEC | {"mark": {"type": "point", "clip": True}}  # such a chart has ids
    assert figure_files.svg(clipped, columns) == figure_files.svg(clipped, columns)
    assert "url(#part1)" in figure_files.svg(clipped, columns)
    root = ElementTree.fromstring(text)
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "a <b>" in words
    assert "Dice of every case" in words
    assert "Liberation Sans" in text
    assert not re.findall(r'(?:href|src)="(?!#)', text)
    assert SPEC["width"] == "container"  # the chart of the page is left as it is


def test_charts_go_to_the_folder_of_their_kind_by_name():
    chart = {"spec": SPEC, "rows": charts.columnar([{"method": "a", "value": 1.0}])}
    names = ("points-1-dice", "points-2-dice", "curve-loss", "published-2", "of no kind")
    # of charts that there are for every label, those of the page's first one
    found = {
        "figures/cases/points-1-dice.svg",
        "figures/training/curve-loss.svg",
        "figures/published/published-2.svg",
    }
    assert set(figure_files.pictures(dict.fromkeys(names, chart), label=1)) == found
    # the mean of labels, 0, has no volumes: of those the first label's own
    more = (*names, "points-0-dice", "agreement-2-a", "agreement-1-a", "agreement-1-b")
    made = {Path(file).stem for file in figure_files.pictures(dict.fromkeys(more, chart), label=0)}
    assert made == {"points-0-dice", "curve-loss", "published-2", "agreement-1-a", "agreement-1-b"}


@pytest.mark.parametrize("kind", sorted(figure_files.KINDS))
def test_every_kind_has_a_caption_that_names_its_experiment(kind):
    from docutils.core import publish_parts

    text = (ROOT / "workflow/report" / f"{kind}.rst").read_text(encoding="utf-8")
    assert "{{ snakemake.wildcards.experiment }}" in text
    html = publish_parts(text, writer="html", settings_overrides={"halt_level": 2})["body"]
    assert len(html) > 200


def test_report_writes_the_figures_of_the_charts_on_the_page(make_project):
    make_project(pictures=False)
    toy_paper.publish()
    assert main(["compare", "toy"]) == 0
    toy_paper.write_table()
    assert main(["report", "toy"]) == 0
    folder = layout.report("toy").parent / "figures"
    assert {path.name for path in folder.iterdir()} == set(figure_files.KINDS)
    page = layout.report("toy").read_text(encoding="utf-8")
    drawn = set(re.findall(r'data-chart="([^"]+)"', page))
    written = {path.stem for path in folder.rglob("*.svg")}
    assert {"points-0-dice", "curve-loss", "published-1"} <= written <= drawn
    assert all(
        any(re.fullmatch(p, name) for name in written)
        for p in figure_files.KINDS.values()
        if any(re.fullmatch(p, name) for name in drawn)
    )
    unnamed = {name for name in drawn if not any(re.fullmatch(p, name) for p in figure_files.KINDS.values())}
    assert not unnamed, "charts of the page that are of no kind"
