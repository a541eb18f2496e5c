"""Preparing cases: read, prepare (:mod:`segtrace.preparation`), and store with what maps a prediction back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from segtrace import datasets, files, store
from segtrace.datasets import Case
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid, format_numbers
from segtrace.preparation import prepare_arrays


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
