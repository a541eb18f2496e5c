"""Unpacking archives (tar, tar.gz, zip) that come from elsewhere; a table or list (csv, txt) is taken as it is.

All members are judged before a byte is written, and every refusal of an archive is listed at once:
absolute paths, ``..``, links, devices, pipes, names that meet, encryption, and sizes beyond the limits,
declared or compressed to be so. Then the members are written one by one, counted and hashed on the way.
Neither ``TarFile.extract`` nor ``ZipFile.extract`` is used: modes, owners, times and links of an archive
have no business here.
"""

import gzip
import hashlib
import io
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from segtrace.acquire.names import Names, UnsafeNameError, is_apple_double, readable, relative_path
from segtrace.errors import SegtraceError, raise_all
from segtrace.progress import progress

CHUNK = 1 << 20
#: Longest single header that a tar may hold: far above any real one, far below what fills a memory.
MAX_HEADER_BYTES = 1 << 20
#: Refusals listed one by one; the rest is counted.
SHOWN = 50

#: What reading a damaged archive can raise, in the standard library's modules.
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    IndexError,
    RuntimeError,
)


@dataclass(frozen=True)
class Limits:
    """What an archive may grow to."""

    total_bytes: int = 500 << 30
    """All members of an archive together."""
    file_bytes: int = 50 << 30
    members: int = 3_000_000
    ratio: float = 200.0
    """Unpacked over packed size of an archive."""
    ratio_from_bytes: int = 100 << 20
    """The ratio is judged only from this size on: below it, nothing can do harm, and label volumes that
    are nearly all background do compress a thousandfold."""


LIMITS = Limits()


@dataclass
class Unpacked:
    """What came out of an archive: each file's path with its size in bytes and SHA-256, and how many
    members of macOS bookkeeping were left out.
    """

    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    left_out: int = 0


@dataclass(frozen=True)
class _Member:
    path: str
    size: int
    folder: bool
    source: Any


@dataclass
class _Listing:
    """Members of an archive that may be unpacked, and the reasons against the others."""

    members: list[_Member] = field(default_factory=list)
    left_out: int = 0
    problems: list[str] = field(default_factory=list)


