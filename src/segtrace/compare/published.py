"""Published values beside recomputed ones, and in plain words why a pair must not be compared.

A printed value and a recomputed one are comparable where everything that moves such a number is the same: budget,
protocol, data, the way of averaging, the grid, the role and the checkpoint. Counts of parameters depend on none of
these. All reasons against a comparison are listed, not the first alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segtrace import files, layout
from segtrace import parameters as counting
from segtrace.config import load, runs
from segtrace.config.models import Budget, Dataset, Experiment
from segtrace.config.published_models import COSTS, COUNTED, MACS, Column, Convention, Published, Row
from segtrace.errors import SegtraceError

Rows = Iterable[Mapping[str, Any]]

#: Ways of averaging, in words.
WORDS = {
    "per_case": "averaged over cases",
    "per_batch": "averaged over batches of images",
    "pooled": "computed from all cases pooled",
    "per_fold": "averaged over folds",
}
_UNMEASURED = {
    "none": "not measured here",
    "minutes_per_epoch": "times are those of another machine",
}


def rows(
    experiment: Experiment,
    *,
    budget: tuple[str, Budget],
    data: Dataset,
    summary: Rows,
    aggregates: Rows,
    split_cases: Sequence[int],
    parameters: Mapping[str, int],
    macs: Mapping[tuple[str, tuple[int, ...]], int],
) -> list[dict[str, Any]]:
    """Rows of the ``published`` table: one a printed cell, in the order of print; none without published values.

    ``budget`` is its name and content; ``summary`` and ``aggregates`` are rows of those tables. ``split_cases`` are
    the cases of each fold of the split, all roles together; ``parameters`` maps methods to their trained counts,
    ``macs`` methods and sizes of images to multiply-accumulates.
    """
    published = experiment.published
    if published is None:
        return []
    values = _values(summary, aggregates)
    general = {
        "score": _reasons(
            experiment, published.convention, budget=budget, data=data, split_cases=split_cases
        ),
        "count": [],
    }
    made = []
    for row in published.rows:
        for index, column in enumerate(published.columns):
            value, spread = row.value(index, column)
            if value is None:
                continue
            found = _recomputed(experiment, row, column, values=values, parameters=parameters, macs=macs)
            reasons = _cell_reasons(published, row, column, found=found)
            if row.method is not None and column.metric not in _UNMEASURED:
                reasons += general["count" if column.metric in COSTS else "score"]
                reasons += _case_reasons(published.convention, column, found=found)
            recomputed = found.get("mean")
            made.append(
                {
                    "paper": published.paper,
                    "table": published.table,
                    "row": row.name,
                    "column": column.name,
                    "printed": row.cells[index],
                    "method": row.method or "",
                    "label": column.label,
                    "metric": column.metric,
                    "aggregation": "none" if column.metric in (*COSTS, "none") else experiment.aggregation,
                    "published": value,
                    "published_spread": spread,
                    "recomputed": recomputed,
                    "low": found.get("low"),
                    "high": found.get("high"),
                    "difference": None if recomputed is None else recomputed - value,
                    "budget": budget[0] if row.method else "",
                    "seeds": found.get("seeds", 0),
                    "comparable": "no" if reasons else "yes",
                    "reason": "; ".join(dict.fromkeys(reasons)),
                }
            )
    return made


def _values(summary: Rows, aggregates: Rows) -> dict[tuple[str, int, str, str], dict[str, Any]]:
    """(method, label, metric, aggregation) → mean; of means over cases the interval too. Seeds and cases of all."""
    found: dict[tuple[str, int, str, str], dict[str, Any]] = {}
    for row in summary:
        key = (row["method"], row["label"], row["metric"])
        cases = row["cases"] + row["undefined"]
        kept = {name: row.get(name) for name in ("mean", "low", "high", "seeds")}
        found[*key, "per_case"] = {**kept, "cases": cases}
    for row in aggregates:
        key = (row["method"], row["label"], row["metric"])
        if row["aggregation"] != "per_case" and (*key, "per_case") in found:
            seeds, cases = (found[*key, "per_case"][name] for name in ("seeds", "cases"))
            found[*key, row["aggregation"]] = {"mean": row["mean"], "seeds": seeds, "cases": cases}
    return found


def _recomputed(
    experiment: Experiment,
    row: Row,
    column: Column,
    *,
    values: Mapping[tuple[str, int, str, str], dict[str, Any]],
    parameters: Mapping[str, int],
    macs: Mapping[tuple[str, tuple[int, ...]], int],
) -> dict[str, Any]:
    """What this project has for a cell: ``mean`` and, where known, ``low``, ``high``, ``seeds``, ``cases``."""
    if row.method is None:
        return {}
    if column.metric == COUNTED:
        count = parameters.get(row.method)
        return {} if count is None else {"mean": float(count), **_seeds(row.method, values)}
    if column.metric == MACS:
        count = macs.get((row.method, tuple(column.size or ())))
        return {} if count is None else {"mean": float(count), **_seeds(row.method, values)}
    found = values.get((row.method, column.label, column.metric, experiment.aggregation))
    return _seeds(row.method, values) if found is None else dict(found)


def _seeds(method: str, values: Mapping[tuple[str, int, str, str], dict[str, Any]]) -> dict[str, Any]:
    return next(({"seeds": value["seeds"]} for key, value in values.items() if key[0] == method), {})


def _cell_reasons(published: Published, row: Row, column: Column, *, found: Mapping[str, Any]) -> list[str]:
    """What speaks against comparing one cell, whatever the runs are."""
    reasons = list(row.notes)
    if row.method is None:
        reasons.append("no method of this project answers to this row yet")
    if column.metric in _UNMEASURED:
        reasons.append(_UNMEASURED[column.metric])
    elif column.metric == MACS and not column.size:
        reasons.append("for which size of images is not known")
    elif row.method is not None and found.get("mean") is None:
        reasons.append("no value was computed here")
    unit = column.metric.rpartition("_")[2]
    if unit in ("mm", "voxel") and column.metric not in COSTS:
        measured = published.convention.hd95
        if measured == "unknown":
            reasons.append("whether the paper's distances are in millimetres or voxels is not known")
        elif measured != unit:
            reasons.append(f"the paper's distances are in {measured}, these in {unit}")
    return reasons


def _case_reasons(convention: Convention, column: Column, *, found: Mapping[str, Any]) -> list[str]:
    if convention.cases is None or column.metric in COSTS or found.get("cases") in (None, convention.cases):
        return []
    return [f"{found['cases']} cases are scored here, {convention.cases} in the paper"]


def _reasons(
    experiment: Experiment,
    convention: Convention,
    *,
    budget: tuple[str, Budget],
    data: Dataset,
    split_cases: Sequence[int],
) -> list[str]:
    """What speaks against comparing any score of the experiment: budget, protocol, data, convention."""
    protocol = data.protocols[experiment.protocol]
    reasons = []
    if not budget[1].published:
        reasons.append(f"budget {budget[0]} is not the published one")
    if not protocol.published:
        reasons.append(f"protocol {experiment.protocol} is not a published one")
    expected = None if data.published_cases is None else data.published_cases - len(data.exclude)
    whole = not (protocol.groups or protocol.sides or protocol.roles or protocol.subset)
    other = sorted({count for count in split_cases if count != expected}) if expected and whole else []
    if other:
        shown = " and ".join(map(str, other))
        reasons.append(f"the data set is incomplete or another: {shown} cases here, {expected} published")
    if experiment.aggregation == "per_fold" and experiment.folds != "all":
        reasons.append(f"{len(experiment.folds)} of {protocol.fold_count} folds are trained")
    return reasons + _convention_reasons(experiment, convention)


def _convention_reasons(experiment: Experiment, convention: Convention) -> list[str]:
    reasons = []
    if convention.aggregation == "unknown":
        reasons.append("how the paper averaged is not known")
    elif convention.aggregation != experiment.aggregation:
        here, there = WORDS[experiment.aggregation], WORDS[convention.aggregation]
        reasons.append(f"{here} here, {there} in the paper")
    elif convention.aggregation == "per_batch" and convention.batch != experiment.batch:
        there = "of an unknown size" if convention.batch is None else f"of {convention.batch} images"
        reasons.append(f"averaged over batches of {experiment.batch} images here, {there} in the paper")
    for what, here, there in (
        ("grid", experiment.grid, convention.grid),
        ("role", experiment.role, convention.role),
        ("checkpoint", experiment.checkpoint, convention.checkpoint),
    ):
        if there == "unknown":
            reasons.append(f"the paper's {what} is not known")
        elif here != there:
            reasons.append(f"{what} is {here} here, {there} in the paper")
    return reasons


def read_split_cases(path: Path) -> list[int]:
    """Cases of each fold of the split whose gate is the file ``path``, all roles together."""
    folds = files.read_json(path)["split"]["folds"]
    return [sum(int(fold.get(role, 0)) for role in ("train", "val", "test")) for fold in folds]


def read_parameters(runs: Iterable[layout.RunName]) -> dict[str, int]:
    """Method → parameters as papers count them: of its trained weights, and of a framework's heads in training.

    Raises :class:`SegtraceError` where weights are missing or damaged, or runs of one method differ in size.
    """
    found: dict[str, int] = {}
    for run in runs:
        path = layout.run(run) / layout.WEIGHTS["last"]
        count = sum(counting.of_weights(path))
        if found.setdefault(run.method, count) != count:
            raise SegtraceError(
                f"{path}: {count} parameters, {found[run.method]} in another run of {run.method}"
            )
    return found


def count_macs(experiment: Experiment) -> dict[tuple[str, tuple[int, ...]], int]:
    """(Method, size of an image) → multiply-accumulates, for those that stand beside a printed cell.

    The networks are as the experiment trains them: with its data's channels, and a logit of each label and, unless
    the loss is one of sigmoids, of the background.
    """
    from segtrace.cost import operations

    if experiment.published is None:
        return {}
    data = load.dataset(experiment.dataset)
    return {
        (method, size): operations.of_spec(
            runs.network_of(data, load.method(method), load.load("training", experiment.training_of(method))),
            size,
        )
        for method, sizes in experiment.published.counts_macs.items()
        for size in sizes
    }
