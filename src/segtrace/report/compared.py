"""How methods stand to each other, for reading: the best of a column, pairs, ranks, intervals, other averages.

Everything is read from the experiment's tables; nothing is computed here but which mean is the best one.
A table that has no rows gives an empty list, and the page says why there is nothing to show.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from segtrace import aggregation
from segtrace.report.chains import of_method
from segtrace.report.prose import listed, sentence
from segtrace.report.scores import HEADINGS, Results, heading, number
from segtrace.report.subject import Subject

#: A method is told apart from the best one where the corrected p-value lies below.
LEVEL = 0.05
KINDS = {"bca": "BCa", "percentile": "percentile", "hierarchical": "over cases and seeds"}
SCHEMES = {
    "aggregate_then_rank": "by the mean",
    "rank_then_aggregate": "by the mean rank over cases",
    "test_then_rank": "by significant wins",
}
#: Way of averaging → its name, its units, and what it means.
AVERAGES = {
    "per_case": ("per case", "case", "every case weighs the same: the way of the tables above"),
    "per_batch": (
        "per batch",
        "batch",
        "the voxels of a batch are counted together, and batches are averaged, as some papers do: it depends on "
        "which cases share a batch, and small structures weigh less",
    ),
    "pooled": (
        "pooled",
        "case",
        "the voxels of all cases are counted together, so a large structure weighs more than a small one, and there "
        "is no spread",
    ),
    "per_fold": (
        "per fold",
        "fold",
        "the mean of each fold's cases, then the mean and the spread of folds: what cross-validation papers print",
    ),
    "per_seed": (
        "per seed",
        "seed",
        "the mean over cases of each seed, then the mean and the spread of seeds: how much the training's randomness "
        "alone changes the mean",
    ),
}

Cell = tuple[str, int, str]


def standing(subject: Subject, results: Results) -> dict[Cell, list[str]]:
    """(method, label, metric) → what is said beside its mean: best or not to be told from the best, and its rank."""
    said: dict[Cell, list[str]] = {}
    columns: dict[tuple[int, str], dict[str, float]] = {}
    for row in results.summary:
        if row["mean"] == row["mean"]:
            columns.setdefault((row["label"], row["metric"]), {})[row["method"]] = row["mean"]
    corrected = {
        (row["label"], row["metric"], frozenset((row["first"], row["second"]))): row["permutation_holm"]
        for row in results.more.get("tests", [])
    }
    ranks = {
        (row["method"], row["label"], row["metric"]): row
        for row in results.more.get("ranks", [])
        if row["scheme"] == "aggregate_then_rank"
    }
    for (label, metric), means in columns.items() if len(subject.methods) > 1 else ():
        best = (max if metric in aggregation.OVERLAPS else min)(means.values())
        leader = next(method for method in subject.methods if means.get(method) == best)
        for method, mean in means.items():
            p = corrected.get((label, metric, frozenset((method, leader))))
            words = said.setdefault((method, label, metric), [])
            if mean == best:
                words.append("best")
            elif p is not None:
                words += (
                    ["not tested against the best"]
                    if p != p
                    else ["not distinguishable from the best"] * (p >= LEVEL)
                )
            if rank := ranks.get((method, label, metric)):
                words.append(f"rank {rank['rank']:g} ({rank['low']:g} to {rank['high']:g})")
    return said


def pairs(subject: Subject, results: Results, label: int) -> list[dict[str, Any]]:
    """Paired differences of a label, a row a metric and pair of methods, ready to be laid out."""
    return [_pair(subject, row) for row in _in_order(results, "tests", label)]


def _pair(subject: Subject, row: Mapping[str, Any]) -> dict[str, Any]:
    decimals = HEADINGS[row["metric"]][2]
    named = ",".join(f"{key}={row[key]}" for key in ("label", "metric", "first", "second"))
    difference = {
        **_cell(signed(row["difference"], decimals), row["difference"]),
        "anchor": of_method(row["first"]),
        "table": "tests",
        "row": named,
        "column": "difference",
        "small": [f"{signed(row['low'], decimals)} to {signed(row['high'], decimals)}"],
    }
    tests = [
        {
            **_cell(p_value(row[f"{test}_holm"]), row[f"{test}_holm"]),
            "small": [f"uncorrected {p_value(row[f'{test}_p'])}, {row[test]}"] if row[test] != "none" else [],
        }
        for test in ("permutation", "wilcoxon")
    ]
    sizes = [_cell(signed(row[key], 2), row[key]) for key in ("cohens_dz", "rank_biserial")]
    dropped = [f"{row['dropped']} without a value of both"] if row["dropped"] else []
    counts = _cell(f"{row['wins']} / {row['losses']} / {row['ties']}", row["wins"])
    return {
        "methods": [row["first"], row["second"]],
        "metric": row["metric"],
        "head": f"{row['first']} − {row['second']}",
        "cells": [
            _cell(*[heading(subject, row["metric"])] * 2),
            difference,
            *tests,
            *sizes,
            {**counts, "small": [f"of {row['cases']} cases", *dropped]},
        ],
    }


def ranks(subject: Subject, results: Results, label: int) -> list[dict[str, Any]]:
    """Ranks of a label, a row a method and metric, a column a way of ranking."""
    found = {(row["method"], row["metric"], row["scheme"]): row for row in _in_order(results, "ranks", label)}
    rows = []
    for method, metric in dict.fromkeys((method, metric) for method, metric, _ in found):
        cells = [_cell(*[heading(subject, metric)] * 2)]
        for scheme in SCHEMES:
            row = found.get((method, metric, scheme))
            if row is None:
                cells.append(_cell("–", None))
                continue
            cells.append(
                {
                    **_cell(f"{row['rank']:g}", row["rank"]),
                    "anchor": of_method(method),
                    "table": "ranks",
                    "row": f"scheme={scheme},label={label},metric={metric},method={method}",
                    "column": "rank",
                    "small": [
                        f"{row['low']:g} to {row['high']:g} in 95 % of the samples",
                        f"first in {row['first']:.0%}",
                    ],
                }
            )
        rows.append({"methods": [method], "metric": metric, "head": method, "cells": cells})
    return rows


def intervals(subject: Subject, results: Results, label: int) -> list[dict[str, Any]]:
    """95 % intervals of the means of a label, a row a method and metric, a column a kind of interval."""
    found = {
        (row["method"], row["metric"], row["kind"]): row for row in _in_order(results, "intervals", label)
    }
    rows = []
    for method, metric in dict.fromkeys((method, metric) for method, metric, _ in found):
        decimals = HEADINGS[metric][2]
        cells = [_cell(*[heading(subject, metric)] * 2)]
        for kind in KINDS:
            row = found.get((method, metric, kind))
            if row is None or row["low"] != row["low"]:
                cells.append(_cell("–", None))
                continue
            cells.append(
                {
                    **_cell(f"{number(row['low'], decimals)} to {number(row['high'], decimals)}", row["low"]),
                    "anchor": of_method(method),
                    "table": "intervals",
                    "row": f"method={method},label={label},metric={metric},kind={kind}",
                    "column": "low",
                }
            )
        rows.append({"methods": [method], "metric": metric, "head": method, "cells": cells})
    return rows


def averages(subject: Subject, results: Results, label: int) -> dict[str, Any]:
    """Other ways of averaging: a row a method and way, a column a metric; and what the ways mean."""
    rows = _in_order(results, "aggregates", label)
    found = {(row["method"], row["aggregation"], row["metric"]): row for row in rows}
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    made = []
    order = list(subject.methods)
    for method, way in sorted(
        {key[:2] for key in found}, key=lambda key: (order.index(key[0]), list(AVERAGES).index(key[1]))
    ):
        cells = [_cell(AVERAGES[way][0], list(AVERAGES).index(way))]
        for metric in metrics:
            row = found.get((method, way, metric))
            cells.append(_cell("–", None) if row is None else _average(row))
        made.append({"methods": [method], "metric": "", "head": method, "cells": cells})
    ways = {row["aggregation"] for row in rows}
    batches = sorted({row["batch"] for row in rows if row["batch"]})
    meanings = [f"{name}: {meaning}" for way, (name, _, meaning) in AVERAGES.items() if way in ways]
    sizes = [f"A batch here: {', '.join(map(str, batches))} images."] if batches else []
    return {"metrics": metrics, "rows": made, "meanings": meanings + sizes + notes(rows)}


def _average(row: Mapping[str, Any]) -> dict[str, Any]:
    decimals, unit = HEADINGS[row["metric"]][2], AVERAGES[row["aggregation"]][1]
    units = f"{row['units']} {unit if row['units'] == 1 else unit + ('es' if unit == 'batch' else 's')}"
    spread = [] if row["sd"] != row["sd"] else [f"± {number(row['sd'], decimals)}"]
    return {
        **_cell(number(row["mean"], decimals), row["mean"]),
        "anchor": of_method(row["method"]),
        "table": "aggregates",
        "row": ",".join(f"{key}={row[key]}" for key in ("method", "label", "metric", "aggregation")),
        "column": "mean",
        "small": [" ".join([*spread, f"over {units}"])],
    }


def notes(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the rows' notes say, each sentence once, in order."""
    return list(dict.fromkeys(row["note"] for row in rows if row["note"]))


