"""A table, a row of it or one cell, as the command line names it: ``--row method=unet,label=2 --column mean``.

Tables are read as text, so that a cell is what stands in the file. The values of a JSON file are named by their
keys joined by dots.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrace.config import load
from segtrace.errors import SegtraceError, advice
from segtrace.files import read_json
from segtrace.trace import dotted, identity, jobs
from segtrace.trace.jobs import Job

#: Phase and file name → kind of table; a name of ``*`` is the job's one table.
KINDS = {
    ("acquire", "*"): "receipt",
    ("index", "cases.csv"): "cases",
    ("index", "gate.json"): "gate",
    ("index", "duplicates.csv"): "duplicates",
    ("prepare", "*"): "batch",
    ("validate", "prepared.csv"): "prepared",
    ("validate", "mask_checks.csv"): "mask_checks",
    ("validate", "gate.json"): "gate",
    ("split", "*"): "split",
    ("train", "history.csv"): "history",
    ("train", "run.json"): "run",
    ("predict", "*"): "predictions",
    ("score", "*"): "scores",
    ("compare", "summary.csv"): "summary",
    ("compare", "per_case.csv"): "per_case",
    ("compare", "metrics.json"): "metrics",
    ("compare", "intervals.csv"): "intervals",
    ("compare", "aggregates.csv"): "aggregates",
    ("compare", "tests.csv"): "tests",
    ("compare", "ranks.csv"): "ranks",
    ("compare", "published.csv"): "published",
    ("compare", "missing.csv"): "missing",
    ("compare", "subgroups.csv"): "subgroups",
    ("compare", "robustness.csv"): "robustness",
    ("overview", "metrics.json"): "all_metrics",
    ("overview", "histories.csv"): "histories",
    ("overview", "convergence.csv"): "convergence",
    ("report", "*"): "page",
}
#: Kind of CSV table → the columns that tell its rows apart, as messages and commands name them.
KEYS = {
    "summary": ("method", "label", "metric"),
    "per_case": ("method", "fold", "seed", "case", "label"),
    "intervals": ("method", "label", "metric", "kind"),
    "aggregates": ("method", "label", "metric", "aggregation"),
    "tests": ("label", "metric", "first", "second"),
    "ranks": ("scheme", "label", "metric", "method"),
    "published": ("row", "column"),
    "missing": ("method", "fold", "seed", "case"),
    "subgroups": ("method", "label", "metric", "subgroup"),
    "robustness": ("method", "corruption", "strength", "label"),
    "histories": ("experiment", "run", "epoch"),
    "convergence": ("experiment", "run"),
    "scores": ("case", "label"),
    "predictions": ("case",),
    "history": ("epoch",),
    "split": ("case", "fold"),
    "prepared": ("case",),
    "mask_checks": ("case", "label"),
    "batch": ("case",),
    "cases": ("case",),
    "duplicates": ("first", "second"),
}
#: Kinds of tables that have no rows where there is nothing to tell.
MAY_BE_EMPTY = ("tests", "published", "missing", "subgroups", "robustness")
#: Keys of a table of means that hold no means.
BESIDES = ("scores_sha256", "split")
#: The line of a table's first row, as an editor counts: the header is line 1.
FIRST = 2
#: Rows that a message lists at most.
SHOWN = 20
#: A row with its line in the file.
Line = tuple[int, dict[str, str]]


@dataclass(frozen=True)
class Subject:
    """What is named. ``lines`` are the chosen lines of a CSV table (all of them where no row is named),
    ``path`` the chosen keys of a JSON file; ``value`` is that of the cell, or None for a row or a table.
    """

    file: Path
    job: Job
    kind: str
    lines: tuple[tuple[int, Mapping[str, str]], ...] = ()
    one: bool = False
    column: str | None = None
    path: tuple[str, ...] = ()
    value: Any = None

    @property
    def keys(self) -> dict[str, str]:
        """The columns that name the chosen row; empty where no single row is chosen."""
        return key_of(self.kind, self.row)

    @property
    def row(self) -> dict[str, str]:
        """The chosen row, whole; empty where no single row is chosen."""
        return dict(self.lines[0][1]) if self.one and self.lines else {}

    @property
    def text(self) -> str:
        """The value of the cell as text; that of a table as it stands there."""
        return as_text(self.value)


def as_text(value: Any) -> str:
    """A value of a table or of a JSON file, as text."""
    return value if isinstance(value, str) else json.dumps(value)


def key_of(kind: str, row: Mapping[str, str]) -> dict[str, str]:
    """The columns that tell a row of a table apart."""
    return {key: row[key] for key in KEYS.get(kind, ()) if key in row}


def select(file: Path | str, *, row: str | None = None, column: str | None = None) -> Subject:
    """The table, row or cell that the words name.

    ``row`` is ``KEY=VALUE,…`` or a line number for a CSV table, a dotted path for a JSON file. Raises
    :class:`SegtraceError` for a file that is no table of a project, for a row or column that there is none
    of, and where several rows match: it lists what there is, or the nearest.
    """
    path = jobs.inside(file)
    job = jobs.of_file(path)
    kind = kind_of(path)
    if not path.is_file():
        jobs.check_known(job)
        raise SegtraceError(f"{path}: no such file; 'snakemake --cores 2 {path}' makes it")
    if kind == "page":
        if column:
            raise SegtraceError(f"{path}: a page has no columns; name a figure or table with --row")
        return Subject(path, job, kind, path=(row,) if row else ())
    if path.suffix == ".json":
        return _json(path, job, kind, ".".join(part for part in (row, column) if part))
    return _csv(path, job, kind, row, column)


def kind_of(path: Path) -> str:
    """The kind of a table, of :data:`KEYS` where it is a CSV file; raises :class:`SegtraceError` for another file."""
    job = jobs.of_file(path)
    outputs = jobs.outputs(job)
    found = KINDS.get((job.phase, path.name)) or (KINDS.get((job.phase, "*")) if path == outputs[0] else None)
    if path.name.endswith(".gate.json"):  # of a split, whose files are named by the protocol
        found = "gate"
    if path in outputs and found:
        return found
    tables = [
        str(output)
        for output in outputs
        if (job.phase, output.name) in KINDS or output == outputs[0] or output.name.endswith(".gate.json")
    ]
    tables = [table for table in tables if Path(table).suffix in (".csv", ".json", ".html")]
    raise SegtraceError(f"{path} is no table; what {job} makes is explained from {', '.join(tables)}")


# --- rows of a CSV table ------------------------------------------------------------------------------


def table(path: Path) -> list[dict[str, str]]:
    """A table's rows as text; raises :class:`SegtraceError` for a file that is missing or no table."""
    lines = _lines(path)
    _check_even(path, lines)
    return [row for _, row in lines]


