"""The numbers of a page: an experiment's tables, read, checked against the scores, and laid out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from segtrace import aggregation, layout, tables
from segtrace.errors import SegtraceError, raise_all
from segtrace.files import read_json, sha256_file
from segtrace.report.chains import of_method
from segtrace.report.subject import Subject

#: Metric → (name in words of volumes, see :func:`heading`; arrow to the better side; decimals).
HEADINGS = {
    "dice": ("Dice", "↑", 3),
    "iou": ("IoU", "↑", 3),
    "hd95_mm": ("HD95 (mm)", "↓", 2),
    "hd95_voxel": ("HD95 (voxels)", "↓", 2),
    "nsd": ("NSD", "↑", 3),
    "assd_mm": ("ASSD (mm)", "↓", 2),
    "assd_voxel": ("ASSD (voxels)", "↓", 2),
    "hd_mm": ("HD (mm)", "↓", 2),
    "hd_voxel": ("HD (voxels)", "↓", 2),
    "precision": ("Precision", "↑", 3),
    "recall": ("Recall", "↑", 3),
    "accuracy": ("Accuracy", "↑", 4),
}


#: Tables of an experiment beside ``summary`` and ``per_case``.
MORE = ("intervals", "aggregates", "tests", "ranks", "published", "missing", "subgroups", "robustness")


def heading(subject: Subject, metric: str) -> str:
    """A metric's name in words; the elements of a two-dimensional image are pixels."""
    name = HEADINGS[metric][0]
    return name.replace("voxels", "pixels") if subject.dataset.dimensions == 2 else name


@dataclass(frozen=True)
class Results:
    """An experiment's tables: ``summary`` and ``per_case`` rows, and one value a case."""

    summary: list[dict[str, Any]]
    scores: list[dict[str, Any]]
    values: list[aggregation.CaseValue]
    notes: list[str]
    split: dict[str, Any]
    """What :func:`segtrace.aggregation.split_summary` says of the split that the tables were made with."""
    more: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """The rows of the other tables, by the tables' names: those of :data:`MORE`."""


def read(subject: Subject) -> Results:
    """Read the tables of the experiment; raise :class:`SegtraceError` where they are missing or outdated.

    Tables are outdated where they hold other runs than those asked for, or where a scores file has
    changed since: a page never shows older numbers than the scores beside it. Where only the tables
    were fetched and a scores file is absent, a note says so.
    """
    folder = layout.results(subject.name)
    summary = tables.read("summary", folder / "summary.csv")
    scores = tables.read("per_case", folder / "per_case.csv")
    metrics = read_json(folder / "metrics.json")
    recorded = metrics.get("scores_sha256", {})
    problems = []
    wanted = {(run.method, run.budget, run.fold, run.seed) for run in subject.runs}
    there = set(scores[["method", "budget", "fold", "seed"]].itertuples(index=False, name=None))
    for text, runs in (("lacks", wanted - there), ("holds, unasked,", there - wanted)):
        problems += [
            f"{folder}/per_case.csv {text} {method}, budget {budget}, fold {fold}, seed {seed}"
            for method, budget, fold, seed in sorted(runs)
        ]
    split = metrics.get("split", {})
    if split.get("protocol") != subject.experiment.protocol:
        problems.append(
            f"{folder}/metrics.json is of protocol {split.get('protocol')}, asked for is {subject.experiment.protocol}"
        )
    absent = []
    for run in subject.runs:
        path = layout.scores(run, subject.variant)
        if not path.is_file():
            absent.append(str(path))
        elif recorded.get(str(path)) != sha256_file(path):
            problems.append(f"{path} has changed since {folder}/metrics.json was written")
    seeds = ",".join(map(str, subject.seeds))
    raise_all(
        problems,
        heading=f"the tables of {subject.name} are not those of the runs asked for",
        remedy=f"Make them again: segtrace compare {subject.name} --budget {subject.budget_name} --seeds {seeds}",
    )
    records = cast("list[dict[str, Any]]", scores.to_dict("records"))
    methods, labels = list(subject.methods), sorted(subject.dataset.scored)
    try:
        values = aggregation.case_values(records, methods=methods, labels=labels)
    except KeyError as error:
        raise SegtraceError(
            f"{folder}/per_case.csv: no row for case and label {error}; run compare again"
        ) from None
    notes = [
        f"{len(absent)} scores files are not on this machine, so the tables could not be checked against them."
    ]
    return Results(
        summary=cast("list[dict[str, Any]]", summary.to_dict("records")),
        scores=records,
        values=values,
        notes=notes if absent else [],
        split=split,
        more={
            name: cast("list[dict[str, Any]]", tables.read(name, folder / f"{name}.csv").to_dict("records"))
            for name in MORE
        },
    )


