"""A data set's raw tree and its receipt: brought to their places together, and compared ever after.

The tree is made in a hidden folder beside its place and renamed; the receipt waits beside it under a
hidden name and follows. A process killed at any point leaves one of a few states, and :func:`settle`
makes the sound one of each. Once in place the tree belongs to the user: it is never written to again.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrace import layout
from segtrace.errors import SegtraceError
from segtrace.files import json_text, read_json, sha256_file, write_json

Files = dict[str, tuple[int, str]]


@dataclass(frozen=True)
class Places:
    """Where a data set's tree and receipt lie, and where they wait."""

    dataset: str
    tree: Path
    receipt: Path
    new_tree: Path
    new_receipt: Path
    old_tree: Path
    downloads: Path


def places_of(dataset: str) -> Places:
    """The places of a data set."""
    tree = layout.raw(dataset)
    return Places(
        dataset=dataset,
        tree=tree,
        receipt=layout.receipt(dataset),
        new_tree=tree.with_name(f".{dataset}.new"),
        new_receipt=tree.with_name(f".{dataset}.receipt.new"),
        old_tree=tree.with_name(f".{dataset}.old"),
        downloads=tree.with_name(".downloads") / dataset,
    )


def settle(places: Places) -> None:
    """Finish or undo what a killed process left; the data set's lock is held."""
    places.tree.parent.mkdir(parents=True, exist_ok=True)
    for waiting in (places.receipt, places.new_receipt):
        for stale in places.tree.parent.glob(f".{waiting.name}.*.tmp"):
            stale.unlink()
    if places.old_tree.exists() and not places.tree.exists():
        places.old_tree.rename(places.tree)  # killed between the two renames of an exchange
    if places.new_receipt.exists():
        waiting_receipt = read_receipt(places.new_receipt, places.dataset)
        unpacked = places.tree.is_dir() and waiting_receipt is not None
        if unpacked and (
            not places.receipt.exists() or not edits(places.tree, files_of(waiting_receipt or {}))
        ):
            os.replace(places.new_receipt, places.receipt)
        else:
            places.new_receipt.unlink()
    for stale in (places.new_tree, places.old_tree):
        if stale.exists():
            shutil.rmtree(stale)
    if places.tree.is_dir() and not any(places.tree.iterdir()) and not places.tree.is_symlink():
        places.tree.rmdir()


@contextmanager
def fresh_folder(places: Places) -> Iterator[Path]:
    """The empty hidden folder that a tree is made in; what was not published by then is removed."""
    places.new_tree.mkdir(parents=True)
    try:
        yield places.new_tree
    finally:
        shutil.rmtree(places.new_tree, ignore_errors=True)


def publish(places: Places, receipt: Mapping[str, Any]) -> None:
    """Bring the finished new tree and its receipt to their places, exchanging an earlier tree."""
    write_json(places.new_receipt, receipt)
    os.sync()  # thousands of small files: one flush for all, before the first name is final
    if places.tree.exists():
        places.tree.rename(places.old_tree)
    places.new_tree.rename(places.tree)
    os.replace(places.new_receipt, places.receipt)
    if places.old_tree.exists():
        shutil.rmtree(places.old_tree)


def listing(folder: Path) -> list[str]:
    """Paths of all files below ``folder``, with ``/``, sorted. A link to a file counts as a file, for DVC may
    put one; a link to a folder is not followed and counts as a file too.
    """
    found: list[str] = []
    for root, folders, names in os.walk(folder):
        linked = [name for name in folders if os.path.islink(os.path.join(root, name))]
        for name in [*names, *linked]:
            found.append(Path(root, name).relative_to(folder).as_posix())
    return sorted(found)


def measure(folder: Path) -> Files:
    """Size in bytes and SHA-256 of every file below ``folder``."""
    return {name: ((folder / name).stat().st_size, sha256_file(folder / name)) for name in listing(folder)}


def edits(folder: Path, files: Mapping[str, tuple[int, str]]) -> list[str]:
    """How the tree differs from ``files``: ``added: PATH``, ``changed: PATH`` and ``missing: PATH``, sorted."""
    present = set(listing(folder))
    found = [f"missing: {name}" for name in files if name not in present]
    found += [f"added: {name}" for name in present if name not in files]
    for name in present.intersection(files):
        path, (size, sha256) = folder / name, files[name]
        if not path.is_file():
            found.append(f"missing: {name}")  # a link whose file is gone
        elif path.stat().st_size != size or sha256_file(path) != sha256:
            found.append(f"changed: {name}")
    return sorted(found)


# --- receipts ----------------------------------------------------------------------------------------


def receipt_of(
    dataset: str,
    *,
    licence: Mapping[str, Any],
    archives: list[dict[str, Any]],
    files: Mapping[str, tuple[int, str]],
    left_out: int = 0,
    local_edits: list[str] | None = None,
    generator: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A receipt: what was unpacked or generated, file by file, and how the tree differs from that by now."""
    return {
        "dataset": dataset,
        "licence": dict(licence),
        "archives": archives,
        "files": {name: [size, sha256] for name, (size, sha256) in sorted(files.items())},
        "left_out": {"AppleDouble": left_out},
        "local_edits": list(local_edits or []),
        "generator": None if generator is None else dict(generator),
    }


def files_of(receipt: Mapping[str, Any]) -> Files:
    """The files that a receipt lists."""
    return {name: (int(size), str(sha256)) for name, (size, sha256) in receipt.get("files", {}).items()}


def read_receipt(path: Path, dataset: str) -> dict[str, Any] | None:
    """The receipt at ``path``; None if there is none, or none that can be used, which is said."""
    if not path.exists():
        return None
    try:
        value = read_json(path)
    except SegtraceError as error:
        print(f"{error}: not used", flush=True)
        return None
    if not _is_receipt(value) or value["dataset"] != dataset:
        print(f"{path}: not a receipt of {dataset}: not used", flush=True)
        return None
    found: dict[str, Any] = value
    return found


def _is_receipt(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("dataset"), str):
        return False
    if not isinstance(value.get("archives"), list) or not isinstance(value.get("files"), dict):
        return False
    rows = value["files"].values()
    return all(
        isinstance(row, list) and len(row) == 2 and isinstance(row[0], int) and isinstance(row[1], str)
        for row in rows
    ) and all(isinstance(entry, dict) and "archive" in entry for entry in value["archives"])


def write_receipt(places: Places, receipt: Mapping[str, Any]) -> None:
    """Write the receipt of a tree that is in its place already."""
    write_json(places.receipt, receipt)


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal as JSON (where a tuple is a list, and a number as a key is text)."""
    return json_text(one) == json_text(other)
