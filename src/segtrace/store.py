"""Prepared cases on disk: plain ``.npy`` arrays that can be memory-mapped, and a record that commits them.

A case is three files in its recipe's folder: ``CASE.image.npy``, float32, (C, D, H, W) or (C, H, W);
``CASE.label.npy``, uint8, (D, H, W) or (H, W), absent for a case without labels; ``CASE.json``, written
last: the checksums of both arrays, the digest of what they were made from, and the grids that map a
prediction back. A case without a valid record does not exist.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtrace.digests import digest as digest_of
from segtrace.errors import SegtraceError
from segtrace.files import json_text, read_json, sha256_file, write_together

#: Key of a record: the digest of all its other keys, so that an edited grid is seen.
OWN = "record_digest"


@dataclass(frozen=True)
class PreparedCase:
    """A prepared case, arrays memory-mapped and read-only."""

    case: str
    image: np.ndarray
    label: np.ndarray | None
    record: Mapping[str, Any]


def _paths(folder: Path, case: str) -> tuple[Path, Path, Path]:
    return folder / f"{case}.image.npy", folder / f"{case}.label.npy", folder / f"{case}.json"


def _parts(array: np.ndarray) -> list[bytes | memoryview]:
    """The bytes of ``array`` as an ``.npy`` file: its header and its values."""
    array = np.ascontiguousarray(array)
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
    return [head.getbuffer(), array.reshape(-1).view(np.uint8).data]


def _checksum(parts: Sequence[bytes | memoryview]) -> str:
    """The SHA-256 of a file of these parts."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()


def write_case(
    folder: Path, case: str, *, image: np.ndarray, label: np.ndarray | None, record: Mapping[str, Any]
) -> dict[str, Any]:
    """Write a case: arrays first, record last. Returns the record with ``image_sha256``, ``label_sha256``.

    ``record`` is any JSON mapping; by convention it holds ``digest`` (what the case was made from),
    ``native_grid`` and ``prepared_grid`` (:meth:`segtrace.geometry.Grid.to_json`).
    """
    image_path, label_path, record_path = _paths(folder, case)
    if image.dtype != np.float32:
        raise ValueError(f"{case}: image is {image.dtype}, expected float32")
    if label is not None and (label.dtype != np.uint8 or label.shape != image.shape[1:]):
        raise ValueError(f"{case}: label {label.dtype} {label.shape} does not fit image {image.shape}")
    record_path.unlink(missing_ok=True)
    complete = dict(record)
    arrays: dict[Path, list[bytes | memoryview]] = {image_path: _parts(image)}
    complete["image_sha256"] = _checksum(arrays[image_path])
    if label is None:
        label_path.unlink(missing_ok=True)
        complete["label_sha256"] = None
    else:
        arrays[label_path] = _parts(label)
        complete["label_sha256"] = _checksum(arrays[label_path])
    complete[OWN] = digest_of(complete)
    write_together({**arrays, record_path: [json_text(complete).encode()]})
    return complete


def read_record(folder: Path, case: str) -> dict[str, Any] | None:
    """The case's record, or None if the case is not complete."""
    image_path, label_path, record_path = _paths(folder, case)
    if not record_path.is_file() or not image_path.is_file():
        return None
    record: dict[str, Any] = read_json(record_path)
    if record.get("label_sha256") is not None and not label_path.is_file():
        return None
    return record


def is_intact(folder: Path, case: str, *, digest: str) -> bool:
    """Whether the case is complete, was made from ``digest``, and its arrays and record are as they were written."""
    try:
        record = read_record(folder, case)
    except SegtraceError:  # damaged: the case is made again
        return False
    if record is None or record.get("digest") != digest:
        return False
    if record.get(OWN) != digest_of({key: value for key, value in record.items() if key != OWN}):
        return False
    image_path, label_path, _ = _paths(folder, case)
    return record["image_sha256"] == sha256_file(image_path) and (
        record["label_sha256"] is None or record["label_sha256"] == sha256_file(label_path)
    )


def open_case(folder: Path, case: str) -> PreparedCase:
    """Open a case's arrays as read-only memory maps; raise :class:`SegtraceError` if it is not complete."""
    record = read_record(folder, case)
    if record is None:
        raise SegtraceError(
            f"{folder}/{case}.*: the prepared case is missing or incomplete; run prepare again"
        )
    image_path, label_path, _ = _paths(folder, case)
    try:
        image = np.load(image_path, mmap_mode="r", allow_pickle=False)
        label = np.load(label_path, mmap_mode="r", allow_pickle=False) if record["label_sha256"] else None
    except (OSError, EOFError, ValueError) as error:
        raise SegtraceError(
            f"{folder}/{case}.*.npy: damaged ({error}); delete it and run prepare again"
        ) from None
    return PreparedCase(case=case, image=image, label=label, record=record)


def remove_case(folder: Path, case: str) -> None:
    """Remove a case's files, record first."""
    for path in reversed(_paths(folder, case)):
        path.unlink(missing_ok=True)
