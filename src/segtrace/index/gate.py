"""The gate over a raw data set: its numbers, geometry, intensities, label prevalence and size, components."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from segtrace.gates import Expectation, between, mean_between, one_of, row_count, sum_between, unique
from segtrace.geometry import parse_numbers


def population(
    rows: Sequence[Mapping[str, Any]],
    *,
    labels: Sequence[int],
    groups: Iterable[str] = (),
    sides: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """One row a case, of plain numbers: what the gate judges. ``rows`` are those of ``cases``; ``groups`` and
    ``sides`` are the classes and the owner's sides whose cases are counted.
    """
    result = []
    for row in rows:
        voxels, components = json.loads(row["voxels"]), json.loads(row["components"])
        spacing, size = parse_numbers(row["spacing_mm"]), parse_numbers(row["size"])
        entry: dict[str, Any] = {
            "case": row["case"],
            "files": row["images"],
            "intensity_min": row["intensity_min"],
            "intensity_max": row["intensity_max"],
            "group": row["group"],
            "side": row["side"],
            "spacing_smallest_mm": min(spacing),
            "spacing_largest_mm": max(spacing),
            "size_smallest": int(min(size)),
            "size_largest": int(max(size)),
            "empty": int(not any(voxels[str(label)] for label in labels)),
        }
        entry |= {f"group={name}": int(row["group"] == name) for name in groups}
        entry |= {f"side={name}": int(row["side"] == name) for name in sides}
        for label in labels:
            entry[f"holds_{label}"] = int(voxels[str(label)] > 0)
            entry[f"components_{label}"] = components[str(label)]
            share = voxels[str(label)] / sum(voxels.values())
            entry[f"foreground_{label}"] = share or math.nan  # judged where there is some
        result.append(entry)
    first = set[str]()
    for entry, row in zip(result, rows, strict=True):
        entry["first_of_subject"] = int(row["subject"] not in first)
        first.add(row["subject"])
    return result


def expectations(
    gate: Mapping[str, Any], *, labels: Mapping[int, str], excluded: int = 0
) -> list[Expectation]:
    """The expectations of a data set; ``gate`` is a :class:`segtrace.config.models.Gate` as a mapping.

    ``excluded`` cases were left out on purpose and count as there.
    """
    found = [unique("each case once", "case"), unique("each image file once", "files")]
    if gate["cases"] is not None:
        low, high = (max(0, end - excluded) for end in gate["cases"])
        found.append(row_count("number of cases" + (f", {excluded} excluded" if excluded else ""), low, high))
    if gate["subjects"] is not None:
        low, high = gate["subjects"]
        found.append(sum_between("number of subjects", "first_of_subject", max(0, low - excluded), high))
    for column in ("group", "side"):
        found += _numbers_of(column, gate[f"{column}s"], excluded)
    if gate["spacing_mm"] is not None:
        low, high = gate["spacing_mm"]
        # A hundredth of a per cent: headers store spacings in single precision.
        found.append(between("smallest spacing, mm", "spacing_smallest_mm", low * (1 - 1e-4), None))
        found.append(between("largest spacing, mm", "spacing_largest_mm", None, high * (1 + 1e-4)))
    if gate["size"] is not None:
        found.append(between("smallest size, voxels", "size_smallest", gate["size"][0], None))
        found.append(between("largest size, voxels", "size_largest", None, gate["size"][1]))
    if gate["intensity"] is not None:
        found.append(between("smallest intensity", "intensity_min", gate["intensity"][0], None))
        found.append(between("largest intensity", "intensity_max", None, gate["intensity"][1]))
    prevalence = {int(label): ends for label, ends in gate["prevalence"].items()}
    for label, (low, high) in sorted(prevalence.items()):
        name = f"fraction of cases with label {label} ({labels[label]})"
        found.append(mean_between(name, f"holds_{label}", low, high))
    for label, (low, high) in sorted((int(label), ends) for label, ends in gate["foreground"].items()):
        name = f"mean share of the voxels of label {label} ({labels[label]}), where there is some"
        found.append(mean_between(name, f"foreground_{label}", low, high))
    found.append(mean_between("fraction of cases with an empty mask", "empty", *gate["empty_masks"]))
    if gate["max_components"] is not None:
        for label, title in sorted(labels.items()):
            name = f"connected components of label {label} ({title})"
            found.append(between(name, f"components_{label}", None, gate["max_components"]))
    return found


def _numbers_of(column: str, wanted: Mapping[str, Sequence[int]], excluded: int) -> list[Expectation]:
    """The number of cases of each class or side that the gate names, and that there is no other."""
    if not wanted:
        return []
    found = [one_of(f"every {column} is one of {', '.join(sorted(wanted))}", column, sorted(wanted))]
    for name, (low, high) in sorted(wanted.items()):
        title = f"number of cases of {column} {name}"
        found.append(sum_between(title, f"{column}={name}", max(0, low - excluded), high))
    return found