def _lines(path: Path) -> list[Line]:
    lines = list(enumerate(identity.rows(path), FIRST))
    if not lines:
        raise SegtraceError(f"{path}: the table has no rows")
    return lines


def _check_even(path: Path, lines: Sequence[Line]) -> None:
    for number, row in lines:
        if None in row or None in row.values():
            raise SegtraceError(f"{path}: line {number} has not as many cells as the header")


def _csv(path: Path, job: Job, kind: str, row: str | None, column: str | None) -> Subject:
    if kind in MAY_BE_EMPTY and row is None and column is None and not identity.rows(path):
        return Subject(path, job, kind)
    lines = _lines(path)
    columns = [name for name in lines[0][1] if name is not None]
    missing = [key for key in KEYS[kind] if key not in columns]
    if missing:
        raise SegtraceError(f"{path}: not a {kind!r} table: it has no column {', '.join(missing)}")
    if column is not None and column not in columns:
        raise SegtraceError(f"{path}: no column {column!r}; {advice(column, columns)}")
    if row is None:
        return Subject(path, job, kind, tuple(lines), column=column)
    chosen = _line(path, lines, row) if row.strip().isdecimal() else _matching(path, job, kind, lines, row)
    _check_even(path, [chosen])  # other lines may be damaged: that is told as a broken link
    value = chosen[1][column] if column else None
    return Subject(path, job, kind, (chosen,), one=True, column=column, value=value)


def _line(path: Path, lines: Sequence[Line], row: str) -> Line:
    if not FIRST <= int(row) < FIRST + len(lines):
        raise SegtraceError(
            f"{path}: no line {row}; the header is line 1, and the rows are lines {FIRST} to {FIRST + len(lines) - 1}"
        )
    return lines[int(row) - FIRST]


