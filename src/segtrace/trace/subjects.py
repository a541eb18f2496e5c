"""What is explained: a table, a row of it or one cell, found by what the user names."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrace.config import load
from segtrace.errors import SegtraceError, advice
from segtrace.files import read_json
from segtrace.trace import jobs
from segtrace.trace.identity import rows as rows_of
from segtrace.trace.jobs import Job

#: Phase and file name → kind of table; a name of ``*`` is the job's one table.
KINDS = {
    ("acquire", "*"): "receipt",
    ("index", "cases.csv"): "cases",
    ("index", "gate.json"): "gate",
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
    ("overview", "metrics.json"): "all_metrics",
    ("overview", "histories.csv"): "histories",
    ("report", "*"): "page",
}
#: Kind of CSV table → the columns that tell its rows apart, as messages and commands name them.
KEYS = {
    "summary": ("method", "label", "metric"),
    "per_case": ("method", "fold", "seed", "case", "label"),
    "histories": ("experiment", "run", "epoch"),
    "scores": ("case", "label"),
    "predictions": ("case",),
    "history": ("epoch",),
    "split": ("case", "fold"),
    "prepared": ("case",),
    "mask_checks": ("case", "label"),
    "batch": ("case",),
    "cases": ("case",),
}
#: The line of a table's first row, as an editor counts: the header is line 1.
FIRST = 2
#: Rows that a message lists at most.
SHOWN = 20


@dataclass(frozen=True)
class Subject:
    """What is explained. ``lines`` are the chosen lines of a CSV table (all of them where no row is named),
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
        return key_of(self.kind, self.lines[0][1]) if self.one and self.lines else {}


def key_of(kind: str, row: Mapping[str, str]) -> dict[str, str]:
    """The columns that tell a row of a table apart."""
    return {key: row[key] for key in KEYS[kind] if key in row}


def command(file: Path | str, keys: Mapping[str, Any], column: str | None = None) -> str:
    """The command that explains a row of a table, or one cell of it; of a JSON file the key ``""`` is the path."""
    row = ",".join(f"{key}={value}" if key else str(value) for key, value in keys.items())
    words = [
        "segtrace",
        "explain",
        str(file),
        *(["--row", row] if row else []),
        *(["--column", column] if column else []),
    ]
    return shlex.join(words)


def select(file: Path | str, *, row: str | None = None, column: str | None = None) -> Subject:
    """The table, row or cell that the words name.

    ``row`` is ``KEY=VALUE,…`` or a line number for a CSV table, a dotted path for a JSON file. Raises
    :class:`SegtraceError` for a file that is no table of a project, for a row or column that there is none
    of, and where several rows match: it lists what there is, or the nearest.
    """
    path = _inside(file)
    job = jobs.of_file(path)
    kind = _kind(path, job)
    if not path.is_file():
        check_known(job)
        raise SegtraceError(f"{path}: no such file; 'snakemake --cores 2 {path}' makes it")
    if kind == "page":
        if column:
            raise SegtraceError(f"{path}: a page has no columns; name a figure or table with --row")
        return Subject(path, job, kind, path=(row,) if row else ())
    if path.suffix == ".json":
        return _json(path, job, kind, ".".join(part for part in (row, column) if part))
    return _csv(path, job, kind, row, column)


def check_known(job: Job) -> None:
    """Raise :class:`SegtraceError`, which names the nearest, for a job of a data set or experiment that is not
    configured.
    """
    if job.phase in ("compare", "report"):
        load.experiment(job.name)
    elif job.phase != "overview":
        load.dataset(jobs.dataset_of(job))


def _inside(file: Path | str) -> Path:
    """The path relative to the project's root, where it lies in it."""
    path = Path(str(file).removeprefix("./"))
    return path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path


def _kind(path: Path, job: Job) -> str:
    outputs = jobs.outputs(job)
    found = KINDS.get((job.phase, path.name)) or (KINDS.get((job.phase, "*")) if path == outputs[0] else None)
    if path in outputs and found:
        return found
    tables = [str(output) for output in outputs if (job.phase, output.name) in KINDS or output == outputs[0]]
    tables = [table for table in tables if Path(table).suffix in (".csv", ".json", ".html")]
    raise SegtraceError(f"{path} is no table; what {job} makes is explained from {', '.join(tables)}")


# --- rows of a CSV table ------------------------------------------------------------------------------


def _csv(path: Path, job: Job, kind: str, row: str | None, column: str | None) -> Subject:
    try:
        table = [(number, item) for number, item in enumerate(rows_of(path), FIRST)]
    except (UnicodeDecodeError, ValueError) as error:
        raise SegtraceError(f"{path}: not a table ({error})") from None
    if not table:
        raise SegtraceError(f"{path}: the table has no rows")
    columns = [name for name in table[0][1] if name is not None]
    missing = [key for key in KEYS[kind] if key not in columns]
    if missing:
        raise SegtraceError(f"{path}: not a {kind!r} table: it has no column {', '.join(missing)}")
    if column is not None and column not in columns:
        raise SegtraceError(f"{path}: no column {column!r}; {advice(column, columns)}")
    if row is None:
        return Subject(path, job, kind, tuple(table), column=column)
    chosen = _line(path, table, row) if row.isdigit() else _matching(path, job, kind, table, row)
    value = chosen[1][column] if column else None
    return Subject(path, job, kind, (chosen,), one=True, column=column, value=value)


def _line(path: Path, table: Sequence[tuple[int, dict[str, str]]], row: str) -> tuple[int, dict[str, str]]:
    if not FIRST <= int(row) < FIRST + len(table):
        raise SegtraceError(
            f"{path}: no line {row}; the header is line 1, and the rows are lines {FIRST} to {FIRST + len(table) - 1}"
        )
    return table[int(row) - FIRST]


