"""An experiment's tables: its scores joined, and a summary of every method, label and metric.

How values are aggregated, and what undefined and missing ones count as, is in
:mod:`segtrace.aggregation`. Sums are correctly rounded, so that the tables' bytes do not depend on the
machine or on the order of the runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd

from segtrace import files, layout, tables
from segtrace.aggregation import (
    ALL_CASES,
    CaseValue,
    Cell,
    best_constants,
    split_summary,
    statistics,
    values_of_cells,
)
from segtrace.errors import SegtraceError, raise_all

MEAN_NAME = "mean"


def read_scores(
    runs: Sequence[layout.RunName], *, variant: layout.Variant, labels: Sequence[int]
) -> pd.DataFrame:
    """The scores of all ``runs`` as one table, in the order of ``runs``, then case and label.

    Raises :class:`SegtraceError` that lists every fault: files that are missing or damaged, that hold
    another run's rows, in which a case lacks a label, or whose references disagree.
    """
    problems: list[str] = []
    parts = []
    missing = []
    for run in runs:
        path = layout.scores(run, variant)
        if not path.is_file():
            missing.append(f"{path} (segtrace score {run} {variant})")
            continue
        try:
            part = tables.read("scores", path)
        except SegtraceError as error:
            problems.append(str(error))
            continue
        found = _faults(part, run=run, variant=variant, labels=labels, where=path)
        problems.extend(found)
        if not found:
            parts.append(part.sort_values(["case", "label"], kind="stable"))
    raise_all(
        missing,
        heading="the scores of some runs are not there",
        remedy=f"Make them with the commands in brackets, or all that is missing with: "
        f"snakemake --cores 2 {' '.join(item.split()[0] for item in missing)}",
    )
    raise_all(problems, heading="reading scores", remedy="Delete the files named and score again.")
    joined = pd.concat(parts, ignore_index=True)
    raise_all(
        _disagreements(joined),
        heading="the runs were scored against different references or tolerances",
        remedy="Score the runs again, so that all are compared on the same data.",
    )
    return joined


def _faults(
    part: pd.DataFrame, *, run: layout.RunName, variant: layout.Variant, labels: Sequence[int], where: Path
) -> list[str]:
    expected = {**vars(run), **vars(variant)}
    found = [
        f"{where}: column {key} holds {', '.join(map(str, part[key].unique()))}; its path says {value}"
        for key, value in expected.items()
        if list(part[key].unique()) != [value] and len(part)
    ]
    if not len(part):
        return [f"{where}: no rows"]
    for case, values in part.groupby("case")["label"]:
        if sorted(values) != sorted(labels):
            found.append(f"{where}: case {case} has labels {sorted(values)}, expected {sorted(labels)}")
    return found


def _disagreements(scores: pd.DataFrame) -> list[str]:
    """Cases whose reference or size, and labels whose tolerance of NSD, is not the same in all runs."""
    table = scores[["case", "label"]].assign(reference=scores.tp + scores.fn)
    table["all"] = table.reference + scores.fp + scores.tn
    spread = table.groupby(["case", "label"]).agg(["min", "max"])
    found = []
    for key, row in spread.iterrows():
        case, label = cast("tuple[str, int]", key)
        for what, words in (("reference", "reference"), ("all", "image")):
            low, high = int(row[what, "min"]), int(row[what, "max"])
            if low != high:
                found.append(f"case {case}, label {label}: {words} voxels are {low} and {high}")
    for unit in ("mm", "voxel"):
        for value, tolerances in scores.groupby("label")[f"nsd_tolerance_{unit}"]:
            several = ", ".join(f"{tolerance:g}" for tolerance in sorted(tolerances.dropna().unique()))
            if "," in several:
                found.append(f"label {value}: NSD at tolerances of {several} {unit}")
    return found


def refuse_others(scores: pd.DataFrame, others: pd.DataFrame, *, name: str) -> None:
    """Refuse scores under a corruption ``name`` that are of other cases or references than ``scores``, the clean ones."""
    keys = ["method", "fold", "seed", "case", "label"]
    one, other = (set(table[keys].itertuples(index=False, name=None)) for table in (scores, others))
    apart = [
        f"{method}, fold {fold}, seed {seed}: case {case}, label {label}"
        for method, fold, seed, case, label in sorted(one ^ other)
    ]
    raise_all(
        [*apart[:20], *_disagreements(pd.concat([scores, others], ignore_index=True))],
        heading=f"scores under the corruption {name} are not of the cases and references of the clean ones",
        remedy="Score the runs again, so that both are of the same data.",
    )


def summarise(
    scores: pd.DataFrame,
    *,
    experiment: str,
    budget: str,
    methods: Sequence[str],
    labels: Mapping[int, str],
    split: Mapping[str, Any],
    recipe: tuple[str, str],
    cells: Mapping[Cell, Sequence[CaseValue]] | None = None,
) -> list[dict[str, Any]]:
    """Rows of the ``summary`` table: every method × label (0 is the mean of the others) × metric.

    ``scores`` is a ``per_case`` table; ``labels`` maps labels and regions to names; ``split`` is from
    :func:`read_split`; ``recipe`` is the name of the recipe of preparation and what kind of input it makes,
    ``clean`` or ``as_published``; ``cells`` are the scores' values, where they are known already.
    A metric without any value (millimetres of images without a physical scale) has a row with no numbers.
    """
    records = cast("list[dict[str, Any]]", scores.to_dict("records"))
    names = {0: MEAN_NAME, **labels}
    if cells is None:
        cells = values_of_cells(records, methods=methods, labels=list(labels))
    constants = best_constants(records, labels=list(labels))
    runs = {method: rows[["seed", "fold"]].nunique() for method, rows in scores.groupby("method")}
    return [
        {
            "experiment": experiment,
            "method": method,
            "budget": budget,
            "label": label,
            "label_name": names[label],
            "metric": metric,
            **statistics(values),
            "constant": constants.get((label, metric)),
            "seeds": int(runs[method]["seed"]),
            "folds": int(runs[method]["fold"]),
            **{key: split[key] for key in ("protocol", "published", "leaks")},
            "recipe": recipe[0],
            "input": recipe[1],
        }
        for (method, label, metric), values in cells.items()
    ]


def lost_rows(lost: Mapping[layout.RunName, str]) -> list[dict[str, Any]]:
    """Rows of the ``missing`` table: runs that are not there, with the reason."""
    return [
        {"method": run.method, "fold": run.fold, "seed": run.seed, "case": ALL_CASES, "what": reason}
        for run, reason in lost.items()
    ]


def counted(cells: Mapping[Cell, Sequence[CaseValue]], missing: Sequence[Mapping[str, Any]]) -> str:
    """One line: how many predictions are missing, and how many distances count as the worst there is."""
    worst = {
        (v.method, v.case, v.label) for values in cells.values() for v in values if v.label and v.as_worst
    }
    cases = sum(row["case"] != ALL_CASES for row in missing)
    absent = (
        f"{cases} predictions missing, counted as worst: missing.csv" if cases else "no prediction missing"
    )
    return f"{absent}; {len(worst)} distances of exactly one empty mask count as the image diagonal"


def read_split(path: Path, *, folds: Iterable[int]) -> dict[str, Any]:
    """What the tables say of the split at ``path``, a split's gate; see :func:`segtrace.aggregation.split_summary`.

    Raises :class:`SegtraceError` where the file is missing or damaged.
    """
    if not path.is_file():
        dataset, protocol = path.parent.name, path.name.removesuffix(".gate.json")
        raise SegtraceError(f"{path}: no such file; make it with: segtrace split {dataset} {protocol}")
    found = split_summary(files.read_json(path), folds=set(folds))
    if not found:
        raise SegtraceError(f"{path}: not what 'segtrace split' writes; delete it and split again")
    return found


def refuse_unscored(scores: pd.DataFrame, gate: Path, *, role: str) -> None:
    """Refuse scores in which no run has some case of the split: nothing else would tell that it is missing.

    ``gate`` is the split's, which counts the cases of each fold and role. Raises :class:`SegtraceError`.
    """
    folds = files.read_json(gate)["split"]["folds"]
    scored = {cast("int", fold): rows["case"].nunique() for fold, rows in scores.groupby("fold")}
    raise_all(
        [
            f"fold {fold}: {count} cases are scored, {folds[fold][role]} of the split have role {role!r}"
            for fold, count in sorted(scored.items())
            if fold < len(folds) and role in folds[fold] and count != folds[fold][role]
        ],
        heading=f"the scores are not of the split's cases ({gate})",
        remedy="Score the runs again: a case that was never segmented has rows of its own, and counts as worst.",
    )


def metrics(
    summary: Iterable[Mapping[str, Any]], *, split: Mapping[str, Any], scores_sha256: Mapping[str, str]
) -> dict[str, Any]:
    """Means as nested numbers, experiment → method → label → metric; the split, and the bytes they come from."""
    nested: dict[str, Any] = {}
    for row in summary:
        if row["mean"] is not None:
            by_method = nested.setdefault(row["experiment"], {}).setdefault(row["method"], {})
            by_method.setdefault(row["label_name"], {})[row["metric"]] = row["mean"]
    return {**nested, "split": dict(split), "scores_sha256": dict(scores_sha256)}
