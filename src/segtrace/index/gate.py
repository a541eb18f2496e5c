"""The gate over a raw data set: its number of cases, geometry, label prevalence, components."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from segtrace.gates import Expectation, between, mean_between, row_count, unique
from segtrace.geometry import parse_numbers


def population(rows: Sequence[Mapping[str, Any]], *, labels: Sequence[int]) -> list[dict[str, Any]]:
    """One row a case, of plain numbers: what the gate judges. ``rows`` are those of ``cases``."""
    result = []
    for row in rows:
        voxels, components = json.loads(row["voxels"]), json.loads(row["components"])
        spacing, size = parse_numbers(row["spacing_mm"]), parse_numbers(row["size"])
        entry: dict[str, Any] = {
            "case": row["case"],
            "files": row["images"],
            "channels": row["channels"],
            "spacing_smallest_mm": min(spacing),
            "spacing_largest_mm": max(spacing),
            "size_smallest": int(min(size)),
            "size_largest": int(max(size)),
            "empty": int(not any(voxels[str(label)] for label in labels)),
        }
        for label in labels:
            entry[f"holds_{label}"] = int(voxels[str(label)] > 0)
            entry[f"components_{label}"] = components[str(label)]
        result.append(entry)
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
    if gate["spacing_mm"] is not None:
        low, high = gate["spacing_mm"]
        # A hundredth of a per cent: headers store spacings in single precision.
        found.append(between("smallest spacing, mm", "spacing_smallest_mm", low * (1 - 1e-4), None))
        found.append(between("largest spacing, mm", "spacing_largest_mm", None, high * (1 + 1e-4)))
    if gate["size"] is not None:
        found.append(between("smallest size, voxels", "size_smallest", gate["size"][0], None))
        found.append(between("largest size, voxels", "size_largest", None, gate["size"][1]))
    prevalence = {int(label): ends for label, ends in gate["prevalence"].items()}
    for label, (low, high) in sorted(prevalence.items()):
        name = f"fraction of cases with label {label} ({labels[label]})"
        found.append(mean_between(name, f"holds_{label}", low, high))
    found.append(mean_between("fraction of cases with an empty mask", "empty", *gate["empty_masks"]))
    if gate["max_components"] is not None:
        for label, title in sorted(labels.items()):
            name = f"connected components of label {label} ({title})"
            found.append(between(name, f"components_{label}", None, gate["max_components"]))
    return found
