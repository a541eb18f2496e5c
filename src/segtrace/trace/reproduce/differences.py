"""Two folders, the project's and a recomputed one, compared step by step in the order of the data."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from segtrace import digests, layout
from segtrace.config import load, runs
from segtrace.errors import SegtraceError
from segtrace.files import read_json, sha256_file
from segtrace.seen import Seen, tree_sums
from segtrace.trace import cells, check, identity, jobs, record
from segtrace.trace.dotted import at
from segtrace.trace.raw import listed, together
from segtrace.trace.reproduce.recompute import Plan

#: Columns that name the code or the configuration, which are compared before, and no data.
MEANS = ("digest",)
MISSING = "missing"


@dataclass(frozen=True)
class Step:
    """One step of the comparison: what was compared, and where it first differs (empty if it does not)."""

    name: str
    what: str
    where: str = ""
    recorded: str = ""
    recomputed: str = ""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.where

    def __str__(self) -> str:
        if self.same:
            return f"same     {self.name}: {self.what}"
        return f"differs  {self.name}: {self.where}: recorded {shown(self.recorded)}, recomputed {shown(self.recomputed)}"


def shown(value: str) -> str:
    """A cell's text; an empty one, which is an undefined number, in words."""
    return value or "(empty: undefined)"


# --- before anything is recomputed --------------------------------------------------------------------


def raw(plan: Plan) -> Step:
    """The raw files, now, against the index that the number descends from (here "recomputed" is: now)."""
    dataset = plan.dataset
    now = tree_sums(layout.raw(dataset))
    if now is None:
        raise SegtraceError(
            f"{layout.raw(dataset)} is not there: bring the raw data back (dvc pull, or segtrace acquire {dataset})"
        )
    for row in cells.table(layout.cases(dataset)):
        for files, column in (("images", "image_sha256"), ("labels", "label_sha256")):
            names = json.loads(row[files])
            found = together([now.get(name) for name in names])
            if found != row[column]:
                where = ", ".join(str(layout.raw(dataset) / name) for name in names)
                return Step("raw files", dataset, where, row[column], MISSING if found is None else found)
    return Step("raw files", f"{len(now)} files of {layout.raw(dataset)} are those of the index")


def edits(plan: Plan) -> list[str]:
    """Raw files that are not those that were unpacked or generated, as the receipt lists them."""
    unpacked, now = listed(plan.dataset), tree_sums(layout.raw(plan.dataset)) or {}
    return sorted(name for name in unpacked.keys() | now.keys() if unpacked.get(name) != now.get(name))


def expected(plan: Plan) -> list[str]:
    """Why the recomputed bytes may differ: what is not as it was when the number was made."""
    found: dict[str, list[str]] = {}
    generated = load.dataset(plan.dataset).access == "embedded"
    for job in plan.jobs():
        if job.phase == "acquire" and not generated:
            continue  # its outcome, the raw files, is not made anew but compared
        for problem in check.problems(job, plan.config):
            if problem.what in ("code", "configuration", "environment"):
                found.setdefault(f"{problem.what}{_named(job, plan, problem.what)}", []).append(job.phase)
            elif not problem.what.startswith("inputs."):
                found.setdefault(str(problem), [])
    said = []
    for what, phases in found.items():
        where = f" of {', '.join(dict.fromkeys(phases))}: not that of the record" if phases else ""
        said.append(f"{what}{where}")
    return said + _machines(plan)


def _named(job: jobs.Job, plan: Plan, what: str) -> str:
    """Which files of the code, or keys of the configuration, are not those of the record."""
    made = record.read(jobs.outputs(job)[0])
    if made is None or what == "environment":
        return ""
    now = identity.code(job, plan.config) if what == "code" else identity.configuration(job, plan.config)
    then = made[what]
    names = sorted(
        name
        for name in then.keys() | now.keys()
        if digests.digest(then.get(name)) != digests.digest(now.get(name))
    )
    return f" ({', '.join(names)})"


