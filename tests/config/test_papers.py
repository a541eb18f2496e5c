"""Every printed number of every experiment file and claim stands in the text of its paper.

The texts are no part of this project: ``SEGTRACE_PAPERS`` names a folder that holds them, one ``.txt`` a paper,
told apart by title. What an experiment or a paper file claims to be printed is tested by being there.
"""

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from segtrace.config import load
from segtrace.config.models import Claim, Paper
from segtrace.config.published_models import Published, Term

ROOT = Path(__file__).parents[2]
PAPERS = os.environ.get("SEGTRACE_PAPERS")
needs_texts = pytest.mark.skipif(not PAPERS, reason="SEGTRACE_PAPERS names no folder with the papers' texts")

#: What a line prints: (its words, its cells in order).
Line = tuple[str, list[str]]


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def of_config(kind: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "config" / kind).glob("*.yaml"))


# --- reading ----------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Text without markup: formulas' signs as letters, no bold, no percent signs, single spaces."""
    text = text.replace("\\pm", "±").replace("\\tau", "τ").replace("\\%", "")
    return re.sub(r"\s+", " ", re.sub(r"[$*|%]", " ", text)).strip()


def number(printed: str) -> re.Pattern[str]:
    """A printed number as a whole: not as a part of a longer one."""
    words = r"\s?".join(re.escape(word) for word in printed.split())
    return re.compile(rf"(?<![\d.]){words}(?!\d|\.\d)")


def holds(text: str, line: Line) -> bool:
    """Whether one line of ``text`` has the words of ``line`` and behind them its cells in order."""
    words, cells = plain(line[0]), [number(cell) for cell in line[1]]
    return any(_behind(candidate, words, cells) for candidate in map(plain, text.splitlines()))


def _behind(candidate: str, words: str, cells: list[re.Pattern[str]]) -> bool:
    start = candidate.find(words)
    if start < 0:
        return False
    position = start + len(words)
    for cell in cells:
        found = cell.search(candidate, position)
        if found is None:
            return False
        position = found.end()
    return True


def lines_of(published: Published) -> list[Line]:
    """The printed lines of a table; rows or columns that name the same line share it."""
    lines: dict[str, list[str]] = {}
    if published.lines == "rows":
        for row in published.rows:
            lines.setdefault(row.line or row.name, []).extend(row.cells)
    else:
        for name in dict.fromkeys(column.line or column.name for column in published.columns):
            chosen = [i for i, column in enumerate(published.columns) if (column.line or column.name) == name]
            lines[name] = [row.cells[i] for row in published.rows for i in chosen]
    filled = ((name, [cell for cell in cells if cell]) for name, cells in lines.items())
    return [(name, cells) for name, cells in filled if cells]


def sections(text: str) -> dict[str, list[str]]:
    """'abstract' and 'section 3.4' → its lines, plain; a section holds its subsections.

    Running text is joined to one line, the first; each line of a table stays one.
    """
    parts: dict[tuple[str, bool], list[str]] = {}
    current = ""
    for line in text.splitlines():
        bare = plain(line).lstrip("# ")
        heading = re.match(r"^(\d+(?:\.\d+)*)\.? [A-Z]", bare)
        if heading and len(bare) < 90 and not bare.endswith("."):
            current = heading[1]
        elif re.match(r"^abstract\b", bare, re.IGNORECASE):
            current = "abstract"
        in_table = line.lstrip().startswith("|") or line.count("\t") > 1
        parts.setdefault((current, in_table), []).append(bare)
    names = {name for name, _ in parts if name}
    return {
        "abstract" if name == "abstract" else f"section {name}": [
            " ".join(_below(parts, name, in_table=False)),
            *_below(parts, name, in_table=True),
        ]
        for name in names
    }


def _below(parts: dict[tuple[str, bool], list[str]], name: str, *, in_table: bool) -> list[str]:
    chosen = [lines for (key, kind), lines in parts.items() if kind == in_table and _is_in(key, name)]
    return [line for lines in chosen for line in lines]


def _is_in(section: str, name: str) -> bool:
    return f"{section}.".startswith(f"{name}.")


def states(lines: list[str], claim: Claim) -> bool:
    """Whether a section states a claim's figure: in its text, or in the line of a table that holds all its terms."""
    figure = number(claim.printed)
    cells = [number(cell) for cell in map(cell_of, claim.terms) if cell]
    return any(
        figure.search(line) and (place == 0 or (cells and all(cell.search(line) for cell in cells)))
        for place, line in enumerate(lines)
    )


def cell_of(term: Term) -> str:
    """The printed cell that a term names; empty for a number with a source of its own."""
    if term.experiment is None:
        return ""
    published = load.experiment(term.experiment).published
    assert published is not None
    row = next(row for row in published.rows if row.name == term.row)
    return row.cells[[column.name for column in published.columns].index(str(term.column))]


@cache
def texts() -> dict[str, str]:
    """Paper → its text, found by its title."""
    folder = Path(PAPERS or "")
    read = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))]
    found = {}
    for name in of_config("papers"):
        paper: Paper = load.load("papers", name)
        having = [text for text in read if letters(paper.title) in letters(text[:2000])]
        assert len(having) == 1, f"{len(having)} texts of {folder} have the title of {name}: {paper.title}"
        found[name] = having[0]
    return found


def letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def changed(printed: str) -> Iterator[str]:
    """A printed number with each of its digits changed."""
    for place, letter in enumerate(printed):
        if letter.isdigit():
            yield printed[:place] + str((int(letter) + 1) % 10) + printed[place + 1 :]


# --- the papers themselves --------------------------------------------------------------------------


