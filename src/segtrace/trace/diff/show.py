"""What changed, in lines for a reader."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from segtrace.errors import some
from segtrace.trace.diff.means import CHANCE, EQUAL, FEW, MORE

#: Changes of a job, values of a kind, and notes that are printed unless all are asked for.
SHOWN = 5
CHANCE_MEANS = (
    "chance: which cases happened to be scored (paired test by signs, Holm over all means that changed). "
    "What another seed of a training gives is not part of it."
)


def lines(found: Mapping[str, Any], *, everything: bool) -> list[str]:
    """The comparison as text; ``everything`` shows equal means and every change too."""
    result = [f"old: {_side(found['old'])}", f"new: {_side(found['new'])}"]
    for word in ("removed", "added"):
        if found[word]:
            result.append(f"experiments {word}: {', '.join(found[word])}")
    for entry in found["experiments"]:
        result += ["", *_experiment(entry, everything=everything)]
    return [*result, "", *_last(found)]


def _side(side: Mapping[str, str]) -> str:
    return side["name"] + (f" ({side['revision'][:12]})" if side["revision"] else "")


def _experiment(entry: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
    limit = 1_000_000 if everything else SHOWN
    name, was = entry["experiment"], entry["was"]
    yield f"{name}" + (f" (was {was})" if was != name else "")
    if entry["equal"]:
        yield "  scores: equal byte for byte"
    for moved in entry["moved"]:
        yield f"  {moved['what']}: {_moved(moved, limit)}"
    if entry["references"]:
        listed = some(entry["references"], limit)
        yield f"  references: {len(entry['references'])} cases have another reference: {listed}"
    if not entry["equal"]:
        shown = [mean for mean in entry["means"] if everything or mean["verdict"] != EQUAL]
        yield from _table(shown)
        equal = len(entry["means"]) - len(shown)
        if equal:
            yield f"  {equal} of {len(entry['means'])} means: no change (equal in every case)"
        if not entry["means"]:
            yield "  no method, label and metric is on both sides"
    yield from _origins(entry, limit)


def _origins(entry: Mapping[str, Any], limit: int) -> Iterator[str]:
    if entry["origins"]:
        yield "  made from:"
    elif not entry["equal"]:
        yield "  made from the same data, code, configuration and environment, by the records"
    for origin in entry["origins"]:
        yield f"    {origin['job']}" + (f": {origin['note']}" if origin["note"] else "")
        for change in origin["changes"][:limit]:
            yield f"      {change['what']}: {_short(change['recorded'])} -> {_short(change['now'])}"
        if len(origin["changes"]) > limit:
            yield f"      and {len(origin['changes']) - limit} more (--all)"


def _short(value: str) -> str:
    """A value of a record; of a checksum the first digits, as digests have."""
    return value[:16] if len(value) == 64 and value.isalnum() else value


def _moved(moved: Mapping[str, Any], limit: int) -> str:
    parts = []
    for word in ("removed", "added"):
        if moved[word]:
            count = f"{len(moved[word])} " if len(moved[word]) > limit else ""
            parts.append(f"{count}{word} {some(moved[word], limit)}")
    return "; ".join(parts)


def _table(means: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not means:
        return
    rows = [("method", "label", "metric", "old", "new", "difference [95 % interval]", "cases", "verdict")]
    rows += [
        (
            mean["method"],
            mean["label_name"],
            mean["metric"],
            _number(mean["old"]),
            _number(mean["new"]),
            _difference(mean),
            f"{mean['cases']}" + (f" (-{mean['left_out']})" if mean["left_out"] else ""),
            words(mean),
        )
        for mean in means
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def words(mean: Mapping[str, Any]) -> str:
    """The verdict on a mean, in words."""
    if mean["verdict"] == EQUAL:
        return "no change (equal in every case)"
    if mean["verdict"] == FEW:
        return FEW + (f" ({mean['differ']} differ)" if mean["differ"] < mean["cases"] else "")
    better = {"old": ", worse", "new": ", better", "neither": ""}[mean["better"]]
    corrected = f"p {_p(mean['p'])}, corrected {_p(mean['p_holm'])}"
    return f"{MORE} ({corrected}){better}" if mean["verdict"] == MORE else f"{CHANCE} ({corrected})"


def _difference(mean: Mapping[str, Any]) -> str:
    if mean["difference"] is None:
        return "-"
    shown = _number(mean["difference"], sign=True)
    if mean["low"] is None:
        return shown
    return f"{shown} [{_number(mean['low'], sign=True)}, {_number(mean['high'], sign=True)}]"


def _number(value: float, *, sign: bool = False) -> str:
    text = f"{value:+.4f}" if sign else f"{value:.4f}"
    return text if float(text) != 0 or value == 0 else f"{value:{'+' if sign else ''}.1e}"


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else f"{value:.0e}"


def _last(found: Mapping[str, Any]) -> Iterator[str]:
    every = [mean for entry in found["experiments"] for mean in entry["means"]]
    if not found["experiments"]:
        yield "no experiment is on both sides: nothing to compare"
        return
    if all(entry["equal"] for entry in found["experiments"]):
        yield "all scores are equal byte for byte"
        return
    if any(mean["note"] for mean in every):
        small = sum(bool(mean["note"]) for mean in every)
        yield f"{small} intervals are of few or skewed cases and may be too narrow (--json says why of each)"
    if any(mean["left_out"] for mean in every):
        yield "cases (-n): n cases of either side that cannot be compared"
    yield CHANCE_MEANS
    counts = found["verdicts"]
    yield f"of {len(every)} means: " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in counts)
