"""Tables of a page as plain text in cells, before they are written as LaTeX or Markdown."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A cell: its text, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table to be exported."""

    name: str
    """Name of its files, safe on any machine: 'summary-1'."""
    title: str
    caption: str
    """What the numbers are: protocol, budget, seeds, cases and conventions."""
    label: str
    """What it is referred to by: 'toy-summary-1'."""
    headings: Sequence[str]
    groups: Sequence[tuple[str, Sequence[Sequence[Cell]]]]
    """(heading of the group or empty, its rows)."""
    texts: frozenset[int] = frozenset({0})
    """Columns that hold words: they are aligned to the left, numbers to the right."""
    note: str = ""
    csv: str = ""
    """The table in ``results`` that it comes from."""

    @property
    def count(self) -> int:
        """Number of rows."""
        return sum(len(rows) for _, rows in self.groups)


def cells(*texts: str) -> list[Cell]:
    """Cells of plain texts."""
    return [Cell(text) for text in texts]


def marked(
    rows: Sequence[Sequence[str]], *, better: dict[int, str], shown: dict[int, str]
) -> list[list[Cell]]:
    """``rows`` as cells, the best of some columns marked.

    ``better`` maps a column to 'more' or 'less', ``shown`` a column to the pattern of the number to compare in its
    text: what is equal as printed is equally good. A column with one number alone has no best.
    """
    made = [[Cell(text) for text in row] for row in rows]
    for column, side in better.items():
        found = {
            place: float(match[0].replace("−", "-"))
            for place, row in enumerate(rows)
            if (match := re.match(shown.get(column, NUMBER), row[column]))
        }
        if len(found) < 2 or len(set(found.values())) < 2:
            continue
        best = (max if side == "more" else min)(found.values())
        for place, value in found.items():
            if value == best:
                made[place][column] = Cell(rows[place][column], best=True)
    return made


#: A number at the beginning of a cell.
NUMBER = r"[-−]?\d+(?:\.\d+)?"


def markdown(sheet: Sheet) -> str:
    """A sheet as a Markdown table (GitHub's form), its caption above; groups become a column of their own."""
    grouped = any(group for group, _ in sheet.groups)
    headings = ([""] if grouped else []) + list(sheet.headings)
    shift = 1 if grouped else 0
    rules = [
        "---" if place < shift or place - shift in sheet.texts else "---:" for place in range(len(headings))
    ]
    lines = [f"**{_markdown(sheet.caption)}**", "", _line(map(_markdown, headings)), _line(rules)]
    for group, rows in sheet.groups:
        for row in rows:
            texts = [f"**{_markdown(cell.text)}**" if cell.best else _markdown(cell.text) for cell in row]
            lines.append(_line([*([_markdown(group)] if grouped else []), *texts]))
    return "\n".join([*lines, *(["", _markdown(sheet.note)] if sheet.note else [])]) + "\n"


def _line(texts: Iterable[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _markdown(text: str) -> str:
    """Text that Markdown shows as it stands, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$])", r"\\\1", " ".join(text.split()))