def _machines(plan: Plan) -> list[str]:
    """Differences of processor, torch and threads between this machine and those that trained the runs."""
    import torch

    from segtrace import device

    here = device.kind(torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu"))
    said = []
    for run in plan.runs:
        path = layout.run(run) / "run.json"
        if not path.is_file():
            said.append(f"{path} is missing: which machine trained the run is not known")
            continue
        made = read_json(path)
        threads = runs.resolve(run, threads=plan.config.training_threads)["threads"]
        now = here | {"threads": threads}
        then = made.get("machine", {}) | {"threads": made.get("threads")}
        said += [
            f"{run} was trained with {key} {then.get(key)}; here it is {value}"
            for key, value in now.items()
            if then.get(key) != value
        ]
    return list(dict.fromkeys(said))


# --- step by step ---------------------------------------------------------------------------------------


def steps(plan: Plan, folder: Path) -> list[Step]:
    """All steps from the index to the cell: the project's files against those that were made in ``folder``."""
    data, recipe = plan.dataset, plan.runs[0].recipe
    prepared = layout.prepared(data, recipe) / "prepared.csv"
    batches = range(load.dataset(data).batches)
    arrays = [path for k in batches for path in check.contents(jobs.prepare(data, recipe, k))]
    found = [
        _rows("index rows", layout.cases(data), folder),
        _rows("prepared rows", prepared, folder),
        _files("prepared arrays", arrays, folder, group=f"reproduce/{data}/{recipe}"),
        _rows("split", layout.split(data, plan.runs[0].protocol), folder),
    ]
    for run in plan.runs:
        weights = layout.run(run) / layout.WEIGHTS[plan.variant.checkpoint]
        found.append(_files("weights", [weights], folder, group=f"train/{run}"))
    for run in plan.runs:
        table = layout.predictions(run, plan.variant) / "predictions.csv"
        maps = [table.parent / row["file"] for row in cells.table(table)]
        found.append(_rows("predicted rows", table, folder))
        found.append(_files("label maps", maps, folder, group=f"predict/{run}/{plan.variant}"))
    found += [_rows("score rows", layout.scores(run, plan.variant), folder) for run in plan.runs]
    return [*found, _cell(plan, folder)]


def _named_by(keys: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in keys.items())


def _rows(name: str, path: Path, folder: Path) -> Step:
    """Compare a table row by row, as text; the columns of :data:`MEANS` are no data."""
    for place, there, not_there in ((path, "", MISSING), (folder / path, MISSING, "")):
        if not place.is_file():
            return Step(name, "", str(path), not_there or "there", there or "there")
    kind = cells.kind_of(path)
    then, now = (
        {_named_by(cells.key_of(kind, row)): row for row in cells.table(place)}
        for place in (path, folder / path)
    )
    for key in [*then, *now]:
        if key not in then or key not in now:
            words = ["a row" if key in rows else "no row" for rows in (then, now)]
            return Step(name, "", f"{path}, {key}", *words)
    for key, row in then.items():
        for column in dict.fromkeys([*row, *now[key]]):
            values = row.get(column, "no column"), now[key].get(column, "no column")
            if values[0] != values[1] and column not in MEANS:
                return Step(name, "", f"{path}, {key}, column {column}", *values)
    return Step(name, f"{len(then)} of {path}")


def _files(name: str, paths: Iterable[Path], folder: Path, *, group: str) -> Step:
    """Compare the bytes of files."""
    paths = sorted(paths)
    seen = Seen(group)
    then = seen.sums(paths)
    seen.save()
    for path in paths:
        now = sha256_file(folder / path) if (folder / path).is_file() else MISSING
        if then[str(path)] != now:
            return Step(
                name,
                "",
                str(path),
                f"sha256 {then[str(path)]}" if then[str(path)] else MISSING,
                f"sha256 {now}",
            )
    total = digests.digest([then[str(path)] for path in paths])
    what = f"sha256 {then[str(paths[0])]}" if len(paths) == 1 else f"{len(paths)} files, together {total}"
    return Step(name, what)


def _cell(plan: Plan, folder: Path) -> Step:
    cell = plan.cell
    where = place(cell)
    try:
        now = again(cell, folder)
    except SegtraceError:
        now = MISSING
    return Step("cell", f"{where} = {shown(now)}", "" if now == cell.text else where, cell.text, now)


def place(cell: cells.Subject) -> str:
    """The file, the row by the columns that tell it apart, and the column of a cell."""
    return ", ".join(word for word in (str(cell.file), _named_by(cell.keys), _column(cell)) if word)


def _column(cell: cells.Subject) -> str:
    return cell.column or ".".join(cell.path)


def again(cell: cells.Subject, folder: Path) -> str:
    """The text of the same cell in the file that was made in ``folder``.

    Raises :class:`SegtraceError` where it is not there.
    """
    path = folder / cell.file
    try:
        if cell.path:
            return cells.as_text(at(read_json(path), cell.path))
        (row,) = [row for row in cells.table(path) if cells.key_of(cell.kind, row) == cell.keys]
        return row[_column(cell)]
    except (KeyError, IndexError, TypeError, ValueError):
        raise SegtraceError(f"{path}: {_named_by(cell.keys)} {_column(cell)} is not there") from None