def label_notes(subject: Subject, results: Results, label: int) -> list[str]:
    """What intervals, tests and ranks of a label say of themselves, such as that the sample is small, and of which cells.

    What holds for all of a table is said once and plainly; else the metrics stand before it, and the methods or pairs
    where it is not all of them. Metrics without any value are not on the page, and nothing is said of them.
    """
    valued = {row["metric"] for row in results.summary if row["cases"]}
    said: dict[str, dict[str, dict[str, list[str]]]] = {}
    every: dict[str, dict[str, list[str]]] = {}
    for table in ("intervals", "tests", "ranks"):
        for row in _in_order(results, table, label):
            if row["metric"] not in valued:
                continue
            who = f"{row['first']} − {row['second']}" if table == "tests" else row["method"]
            for metrics in (every.setdefault(table, {}), *_of_sentences(said, table, row["note"])):
                metrics.setdefault(who, []).append(heading(subject, row["metric"]))
    made = []
    for text, places in said.items():
        if any(
            {who: set(m) for who, m in found.items()} == {who: set(m) for who, m in every[table].items()}
            for table, found in places.items()
        ):
            made.append(text)
        else:
            made += [
                f"{where}: {text[:1].lower()}{text[1:]}"
                for table, found in places.items()
                for where in _where(found, of=table, every=len(every[table]))
            ]
    return list(dict.fromkeys(made))