class _HeaderGuard(io.RawIOBase):
    """A stream that refuses reads longer than a header or a chunk.

    ``tarfile`` reads an extended header whole, at whatever length it declares; a compressed one of many
    gigabytes would fill the memory.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0 or size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header declares {size} bytes")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


#: Endings of the files that owners publish beside their archives.
PLAIN = (".csv", ".txt")


def kind_of(archive: Path) -> str:
    """``zip``, ``tar`` or ``tar.gz``, by content, or ``plain`` by name; raise :class:`SegtraceError` for anything else."""
    with archive.open("rb") as handle:
        start = handle.read(1024)
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    if start[:2] == b"\x1f\x8b":
        return "tar.gz"
    if start[257:262] == b"ustar" or _old_tar(start[:512]):
        return "tar"
    if archive.suffix.lower() in PLAIN:
        return "plain"
    raise SegtraceError(
        f"{archive}: neither tar, tar.gz nor zip: {archive.stat().st_size} bytes that start with {start[:16]!r}"
    )


def _old_tar(block: bytes) -> bool:
    """Whether a block is a tar header of before 1988, which has a checksum but no mark; or an empty tar."""
    if len(block) < 512:
        return False
    if not any(block):
        return True
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


def unpack(
    archive: Path,
    target: Path | None,
    *,
    names: Names | None = None,
    limits: Limits = LIMITS,
) -> Unpacked:
    """Unpack ``archive`` into the existing folder ``target``; without a target, only read and hash it.

    ``names`` holds the names taken by earlier archives of the same data set and takes this one's.
    Raises :class:`SegtraceError` with every refusal at once, before a byte is written; also for a damaged
    archive and for too little space on the disk. On an error the caller drops ``target``.
    """
    kind = kind_of(archive)
    opened = {"zip": _open_zip, "plain": _open_plain}.get(kind, _open_tar)
    taken = Names() if names is None else names
    try:
        with opened(archive, kind) as (rows, read):
            listing = _judge(rows, taken, packed=archive.stat().st_size, limits=limits)
            _refuse(listing.problems, archive)
    except DAMAGE as error:
        raise _damaged(archive, error) from None
    total = sum(member.size for member in listing.members)
    if target is not None:
        check_space(target, total, what=f"unpacking {archive.name}")
    # Opened anew, so that a compressed tar is read from its start once more and strictly forwards.
    found = Unpacked(left_out=listing.left_out)
    try:
        with opened(archive, kind) as (_, read):
            label = f"{'check' if target is None else 'unpack'} {archive.name}"
            with progress(label, len(listing.members)) as bar:
                for member in listing.members:
                    _write(member, read, target, found)
                    bar.advance()
    except DAMAGE as error:
        raise _damaged(archive, error) from None
    return found


def _damaged(archive: Path, error: BaseException) -> SegtraceError:
    return SegtraceError(
        f"{archive}: damaged or cut short ({type(error).__name__}: {error}); delete it and fetch it again"
    )


def _refuse(problems: list[str], archive: Path) -> None:
    shown = problems[:SHOWN]
    if len(problems) > SHOWN:
        shown.append(f"and {len(problems) - SHOWN} more")
    raise_all(
        shown,
        heading=f"{archive}: not unpacked",
        remedy="Nothing was written. An honest archive holds none of this: ask its owner, or repack it.",
    )


def check_space(folder: Path, needed: int, *, what: str) -> None:
    """Raise :class:`SegtraceError` if the disk of ``folder`` has no room for ``needed`` bytes and a little."""
    free = shutil.disk_usage(folder).free
    if free < needed + (64 << 20):
        raise SegtraceError(
            f"{what} needs {needed / 2**20:.0f} MiB and 64 MiB to spare, but the disk of {folder} has "
            f"{free / 2**20:.0f} MiB free; free some space and run the same command again"
        )


# --- judging -----------------------------------------------------------------------------------------


def _judge(
    rows: Iterator[tuple[str, int, str, str, Any]], taken: Names, *, packed: int, limits: Limits
) -> _Listing:
    """Judge members, each given as (name, size, kind, fault, source), with kind ``file`` or ``folder``."""
    listing, total = _Listing(), 0
    for count, (name, size, kind, fault, source) in enumerate(rows, start=1):
        shown = ascii(name)[1:-1] if len(name) < 200 else ascii(name[:200])[1:-1] + "..."
        if count > limits.members:
            listing.problems.append(f"more than {limits.members} members")
            break
        if size < 0:
            listing.problems.append(f"{shown}: declares {size} bytes")
            break  # the place of what follows is not known
        total += size
        try:
            path = relative_path(readable(name))
            if fault:
                raise UnsafeNameError(fault)
            if is_apple_double(path):
                listing.left_out += 1
            elif kind == "folder":
                taken.add_folder(path)
                listing.members.append(_Member(path, 0, True, source))
            else:
                if not path:
                    raise UnsafeNameError("a file without a name")
                if size > limits.file_bytes:
                    raise UnsafeNameError(f"{size} bytes, more than the limit of {limits.file_bytes}")
                taken.add_file(path)
                listing.members.append(_Member(path, size, False, source))
        except UnsafeNameError as reason:
            listing.problems.append(f"{shown}: {reason}")
        if total > limits.total_bytes:
            listing.problems.append(
                f"unpacks to more than the limit of {limits.total_bytes} bytes (at member {count}, {shown})"
            )
            break
        if total > limits.ratio_from_bytes and total > limits.ratio * packed:
            listing.problems.append(
                f"unpacks to more than {limits.ratio:g} times its own {packed} bytes (at member {count}, {shown})"
            )
            break
    if not listing.problems and all(member.folder for member in listing.members):
        listing.problems.append("holds no file")
    return listing


Rows = Iterator[tuple[str, int, str, str, Any]]
Read = Callable[[Any], IO[bytes]]


@contextmanager
def _open_zip(archive: Path, kind: str) -> Iterator[tuple[Rows, Read]]:
    with zipfile.ZipFile(archive) as handle:
        yield _zip_rows(handle), lambda info: handle.open(info)


def _zip_rows(handle: zipfile.ZipFile) -> Rows:
    reached = -1
    for info in sorted(handle.infolist(), key=lambda info: info.header_offset):
        kind, fault = "folder" if info.orig_filename.endswith("/") else "file", ""
        form = stat.S_IFMT(info.external_attr >> 16)
        if form not in (0, stat.S_IFREG, stat.S_IFDIR):
            fault = _FORMS.get(form, f"file of unknown kind {form:#o}")
        elif info.flag_bits & 0x1:
            fault = "encrypted"
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            fault = f"compression method {info.compress_type} is not supported (stored and deflate are)"
        elif info.header_offset < reached:
            fault = "overlaps another member"
        elif kind == "folder" and info.file_size:
            fault = f"folder with {info.file_size} bytes"
        reached = max(reached, info.header_offset + 30 + len(info.orig_filename) + info.compress_size)
        yield _zip_name(info), info.file_size, kind, fault, info


_FORMS = {
    stat.S_IFLNK: "symbolic link",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
}


def _zip_name(info: zipfile.ZipInfo) -> str:
    """A zip member's name: UTF-8 if it is declared or valid, else code page 437 as the format says."""
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        try:
            return name.encode("cp437").decode("utf-8")
        except (UnicodeEncodeError, UnicodeDecodeError):
            return name
    return name


