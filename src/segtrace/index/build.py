"""Indexing cases: bytes, geometry, intensities, masks and thumbnails of each, and all faults of all at once."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import datasets, digests, files, fingerprints, images
from segtrace.datasets import Case
from segtrace.errors import SegtraceError
from segtrace.geometry import format_numbers
from segtrace.index import cache as kept_cases
from segtrace.structures import structures

#: Names that the store's folder needs for itself.
RESERVED = ("gate",)


@dataclass(frozen=True)
class Job:
    """All that indexing one case needs; plain enough to cross a process boundary."""

    dataset: str
    root: Path
    reader: str
    options: Mapping[str, Any]
    case: Case
    dimensions: int
    channels: int
    labels: tuple[int, ...]
    empty_allowed: bool


@dataclass(frozen=True)
class Indexed:
    """What came of a case: its row and thumbnails, or what is wrong with it. ``state`` is that of its files
    before reading.
    """

    case: str
    row: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    state: kept_cases.State = ()
    thumbnails: np.ndarray = field(default_factory=lambda: np.zeros(fingerprints.SHAPE, np.uint8))


def index_case(job: Job) -> Indexed:
    """Read one case and describe it as a row of ``cases``; faults come back as text, none is raised."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # the cores are shared out by case
    case = job.case
    names = [*case.images, *case.labels]
    if len(names) > 6:  # slices of a series: its first file says where
        names = [names[0], f"{len(names) - 1} more files"]
    place = f"{case.case} ({', '.join(names)})"
    try:
        state = kept_cases.file_state(job.root, case)
        row, thumbnails, problems = _describe(job)
    except SegtraceError as error:
        return Indexed(case.case, problems=(f"{place}: {error}",))
    except FileNotFoundError as error:
        return Indexed(case.case, problems=(f"{place}: {error.filename}: no such file",))
    if kept_cases.file_state(job.root, case) != state:
        problems = [*problems, "a file was changed while it was read; run index again"]
    found = tuple(f"{place}: {problem}" for problem in problems)
    return Indexed(case.case, row, found, state, thumbnails)


def _describe(job: Job) -> tuple[dict[str, Any], np.ndarray, list[str]]:
    """The row of a case, its thumbnails and its problems. The first two are complete only if there is no problem."""
    case, problems = job.case, []
    none = np.zeros(fingerprints.SHAPE, np.uint8)
    files.check_safe_name(case.case, what="the case")
    if case.case in RESERVED or case.case.endswith(".prov"):
        problems.append(
            f"the case cannot be named {case.case!r}: files of that name stand beside the prepared cases"
        )
    if not case.labels:
        return {}, none, [*problems, "the case has no label file; list it under 'exclude' to leave it out"]
    reader = datasets.reader(job.reader)
    image = reader.read_image(job.root, case, job.options)
    grid = images.grid_of(image)
    array = images.to_array(image)
    if grid.dimensions != job.dimensions:
        problems.append(f"the image has {grid.dimensions} dimensions, the data set has {job.dimensions}")
    if array.shape[0] != job.channels:
        problems.append(f"the image has {array.shape[0]} channels, the data set has {job.channels}")
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        problems.append(f"the image has {bad} values of {array.size} that are not finite (NaN or infinite)")
    try:
        label_image, notes = reader.read_label(job.root, case, job.options)
        label_grid = images.grid_of(label_image)
        label = images.label_array(label_image, where=", ".join(case.labels))
    except SegtraceError as error:  # the image's faults are worth telling even so
        return {}, none, [*problems, str(error)]
    problems += [f"image and label differ: {difference}" for difference in grid.differences(label_grid)]
    values, counts = np.unique(label, return_counts=True)
    foreign = [int(value) for value in values if value != 0 and value not in job.labels]
    if foreign:
        problems.append(
            f"the label holds {_listed(foreign)}; expected 0 (background) and {_listed(job.labels)} only"
        )
    if not job.empty_allowed and not foreign and not label.any():
        problems.append("the label is empty: every voxel is background")
    if problems:
        return {}, none, problems
    voxels = {str(value): 0 for value in (0, *job.labels)}
    voxels.update({str(int(value)): int(count) for value, count in zip(values, counts, strict=True)})
    found = structures(label, label_grid, labels=job.labels)
    image_sha256 = files.sha256_files(job.root, case.images)
    label_sha256 = files.sha256_files(job.root, case.labels)
    low, high = float(array.min()), float(array.max())
    thumbnails = fingerprints.thumbnails(array, label)
    if low == high:
        notes = [*notes, f"the image is constant ({low:g})"]
    row = {
        "dataset": job.dataset,
        "case": case.case,
        "subject": case.subject,
        "group": case.group,
        "side": case.side,
        "images": json.dumps(list(case.images)),
        "labels": json.dumps(list(case.labels)),
        "image_sha256": image_sha256,
        "label_sha256": label_sha256,
        "pixels_sha256": pixels_sha256(array),
        "fingerprint": fingerprints.as_text(fingerprints.fingerprint(thumbnails[0])),
        "digest": case_digest(image_sha256, label_sha256, labels=job.labels, options=job.options),
        "dimensions": grid.dimensions,
        "channels": array.shape[0],
        "dtype": str(array.dtype),
        "size": format_numbers(grid.size),
        "spacing_mm": format_numbers(grid.spacing_mm),
        "origin_mm": format_numbers(grid.origin_mm),
        "direction": format_numbers(grid.direction),
        "intensity_min": low,
        "intensity_max": high,
        "voxels": json.dumps(voxels, sort_keys=True),
        "components": json.dumps({str(v): s.components for v, s in found.items()}, sort_keys=True),
        "centroids_mm": json.dumps(
            {str(v): s.centroid_mm for v, s in found.items() if s.voxels}, sort_keys=True
        ),
        "notes": "; ".join(notes),
    }
    return row, thumbnails, []


