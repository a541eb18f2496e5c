"""What there is to choose from: the rows of ``segtrace datasets|networks|methods|experiments``."""

import csv
import json
from typing import Any

from segtrace import layout
from segtrace.config import load, models


def rows_of(kind: str) -> list[dict[str, Any]]:
    """One row a name, of plain values; ``kind`` is ``datasets``, ``networks``, ``methods`` or ``experiments``."""
    if kind == "networks":
        from segtrace import networks

        return [{"name": name, "title": networks.describe(name)} for name in networks.names()]
    if kind == "datasets":
        return [dataset_row(name) for name in load.names(kind)]
    return [{"name": name, "title": load.load(kind, name).title} for name in load.names(kind)]


def dataset_row(name: str) -> dict[str, Any]:
    """What a data set is, how it is had and under which terms, and how much of it is here.

    ``cases`` is the published number, ``here`` what this project holds of it: ``no``, ``unpacked``, or the
    number of indexed cases. ``by_hand`` names the files that a registration gives, for sets behind one.
    """
    data: models.Dataset = load.dataset(name)
    gated = [source.archive for source in data.sources if source.manual]
    return {
        "name": name,
        "title": data.title,
        "cases": data.published_cases,
        "download_mb": data.download_mb,
        "licence": data.licence,
        "access": {"registration": "gated"}.get(data.access, data.access),
        "by_hand": gated,
        "here": _here(name),
    }


def _here(name: str) -> str:
    try:
        with layout.cases(name).open(encoding="utf-8", newline="") as handle:
            return f"{sum(1 for _ in csv.DictReader(handle))} cases"
    except (OSError, UnicodeDecodeError):
        return "unpacked" if layout.raw(name).is_dir() else "no"


def size_text(megabytes: float | None) -> str:
    """A download's size in words."""
    if megabytes is None:
        return "unknown"
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.3g} MB"


def text_of(rows: list[dict[str, Any]]) -> str:
    """Rows as a table for reading: sizes in words, texts cut where a line would get too long."""
    shown = []
    for row in rows:
        cells = {key: value for key, value in row.items() if key not in ("by_hand", "download_mb")}
        if "download_mb" in row:
            embedded = row["access"] == "embedded"
            cells["download"] = "none" if embedded else size_text(row["download_mb"])
        shown.append({key: _cell(value) for key, value in cells.items()})
    keys = list(shown[0]) if shown else []
    widths = {key: max(len(key), *(len(row[key]) for row in shown)) for key in keys}
    lines = [
        "  ".join(row[key].ljust(widths[key]) for key in keys).rstrip()
        for row in [dict(zip(keys, keys, strict=True)), *shown]
    ]
    gated = [(row["name"], row["by_hand"]) for row in rows if row.get("by_hand") and row["here"] == "no"]
    if gated:
        lines += ["", "gated: 'segtrace acquire NAME' says where each file is asked for and where to put it"]
        lines += [f"  {name}: {', '.join(archives)}" for name, archives in gated]
    return "\n".join(lines)


def _cell(value: Any, limit: int = 44) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def json_of(rows: list[dict[str, Any]]) -> str:
    """Rows as JSON, with all keys."""
    return json.dumps(rows, indent=1, ensure_ascii=False)
