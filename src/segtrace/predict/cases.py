"""Segmenting a run's cases, one in memory at a time, so that a killed job goes on where it stopped.

Of each case, the class probabilities on the prepared grid go to ``write`` (:mod:`segtrace.predict.export`
is the one for files), and then a record says which bytes were written and what they were made from. A
case whose record or row holds and whose file has these bytes is not segmented again.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from segtrace import checkpoint, device, networks, store
from segtrace.digests import digest
from segtrace.errors import SegtraceError, raise_all
from segtrace.files import read_json, sha256_file, write_json
from segtrace.geometry import Grid
from segtrace.progress import progress
from segtrace.sliding import predict_logits

#: Folder of the per-case records of a job that is not finished.
RECORDS = ".records"

#: Writes one case: (file, probabilities (K, D, H, W) or (K, H, W), the case's record in the store).
Writer = Callable[[Path, np.ndarray, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Job:
    """One case to be segmented: its name, the label map's name, what it is made from."""

    case: str
    file: str
    digest: str
    prepared_digest: str


def inference_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """How a run's images are segmented: arguments of :func:`segtrace.sliding.predict_logits`."""
    training = run["training"]
    inference, crop = training["inference"], training["crop"]
    return {
        "window": inference["window"] or (crop["size"] if crop else None),
        "overlap": inference["overlap"],
        "weighting": inference["weighting"],
        "batch": inference["batch"],
        "precision": training["precision"],
    }


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


def load_network(run: Mapping[str, Any], weights: Path) -> nn.Module:
    """The run's network with its trained weights, on the CPU."""
    spec = run["network"]
    network = networks.create(
        spec["name"],
        in_channels=spec["in_channels"],
        out_channels=spec["out_channels"],
        spatial_dims=spec["spatial_dims"],
        **spec["options"],
    )
    checkpoint.load_weights(weights, network)
    return network.eval()


def probabilities(
    network: nn.Module, image: np.ndarray, *, inference: Mapping[str, Any], on: torch.device
) -> np.ndarray:
    """Class probabilities, float32 (K, D, H, W) or (K, H, W), of an image (C, D, H, W) or (C, H, W).

    ``network`` lies on the device ``on``. Raises :class:`SegtraceError` if they are not finite.
    """
    logits = predict_logits(network, image, device=on, **inference)
    result = torch.softmax(logits, dim=0)
    if not bool(torch.isfinite(result).all()):
        raise SegtraceError(
            "the network's output is not finite; its weights are unfit or precision is too low"
        )
    return result.cpu().numpy()


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
    rows: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Segment the cases that need it into ``folder``; the rows of the ``predictions`` table, in the order of ``jobs``.

    ``rows`` are those of an earlier table. The network is loaded only if a case needs it. A case that
    cannot be segmented does not stop the others; all are listed in one :class:`SegtraceError` at the end.
    """
    held = rows_that_hold(jobs, folder=folder, rows=rows)
    waiting = [job for job in jobs if job.case not in held]
    if len(waiting) < len(jobs):
        print(f"{len(held)} of {len(jobs)} cases are segmented already", flush=True)
    if waiting:
        device.be_deterministic(threads=run["threads"])
        with device.lease(threads=run["threads"], what="predicting") as on:
            held |= _segment(waiting, run=run, weights=weights, folder=folder, write=write, on=on)
    return [held[job.case] for job in jobs]


def _segment(
    jobs: Sequence[Job],
    *,
    run: Mapping[str, Any],
    weights: Path,
    folder: Path,
    write: Writer,
    on: torch.device,
) -> dict[str, dict[str, Any]]:
    network, inference = load_network(run, weights).to(on), inference_of(run)
    if on.type == "cpu" and inference["precision"] == "bf16":
        # measured on a CPU with bfloat16 units: 2-D takes a third of the time, 3-D three quarters
        flat = run["network"]["spatial_dims"] == 2
        network = network.to(memory_format=torch.channels_last if flat else torch.channels_last_3d)
    done, problems = {}, []
    with progress(f"predict {run['run']}", len(jobs)) as bar:
        for job in jobs:
            try:
                image, record = _open(job, run)
                write(folder / job.file, probabilities(network, image, inference=inference, on=on), record)
            except SegtraceError as error:
                problems.append(f"case {job.case}: {error}")
            except torch.OutOfMemoryError as error:
                raise SegtraceError(
                    f"{run['run']}, case {job.case}: out of memory on {on} ({error}); lower inference.batch or "
                    f"inference.window in config/training/{run['training_name']}.yaml"
                ) from None
            else:
                row = {
                    "case": job.case,
                    "file": job.file,
                    "sha256": sha256_file(folder / job.file),
                    "digest": job.digest,
                }
                write_json(folder / RECORDS / f"{job.case}.json", row)
                done[job.case] = row
            bar.advance()
    raise_all(
        problems,
        heading=f"predict {run['run']}",
        remedy="Mend these cases and run again; the others are kept.",
    )
    return done


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
    return opened.image, opened.record


def stored_grids(record: Mapping[str, Any]) -> tuple[Grid, Grid, Grid]:
    """(prepared, oriented, native) grid of a case's record in the store."""
    prepared, oriented, native = (
        Grid.from_json(record[name]) for name in ("prepared_grid", "oriented_grid", "native_grid")
    )
    return prepared, oriented, native