def _listed(values: Sequence[int], limit: int = 10) -> str:
    shown = ", ".join(str(value) for value in values[:limit])
    return shown + (f" and {len(values) - limit} more values" if len(values) > limit else "")


def case_digest(
    image_sha256: str, label_sha256: str, *, labels: Sequence[int], options: Mapping[str, Any]
) -> str:
    """The content digest of a case: its bytes, and what of the configuration decides how they are read."""
    return digests.digest(
        {
            "image_sha256": image_sha256,
            "label_sha256": label_sha256,
            "labels": sorted(labels),
            "options": dict(options),
        }
    )


def pixels_sha256(array: np.ndarray) -> str:
    """SHA-256 of an image's shape and values, (C, D, H, W) or (C, H, W): equal in any container or dtype."""
    total = hashlib.sha256("x".join(str(n) for n in array.shape).encode())
    for channel in array:
        for part in channel:  # slice by slice: the doubles of a whole volume would be eight times its bytes
            total.update(
                (np.ascontiguousarray(part, "<f8") + 0.0).tobytes()
            )  # + 0.0 makes -0.0 and 0.0 one value
    return total.hexdigest()


def build(
    jobs: Sequence[Job], *, cache: Path, key: str, run: Any, started_ns: int | None = None
) -> tuple[list[dict[str, Any]], list[np.ndarray], list[str]]:
    """Rows and thumbnails of all faultless ``jobs`` in order, and the problems of all of them.

    A row lacks ``duplicate_group`` alone, which is a matter of all cases. ``key`` names everything but the files
    that decides a row (code, options, labels). ``run(jobs)`` gives ``[index_case(job) for job in jobs]`` and
    decides how many processes do it.
    """
    started = time.time_ns() if started_ns is None else started_ns
    entries = kept_cases.read(cache, key=key)
    rows: dict[str, dict[str, Any]] = {}
    pictures: dict[str, np.ndarray] = {}
    kept: dict[str, Any] = {}
    for job in jobs:
        name = job.case.case
        row = kept_cases.row(entries.get(name), job.root, job.case)
        if row is not None:
            rows[name], pictures[name], kept[name] = row, entries[name]["thumbnails"], entries[name]
    problems: list[str] = []
    fresh = [job for job in jobs if job.case.case not in rows]
    for job, indexed in zip(fresh, run(fresh), strict=True):
        problems += indexed.problems
        if not indexed.problems:
            rows[indexed.case], pictures[indexed.case] = indexed.row, indexed.thumbnails
            entry = kept_cases.entry(job.case, indexed.row, indexed.state, started_ns=started)
            if entry is not None:
                kept[indexed.case] = entry
    sound = [job.case.case for job in jobs if job.case.case in rows]
    kept_cases.write(cache, kept, {name: pictures[name] for name in sound}, key=key)
    return [rows[name] for name in sound], [pictures[name] for name in sound], problems
