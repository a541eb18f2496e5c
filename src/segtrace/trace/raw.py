"""Checksums of raw files, as the receipt lists them and as the index joins those of a case."""

from collections.abc import Sequence

from segtrace import layout
from segtrace.errors import SegtraceError
from segtrace.files import joined, read_json


def listed(dataset: str) -> dict[str, str]:
    """File → SHA-256, as the receipt lists them; empty where there is no receipt that can be read."""
    try:
        files = read_json(layout.receipt(dataset))["files"]
        return {name: str(sha256) for name, (_, sha256) in files.items()}
    except (SegtraceError, AttributeError, KeyError, TypeError, ValueError):
        return {}


def together(sums: Sequence[str | None]) -> str | None:
    """One checksum for a case's files, as the index has it: empty for no file, None where one is missing."""
    known = [value for value in sums if value is not None]
    return joined(known) if len(known) == len(sums) else None
