"""One cell of a table, named on the command line: ``--row method=unet,label=2 --column mean``.

Tables are read as text, so that a cell is what stands in the file. A JSON file of nested numbers has cells
too: their column is the keys joined by dots, and they have no row.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrace.errors import SegtraceError, advice
from segtrace.files import read_json

Row = Mapping[str, str]
#: Help of the two options, for every command that takes them.
ROW_HELP = "KEY=VALUE,KEY=VALUE that one row alone has, or its line in the file (the header is line 1)"
COLUMN_HELP = "column of the number; of a JSON file its keys joined by dots"


@dataclass(frozen=True)
class Cell:
    """One cell: the file, its row (empty in a JSON file), the column, and the text that stands there."""

    path: Path
    row: dict[str, str]
    column: str
    value: str


def read(path: Path) -> list[dict[str, str]]:
    """A table's rows as text; raises :class:`SegtraceError` for a file that is missing or no table."""
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle, strict=True)
            rows = [dict(row) for row in reader]
    except FileNotFoundError:
        raise SegtraceError(f"{path}: no such file") from None
    except (csv.Error, UnicodeDecodeError, IsADirectoryError) as error:
        raise SegtraceError(f"{path}: not a table ({error})") from None
    if not rows:
        raise SegtraceError(f"{path}: a table without rows")
    uneven = next((n for n, row in enumerate(rows, 2) if None in row or None in row.values()), None)
    if uneven is not None:
        raise SegtraceError(f"{path}: line {uneven} has not as many cells as the header")
    return rows


def cell(
    path: Path, *, row: str | None, column: str, names: Mapping[str, Mapping[str, str]] | None = None
) -> Cell:
    """The cell of ``path`` that ``row`` and ``column`` name.

    ``names`` maps column → name → value: other names that ``row`` may use for a value, as a label's. Raises
    :class:`SegtraceError` that says the nearest known name, or what would tell several rows apart.
    """
    if path.suffix == ".json":
        if row:
            raise SegtraceError(
                f"{path} has no rows: leave --row out, and name the keys: --column KEY.KEY.KEY"
            )
        return Cell(path, {}, column, entry(read_json(path), column, where=str(path)))
    rows = read(path)
    if row is None:
        raise SegtraceError(f"{path}: say which row: --row KEY=VALUE,KEY=VALUE of {', '.join(rows[0])}")
    chosen = select(rows, row, where=str(path), names=names)
    if column not in chosen:
        raise SegtraceError(f"{path}: no column {column!r}; {advice(column, list(chosen))}")
    return Cell(path, dict(chosen), column, chosen[column])


def parse(text: str) -> dict[str, str]:
    """``KEY=VALUE,KEY=VALUE`` as a mapping."""
    found: dict[str, str] = {}
    for part in text.split(","):
        key, equal, value = (word.strip() for word in part.partition("="))
        if not equal or not key:
            raise SegtraceError(
                f"--row: {part.strip()!r} is no KEY=VALUE; give them joined by commas, or a line"
            )
        if key in found:
            raise SegtraceError(f"--row: {key} is given twice, as {found[key]!r} and as {value!r}")
        found[key] = value
    return found


def select(
    rows: Sequence[Row], text: str, *, where: str, names: Mapping[str, Mapping[str, str]] | None = None
) -> Row:
    """The one row of a table that ``text`` names; see :func:`cell`."""
    if text.strip().isdecimal():
        line = int(text)
        if not 2 <= line <= len(rows) + 1:
            raise SegtraceError(f"{where}: no row in line {line}; rows are in lines 2 to {len(rows) + 1}")
        return rows[line - 2]
    wanted = {}
    for key, value in parse(text).items():
        if key not in rows[0]:
            raise SegtraceError(f"{where}: no column {key!r}; {advice(key, list(rows[0]))}")
        column, meant = _meant(rows, key, value, (names or {}).get(key, {}), where=where)
        wanted[column] = meant
    found = list(rows)
    for column, value in wanted.items():
        left = [row for row in found if row[column] == value]
        if not left:
            there = dict.fromkeys(row[column] for row in found)
            raise SegtraceError(
                f"{where}: no row has {text}: with the words before it, {column} is {', '.join(there)}"
            )
        found = left
    if len(found) > 1:
        raise SegtraceError(
            f"{where}: {len(found)} rows have {text}; say also {_telling(found, set(wanted))}"
        )
    return found[0]


def _meant(
    rows: Sequence[Row], key: str, value: str, names: Mapping[str, str], *, where: str
) -> tuple[str, str]:
    """(column, value) that ``key=value`` means: the value itself, or a name of it."""
    known = dict.fromkeys(row[key] for row in rows)
    if value in known:
        return key, value
    beside = f"{key}_name"
    by_name = dict.fromkeys(row[beside] for row in rows) if beside in rows[0] else {}
    if value in by_name:
        return beside, value
    if names.get(value) in known:
        return key, names[value]
    words = [*known, *by_name, *(name for name, meant in names.items() if meant in known)]
    raise SegtraceError(f"{where}: no row has {key}={value}; {advice(value, list(dict.fromkeys(words)))}")


def _telling(rows: Sequence[Row], given: set[str]) -> str:
    """The first columns that together tell ``rows`` apart, with their values."""
    used: list[str] = []
    apart = 1
    for column in rows[0]:
        now = len({tuple(row[name] for name in [*used, column]) for row in rows})
        if column not in given and now > apart:
            used.append(column)
            apart = now
        if apart == len(rows):
            break
    shown = []
    for column in used:
        values = list(dict.fromkeys(row[column] for row in rows))
        more = ", …" if len(values) > 8 else ""
        shown.append(f"{column} (one of {', '.join(values[:8])}{more})")
    return " and ".join(shown) or "its line in the file: they are equal"


def entry(value: Any, dotted: str, *, where: str) -> str:
    """The text of the number, text or null at ``dotted`` in nested mappings; keys may hold dots themselves."""
    found = list(_at(value, dotted))
    if not found:
        raise SegtraceError(
            f"{where}: no entry {dotted!r}; {advice(dotted, _paths(value), otherwise='entries are')}"
        )
    single = next((item for item in found if not isinstance(item, dict | list)), _MANY)
    if single is _MANY:
        inside = ", ".join(found[0]) if isinstance(found[0], dict) else f"a list of {len(found[0])}"
        raise SegtraceError(f"{where}: {dotted!r} is no single value; it holds: {inside}")
    return single if isinstance(single, str) else json.dumps(single)


_MANY = object()


def _at(value: Any, dotted: str) -> Iterator[Any]:
    """All that ``dotted`` can mean, since a key may hold a dot."""
    if isinstance(value, dict):
        if dotted in value:
            yield value[dotted]
        for key in value:
            if dotted.startswith(f"{key}."):
                yield from _at(value[key], dotted[len(key) + 1 :])


def _paths(value: Any, before: str = "") -> list[str]:
    if not isinstance(value, dict):
        return [before]
    return [path for key in value for path in _paths(value[key], f"{before}.{key}" if before else str(key))]