def _matching(
    path: Path, job: Job, kind: str, table: Sequence[tuple[int, dict[str, str]]], row: str
) -> tuple[int, dict[str, str]]:
    wanted = _wanted(path, row, columns=list(table[0][1]), kind=kind)
    found = [(number, item) for number, item in table if _fits(item, wanted, job)]
    if len(found) == 1:
        return found[0]
    if found:
        raise SegtraceError(f"{path}: {len(found)} rows are {row}; name one of them:\n{_listed(kind, found)}")
    problems = []
    for key, value in wanted.items():
        known = list(dict.fromkeys(item[key] for _, item in table))
        names = [item["label_name"] for _, item in table if key == "label" and "label_name" in item]
        if not any(_fits(item, {key: value}, job) for _, item in table):
            problems.append(
                f"no row has {key}={value}; {advice(value, [*known, *dict.fromkeys(names)][:200])}"
            )
    if problems:
        raise SegtraceError(f"{path}: " + "; ".join(problems))
    near = sorted(table, key=lambda line: -sum(_fits(line[1], {k: v}, job) for k, v in wanted.items()))
    raise SegtraceError(f"{path}: no row is {row}; the nearest are:\n{_listed(kind, near[:5])}")


def _wanted(path: Path, row: str, *, columns: Sequence[str], kind: str) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for part in row.split(","):
        key, equals, value = part.partition("=")
        if not equals:
            raise SegtraceError(
                f"{path}: --row {row}: {part!r} is not KEY=VALUE, and {row!r} is no line number; "
                f"a row of this table is named by {', '.join(KEYS[kind])}"
            )
        if key.strip() not in columns:
            raise SegtraceError(
                f"{path}: --row {row}: no column {key.strip()!r}; {advice(key.strip(), columns)}"
            )
        wanted[key.strip()] = value.strip()
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
    except ValueError:
        return False
    return math.isfinite(one) and one == other


def _label_name(row: Mapping[str, str], job: Job) -> str | None:
    if "label_name" in row:
        return row["label_name"]
    try:
        return load.dataset(row.get("dataset") or jobs.dataset_of(job)).labels.get(int(row["label"]))
    except (SegtraceError, ValueError):
        return None


def _listed(kind: str, found: Sequence[tuple[int, Mapping[str, str]]]) -> str:
    lines = [
        f"  line {number}: {','.join(f'{key}={value}' for key, value in key_of(kind, item).items())}"
        for number, item in found[:SHOWN]
    ]
    return "\n".join([*lines, *([f"  and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])])


# --- keys of a JSON file ------------------------------------------------------------------------------


def _json(path: Path, job: Job, kind: str, dotted: str) -> Subject:
    content = read_json(path)
    if not isinstance(content, dict):
        raise SegtraceError(f"{path}: not the JSON object that {job} writes")
    if not dotted:
        return Subject(path, job, kind)
    # In the tables of means the experiment may be left out: of its own file, and where there is but one.
    inner = [key for key in content if key != "scores_sha256"] if kind in ("metrics", "all_metrics") else []
    found = _paths(content, dotted)
    found += [(key, *rest) for key in inner for rest in _paths(content[key], dotted)]
    if len(found) > 1:
        listed = "\n".join(f"  {'.'.join(keys)}" for keys in found)
        raise SegtraceError(
            f"{path}: {dotted!r} is the name of {len(found)} values; name one of them:\n{listed}"
        )
    if not found:
        start = content if dotted.split(".")[0] in content or len(inner) != 1 else content[inner[0]]
        raise SegtraceError(f"{path}: no value {dotted!r}; {_nearest(start, dotted)}")
    value = at(content, found[0])
    if inner and isinstance(value, dict):
        listed = "\n".join(f"  {'.'.join(found[0])}.{key}" for key in leaves(value)[:SHOWN])
        raise SegtraceError(
            f"{path}: {dotted!r} is {len(leaves(value))} numbers; name one of them:\n{listed}"
        )
    return Subject(path, job, kind, one=True, path=found[0], value=value)


def at(content: Any, path: Sequence[str]) -> Any:
    """The value at a path of keys (of a list: positions)."""
    for key in path:
        content = content[int(key)] if isinstance(content, list) else content[key]
    return content


def leaves(content: Any, prefix: str = "") -> list[str]:
    """Dotted paths of all values below ``content`` that hold no others."""
    items = _items(content)
    if not items:
        return [prefix]
    return [
        leaf for key, value in items.items() for leaf in leaves(value, f"{prefix}.{key}" if prefix else key)
    ]


def _items(content: Any) -> dict[str, Any]:
    if isinstance(content, list):
        return {str(place): value for place, value in enumerate(content)}
    return content if isinstance(content, dict) else {}


def _paths(content: Any, dotted: str) -> list[tuple[str, ...]]:
    """All paths of keys that a dotted text can mean: keys may hold dots themselves."""
    found: list[tuple[str, ...]] = []
    for key, value in _items(content).items():
        if dotted == key:
            found.append((key,))
        elif dotted.startswith(f"{key}."):
            found += [(key, *rest) for rest in _paths(value, dotted[len(key) + 1 :])]
    return found


def _nearest(content: Any, dotted: str) -> str:
    """What there is instead, at the level at which the path goes wrong."""
    for key, value in _items(content).items():
        if dotted.startswith(f"{key}.") and _items(value):
            return f"below {key!r}: {_nearest(value, dotted[len(key) + 1 :])}"
    known = list(_items(content))
    return advice(dotted.split(".")[0], known) if known else f"there is one value only: {json.dumps(content)}"
