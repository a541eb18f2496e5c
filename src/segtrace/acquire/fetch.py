"""One archive from the first place that has it: a folder of archives, then the published addresses.

Whatever the place, the bytes are judged before they are used. An archive whose checksum is the published
one is the owner's (``origin: published``), wherever it came from. A mirror folder may hold other bytes
under the same name, a subset for instance: its own ``SHA256SUMS`` vouches for these (``origin: mirror``).
"""

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segtrace.acquire import download
from segtrace.errors import SegtraceError
from segtrace.files import check_safe_name

SUMS = "SHA256SUMS"
CHUNK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """A published archive: its name, addresses, size in bytes and checksums as far as published, and for one
    behind a registration what to do by hand.
    """

    name: str
    urls: tuple[str, ...] = ()
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    manual: str | None = None


@dataclass(frozen=True)
class Fetched:
    """An archive on this machine, judged."""

    path: Path
    size: int
    sha256: str
    origin: str
    """``published``: the owner's bytes, as far as that can be known; ``mirror``: those of a mirror."""
    verified_by: str


class NotTheArchiveError(Exception):
    """A file is not the archive it should be; the text is the reason."""


def fetch(
    archive: Archive,
    *,
    folder: Path,
    mirror: Path | None,
    pause: Callable[[float], None] = time.sleep,
) -> Fetched:
    """The archive, from ``mirror``, from ``folder`` (where downloads go, and files put there by hand), or from
    its addresses, in this order.

    Raises one :class:`SegtraceError` that lists every place with the reason why it gave nothing.
    """
    check_safe_name(archive.name, what="the archive name")
    tried: list[str] = []
    if mirror is not None:
        found = _from_mirror(archive, mirror, tried)
        if found is not None:
            return found
    found = _from_folder(archive, folder, tried)
    if found is not None:
        return found
    if mirror is None:
        tried.append("no mirror folder is given")
    for url in archive.urls:
        found = _from_address(archive, url, folder, tried, pause)
        if found is not None:
            return found
    raise SegtraceError(_nowhere(archive, folder, mirror, tried))


def _nowhere(archive: Archive, folder: Path, mirror: Path | None, tried: list[str]) -> str:
    by_hand = mirror / archive.name if mirror is not None else folder / archive.name
    lines = [f"{archive.name} could not be had:", *(f"  - {reason}" for reason in tried)]
    if archive.manual:
        lines += [
            f"It is not handed out without a registration. {archive.manual}",
            f"Put the file at {by_hand}",
        ]
    else:
        lines.append(
            f"Check the network, or put the file at {by_hand}, or name a folder that holds it "
            "(--mirror DIR, or SEGTRACE_MIRROR, or 'mirror' in config/config.yaml)"
        )
    lines.append("Then run the same command again.")
    return "\n".join(lines)


def _from_mirror(archive: Archive, mirror: Path, tried: list[str]) -> Fetched | None:
    path = mirror / archive.name
    if not mirror.is_dir():
        tried.append(f"{mirror}: no such folder (the mirror)")
    elif not path.is_file():
        tried.append(f"{path}: no such file")
    else:
        try:
            return judge(archive, path, sums=mirror / SUMS)
        except NotTheArchiveError as reason:
            tried.append(f"{path}: {reason}")
            if archive.urls:
                print(f"{path}: {reason}; trying the published address", flush=True)
    return None


def _from_folder(archive: Archive, folder: Path, tried: list[str]) -> Fetched | None:
    path = folder / archive.name
    if not path.is_file():
        return None
    try:
        return judge(archive, path)
    except NotTheArchiveError as reason:
        if archive.urls:  # a download is about to need the name
            path.rename(path.with_name(path.name + ".refused"))
            reason = NotTheArchiveError(f"{reason}; set aside as {path.name}.refused")
        tried.append(f"{path}: {reason}")
        return None


def _from_address(
    archive: Archive, url: str, folder: Path, tried: list[str], pause: Callable[[float], None]
) -> Fetched | None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / archive.name
    expected = download.Expected(size=archive.size, pinned=archive.sha256 is not None)
    resumed = download.part_of(path).exists()
    for fresh in (False, True) if resumed else (True,):
        if fresh:
            download.forget(path)
        try:
            download.download(url, path, expected=expected, pause=pause)
            return judge(archive, path)
        except download.DownloadError as reason:
            tried.append(f"{url}: {reason}")
            return None
        except NotTheArchiveError as reason:
            path.unlink()
            download.forget(path)
            if fresh:
                tried.append(f"{url}: {reason}")
            else:  # a part left by an earlier run may be of other bytes: once more, from the start
                print(f"{url}: {reason}, after going on from an earlier part; from the start", flush=True)
    return None


def judge(archive: Archive, path: Path, *, sums: Path | None = None) -> Fetched:
    """``path`` as the archive, if its bytes are the published ones or those that ``sums`` lists.

    Raises :class:`NotTheArchiveError` with both values if they are not.
    """
    with path.open("rb") as handle:
        _refuse_page(handle.read(2048), path.stat().st_size)
    size, sha256, md5 = measure(path)
    published = {
        "bytes": (archive.size, size),
        "sha256": (archive.sha256 and archive.sha256.lower(), sha256),
        "md5": (archive.md5 and archive.md5.lower(), md5),
    }
    unequal = [
        f"{kind} is {own}, published is {theirs}"
        for kind, (theirs, own) in published.items()
        if theirs is not None and theirs != own
    ]
    sums_published = [kind for kind in ("sha256", "md5") if published[kind][0] is not None]
    if sums_published and not unequal:
        return Fetched(path, size, sha256, "published", f"published {sums_published[0]}")
    listed = read_sums(sums).get(archive.name) if sums is not None and sums.is_file() else None
    if listed is not None:
        if listed != sha256:
            raise NotTheArchiveError(f"sha256 is {sha256}, {SUMS} beside it says {listed}")
        return Fetched(path, size, sha256, "mirror", f"{SUMS} of the mirror")
    if unequal:
        raise NotTheArchiveError("; ".join(unequal))
    return Fetched(path, size, sha256, "published", "nothing: no checksum is published")


def _refuse_page(start: bytes, size: int) -> None:
    if not size:
        raise NotTheArchiveError("the file is empty")
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")) or (
        text.startswith(b"<?xml") and b"<html" in text
    ):
        title = re.search(rb"<title[^>]*>([^<]*)", start, re.IGNORECASE)
        named = f" ({title[1].decode('utf-8', 'replace').strip()!r})" if title else ""
        raise NotTheArchiveError(
            f"a web page{named} instead of the archive: a login, a consent form or an error page"
        )


def measure(path: Path) -> tuple[int, str, str]:
    """Size in bytes, SHA-256 and MD5 of a file, read once."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            sha256.update(chunk)
            md5.update(chunk)
            size += len(chunk)
    return size, sha256.hexdigest(), md5.hexdigest()


def read_sums(path: Path) -> dict[str, str]:
    """File name → SHA-256 of a ``SHA256SUMS``, as ``sha256sum`` writes it; a line of another form is an error."""
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](?:\./)?(.+)", line.rstrip())
        if match is None:
            raise SegtraceError(f"{path}, line {number}: expected 'SHA256  NAME', found {line[:100]!r}")
        found[match[2]] = match[1].lower()
    return found
