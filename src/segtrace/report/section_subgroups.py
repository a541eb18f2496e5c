"""The section of subgroups: the first metrics of each method over the cases of each published class."""

from collections.abc import Mapping
from typing import Any

from segtrace import aggregation
from segtrace.report.chains import of_method
from segtrace.report.compared import notes
from segtrace.report.scores import HEADINGS, Results, heading, number
from segtrace.report.subject import Subject


def subgroups(subject: Subject, results: Results) -> list[dict[str, Any]]:
    """One table a label: a row a method and subgroup, a column a metric; empty where there are no subgroups."""
    valued = {row["metric"] for row in results.summary if row["cases"]}
    shown = [
        metric for metric in HEADINGS if metric in aggregation.first_metrics(valued) and metric in valued
    ]
    tables = []
    for label, name in subject.labels.items():
        rows = [
            row
            for row in results.more.get("subgroups", [])
            if row["label"] == label and row["metric"] in shown
        ]
        if not rows:
            continue
        tables.append(
            {
                "label": label,
                "name": name,
                "headings": [(heading(subject, metric), HEADINGS[metric][1]) for metric in shown],
                "rows": _rows(subject, rows, shown),
                "notes": notes(rows),
            }
        )
    return tables


def _rows(subject: Subject, rows: list[dict[str, Any]], shown: list[str]) -> list[dict[str, Any]]:
    found = {(row["subgroup"], row["method"], row["metric"]): row for row in rows}
    return [
        {
            "method": method,
            "subgroup": subgroup,
            "anchor": of_method(method),
            "cells": [_cell(found[subgroup, method, metric]) for metric in shown],
        }
        for subgroup in dict.fromkeys(row["subgroup"] for row in rows)
        for method in subject.methods
    ]


def _cell(row: Mapping[str, Any]) -> dict[str, Any]:
    decimals = HEADINGS[row["metric"]][2]
    known = row["low"] == row["low"]
    interval = [f"{number(row['low'], decimals)} to {number(row['high'], decimals)}"] if known else []
    counted = [f"{row['cases']} case{'' if row['cases'] == 1 else 's'}"]
    counted += [f"{row[key]} {word}" for key, word in _COUNTED.items() if row[key]]
    return {
        "text": number(row["mean"], decimals),
        "order": "" if row["mean"] != row["mean"] else repr(float(row["mean"])),
        "row": ",".join(f"{key}={row[key]}" for key in ("method", "label", "metric", "subgroup")),
        "small": interval + counted,
    }


_COUNTED = {"undefined": "left out", "as_worst": "as worst", "missing": "missing"}
