"""Preparing cases: read, orient, resample, scale, and store with what maps a prediction back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import datasets, files, images, store
from segtrace.datasets import Case
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid, format_numbers
from segtrace.prepare import intensity, resample


@dataclass(frozen=True)
class Job:
    """All that one case's preparation needs; plain enough to cross a process boundary."""

    root: Path
    reader: str
    options: Mapping[str, Any]
    case: Case
    image_sha256: str
    label_sha256: str
    labels: tuple[int, ...]
    recipe: Mapping[str, Any]
    folder: Path
    batch: int
    digest: str


@dataclass(frozen=True)
class Prepared:
    """A prepared case in memory. ``native`` is the file's grid, ``oriented`` the same voxels reordered."""

    image: np.ndarray
    label: np.ndarray | None
    native: Grid
    oriented: Grid
    grid: Grid
    volumes_before_mm3: dict[str, float]
    volumes_after_mm3: dict[str, float]
    intensity: list[dict[str, Any]]


def prepare_arrays(
    image: sitk.Image, label: sitk.Image | None, recipe: Mapping[str, Any], *, labels: Sequence[int]
) -> Prepared:
    """Prepare one case; ``recipe`` is a :class:`segtrace.config.models.Recipe` as a mapping.

    Order: orientation, resampling (image and label onto one grid), intensity. The image comes out
    float32 (C, D, H, W) or (C, H, W), the label uint8 without the channel axis. Where the recipe changes
    no spacing and no size, no voxel is interpolated. Raises :class:`SegtraceError` for an image with
    values that are not finite, and where image and label lie on different grids.
    """
    native = images.grid_of(image)
    if label is not None:
        apart = native.differences(images.grid_of(label))
        if apart:
            raise SegtraceError(f"image and label differ: {'; '.join(apart)}")
        label = sitk.Cast(label, sitk.sitkUInt8)
        label.CopyInformation(image)  # within the tolerance, the image's grid is taken for both
    image = resample.orient(image, recipe["orientation"])
    oriented = images.grid_of(image)
    grid = resample.target_grid(oriented, recipe)
    array = resample.resample_image(
        image, grid, interpolation=recipe["image_interpolation"], antialias=recipe["antialias"]
    )
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        raise SegtraceError(f"the image has {bad} values that are not finite")
    array, notes = intensity.apply(array, recipe["intensity"])
    mask, before, after = None, {}, {}
    if label is not None:
        before = _volumes(sitk.GetArrayViewFromImage(label), native, labels)
        mask = resample.resample_label(
            resample.orient(label, recipe["orientation"]),
            grid,
            interpolation=recipe["label_interpolation"],
            labels=labels,
        )
        after = _volumes(mask, grid, labels)
    return Prepared(array, mask, native, oriented, grid, before, after, notes)


def _volumes(label: np.ndarray, grid: Grid, labels: Sequence[int]) -> dict[str, float]:
    counts = np.bincount(label.ravel(), minlength=max(labels, default=0) + 1)
    return {str(value): float(counts[value] * grid.voxel_volume_mm3) for value in sorted(labels)}


def prepare_case(job: Job) -> dict[str, Any]:
    """Prepare and store one case; its row of the batch table. An intact case is left as it is.

    Raises :class:`SegtraceError` that names the case if its files are not those of the index, or
    cannot be prepared.
    """
    name = job.case.case
    if store.is_intact(job.folder, name, digest=job.digest):
        record = store.read_record(job.folder, name)
        if record is not None:
            return _row(record, job.batch)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # the cores are shared out by case
    _check_bytes(job)
    reader = datasets.reader(job.reader)
    label = None
    try:
        image = reader.read_image(job.root, job.case, job.options)
        if job.case.labels:
            label, _ = reader.read_label(job.root, job.case, job.options)
        done = prepare_arrays(image, label, job.recipe, labels=job.labels)
    except SegtraceError as error:
        raise SegtraceError(f"{name} ({', '.join([*job.case.images, *job.case.labels])}): {error}") from None
    record = store.write_case(
        job.folder,
        name,
        image=done.image,
        label=done.label,
        record={
            "case": name,
            "batch": job.batch,
            "digest": job.digest,
            "native_grid": done.native.to_json(),
            "oriented_grid": done.oriented.to_json(),
            "prepared_grid": done.grid.to_json(),
            "volumes_before_mm3": done.volumes_before_mm3,
            "volumes_after_mm3": done.volumes_after_mm3,
            "intensity": done.intensity,
        },
    )
    return _row(record, job.batch)


def _check_bytes(job: Job) -> None:
    """Raise if the raw files are no longer those that the index has seen."""
    for names, indexed in ((job.case.images, job.image_sha256), (job.case.labels, job.label_sha256)):
        try:
            found = files.sha256_files(job.root, names)
        except FileNotFoundError as error:
            raise SegtraceError(f"{job.case.case}: {error.filename}: no such file; run index again") from None
        if found != indexed:
            raise SegtraceError(
                f"{job.case.case}: {', '.join(names)}: sha256 is {found}, the index says {indexed}: "
                "the file has changed since; run index again"
            )


def _row(record: Mapping[str, Any], batch: int) -> dict[str, Any]:
    """A case's row of the ``prepared`` table, from its record."""
    grid = Grid.from_json(record["prepared_grid"])
    return {
        "case": record["case"],
        "batch": batch,
        "digest": record["digest"],
        "image_sha256": record["image_sha256"],
        "label_sha256": record["label_sha256"] or "",
        "size": format_numbers(grid.size),
        "spacing_mm": format_numbers(grid.spacing_mm),
        "volumes_before_mm3": json.dumps(record["volumes_before_mm3"], sort_keys=True),
        "volumes_after_mm3": json.dumps(record["volumes_after_mm3"], sort_keys=True),
    }


def remove_strays(folder: Path, *, keep: Sequence[str], batch_of: Any, batch: int) -> list[str]:
    """Remove the files of cases that belong to ``batch`` by name and are not in ``keep``; their names.

    Left by cases that were removed or renamed; so are the temporary files of a killed job.
    ``batch_of(case)`` gives the batch of a case's name.
    """
    if not folder.is_dir():
        return []
    kept, strays = set(keep), set()
    for path in folder.iterdir():
        if path.name.startswith("."):
            case = path.name[1:].split(".image.npy.")[0].split(".label.npy.")[0].split(".json.")[0]
            if path.suffix == ".tmp" and batch_of(case) == batch:
                path.unlink(missing_ok=True)
            continue
        for ending in (".image.npy", ".label.npy"):
            case = path.name.removesuffix(ending)
            if case != path.name and case not in kept and batch_of(case) == batch:
                strays.add(case)
    for case in sorted(strays):
        store.remove_case(folder, case)
    return sorted(strays)
