"""Published values beside recomputed ones: units, reasons, conventions, claims, charts, and what is left out."""

import json
import re

import pytest

import toy_paper
from segtrace import datasets, layout
from segtrace.cli import main
from segtrace.report import published, published_chart, scores


@pytest.fixture(scope="module")
def compared(tmp_path_factory, project_type):
    """The toy project with a paper, compared once; each test writes the table of published values that it needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        project = project_type(seeds=(0, 1), pictures=False)
        patch.setattr(datasets, "reader", project.reader)
        toy_paper.publish()
        assert main(["compare", "toy"]) == 0
        toy_paper.write_table()
        yield


def section(**changes):
    """The section with the published table written anew."""
    toy_paper.write_table(**changes)
    subject = toy_paper.subject_of(seeds=(0, 1))
    return published.section(subject, scores.read(subject))


def test_values_stand_in_the_papers_units_and_decimals(compared):
    found = section()
    first = found["rows"][0]["cells"]
    assert [column["heading"] for column in found["columns"]] == ["Dice organ (%)", "HD95 (mm)"]
    assert [column["what"] for column in found["columns"]] == ["Dice of organ", "HD95 (mm) of organ"]
    assert (first[0]["printed"], first[0]["recomputed"], first[0]["interval"], first[0]["difference"]) == (
        "86.49 ± 5.27",
        "71.23",
        "[64.11, 78.35]",
        "−15.26",
    )
    assert (first[1]["printed"], first[1]["recomputed"], first[1]["difference"]) == ("4.1", "4.4", "+0.3")
    assert first[0]["source"] == "Table 2, row Alpha-Net, column Dice organ"
    assert found["rows"][2]["cells"][1] is None
    assert found["without"] == ["Gamma-Net"]
    assert found["paper_words"] == "Özil et al. 2024: Ellipses & other 100 % round things"


def test_a_value_that_is_not_comparable_gives_all_its_reasons(compared):
    found = section()
    cell = found["rows"][0]["cells"][0]
    assert found["reasons"] == list(toy_paper.REASONS)
    assert (cell["comparable"], cell["reason_numbers"]) == (False, [1, 2])
    settled = section(comparable="yes", reason="")["rows"][0]["cells"][0]
    assert (settled["comparable"], settled["reason_numbers"]) == (True, [])


def test_conventions_of_paper_and_here_stand_side_by_side(compared):
    rows = {row["what"]: row for row in section()["conventions"]}
    assert rows["Averages"]["paper"] == "mean over batches of 8 images"
    assert rows["Averages"]["here"] == "mean over cases"
    assert rows["Averages"]["verdict"] == "differs"
    assert rows["Weights"]["verdict"] == "same"
    assert rows["Trainings behind a number"]["verdict"] == "not stated in the paper"
    assert rows["Budget"]["verdict"] == "differs"


def test_claims_that_use_the_table_are_recomputed_and_judged(compared):
    found = section()["claims"]
    assert [claim["printed"] for claim in found] == ["6.00", "9.0"]
    assert [claim["failed"] for claim in found] == [False, True]
    assert found[0]["verdict"] == "agrees"
    assert float(found[1]["recomputed"]) == pytest.approx(16.49)
    assert "Gamma-Net, Dice organ of toy" in found[1]["terms"]


def test_chart_has_a_panel_a_column_with_the_recomputed_cells_alone(compared):
    toy_paper.write_table()
    subject = toy_paper.subject_of(seeds=(0, 1))
    charts = published.charts(subject, scores.read(subject))
    assert list(charts) == ["published-1", "published-2"]
    rows = charts["published-1"]["rows"]
    assert rows["row"] == ["Alpha-Net", "Beta-Net"]
    assert rows["published"] == [86.49, 80.49]
    assert rows["recomputed here"] == pytest.approx([71.23, 71.23])
    json.dumps(charts["published-1"]["spec"], allow_nan=False)
    assert published_chart.charts([]) == {}


def test_page_shows_the_section_and_follows_the_table(compared):
    def page() -> str:
        assert main(["report", "toy"]) == 0
        return layout.report("toy").read_text(encoding="utf-8")

    toy_paper.write_table()
    before = page()
    assert '<a href="#published">Published</a>' in before
    for words in (
        "Table 2 as printed",
        "86.49 ± 5.27",
        "71.23",
        "taken from another paper",
        *toy_paper.REASONS,
    ):
        assert words in before, words
    assert "The distance of Gamma-Net is missing." in before
    assert "the table says otherwise" in before
    assert 'id="published-1"' in before
    toy_paper.write_table(recomputed=0.6543)
    after = page()
    assert "65.43" in after
    assert "65.43" not in before


def test_sections_with_nothing_to_show_are_left_out_of_the_menu_too(make_project):
    make_project(pictures=False)
    assert main(["compare", "toy"]) == 0
    assert main(["report", "toy"]) == 0
    text = layout.report("toy").read_text(encoding="utf-8")
    menu = re.findall(r'<li><a href="#([a-z]+)">', text)
    sections = re.findall(r'<section id="([a-z]+)"', text)
    assert "published" not in menu
    assert menu == sections
    assert {"results", "methods", "exports"} <= set(menu)
