"""What all image files are asked before a library opens them: is it there, whole, and an image at all?"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from segtrace.errors import SegtraceError

#: What to do about a damaged file.
REMEDY = "fetch or export this file again"
BLOCK = 1 << 20


def check_start(path: Path) -> None:
    """Refuse what is no file, empty, or a web page saved under an image's name."""
    if not path.is_file():
        raise SegtraceError(f"{path}: no such file")
    with path.open("rb") as handle:
        start = handle.read(512)
    if not start:
        raise SegtraceError(f"{path}: the file is empty (0 bytes); {REMEDY}")
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise SegtraceError(
            f"{path}: a web page, not an image (a log-in or error page was saved instead); {REMEDY}"
        )


def content(path: Path) -> Iterator[bytes]:
    """The file's content in blocks; a ``.gz`` stream is read to its end, where its checksum is judged."""
    zipped = path.name.lower().endswith(".gz")
    with path.open("rb") as handle:
        magic = handle.read(2)
    if zipped != (magic == b"\x1f\x8b"):
        found = (
            "is not gzip-compressed, as its name says"
            if zipped
            else "is gzip-compressed, its name does not say so"
        )
        raise SegtraceError(f"{path}: {found}; rename it or {REMEDY}")
    try:
        with gzip.open(path, "rb") if zipped else path.open("rb") as stream:
            while block := stream.read(BLOCK):
                yield block
    except (OSError, EOFError, zlib.error) as error:
        if not zipped:
            raise
        raise SegtraceError(f"{path}: damaged gzip stream ({error}); {REMEDY}") from None


def check_length(path: Path, *, found: int, announced: int, what: str = "") -> None:
    """Raise :class:`SegtraceError` unless a file is exactly as long as its header announces, in bytes."""
    if found == announced:
        return
    fault = "truncated" if found < announced else "longer than its header says"
    raise SegtraceError(
        f"{path}: {fault}: {found} bytes{what} where the header announces {announced}; {REMEDY}"
    )


def count(numbers: str, *, path: Path, key: str) -> list[int]:
    """The positive whole numbers of a header's field."""
    try:
        values = [int(part) for part in numbers.split()]
    except ValueError:
        values = []
    if not values or min(values) < 1:
        raise SegtraceError(f"{path}: {key} is {numbers!r}, not positive whole numbers; {REMEDY}")
    return values


def inflated_length(blocks: Iterator[bytes], *, path: Path, gzipped: bool, limit: int) -> int:
    """Length in bytes of a deflated stream, its checksum judged; counting stops beyond ``limit``."""
    stream, length = zlib.decompressobj(31 if gzipped else 15), 0
    try:
        for block in blocks:
            while length <= limit:
                made = len(stream.decompress(block, BLOCK))
                length, block = length + made, stream.unconsumed_tail
                if not block and made < BLOCK:
                    break
    except zlib.error as error:
        raise SegtraceError(f"{path}: damaged compressed data ({error}); {REMEDY}") from None
    if length <= limit and not stream.eof:
        raise SegtraceError(f"{path}: truncated: the compressed data ends early; {REMEDY}")
    return length
