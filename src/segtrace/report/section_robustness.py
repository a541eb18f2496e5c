"""The section of robustness: how far each method's mean Dice drops where images are corrupted."""

from collections.abc import Mapping
from typing import Any

from segtrace import layout
from segtrace.report import chart_robustness
from segtrace.report.chains import of_method
from segtrace.report.charts import Figure, Group
from segtrace.report.compared import notes, signed
from segtrace.report.scores import HEADINGS, Results, number
from segtrace.report.subject import Subject

#: Strengths at which an image stays as it is: where the curves begin, or pass through.
UNCHANGED = {"noise": 0.0, "blur": 0.0, "contrast": 1.0, "scale": 1.0}
_DECIMALS = HEADINGS["dice"][2]


def robustness(subject: Subject, results: Results) -> list[Group]:
    """A chart a kind of corruption, of the main label, and a table a label; empty where nothing was corrupted."""
    rows = results.more.get("robustness", [])
    if not rows:
        return []
    name = subject.labels[subject.main_label]
    figures = []
    for kind in dict.fromkeys(row["corruption"] for row in rows):
        own = [row for row in rows if (row["corruption"], row["label"]) == (kind, subject.main_label)]
        title = f"{kind}: {layout.CORRUPTIONS[kind]}"
        content = chart_robustness.strengths(
            _points(own, kind),
            methods=list(subject.methods),
            title=title,
            metric=f"Dice, {name}",
            description=f"Mean Dice ({name}) of each method by the strength of {kind}. The same numbers follow as a table.",
        )
        caption = (
            f"Dice ({name}) by {title}. At {UNCHANGED[kind]:g} the image is clean; upright lines are 95 % intervals of the "
            "drop from there."
        )
        figures.append(Figure(f"robustness-{kind}", caption, content))
    tables = [_table(subject, rows, label, text) for label, text in subject.labels.items()]
    return [{"name": "robustness", "figures": figures, "tables": tables, "units": layout.CORRUPTIONS}]


def _points(rows: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """What a chart draws: the clean mean of each method once, and its mean at each strength, in order."""
    clean = {row["method"]: row["clean"] for row in rows}
    points = [
        {"method": method, "strength": UNCHANGED[kind], "mean": value, "low": None, "high": None}
        for method, value in clean.items()
    ]
    points += [
        {
            "method": row["method"],
            "strength": row["strength"],
            "mean": row["mean"],
            "low": row["clean"] - row["high"],  # the greatest drop is the least Dice
            "high": row["clean"] - row["low"],
        }
        for row in rows
    ]
    return sorted(points, key=lambda point: (list(clean).index(point["method"]), point["strength"]))


def _table(subject: Subject, rows: list[dict[str, Any]], label: int, name: str) -> dict[str, Any]:
    """One table of a label: a row a corruption and strength, a column a method."""
    own = {(row["corruption"], row["strength"], row["method"]): row for row in rows if row["label"] == label}
    clean = {method: row["clean"] for (_, _, method), row in own.items()}
    lines = [
        {
            "corruption": kind,
            "strength": f"{strength:g}",
            "cells": [_cell(own[kind, strength, method]) for method in subject.methods],
        }
        for kind, strength in dict.fromkeys(key[:2] for key in own)
    ]
    return {
        "label": label,
        "name": name,
        "clean": [number(clean[method], _DECIMALS) for method in subject.methods],
        "rows": lines,
        "notes": notes(own.values()),
    }


def _cell(row: Mapping[str, Any]) -> dict[str, Any]:
    known = row["low"] == row["low"]
    interval = [f"{signed(row['low'], _DECIMALS)} to {signed(row['high'], _DECIMALS)}"] if known else []
    lost = [f"{row['missing']} missing"] if row["missing"] else []
    keys = ("method", "corruption", "strength", "label")
    return {
        "text": signed(row["drop"], _DECIMALS),
        "order": "" if row["drop"] != row["drop"] else repr(float(row["drop"])),
        "anchor": of_method(row["method"]),
        "row": ",".join(f"{key}={row[key]:g}" if key == "strength" else f"{key}={row[key]}" for key in keys),
        "small": [f"Dice {number(row['mean'], _DECIMALS)}", *interval, *lost],
    }
