"""The gate over prepared masks: no structure lost, volume, components and place kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from segtrace.gates import Expectation, between
from segtrace.validate.masks import JUDGED_VOXELS


def population(checks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a case and label, of plain numbers: what the gate judges. ``checks`` are rows of ``mask_checks``.

    The column ``case`` names case and label; a value that is not judged is None.
    """
    result = []
    for row in checks:
        judged = row["voxels_before"] >= JUDGED_VOXELS and row["voxels_after"] > 0
        result.append(
            {
                "case": f"{row['case']} label {row['label']}",
                "lost": int(row["voxels_before"] > 0 and row["voxels_after"] == 0),
                "appeared": int(row["voxels_before"] == 0 and row["voxels_after"] > 0),
                "volume_change": float(row["volume_change"]) if judged else float("nan"),
                "components": row["components_after"],
                "centroid_shift_voxels": (
                    float("nan")
                    if row["centroid_shift_voxels"] is None
                    else float(row["centroid_shift_voxels"])
                ),
            }
        )
    return result


def expectations(gate: Mapping[str, Any]) -> list[Expectation]:
    """The expectations of a data set; ``gate`` is a :class:`segtrace.config.models.Gate` as a mapping."""
    change = gate["volume_change"]
    found = [
        between("no structure is lost", "lost", 0, 0),
        between("no structure appears", "appeared", 0, 0),
        between(
            f"relative change of volume, labels of {JUDGED_VOXELS} raw voxels or more",
            "volume_change",
            -change,
            change,
        ),
        between(
            "shift of a label's centroid in the patient, voxels",
            "centroid_shift_voxels",
            0,
            gate["centroid_shift_voxels"],
        ),
    ]
    if gate["max_components"] is not None:
        found.append(between("connected components of a label", "components", None, gate["max_components"]))
    return found
