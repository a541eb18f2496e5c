"""Scoring cases: prediction and reference compared in bytes, geometry and values, then measured.

The expected cases come from the split, never from the folder of predictions: a case without a
prediction has rows with the worst scores there are. Everything that does not fit is an error, not a score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import datasets, files, images, store
from segtrace.datasets import Case
from segtrace.errors import SegtraceError, raise_all
from segtrace.geometry import Grid
from segtrace.metrics import measures


@dataclass(frozen=True)
class Native:
    """A reference as published: the reader of the data set, its folder and the case's indexed bytes."""

    root: Path
    reader: str
    options: Mapping[str, Any]
    case: Case
    label_sha256: str


@dataclass(frozen=True)
class Prepared:
    """A reference as prepared: the store's folder and the digest of the case in ``prepared.csv``."""

    folder: Path
    digest: str


@dataclass(frozen=True)
class Job:
    """All that one case's scoring needs; plain enough to cross a process boundary.

    ``prediction`` is the label map and ``sha256`` its recorded checksum; both are None where the case was
    never segmented. ``tolerances`` are those of the surface Dice by label and region, in millimetres, or in voxels where
    the spacing is not known. ``keys`` are the columns that name the run and the variant.
    ``regions`` maps their numbers to the labels that they unite.
    """

    case: str
    prediction: Path | None
    sha256: str | None
    reference: Native | Prepared
    labels: tuple[int, ...]
    spacing_known: bool
    tolerances: Mapping[int, float]
    keys: Mapping[str, Any]
    regions: Mapping[int, Sequence[int]] = field(default_factory=dict)


def score_case(job: Job) -> list[dict[str, Any]]:
    """The rows of the ``scores`` table of one case, one a label and region.

    Raises :class:`SegtraceError` that names the case and the file for a reference or a prediction that
    is not the recorded one, that lies on another grid, or that holds undeclared labels.
    """
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # the cores are shared out by case
    try:
        reference, grid = read_reference(job)
        spacing = grid.array_spacing_mm if job.spacing_known else None
        if job.prediction is None or not job.prediction.is_file():
            found = measures.missing(
                reference,
                labels=job.labels,
                spacing_mm=spacing,
                tolerances=job.tolerances,
                regions=job.regions,
            )
        else:
            prediction = read_prediction(job, grid)
            found = measures.measure(
                prediction,
                reference,
                labels=job.labels,
                spacing_mm=spacing,
                tolerances=job.tolerances,
                regions=job.regions,
            )
    except SegtraceError as error:
        raise SegtraceError(f"case {job.case}: {error}") from None
    return [{**job.keys, "case": job.case, **asdict(row)} for row in found]


def read_reference(job: Job) -> tuple[np.ndarray, Grid]:
    """The reference, uint8 (D, H, W) or (H, W), and its grid."""
    if isinstance(job.reference, Prepared):
        return _prepared(job.reference, job)
    native = job.reference
    where = f"{native.root}: {', '.join(native.case.labels)}"
    if not native.case.labels:
        raise SegtraceError(f"{native.root}: the case has no label file; it cannot be scored")
    try:
        found = files.sha256_files(native.root, native.case.labels)
    except FileNotFoundError as error:
        raise SegtraceError(f"{error.filename}: no such file; run index again") from None
    if found != native.label_sha256:
        raise SegtraceError(
            f"{where}: sha256 is {found}, the index says {native.label_sha256}; run index again"
        )
    label, _ = datasets.reader(native.reader).read_label(native.root, native.case, native.options)
    array = images.label_array(label, where=where)
    _check_values(array, job.labels, where=where)
    return array.astype(np.uint8), images.grid_of(label)


def _prepared(reference: Prepared, job: Job) -> tuple[np.ndarray, Grid]:
    where = f"{reference.folder}/{job.case}"
    if not store.is_intact(reference.folder, job.case, digest=reference.digest):
        raise SegtraceError(f"{where}.*: not what prepared.csv says; run prepare again")
    opened = store.open_case(reference.folder, job.case)
    if opened.label is None:
        raise SegtraceError(f"{where}: the prepared case has no label; it cannot be scored")
    _check_values(opened.label, job.labels, where=f"{where}.label.npy")
    return np.asarray(opened.label), Grid.from_json(opened.record["prepared_grid"])


def read_prediction(job: Job, reference: Grid) -> np.ndarray:
    """The predicted label map, uint8 (D, H, W) or (H, W), once it is known to lie on ``reference``.

    Size, spacing, origin and direction are compared for volumes, the size alone for pictures, which
    have no geometry of their own.
    """
    path = job.prediction
    assert path is not None
    if job.sha256 is None:
        raise SegtraceError(f"{path}: is not in predictions.csv beside it; run predict again")
    found = files.sha256_file(path)
    if found != job.sha256:
        raise SegtraceError(
            f"{path}: sha256 is {found}, predictions.csv says {job.sha256}; run predict again"
        )
    label = images.read_label_file(path)
    grid = images.grid_of(label)
    if path.name.endswith(".png") and grid.size == reference.size:
        grid = reference
    apart = (
        grid.differences(reference)
        if grid.dimensions == reference.dimensions
        else [f"{grid.dimensions} dimensions and {reference.dimensions}"]
    )
    raise_all(
        apart,
        heading=f"{path}: does not lie on its reference (prediction's value, then the reference's)",
        remedy="Write the prediction on the reference's grid; it is never resampled to be scored.",
    )
    array = images.label_array(label, where=str(path))
    _check_values(array, job.labels, where=str(path))
    return array.astype(np.uint8)


def _check_values(array: np.ndarray, labels: Sequence[int], *, where: str) -> None:
    """Refuse values that are neither background nor a declared label."""
    least, greatest = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if least >= 0 and greatest <= len(labels) and set(labels) == set(range(1, len(labels) + 1)):
        return  # the usual case, without a search for all values
    strange = sorted({int(value) for value in np.unique(array)} - {0, *labels})
    if strange:
        counts = ", ".join(f"{value} in {int((array == value).sum())} voxels" for value in strange[:10])
        declared = ", ".join(str(value) for value in sorted(labels))
        raise SegtraceError(f"{where}: values that are no label: {counts}; declared are 0 and {declared}")