def _of_sentences(
    said: dict[str, dict[str, dict[str, list[str]]]], table: str, note: str
) -> list[dict[str, list[str]]]:
    """The places of each sentence of a note in ``said``, to add to."""
    parts = [sentence(part) for part in re.split(r"(?<=\.) (?=[A-Z])|; ", note or "") if part]
    return [said.setdefault(text, {}).setdefault(table, {}) for text in parts]


def _where(found: Mapping[str, list[str]], *, of: str, every: int) -> list[str]:
    """In words: the metrics, with those methods or pairs that share them where it is not all."""
    shared: dict[tuple[str, ...], list[str]] = {}
    for who, named in found.items():
        shared.setdefault(tuple(dict.fromkeys(named)), []).append(who)
    made = []
    for metrics, names in shared.items():
        kind = "pairs of methods" if of == "tests" else "methods"
        told = listed(names) if len(names) < 4 else f"{len(names)} of {every} {kind}"
        made.append(
            ("Differences in " if of == "tests" else "")
            + listed(metrics)
            + (f", {told}" if len(names) < every else "")
        )
    return made


def empties(subject: Subject, results: Results) -> list[str]:
    """How many masks are empty, a sentence a label: of the reference in cases, of predictions in cases and runs."""
    made = []
    for label, name in sorted(subject.dataset.scored.items()):
        rows = [row for row in results.scores if row["label"] == label]
        cases = {row["case"]: row["tp"] + row["fn"] == 0 for row in rows}
        found = ", ".join(
            f"{sum(row['tp'] + row['fp'] == 0 for row in of)} of {len(of)} of {method}"
            for method in subject.methods
            for of in [[row for row in rows if row["method"] == method]]
        )
        made.append(
            f"{name}: the reference is empty in {sum(cases.values())} of {len(cases)} cases; empty predictions: {found}"
        )
    return made


def missing(results: Results) -> list[str]:
    """Predictions that a run lacks, as the table has them."""
    return [
        f"{row['method']}, fold {row['fold']}, seed {row['seed']}: {row['case']} ({row['what']})"
        for row in results.more.get("missing", [])
        if row["case"] != aggregation.ALL_CASES
    ]


def signed(value: float, decimals: int) -> str:
    """A difference for reading, with its sign; an unknown one is a dash."""
    return "–" if value != value else f"{value:+.{decimals}f}"


def p_value(value: float) -> str:
    """A p-value for reading: never 0."""
    if value != value:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _in_order(results: Results, table: str, label: int) -> list[dict[str, Any]]:
    """The rows of a label in a table, by the page's order of metrics."""
    place = {metric: position for position, metric in enumerate(HEADINGS)}
    rows = [row for row in results.more.get(table, []) if row["label"] == label]
    return sorted(rows, key=lambda row: place[row["metric"]])


def _cell(text: str, order: Any) -> dict[str, Any]:
    """A cell with what it is sorted by; an unknown number goes last."""
    unknown = order is None or (isinstance(order, float) and math.isnan(order))
    return {"text": text, "order": "" if unknown else str(order), "small": [], "anchor": ""}
