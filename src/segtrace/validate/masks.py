"""Measuring prepared masks against the index: nothing that ``prepare`` claims is taken on trust.

Voxels, components and centroids are counted again in the stored arrays. The raw side comes from the
index, which measured the files themselves. A structure that was there must still be there, where it
was in the patient, and of about the same volume.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtrace import files, store
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid, parse_numbers
from segtrace.structures import Structure, structures

#: Relative volume change is judged for labels of at least this many raw voxels: below, one voxel is too much of it.
JUDGED_VOXELS = 64


@dataclass(frozen=True)
class Job:
    """All that measuring one case needs: its row of ``cases`` and its row of ``prepared``."""

    folder: Path
    raw: Mapping[str, Any]
    prepared: Mapping[str, Any]
    labels: tuple[int, ...]


def measure_case(job: Job) -> list[dict[str, Any]]:
    """Rows of ``mask_checks`` of one case, one a label.

    Raises :class:`SegtraceError`, naming the case, if its arrays are missing, are not those that
    the batch table vouches for, or do not fit each other.
    """
    name = job.raw["case"]
    problems = stored_faults(job)
    if problems:
        raise SegtraceError(f"{name}: {'; '.join(problems)}; run prepare again")
    case = store.open_case(job.folder, name)
    grid = Grid.from_json(case.record["prepared_grid"])
    image, label = np.asarray(case.image), case.label
    if label is None:
        raise SegtraceError(f"{name}: the case has no prepared label; run prepare again")
    label = np.asarray(label)
    if image.shape[1:] != grid.array_shape or label.shape != grid.array_shape:
        problems.append(f"image {image.shape[1:]}, label {label.shape} and grid {grid.array_shape} differ")
    if image.shape[0] != job.raw["channels"]:
        problems.append(
            f"the prepared image has {image.shape[0]} channels, the raw image {job.raw['channels']}"
        )
    bad = int(image.size - np.isfinite(image).sum())
    if bad:
        problems.append(f"the prepared image has {bad} values that are not finite")
    foreign = sorted(set(np.unique(label).tolist()) - {0, *job.labels})
    if foreign:
        problems.append(f"the prepared label holds {foreign}; expected 0 and {list(job.labels)} only")
    if problems:
        raise SegtraceError(f"{name}: {'; '.join(problems)}")
    found = structures(label, grid, labels=job.labels)
    return [_measure(job.raw, found[value], grid, value) for value in sorted(job.labels)]


def stored_faults(job: Job) -> list[str]:
    """What is wrong with a case's files as a whole: missing, or not those of the batch table."""
    name = job.raw["case"]
    record = store.read_record(job.folder, name)
    if record is None:
        return [f"files {job.folder}/{name}.* are missing or incomplete"]
    found = []
    if record.get("digest") != job.prepared["digest"]:
        found.append(
            f"its record says digest {record.get('digest')}, its batch table {job.prepared['digest']}"
        )
    for what, key in (("image", "image_sha256"), ("label", "label_sha256")):
        if job.prepared[key]:
            actual = files.sha256_file(job.folder / f"{name}.{what}.npy")
            if actual != job.prepared[key]:
                found.append(
                    f"{name}.{what}.npy has sha256 {actual}, its batch table says {job.prepared[key]}"
                )
    return found


def _measure(raw: Mapping[str, Any], after: Structure, grid: Grid, value: int) -> dict[str, Any]:
    """The row of one label. What cannot be measured (a label that is absent on a side) is None."""
    voxels_before = int(json.loads(raw["voxels"]).get(str(value), 0))
    volume_before = voxels_before * float(np.prod(parse_numbers(raw["spacing_mm"])))
    volume_after = after.voxels * grid.voxel_volume_mm3
    change = shift = None
    if voxels_before:
        change = round((volume_after - volume_before) / volume_before, 9)
        if after.centroid_mm is not None:
            shift = round(
                distance_voxels(after.centroid_mm, json.loads(raw["centroids_mm"])[str(value)], grid), 6
            )
    problem = ""
    if voxels_before and not after.voxels:
        problem = f"lost: {voxels_before} raw voxels, none prepared"
    elif after.voxels and not voxels_before:
        problem = f"appeared: no raw voxel, {after.voxels} prepared"
    return {
        "case": raw["case"],
        "label": value,
        "voxels_before": voxels_before,
        "voxels_after": after.voxels,
        "volume_before_mm3": volume_before,
        "volume_after_mm3": volume_after,
        "volume_change": change,
        "components_before": int(json.loads(raw["components"]).get(str(value), 0)),
        "components_after": after.components,
        "centroid_shift_voxels": shift,
        "problem": problem,
    }


def distance_voxels(first_mm: Sequence[float], second_mm: Sequence[float], grid: Grid) -> float:
    """Distance between two positions (x, y[, z] in mm) in voxels of ``grid``: Euclidean, each axis by its spacing."""
    apart = np.linalg.solve(grid.matrix(), np.asarray(first_mm, float) - np.asarray(second_mm, float))
    return float(np.linalg.norm(apart))


def union(
    cases: Sequence[Mapping[str, Any]], batches: Sequence[Sequence[Mapping[str, Any]]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The batch tables as one table sorted by case, and what is missing or too much against ``cases``."""
    rows: dict[str, dict[str, Any]] = {}
    problems = []
    for number, batch in enumerate(batches):
        for row in batch:
            if row["case"] in rows:
                problems.append(f"{row['case']}: in batch {rows[row['case']]['batch']} and in batch {number}")
            rows[row["case"]] = dict(row)
    known = {row["case"] for row in cases}
    problems += [f"{case}: in the index, but not prepared" for case in sorted(known - set(rows))]
    problems += [f"{case}: prepared, but not in the index" for case in sorted(set(rows) - known)]
    return [rows[case] for case in sorted(rows)], problems


def stale(prepared: Sequence[Mapping[str, Any]], expected: Mapping[str, str], *, shown: int = 5) -> list[str]:
    """What was prepared from other data, recipe or code than there are now: one line, or none.

    ``expected`` maps each case to the digest that it should have.
    """
    cases = [row["case"] for row in prepared if row["digest"] != expected[row["case"]]]
    if not cases:
        return []
    more = f" and {len(cases) - shown} more" if len(cases) > shown else ""
    listed = ", ".join(cases[:shown])
    return [
        f"{len(cases)} of {len(prepared)} cases were prepared from other data, recipe or code: {listed}{more}"
    ]