def _matching(path: Path, job: Job, kind: str, lines: Sequence[Line], row: str) -> Line:
    wanted = _wanted(path, row, columns=list(lines[0][1]), kind=kind)
    found = [(number, item) for number, item in lines if _fits(item, wanted, job)]
    if len(found) == 1:
        return found[0]
    if found:
        raise SegtraceError(f"{path}: {len(found)} rows are {row}; name one of them:\n{_listed(kind, found)}")
    problems = []
    for key, value in wanted.items():
        known = list(dict.fromkeys(item[key] for _, item in lines))
        names = [item["label_name"] for _, item in lines if key == "label" and "label_name" in item]
        if not any(_fits(item, {key: value}, job) for _, item in lines):
            problems.append(
                f"no row has {key}={value}; {advice(value, [*known, *dict.fromkeys(names)][:200])}"
            )
    if problems:
        raise SegtraceError(f"{path}: " + "; ".join(problems))
    near = sorted(lines, key=lambda line: -sum(_fits(line[1], {k: v}, job) for k, v in wanted.items()))
    raise SegtraceError(f"{path}: no row is {row}; the nearest are:\n{_listed(kind, near[:5])}")


def _wanted(path: Path, row: str, *, columns: Sequence[str], kind: str) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for part in row.split(","):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not key:
            raise SegtraceError(
                f"{path}: --row {row}: {part.strip()!r} is not KEY=VALUE, and {row!r} is no line number; "
                f"a row of this table is named by {', '.join(KEYS[kind])}"
            )
        if key not in columns:
            raise SegtraceError(f"{path}: --row {row}: no column {key!r}; {advice(key, columns)}")
        if key in wanted:
            raise SegtraceError(
                f"{path}: --row {row}: {key} is given twice, as {wanted[key]!r} and as {value!r}"
            )
        wanted[key] = value
    return wanted


def _fits(row: Mapping[str, str], wanted: Mapping[str, str], job: Job) -> bool:
    return all(
        _equal(row[key], value) or (key == "label" and value == _label_name(row, job))
        for key, value in wanted.items()
    )


def _equal(cell: str, value: str) -> bool:
    """Equal as text, or as finite numbers: ``fold=00`` is fold 0."""
    if cell == value:
        return True
    try:
        one, other = float(cell), float(value)
    except (TypeError, ValueError):  # a damaged line lacks the cell
        return False
    return math.isfinite(one) and one == other


def _label_name(row: Mapping[str, str], job: Job) -> str | None:
    if "label_name" in row:
        return row["label_name"]
    try:
        return load.dataset(row.get("dataset") or jobs.dataset_of(job)).scored.get(int(row["label"]))
    except (SegtraceError, ValueError):
        return None


def _listed(kind: str, found: Sequence[tuple[int, Mapping[str, str]]]) -> str:
    lines = [
        f"  line {number}: {','.join(f'{key}={value}' for key, value in key_of(kind, item).items())}"
        for number, item in found[:SHOWN]
    ]
    return "\n".join([*lines, *([f"  and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])])


# --- keys of a JSON file ------------------------------------------------------------------------------


def _json(path: Path, job: Job, kind: str, name: str) -> Subject:
    content = read_json(path)
    if not isinstance(content, dict):
        raise SegtraceError(f"{path}: not the JSON object that {job} writes")
    if not name:
        return Subject(path, job, kind)
    # In the tables of means the experiment may be left out: of its own file, and where there is but one.
    inner = [key for key in content if key not in BESIDES] if kind in ("metrics", "all_metrics") else []
    found = dotted.paths(content, name)
    found += [(key, *rest) for key in inner for rest in dotted.paths(content[key], name)]
    if len(found) > 1:
        listed = "\n".join(f"  {'.'.join(keys)}" for keys in found)
        raise SegtraceError(
            f"{path}: {name!r} is the name of {len(found)} values; name one of them:\n{listed}"
        )
    if not found:
        start = content if name.split(".")[0] in content or len(inner) != 1 else content[inner[0]]
        raise SegtraceError(f"{path}: no value {name!r}; {dotted.nearest(start, name)}")
    value = dotted.at(content, found[0])
    if inner and isinstance(value, dict):
        listed = "\n".join(f"  {'.'.join(found[0])}.{key}" for key in dotted.leaves(value)[:SHOWN])
        raise SegtraceError(
            f"{path}: {name!r} is {len(dotted.leaves(value))} numbers; name one of them:\n{listed}"
        )
    return Subject(path, job, kind, one=True, path=found[0], value=value)