@needs_texts
@pytest.mark.parametrize("name", of_config("experiments"))
def test_every_printed_cell_stands_in_its_papers_text(name: str) -> None:
    published = load.experiment(name).published
    if published is None:
        return
    text = texts()[published.paper]
    missing = [line for line in lines_of(published) if not holds(text, line)]
    assert not missing, f"config/experiments/{name}.yaml: no line of the paper holds {missing}"


@needs_texts
@pytest.mark.parametrize("name", of_config("papers"))
def test_every_claimed_figure_stands_in_its_section(name: str) -> None:
    paper: Paper = load.load("papers", name)
    parts = sections(texts()[name])
    missing = [
        f"{claim.printed} ({claim.claim})"
        for claim in paper.claims
        if not states(parts.get(claim.where, []), claim)
    ]
    assert not missing, f"config/papers/{name}.yaml: not in the section named: {missing}"


@needs_texts
@pytest.mark.parametrize("name", of_config("experiments"))
def test_no_changed_digit_of_a_cell_goes_unseen(name: str) -> None:
    published = load.experiment(name).published
    if published is None:
        return
    text = texts()[published.paper]
    words_of = {line[0]: line for line in lines_of(published)}
    kept = "\n".join(
        line for line in text.splitlines() if any(plain(words) in plain(line) for words in words_of)
    )
    unseen = []
    for words, cells in words_of.values():
        for place, cell in enumerate(cells):
            others = [[*cells[:place], other, *cells[place + 1 :]] for other in changed(cell)]
            unseen += [(words, other[place], cell) for other in others if holds(kept, (words, other))]
    assert not unseen


@needs_texts
@pytest.mark.parametrize("name", of_config("papers"))
def test_a_changed_digit_of_a_claim_is_unseen_only_where_it_makes_another_printed_number(name: str) -> None:
    paper: Paper = load.load("papers", name)
    parts = sections(texts()[name])
    for claim in paper.claims:
        others = {other.printed for other in paper.claims if other.where == claim.where}
        others |= {cell_of(term) for term in claim.terms}
        for figure in changed(claim.printed):
            if states(parts[claim.where], claim.model_copy(update={"printed": figure})):
                assert figure in others, f"{claim.claim}: {figure} instead of {claim.printed} goes unseen"


# --- the reading itself, on lines made by hand ------------------------------------------------------

TEXT = """
Abstract

Dice grows by 2.5% and falls by $1.0$.

1 Data

1.1 Cases

Values are 12.25 and 3.

| Network | Dice | HD95 | # |
| U-Net [7] | **86.49 \\pm 5.27** | 7.250 | 9.04 MB |
✓\t×\t×\t80.44\t86.11 %
"""


@pytest.mark.parametrize(
    "line",
    [
        ("U-Net [7]", ["86.49 ± 5.27", "7.250", "9.04 MB"]),
        ("U-Net [7]", ["86.49 ± 5.27", "9.04 MB"]),
        ("✓ × ×", ["80.44", "86.11"]),
    ],
)
def test_a_line_is_found_through_its_markup_and_no_changed_digit_is(line: Line) -> None:
    words, cells = line
    assert holds(TEXT, line)
    assert not holds(TEXT, ("V-Net", cells))
    assert not holds(TEXT, (words, cells[::-1]))
    for place, cell in enumerate(cells):
        for other in changed(cell):
            assert not holds(TEXT, (words, [*cells[:place], other, *cells[place + 1 :]]))


@pytest.mark.parametrize("part", ["6.49", "86.4", "86", "86.49 ± 5.2", "7.25", "04 MB"])
def test_a_part_of_a_number_is_not_the_number(part: str) -> None:
    assert not holds(TEXT, ("U-Net [7]", [part]))


def test_sections_hold_their_subsections_and_keep_tables_apart() -> None:
    found = sections(TEXT)
    assert set(found) == {"abstract", "section 1", "section 1.1"}
    assert number("2.5").search(found["abstract"][0])
    assert not number("12.25").search(found["abstract"][0])
    for name in ("section 1", "section 1.1"):
        assert number("12.25").search(found[name][0])
        assert not number("7.250").search(found[name][0])
        assert any(number("7.250").search(line) for line in found[name][1:])


@pytest.mark.parametrize(
    ("printed", "where", "stated"),
    [
        ("2.5", "abstract", True),
        ("2.6", "abstract", False),
        ("2.5", "section 1", False),
        ("12.25", "section 1", True),
        ("7.250", "section 1", False),  # in a table alone, in a line with none of the claim's terms
        ("2.5", "section 9", False),
    ],
)
def test_a_claim_is_stated_in_its_section_alone(printed: str, where: str, stated: bool) -> None:
    claim = Claim.model_validate(
        {
            "claim": "c",
            "printed": printed,
            "where": where,
            "operation": "value",
            "terms": [{"number": 1, "source": "counted"}],
        }
    )
    assert states(sections(TEXT).get(where, []), claim) == stated


def test_lines_of_a_table_printed_with_methods_side_by_side() -> None:
    published = Published.model_validate(
        {
            "paper": "p",
            "table": "Table 1",
            "lines": "columns",
            "columns": [
                {"name": "A Dice", "metric": "dice", "line": "A"},
                {"name": "A HD95", "metric": "hd95_mm", "line": "A"},
                {"name": "B", "metric": "dice"},
            ],
            "rows": [{"name": "x", "cells": ["1", "2", "3"]}, {"name": "y", "cells": ["4", "5", ""]}],
        }
    )
    assert lines_of(published) == [("A", ["1", "2", "4", "5"]), ("B", ["3"])]