def absent(name: str) -> dict[str, str]:
    """Methods that the tables of an experiment were made without → why, from its ``missing`` table."""
    path = layout.results(name) / "missing.csv"
    if not path.is_file():
        return {}
    found: dict[str, list[str]] = {}
    for row in tables.read("missing", path).to_dict("records"):
        if row["case"] == aggregation.ALL_CASES:
            found.setdefault(row["method"], []).append(
                f"fold {row['fold']}, seed {row['seed']}: {row['what']}"
            )
    return {method: "; ".join(reasons) for method, reasons in found.items()}


def number(value: float | None, decimals: int) -> str:
    """A number for reading; an unknown one is a dash."""
    return "–" if value is None or value != value else f"{value:.{decimals}f}"


def summary_tables(
    subject: Subject, results: Results, said: Mapping[tuple[str, int, str], list[str]]
) -> list[dict[str, Any]]:
    """For each label the table of the first metrics and, under ``more``, that of the others, ready to be laid out.

    ``said`` is what stands beside a mean, by method, label and metric, such as 'best'.
    """
    valued = {row["metric"] for row in results.summary if row["cases"]}
    shown = [metric for metric in HEADINGS if metric in valued]
    first = [metric for metric in shown if metric in aggregation.first_metrics(valued)]
    others = [metric for metric in shown if metric not in first]
    return [
        _table(subject, results, said, label, name, first)
        | {"more": _table(subject, results, said, label, name, others)}
        for label, name in subject.labels.items()
    ]


def _table(
    subject: Subject,
    results: Results,
    said: Mapping[tuple[str, int, str], list[str]],
    label: int,
    name: str,
    shown: list[str],
) -> dict[str, Any]:
    """One table of a label: methods down, the metrics ``shown`` across."""
    found = {(row["method"], row["metric"]): row for row in results.summary if row["label"] == label}
    rows = []
    constant = {}
    for method, configured in subject.methods.items():
        cells = []
        for metric in shown:
            row, decimals = found[method, metric], HEADINGS[metric][2]
            if row["constant"] == row["constant"]:
                constant[metric] = number(row["constant"], decimals)
            cells.append(
                {
                    "metric": metric,
                    "mean": number(row["mean"], decimals),
                    "sd": number(row["sd"], decimals),
                    "interval": "" if row["low"] != row["low"] else _interval(row, decimals),
                    "row": f"method={method},label={label},metric={metric}",
                    "words": said.get((method, label, metric), []),
                    "order": "" if row["mean"] != row["mean"] else repr(float(row["mean"])),
                    "title": _spread(row, decimals),
                    "counts": _counts(row),
                }
            )
        rows.append(
            {"method": method, "title": configured.title, "anchor": of_method(method), "cells": cells}
        )
    rows += [_absent_row(method, reason, shown) for method, reason in subject.absent.items()]
    headings: list[dict[str, str]] = [
        {"metric": m, "name": heading(subject, m), "arrow": HEADINGS[m][1]} for m in shown
    ]
    footer = [constant.get(metric, "") for metric in shown]
    return {
        "label": label,
        "name": name,
        "union": union(subject, label),
        "headings": headings,
        "rows": rows,
        "constant": footer,
    }


def _absent_row(method: str, reason: str, shown: list[str]) -> dict[str, Any]:
    """The row of a method of which a run is not there: no number, and why."""
    cell = {"mean": "missing", "sd": "", "interval": "", "row": "", "words": [], "order": "", "counts": []}
    return {
        "method": method,
        "title": reason,
        "anchor": "",
        "cells": [{**cell, "metric": metric, "title": reason} for metric in shown],
    }


