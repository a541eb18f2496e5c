"""Every table's schema, checked on write and on read.

Tables are CSV with a fixed column order and one form for each number, so that equal content is equal
bytes. Cells that hold a mapping are JSON. An unknown number is an empty cell, and where a number can
be unknown a ``reason`` column says why.
"""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pandera.errors import SchemaErrors

from segtrace.errors import SegtraceError, raise_all
from segtrace.files import write_text
from segtrace.schemas import METRICS as METRICS
from segtrace.schemas import SCHEMAS

if TYPE_CHECKING:
    import pandas as pd

#: Table → the phase that makes it.
_MADE_BY = {
    "cases": "index",
    "duplicates": "index",
    "prepared": "validate",
    "mask_checks": "validate",
    "split": "split",
    "history": "train",
    "predictions": "predict",
    "scores": "score",
    "per_case": "compare",
    "summary": "compare",
    "intervals": "compare",
    "aggregates": "compare",
    "tests": "compare",
    "ranks": "compare",
    "published": "compare",
    "missing": "compare",
    "subgroups": "compare",
    "robustness": "compare",
    "histories": "compare",
    "convergence": "compare",
}


def columns(table: str) -> list[str]:
    """The columns of a table, in order."""
    return list(SCHEMAS[table].columns)


def frame(table: str, rows: Iterable[Mapping[str, Any]]) -> "pd.DataFrame":
    """Rows as a data frame with the table's columns and types, not yet checked."""
    import pandas as pd

    result = pd.DataFrame(list(rows), columns=columns(table))
    for name, column in SCHEMAS[table].columns.items():
        if str(column.dtype) in ("int64", "float64") and len(result):
            result[name] = result[name].astype(str(column.dtype))
    return (
        result if len(result) else result.astype({n: str(c.dtype) for n, c in SCHEMAS[table].columns.items()})
    )


def check(table: str, data: "pd.DataFrame", *, where: str) -> "pd.DataFrame":
    """The table, if it obeys its schema; otherwise one error that lists every fault by row and column."""
    try:
        checked: pd.DataFrame = SCHEMAS[table].validate(data, lazy=True)
    except SchemaErrors as error:
        problems = []
        for row in error.failure_cases.itertuples():
            place = f"row {int(row.index) + 2}, " if row.index == row.index and row.index is not None else ""
            key = data["case"].get(row.index, "") if "case" in data and place else ""
            named = f"case {key}, " if key else ""
            problems.append(f"{place}{named}column {row.column}: {row.failure_case!r} fails {row.check}")
        raise_all(sorted(set(problems)), heading=f"{where}: not a valid {table!r} table")
        raise
    return checked


def write(table: str, rows: "Iterable[Mapping[str, Any]] | pd.DataFrame", path: Path) -> "pd.DataFrame":
    """Check and write a table in one step; returns it. Column order and number form are fixed."""
    import pandas as pd

    data = rows[columns(table)] if isinstance(rows, pd.DataFrame) else frame(table, rows)
    checked = check(table, data, where=str(path))
    buffer = io.StringIO()
    checked.to_csv(buffer, index=False, lineterminator="\n")
    write_text(path, buffer.getvalue())
    return checked


def read(table: str, path: Path) -> "pd.DataFrame":
    """Read and check a table; a missing, damaged or foreign file is an error that names it."""
    import pandas as pd

    kinds = {name: str(column.dtype) for name, column in SCHEMAS[table].columns.items()}
    texts = {name: "str" for name, kind in kinds.items() if kind not in ("int64", "float64")}
    try:
        data = pd.read_csv(
            path, dtype=texts, keep_default_na=False, na_values={n: [""] for n in kinds if n not in texts}
        )
    except FileNotFoundError:
        raise SegtraceError(f"{path}: no such file; 'segtrace {_MADE_BY[table]}' makes it") from None
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise SegtraceError(f"{path}: not a {table!r} table ({error})") from None
    for name, kind in kinds.items():
        if name not in data or kind not in ("int64", "float64"):
            continue
        if data.empty or (kind == "float64" and str(data[name].dtype) == "int64"):  # no rows tell no type
            data[name] = data[name].astype(kind)
    return check(table, data, where=str(path))
