"""Segmenting a run's cases, so that a killed job goes on where it stopped.

Of each case, the label map goes to ``write`` (:mod:`segtrace.predict.export` is the one for files), and then a
record says which bytes were written and what they were made from. A case whose record or row holds and whose
file has these bytes is not segmented again. While one case is computed, the next is read and the one before
is written (:mod:`segtrace.predict.pipeline`).
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segtrace import device, store
from segtrace.corruption import corrupted
from segtrace.digests import digest
from segtrace.errors import SegtraceError, raise_all
from segtrace.files import read_json, sha256_file, write_json
from segtrace.geometry import Grid
from segtrace.predict import pipeline
from segtrace.predict.inference import labels_of, load_network, memory_told
from segtrace.progress import progress
from segtrace.sliding import inference_of

#: Folder of the per-case records of a job that is not finished.
RECORDS = ".records"

#: Writes one case: (file, label map (D, H, W) or (H, W) on the grid of ``TARGETS``, the case's record in the store).
Writer = Callable[[Path, np.ndarray, Mapping[str, Any]], None]
#: Grid of a variant → the grid on which its labels are computed: the native one up to the order of axes.
TARGETS = {"native": "oriented_grid", "prepared": "prepared_grid"}


@dataclass(frozen=True)
class Job:
    """One case to be segmented: its name, the label map's name, what it is made from."""

    case: str
    file: str
    digest: str
    prepared_digest: str


def job_of(
    case: str,
    record: Mapping[str, Any],
    *,
    run: Mapping[str, Any],
    weights_sha256: str,
    grid: str,
    corruption: str,
    code: str,
) -> Job:
    """The job of one case, from its record in the store. The digest covers all that the label map depends on."""
    made_from = [
        weights_sha256,
        run["network"],
        record["image_sha256"],
        [record[name] for name in ("native_grid", "oriented_grid", "prepared_grid")],
        inference_of(run),
        run["threads"],
        grid,
        corruption,
        code,
    ]
    ending = ".nii.gz" if len(record["native_grid"]["size"]) == 3 else ".png"
    return Job(case, case + ending, digest(made_from), record["digest"])


