"""The new tree, read case by case as the index will read it: what is faulty, and what the configuration should say."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segtrace import datasets, duplicates, parallel
from segtrace.add_dataset.proposal import Proposal
from segtrace.config import data_models, models
from segtrace.datasets import Case
from segtrace.errors import SegtraceError
from segtrace.geometry import parse_numbers
from segtrace.index import build
from segtrace.split import protocols

#: Sides of prepared pictures; the least that shows the smallest labelled part with so many pixels is taken.
SIDES, LEAST_PIXELS = (256, 384, 512), 16
#: Prepared volumes have at most so many voxels in the median case: finer spacing is coarsened to it.
MOST_VOXELS = 192**3
#: Seeds that are tried until every side of the split has a case.
SEEDS = 50


@dataclass(frozen=True)
class Examined:
    """Cases as they were read."""

    cases: list[Case]
    rows: list[dict[str, Any]]
    faults: dict[str, str] = field(default_factory=dict)
    """Case → what is wrong with it, without the places of its files."""


def examine(root: Path, name: str, proposal: Proposal) -> Examined:
    """Read every case below ``root``. Raises :class:`SegtraceError` if the tree cannot be listed."""
    cases = datasets.reader(proposal.reader).cases(root, proposal.options)
    jobs = [
        build.Job(
            dataset=name,
            root=root,
            reader=proposal.reader,
            options=proposal.options,
            case=case,
            dimensions=proposal.dimensions,
            channels=len(proposal.channels),
            labels=tuple(sorted(proposal.labels)),
            empty_allowed=True,
        )
        for case in cases
    ]
    workers = len(os.sched_getaffinity(0)) if len(jobs) > 16 else 1
    found = parallel.map_cases(
        build.index_case, jobs, label="read cases", workers=workers, name=lambda job: job.case.case
    )
    faults = {
        case.case: "; ".join(_short(problem, case, root) for problem in indexed.problems)
        for case, indexed in zip(cases, found, strict=True)
        if indexed.problems
    }
    sound = [indexed for indexed in found if not indexed.problems]
    rows = [indexed.row for indexed in sound]
    if rows:
        duplicates.grouped(rows, np.stack([indexed.thumbnails for indexed in sound]))
    return Examined(cases, rows, faults)


def _short(problem: str, case: Case, root: Path) -> str:
    """A problem without the case and the new tree's hidden place, on one line."""
    text = problem.removeprefix(f"{case.case} ({', '.join([*case.images, *case.labels])}): ")
    return " ".join(text.replace(f"{root}/", "").split())


def empty_masks(rows: Sequence[Mapping[str, Any]]) -> int:
    """How many cases hold no label."""
    return sum(not any(_labelled(row).values()) for row in rows)


def _labelled(row: Mapping[str, Any]) -> dict[int, int]:
    return {int(value): count for value, count in json.loads(row["voxels"]).items() if value != "0"}


def recipe(rows: Sequence[Mapping[str, Any]], dimensions: int) -> dict[str, Any]:
    """The default recipe with the size or spacing that suits these cases."""
    found: dict[str, Any] = dict(data_models.DEFAULT_RECIPES[dimensions]["default"])
    if dimensions == 2:
        return found | {"size": [_side(rows)] * 2}
    return found | {"spacing_mm": _spacing(rows)}


def _side(rows: Sequence[Mapping[str, Any]]) -> int:
    """256, or less for small pictures (a multiple of 32), or more where small structures would be lost."""
    sizes = [parse_numbers(row["size"]) for row in rows]
    median = float(np.median([max(size) for size in sizes]))
    if median <= SIDES[0]:
        return min(SIDES[0], max(64, 32 * math.ceil(median / 32)))
    for side in SIDES:
        shown = [
            count * side * side / math.prod(size)
            for row, size in zip(rows, sizes, strict=True)
            for count in _labelled(row).values()
            if count
        ]
        if not shown or min(shown) >= LEAST_PIXELS:
            return side
    return SIDES[-1]


def _spacing(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """The median spacing along each patient's axis (right, anterior, superior), coarsened to what can be handled."""
    spacings, extents = [], []
    for row in rows:
        direction = np.abs(np.reshape(parse_numbers(row["direction"]), (3, 3)))
        order = [int(axis) for axis in direction.argmax(axis=1)]
        order = order if sorted(order) == [0, 1, 2] else [0, 1, 2]
        spacing = np.array(parse_numbers(row["spacing_mm"]))[order]
        spacings.append(spacing)
        extents.append(spacing * np.array(parse_numbers(row["size"]))[order])
    spacing, extent = np.median(spacings, axis=0), np.median(extents, axis=0)
    voxels = float(np.prod(extent / spacing))
    factor = max(1.0, (voxels / MOST_VOXELS) ** (1 / 3))
    return [float(f"{value * factor:.3g}") for value in spacing]


def protocol(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], str]:
    """The default protocol with the first seed by which every side has a case, and what is wrong if there is none."""
    found = models.Protocol.model_validate(data_models.DEFAULT_PROTOCOLS["default"])
    labels = sorted({int(value) for row in rows for value in json.loads(row["voxels"])} - {0})
    for seed in range(SEEDS):
        trial = found.model_copy(update={"seed": seed})
        try:
            protocols.assign(list(rows), trial, where="the default protocol", labels=labels)
        except SegtraceError:
            continue
        return dict(data_models.DEFAULT_PROTOCOLS["default"]) | {"seed": seed}, ""
    subjects = len({row["subject"] for row in rows})
    return dict(data_models.DEFAULT_PROTOCOLS["default"]), (
        f"{subjects} subjects cannot be divided into training, validation and test: 'split' will stop; add cases"
    )
