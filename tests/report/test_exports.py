"""Tables as LaTeX and Markdown: structure, escapes, bold, captions; and that they follow the tables."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toy_paper
from latex_check import check
from segtrace import layout, tables
from segtrace.cli import main
from segtrace.report import exports, latex, scores, sheets
from segtrace.report.sheets import Cell, Sheet


def rows_of(text: str) -> list[list[str]]:
    """The rows of the tabular, cells apart."""
    body = text.split("\\toprule")[1].split("\\bottomrule")[0]
    lines = [line for line in body.split("\n") if line.endswith("\\\\")]
    return [re.split(r"(?<!\\)&", line.removesuffix("\\\\")) for line in lines]


HOSTILE = 'a&b 50% _x_ #1 $5 {y} ~ ^ \\cmd ± – − ≤ τ "q" `t` [z] a--b <i> | é ☃ 10² 5 × 4\ttab\nline'


def sheet(**changes) -> Sheet:
    given = {
        "name": "s",
        "title": "A sheet",
        "caption": HOSTILE,
        "label": "toy-s",
        "headings": ["Method", HOSTILE],
        "groups": [("", [[Cell(HOSTILE), Cell("0.5 ± 0.1", best=True)], [Cell("[x]"), Cell("−1")]])],
        "note": HOSTILE,
    }
    return Sheet(**(given | changes))


def test_special_characters_are_escaped_and_the_structure_holds():
    text = latex.table(sheet())
    check(text)
    rows = rows_of(text)
    assert [len(row) for row in rows] == [2, 2, 2]
    assert rows[1][1].strip() == "\\textbf{0.5 $\\pm$ 0.1}"
    assert rows[2][0].strip() == "{[}x{]}"  # never an option of the row's end
    escaped = latex.escaped(HOSTILE)
    for words in (
        r"a\&b 50\% \_x\_ \#1 \$5 \{y\}",
        r"\textbackslash{}cmd $\pm$ -- $-$ $\leq$ $\tau$",
        "a-{}-b",
    ):
        assert words in escaped
    assert "{[}U+2603{]}" in escaped
    assert "tab line" in escaped
    assert latex.escaped('the row "a b" (or "c")') == "the row ``a b'' (or ``c'')"


def test_the_check_itself_finds_what_would_not_compile():
    for bad in ("50%", "a_b", "{", "}", "$x", "\\begin{table}", "\\foo", "☃", "x^2", "a#b"):
        with pytest.raises((AssertionError, IndexError)):
            check(bad)


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=40))
def test_any_text_gives_latex_that_compiles(text):
    check(latex.escaped(text) + "\n")


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=40))
def test_any_text_stays_one_cell_in_markdown(text):
    lines = sheets.markdown(sheet(headings=["A"], groups=[("", [[Cell(text)]])], caption="c", note="")).split(
        "\n"
    )
    assert len(lines) == 6
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", lines[4])) == 2


def test_the_best_of_a_column_is_bold_and_ties_as_printed_are_equal():
    rows = [["a", "0.912 ± 0.1", "5.00"], ["b", "0.912 ± 0.2", "4.00"], ["c", "0.900", "–"]]
    made = sheets.marked(rows, better={1: "more", 2: "less"}, shown={})
    assert [[cell.best for cell in row] for row in made] == [
        [False, True, False],
        [False, True, True],
        [False] * 3,
    ]
    alone = sheets.marked([["a", "0.9"]], better={1: "more"}, shown={})
    assert not alone[0][1].best
    below = sheets.marked([["a", "−2.0"], ["b", "−1.0"]], better={1: "more"}, shown={})
    assert below[1][1].best


TEST_ROW = {
    "label": 1,
    "label_name": "organ",
    "metric": "dice",
    "first": "alpha",
    "second": "beta",
    "cases": 4,
    "dropped": 0,
    "difference": -0.0421,
    "low": -0.09,
    "high": 0.01,
    "permutation": "exact",
    "permutation_p": 0.0001,
    "permutation_holm": 0.0002,
    "wilcoxon": "exact",
    "wilcoxon_p": 0.125,
    "wilcoxon_holm": 0.125,
    "cohens_dz": -1.5,
    "rank_biserial": -1.0,
    "wins": 0,
    "losses": 4,
    "ties": 0,
    "note": "",
}


def rank(method: str, scheme: str, place: int) -> dict:
    return {
        "scheme": scheme,
        "label": 1,
        "label_name": "organ",
        "metric": "dice",
        "method": method,
        "rank": float(place),
        "statistic": 0.5,
        "mean_rank": float(place),
        "low": 1.0,
        "high": 2.0,
        "first": 0.5,
        "frequencies": '{"1": 0.5, "2": 0.5}',
        "tau": 0.5,
        "tau_low": -1.0,
        "tau_high": 1.0,
        "cases": 4,
        "samples": 1000,
        "note": "",
    }


@pytest.fixture
def project(make_project):
    """The toy project with a paper, tests and ranks, compared."""
    project = make_project(pictures=False)
    toy_paper.publish()
    assert main(["compare", "toy"]) == 0
    toy_paper.write_table()
    folder = layout.results("toy")
    tables.write("tests", [TEST_ROW], folder / "tests.csv")
    schemes = ("aggregate_then_rank", "test_then_rank")
    ranks = [rank(m, scheme, p) for scheme in schemes for p, m in enumerate(("alpha", "beta"), 1)]
    tables.write("ranks", ranks, folder / "ranks.csv")
    return project


def test_every_table_is_written_with_its_caption_and_label(project):
    subject = toy_paper.subject_of()
    texts = exports.contents(subject, scores.read(subject))
    names = {Path(name).stem for name in texts}
    assert {"summary-0", "summary-1", "summary-2", "tests-1-dice", "ranks-1-dice", "published"} <= names
    for name, text in texts.items():
        if not name.endswith(".tex"):
            continue
        check(text)
        assert {len(row) for row in rows_of(text) if "multicolumn" not in row[0]} == {len(rows_of(text)[0])}
        caption = text.split("\\caption{")[1].split("\\label")[0]
        for words in (
            "protocol p",
            "Budget smoke",
            "seed 0",
            "4 test cases",
            "native grid",
            "last checkpoint",
        ):
            assert words in caption, (name, words)
        assert f"\\label{{tab:toy-{Path(name).stem.replace('_', '-')}}}" in text.replace("_", "-")
    tests = texts["tables/tests-1-dice.tex"]
    assert "$-$0.042 {[}$-$0.090, 0.010{]} & \\textless{} 0.001 & 0.125" in tests
    assert "\\textbf{1 {[}1, 2{]}}" in texts["tables/ranks-1-dice.tex"]
    assert "| Alpha-Net | Dice organ (%) | 86.49 ± 5.27 | 71.23 |" in texts["tables/published.md"]


def test_files_beside_the_page_follow_the_tables_and_stale_ones_go(project):
    from segtrace.config import load
    from segtrace.trace import check as trust
    from segtrace.trace.jobs import Job, of_file

    folder = layout.report("toy").parent
    assert main(["report", "toy"]) == 0
    first = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    page = layout.report("toy").read_text(encoding="utf-8")
    for link in re.findall(r'href="((?:tables|methods)/[^"]+|\.\./\.\./results/[^"]+)"', page):
        assert (folder / link).resolve().is_file(), link
    (folder / "tables/old.tex").write_text("stale")
    (folder / "tables/mine.csv").write_text("kept")
    assert main(["report", "toy"]) == 0
    again = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    again.pop(folder / "tables/mine.csv")
    assert again == first
    job = Job("report", "toy")
    assert of_file("reports/toy/tables/summary-1.tex") == job
    assert of_file("reports/toy/figures/cases/points-1-dice.svg") == job
    assert trust.holds(job, load.main_config())
    (folder / "tables/summary-1.tex").write_text("changed")
    assert "summary-1.tex" in str(trust.problems(job, load.main_config())[0])