def rows_that_hold(
    jobs: Sequence[Job], *, folder: Path, rows: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Case → its row, for each job whose label map is there as ``rows`` or a record of a killed job says."""
    known = {row["case"]: dict(row) for row in rows}
    held = {}
    for job in jobs:
        for row in (_record(folder, job.case), known.get(job.case)):
            if row is None or (row["digest"], row["file"]) != (job.digest, job.file):
                continue
            path = folder / job.file
            if path.is_file() and sha256_file(path) == row["sha256"]:
                held[job.case] = {key: row[key] for key in ("case", "file", "sha256", "digest")}
                break
    return held


def _record(folder: Path, case: str) -> dict[str, Any] | None:
    path = folder / RECORDS / f"{case}.json"
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = read_json(path)
    except SegtraceError:  # damaged: the case is segmented again
        return None
    return record


def remove_strays(folder: Path, *, keep: Sequence[str]) -> list[str]:
    """Remove label maps whose names are not in ``keep``, and what a killed job left half-written; their names.

    Call it only while the folder is held.
    """
    kept, removed = set(keep), []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not path.is_file():
            continue
        if path.name.startswith(".") and path.name.endswith((".nii.gz", ".png", ".tmp")):
            path.unlink()
        elif path.name.endswith((".nii.gz", ".png")) and path.name not in kept:
            path.unlink()
            removed.append(path.name)
    return removed


def forget_records(folder: Path) -> None:
    """Remove the per-case records, once the table holds all rows."""
    shutil.rmtree(folder / RECORDS, ignore_errors=True)


def predict_cases(
    jobs: Sequence[Job],
    *,
    run: Mapping[str, Any],
    weights: Path,
    folder: Path,
    write: Writer,
    grid: str = "native",
    corruption: str = "none",
    rows: Sequence[Mapping[str, Any]] = (),
    gpus: int | None = None,
    threaded: bool = True,
) -> list[dict[str, Any]]:
    """Segment the cases that need it into ``folder``; the rows of the ``predictions`` table, in the order of ``jobs``.

    ``grid`` is ``native`` or ``prepared``, ``corruption`` one of :func:`segtrace.corruption.corrupted`, and ``rows`` are
    those of an earlier table. The network is loaded only if a case needs it. A case that cannot be segmented does not
    stop the others; all are listed in one :class:`SegtraceError` at the end. ``gpus`` is
    how many a scheduler gave this job, where one did. Unless ``threaded``, reading and writing wait for each other.
    """
    held = rows_that_hold(jobs, folder=folder, rows=rows)
    waiting = [job for job in jobs if job.case not in held]
    if len(waiting) < len(jobs):
        print(f"{len(held)} of {len(jobs)} cases are segmented already", flush=True)
    if waiting:
        device.be_deterministic(threads=run["threads"])
        with device.lease(threads=run["threads"], what="predicting", granted=gpus) as on:
            held |= _segment(
                waiting,
                run=run,
                weights=weights,
                folder=folder,
                write=write,
                grid=grid,
                corruption=corruption,
                on=on,
                threaded=threaded,
            )
    return [held[job.case] for job in jobs]


def _segment(
    jobs: Sequence[Job],
    *,
    run: Mapping[str, Any],
    weights: Path,
    folder: Path,
    write: Writer,
    grid: str,
    corruption: str,
    on: torch.device,
    threaded: bool,
) -> dict[str, dict[str, Any]]:
    inference = inference_of(run)
    network = load_network(run, weights, on=on)
    if corruption != "none" and inference["window"] is None:  # another scale is another size
        inference["window"] = getattr(network, "fixed_size", None)

    def read(job: Job) -> tuple[np.ndarray, Grid, Mapping[str, Any]]:
        image, record = _open(job, run)
        return *corrupted(image, Grid.from_json(record["prepared_grid"]), corruption, case=job.case), record

    def compute(
        job: Job, opened: tuple[np.ndarray, Grid, Mapping[str, Any]]
    ) -> tuple[np.ndarray, Mapping[str, Any]]:
        image, prepared, record = opened
        target = Grid.from_json(record[TARGETS[grid]])
        with memory_told(f"{run['run']}, case {job.case}", run=run, on=on):
            labels = labels_of([network], image, inference=inference, on=on, prepared=prepared, target=target)
        return labels, record

    def store_row(job: Job, made: tuple[np.ndarray, Mapping[str, Any]]) -> dict[str, Any]:
        write(folder / job.file, *made)
        sha256 = sha256_file(folder / job.file)
        row = {"case": job.case, "file": job.file, "sha256": sha256, "digest": job.digest}
        write_json(folder / RECORDS / f"{job.case}.json", row)
        return row

    with progress(f"predict {run['run']}", len(jobs)) as bar:
        done, problems = pipeline.run(
            jobs,
            read=read,
            compute=compute,
            write=store_row,
            name=lambda job: f"case {job.case}",
            advance=bar.advance,
            threaded=threaded,
        )
    raise_all(
        problems,
        heading=f"predict {run['run']}",
        remedy="Mend these cases and run again; the others are kept.",
    )
    return {jobs[position].case: row for position, row in done.items()}


def _open(job: Job, run: Mapping[str, Any]) -> tuple[np.ndarray, Mapping[str, Any]]:
    """(image, record) of a case, after its bytes were compared with its record."""
    folder = Path(run["prepared"])
    if not store.is_intact(folder, job.case, digest=job.prepared_digest):
        raise SegtraceError(f"{folder}/{job.case}.*: not the bytes that were prepared; run prepare again")
    opened = store.open_case(folder, job.case)
    network = run["network"]
    if (opened.image.shape[0], opened.image.ndim - 1) != (network["in_channels"], network["spatial_dims"]):
        raise SegtraceError(
            f"{folder}/{job.case}: image of shape {opened.image.shape}, the run expects "
            f"{network['in_channels']} channels in {network['spatial_dims']}-D"
        )
    return np.array(opened.image), opened.record


def stored_grids(record: Mapping[str, Any]) -> tuple[Grid, Grid, Grid]:
    """(prepared, oriented, native) grid of a case's record in the store."""
    prepared, oriented, native = (
        Grid.from_json(record[name]) for name in ("prepared_grid", "oriented_grid", "native_grid")
    )
    return prepared, oriented, native
