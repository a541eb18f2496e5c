"""The contents of ``segtrace published`` as lines for reading."""

import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

WIDTH = 110
_RELATIONS = {"equal": "", "less_than": "less than ", "more_than": "more than "}


def lines_of(found: Mapping[str, Any]) -> list[str]:
    """Lines of an overview, of a paper or of a table."""
    if "papers" in found:
        return list(_overview(found))
    return list(_table(found) if "experiment" in found else _paper(found))


def _overview(found: Mapping[str, Any]) -> Iterator[str]:
    for paper in found["papers"]:
        yield from _tables_of(paper)
        yield ""
    yield "a table or a paper with its claims: segtrace published NAME"


def _tables_of(paper: Mapping[str, Any]) -> Iterator[str]:
    year = f" ({paper['year']})" if paper["year"] else ""
    yield f"{paper['paper']}: {paper['title']}{year}"
    rows = [
        [f"  {t['experiment']}", t["table"], f"{t['answered']} of {t['rows']} rows answered", t["title"]]
        for t in paper["tables"]
    ]
    yield from columns(rows)


def _paper(found: Mapping[str, Any]) -> Iterator[str]:
    yield from _tables_of(found)
    yield from _claims(found["claims"])
    yield from _list("notes", found["notes"])


def _table(found: Mapping[str, Any]) -> Iterator[str]:
    yield found["title"]
    yield f"{found['paper_title']}: {found['table']}"
    yield (
        f"data {found['dataset']}, recipe {found['recipe']}, protocol {found['protocol']}, "
        f"training {found['training']}"
    )
    yield ""
    yield from _cells(found)
    yield from _list("rows that are not compared", _row_notes(found["rows"]))
    yield ""
    measured = any(head["metric"].endswith(("_mm", "_voxel")) for head in found["columns"])
    distances = f"; distances in {found['convention']['hd95']}" if measured else ""
    yield f"convention: {_convention(found['convention'])}{distances}"
    yield from _items(found["convention"]["notes"])
    for heading, key in (
        ("errata", "errata"),
        ("notes", "notes"),
        ("about the experiment", "experiment_notes"),
    ):
        yield from _list(heading, found[key])
    yield from _claims(found["claims"])


def _cells(found: Mapping[str, Any]) -> Iterator[str]:
    rows, heads = found["rows"], found["columns"]
    if not rows:
        yield "no number is printed"
        return
    names = [head["name"] + (f" ({head['unit']})" if head["unit"] else "") for head in heads]
    grid = [["", *names, "method here"]]
    grid += [[row["name"], *row["cells"], row["method"] or "none yet"] for row in rows]
    if found["lines"] == "columns":  # as the paper prints it: methods side by side
        grid = [list(line) for line in zip(*grid, strict=True)]
    yield from columns(grid)


def _row_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{row['name']}: {note}" for row in rows for note in row["notes"]]


def _convention(told: Mapping[str, Any]) -> str:
    parts = [
        {"unknown": "averaging not known"}.get(
            told["aggregation"], str(told["aggregation"]).replace("_", " ")
        ),
        f"batches of {told['batch']}" if told["batch"] else "",
        *(
            f"{key} {'not known' if told[key] == 'unknown' else told[key]}"
            for key in ("role", "grid", "checkpoint")
        ),
        f"spread: {told['spread']}",
        "trainings not known" if told["seeds"] is None else f"trainings: {told['seeds']}",
        f"cases: {told['cases']}" if told["cases"] else "",
    ]
    return "; ".join(part for part in parts if part)


def _claims(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    yield ""
    agreeing = sum(row["agrees"] != "no" for row in rows)
    yield f"claims of the text, recomputed from printed cells: {agreeing} of {len(rows)} agree"
    grid = [["  claim", "where", "printed", "recomputed", "agrees"]]
    grid += [
        [
            f"  {row['claim']}",
            row["where"],
            _RELATIONS[row["relation"]] + row["printed"],
            row["shown"],
            row["agrees"],
        ]
        for row in rows
    ]
    yield from columns(grid)
    yield from _list("about claims", [f"{row['claim']}: {row['note']}" for row in rows if row["note"]])


def _list(heading: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield ""
        yield f"{heading}:"
        yield from _items(items)


def _items(items: Sequence[str]) -> Iterator[str]:
    for item in items:
        yield from textwrap.wrap(item, WIDTH, initial_indent="  - ", subsequent_indent="    ")


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned columns; wide and combining characters count as they are shown."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(bool(unicodedata.combining(letter)) for letter in text)
