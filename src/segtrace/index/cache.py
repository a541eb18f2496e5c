"""What is kept of indexed cases, so that unchanged files are not read again.

Under ``.segtrace/index``: ``NAME.json`` holds the row of each case with the state of its files (size, times, inode),
``NAME.npy`` the thumbnails of all cases that were indexed last, in order. An entry names its thumbnails by place and
checksum, so two files of different age can never be taken for one another. Both can be deleted at any time. The
thumbnails are no output of the index: they are pictures, which many owners forbid to hand on, and ``data/index`` is
made for version control.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from segtrace import files, fingerprints
from segtrace.datasets import Case

#: A file that changed less than this before it was read may change again within one tick of the file
#: system's clock, with the same times: its row is used but not cached.
RACY_NS = 2_000_000_000
State = tuple[tuple[Any, ...], ...]


def file_state(root: Path, case: Case) -> State:
    """Path, size, modification and change time (ns) and inode of each of a case's files."""
    rows = []
    for name in [*case.images, *case.labels]:
        status = os.stat(root / name)
        rows.append((name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
    return tuple(rows)


def read(path: Path, *, key: str) -> dict[str, Any]:
    """Case → cached entry, if the cache was written under ``key``; a missing or damaged cache is empty.

    The thumbnails of an entry are added as ``thumbnails``; an entry without them is left out.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        pictures = np.load(path.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return {}
    if (
        not isinstance(content, dict)
        or content.get("key") != key
        or not isinstance(content.get("cases"), dict)
        or pictures.dtype != np.uint8
        or pictures.shape[1:] != fingerprints.SHAPE
    ):
        return {}
    found = {}
    for name, entry in content["cases"].items():
        place = entry.get("place") if isinstance(entry, dict) else None
        if isinstance(place, int) and 0 <= place < len(pictures):
            picture = np.array(pictures[place])
            if _checksum(picture) == entry.get("checksum"):
                found[name] = entry | {"thumbnails": picture}
    return found


def row(entry: Any, root: Path, case: Case) -> dict[str, Any] | None:
    """The row of a cached case, if it is the same case and its files are as they were."""
    if not isinstance(entry, dict) or entry.get("case") != json.loads(json.dumps(asdict(case))):
        return None
    try:
        state = file_state(root, case)
    except OSError:
        return None
    found = entry.get("row")
    return found if entry.get("state") == json.loads(json.dumps(state)) and isinstance(found, dict) else None


def entry(case: Case, row: Mapping[str, Any], state: State, *, started_ns: int) -> dict[str, Any] | None:
    """What is kept of a case; None if its files were changed too shortly before ``started_ns``."""
    if any(max(item[2], item[3]) > started_ns - RACY_NS for item in state):
        return None
    return {"case": asdict(case), "state": state, "row": dict(row)}


def write(
    path: Path,
    entries: Mapping[str, Mapping[str, Any]],
    thumbnails: Mapping[str, np.ndarray],
    *,
    key: str,
) -> None:
    """Write entries, those of :func:`read` and of :func:`entry`, and beside them the ``thumbnails`` of all cases."""
    kept = {}
    for place, (name, pictures) in enumerate(thumbnails.items()):
        if name in entries:
            plain = {word: entries[name][word] for word in ("case", "state", "row")}
            kept[name] = plain | {"place": place, "checksum": _checksum(pictures)}
    with files.atomic(path.with_suffix(".npy"), "wb") as handle:
        shape = (len(thumbnails), *fingerprints.SHAPE)
        np.lib.format.write_array_header_1_0(handle, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for (
            pictures
        ) in thumbnails.values():  # one by one: those of a large data set fill memory once, not twice
            handle.write(np.ascontiguousarray(pictures, np.uint8).tobytes())
    files.write_json(path, {"key": key, "cases": kept})


def _checksum(picture: np.ndarray) -> str:
    return hashlib.sha256(picture.tobytes()).hexdigest()[:16]