@contextmanager
def _open_plain(archive: Path, kind: str) -> Iterator[tuple[Rows, Read]]:
    yield iter([(archive.name, archive.stat().st_size, "file", "", archive)]), lambda path: path.open("rb")


@contextmanager
def _open_tar(archive: Path, kind: str) -> Iterator[tuple[Rows, Read]]:
    with archive.open("rb") as raw:
        stream: IO[bytes] = gzip.GzipFile(fileobj=raw) if kind == "tar.gz" else raw  # type: ignore[assignment]
        guarded: Any = _HeaderGuard(stream)
        with tarfile.TarFile(fileobj=guarded, mode="r", encoding="utf-8", errors="surrogateescape") as handle:
            yield _tar_rows(handle, guarded), lambda info: _tar_stream(handle, info)


def _tar_stream(handle: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = handle.extractfile(info)
    if stream is None:
        raise tarfile.ReadError(f"{info.name} holds no bytes")
    return stream


def _tar_rows(handle: tarfile.TarFile, stream: IO[bytes]) -> Rows:
    while (info := handle.next()) is not None:
        fault = ""
        if info.issym():
            fault = f"symbolic link to {info.linkname!a}"
        elif info.islnk():
            fault = f"hard link to {info.linkname!a}"
        elif info.isfifo():
            fault = "pipe"
        elif info.isdev():
            fault = "device"
        elif info.issparse():
            fault = "sparse file"
        elif not (info.isreg() or info.isdir()):
            fault = f"member of unknown kind {info.type!r}"
        kind = "folder" if info.isdir() else "file"
        yield info.name, info.size if kind == "file" or info.size < 0 else 0, kind, fault, info
    # tarfile takes a damaged header, or none, for the end: without this an archive could lose its tail.
    stream.seek(handle.offset)
    end = stream.read(tarfile.BLOCKSIZE)
    if len(end) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"no end mark at byte {handle.offset}")
    while end:
        if any(end):
            raise tarfile.ReadError(f"damaged header, or data after the end mark, at byte {handle.offset}")
        end = stream.read(CHUNK)


# --- writing -----------------------------------------------------------------------------------------


def _write(member: _Member, read: Read, target: Path | None, found: Unpacked) -> None:
    if member.folder:
        if target is not None:
            (target / member.path).mkdir(parents=True, exist_ok=True)
        return
    sha256, size = hashlib.sha256(), 0
    output: IO[bytes] | None = None
    if target is not None:
        path = target / member.path
        path.parent.mkdir(parents=True, exist_ok=True)
        output = path.open("xb")
    try:
        with read(member.source) as stream:
            while chunk := stream.read(CHUNK):
                size += len(chunk)
                if size > member.size:
                    break
                sha256.update(chunk)
                if output is not None:
                    output.write(chunk)
    finally:
        if output is not None:
            output.close()
    if size != member.size:
        raise EOFError(f"{member.path} declares {member.size} bytes and holds {size} or more")
    found.files[member.path] = (size, sha256.hexdigest())