def union(subject: Subject, number: int) -> str:
    """What a region unites, in a sentence; empty for a label."""
    region = subject.dataset.regions.get(number)
    if region is None:
        return ""
    names = subject.dataset.labels
    members = ", ".join(f"{label} ({names[label].replace('_', ' ')})" for label in sorted(region.labels))
    kind = "labels" if len(region.labels) > 1 else "label"
    source = f" Source: {region.source}." if region.source else ""
    return f"The union of {kind} {members}, scored as one mask; it is no part of the mean of labels.{source}"


def tolerances(subject: Subject, results: Results) -> str:
    """The tolerances of NSD as the scores have them, in words: '1 mm', or '1 mm (spleen), 2 mm (liver)'."""
    found: dict[str, list[str]] = {}
    for label, name in sorted(subject.dataset.scored.items()):
        row = next(row for row in results.scores if row["label"] == label)
        mm, voxel = row["nsd_tolerance_mm"], row["nsd_tolerance_voxel"]
        text = f"{mm:g} mm" if mm == mm else f"{voxel:g} {'voxel' if voxel == 1 else 'voxels'}"
        found.setdefault(text, []).append(name)
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{text} ({', '.join(names)})" for text, names in found.items())


def _interval(row: dict[str, Any], decimals: int) -> str:
    return f"{number(row['low'], decimals)} to {number(row['high'], decimals)}"


def _spread(row: dict[str, Any], decimals: int) -> str:
    low, middle, high = (number(row[key], decimals) for key in ("minimum", "median", "maximum"))
    return f"minimum {low}, median {middle}, maximum {high}, over {row['cases']} cases"


def _counts(row: dict[str, Any]) -> list[str]:
    """What a reader must know of a cell beside its mean: how many cases it is not over, or counts as worst."""
    words = (("undefined", "left out"), ("as_worst", "as worst"), ("missing", "missing"))
    return [f"{row[key]} {word}" for key, word in words if row[key]]


def missing_cases(results: Results) -> list[str]:
    """Cases that at least one run of a method lacks, as 'method: case'."""
    return sorted({f"{value.method}: {value.case}" for value in results.values if value.missing})


def points(subject: Subject, results: Results, *, label: int, metric: str) -> list[dict[str, Any]]:
    """One row a method and case with a value: what a chart of all cases draws."""
    position: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    for value in results.values:
        if (value.label, value.metric) == (label, metric) and value.value is not None:
            position.setdefault(value.case, len(position))
            state = "a prediction is missing: counted as worst" if value.missing else ""
            state = state or ("one mask is empty: counted as worst" if value.as_worst else "–")
            rows.append({"method": value.method, "case": value.case, "value": value.value, "note": state})
    if all(row["note"] == "–" for row in rows):
        rows = [{**row, "note": ""} for row in rows]
    # Golden-ratio steps spread neighbouring cases evenly across a band, the same way in every method.
    for row in rows:
        row["spread"] = round((position[row["case"]] * 0.6180339887498949) % 1.0, 3)
    return rows


def chosen_cases(subject: Subject, results: Results) -> list[dict[str, Any]]:
    """Best, median and worst case of each method by Dice of the main label; ties go by case id.

    Of an even number of cases the median is the lower of the two middle ones. With fewer than three
    cases some are left out, none is shown twice.
    """
    chosen = []
    for method in subject.methods:
        wanted = (method, subject.main_label, "dice")
        ranked = sorted(
            (value.value, value.case)
            for value in results.values
            if (value.method, value.label, value.metric) == wanted
            and value.value is not None
            and not value.missing
        )
        taken: set[str] = set()
        places = (("best", -1), ("median", (len(ranked) - 1) // 2), ("worst", 0))
        for kind, place in places if ranked else ():
            dice, case = ranked[place]
            if case not in taken:
                taken.add(case)
                chosen.append({"method": method, "kind": kind, "case": case, "dice": dice})
    return chosen


def label_dice(subject: Subject, results: Results) -> dict[tuple[str, int, int, str], dict[str, float]]:
    """(method, fold, seed, case) → label name → Dice of that run; regions are not drawn, and are left out."""
    made: dict[tuple[str, int, int, str], dict[str, float]] = {}
    for row in results.scores:
        key = (row["method"], row["fold"], row["seed"], row["case"])
        if row["dice"] == row["dice"] and row["label"] in subject.dataset.labels:
            made.setdefault(key, {})[subject.dataset.labels[row["label"]]] = row["dice"]
    return made
