"""The gates of a page: what was demanded of the raw data, the prepared masks and the split, and what was found.

All is drawn from each ``gate.json``, so that the page needs no other. Great Expectations' own pages load
scripts from public networks; the page only says where they lie.
"""

import os
from pathlib import Path
from typing import Any

from segtrace import layout
from segtrace.files import read_json
from segtrace.report.subject import Subject

#: Cases shown of an expectation that fails.
SHOWN = 12
#: Width of the picture of a range, in its own units.
WIDTH = 100.0


def gates(subject: Subject) -> list[dict[str, Any]]:
    """The gates of the experiment's data, in the order of the phases; one that is not on this machine says so."""
    experiment = subject.experiment
    dataset, recipe, protocol = experiment.dataset, experiment.recipe, experiment.protocol
    places = (
        ("raw", "raw images and masks", layout.index(dataset) / "gate.json", "index"),
        ("prepared", "prepared masks", layout.prepared(dataset, recipe) / "gate.json", f"validate-{recipe}"),
        ("split", "split", layout.split_gate(dataset, protocol), f"split-{protocol}"),
    )
    here = layout.report(subject.name).parent
    return [
        {
            "id": f"gate-{name}",
            "what": what,
            "file": str(path),
            "docs": Path(os.path.relpath(layout.data_docs(dataset, docs), here) + "/index.html").as_posix(),
            **(_gate(dict(read_json(path))) if path.is_file() else {"found": False}),
        }
        for name, what, path, docs in places
    ]


def _gate(content: dict[str, Any]) -> dict[str, Any]:
    rows = [
        {
            "name": name,
            "passed": bool(entry.get("passed")),
            "expected": expected(entry.get("expected")),
            "found": found(entry.get("observed")),
            "picture": picture(entry.get("expected"), entry.get("observed")),
        }
        for name, entry in content.get("expectations", {}).items()
    ]
    return {
        "found": True,
        "passed": bool(content.get("passed")),
        "met": sum(row["passed"] for row in rows),
        "rows": sorted(rows, key=lambda row: row["passed"]),  # what fails comes first
        "split": content.get("split"),
    }


def expected(value: Any) -> str:
    """What an expectation demands, in words."""
    if not isinstance(value, dict):
        return str(value)
    ends = [value.get("min_value"), value.get("max_value")]
    if ends == [None, None]:
        if "value_set" in value:
            return f"one of {', '.join(map(str, value['value_set']))}"
        rest = {key: item for key, item in value.items() if key != "column"}
        return (
            ", ".join(f"{key.replace('_', ' ')} {item}" for key, item in sorted(rest.items()))
            or "no value twice"
        )
    if ends[0] == ends[1]:
        return _number(ends[0])
    if None in ends:
        return f"at least {_number(ends[0])}" if ends[1] is None else f"at most {_number(ends[1])}"
    return f"{_number(ends[0])} to {_number(ends[1])}"


def _number(value: Any) -> str:
    """A number for reading: a large one in full, in groups of three digits, and with a true minus sign."""
    text = f"{value:,.0f}".replace(",", "\u202f") if abs(value) >= 1e6 else f"{value:g}"
    return f"−{text[1:]}" if text.startswith("-") else text


def found(value: Any) -> str:
    """What was found, in words: a number, or how many cases were judged and which fail."""
    if isinstance(value, dict) and "judged" in value:
        text = f"{value['judged']} judged, {value['failed']} failed"
        cases = value.get("cases", [])
        listed = ", ".join(f"{row['case']} ({row['value']})" for row in cases[:SHOWN])
        more = value["failed"] - len(cases[:SHOWN])
        return (f"{text}: {listed}" if listed else text) + (
            f" and {more} more" if listed and more > 0 else ""
        )
    return _number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def picture(wanted: Any, value: Any) -> dict[str, float] | None:
    """Where a number lies to the range that was demanded, in [0, :data:`WIDTH`]; None where there is no range."""
    if not isinstance(wanted, dict) or not isinstance(value, int | float) or isinstance(value, bool):
        return None
    low, high = wanted.get("min_value"), wanted.get("max_value")
    if low is None or high is None:
        return None
    ends = min(low, value), max(high, value)
    span = (ends[1] - ends[0]) or 1.0
    start, width = ends[0] - 0.1 * span, 1.2 * span
    low_at, high_at, at = (round((number - start) / width * WIDTH, 1) for number in (low, high, value))
    return {"low": low_at, "width": max(1.0, round(high_at - low_at, 1)), "at": at}
