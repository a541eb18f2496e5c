"""One address to one file over HTTP: resumed, retried, and never taken for more than it is.

What has arrived lies in ``NAME.part``; ``NAME.part.json`` beside it says of which address and version it
is part, so that a later run, or a run after a kill, asks for the rest only (RFC 9110: Range, If-Range).
"""

import re
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrace.errors import SegtraceError
from segtrace.files import read_json, write_json
from segtrace.progress import progress

CHUNK = 1 << 18
MIB = 1 << 20
#: Seconds to wait for a connection, and for the next bytes of a body.
TIMEOUT_S = (10.0, 60.0)
#: Seconds before each further attempt that brought nothing new.
PAUSES_S = (1.0, 2.0, 4.0, 8.0)
#: Attempts at an address that has never answered: without a network an error should come soon.
UNANSWERED_ATTEMPTS = 2
#: Room on the disk that a download leaves free.
SPARE_BYTES = 64 * MIB


class DownloadError(Exception):
    """An address gave no file; the text is the reason."""


class _TransientError(Exception):
    """A fault that may be gone the next time. ``answered`` says whether a server was reached at all."""

    def __init__(self, reason: str, *, answered: bool, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.answered, self.wait_s = answered, wait_s


@dataclass(frozen=True)
class Expected:
    """What is known of a file beforehand: its size if published, and whether its SHA-256 is pinned."""

    size: int | None = None
    pinned: bool = False


def download(
    url: str,
    path: Path,
    *,
    expected: Expected,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Fetch ``url`` to ``path``, whose folder exists; go on where an earlier attempt ended.

    Raises :class:`DownloadError` with the reason. What has arrived by then stays in ``path`` + ``.part``.
    """
    part = part_of(path)
    tried, answered = 0, False
    most = part.stat().st_size if part.exists() else 0
    while True:
        try:
            _attempt(url, path, expected)
            return
        except _TransientError as error:
            answered = answered or error.answered
            arrived = part.stat().st_size if part.exists() else 0
            tried, most = (0, arrived) if arrived > most else (tried + 1, most)
            if tried > len(PAUSES_S) or (not answered and tried >= UNANSWERED_ATTEMPTS):
                raise DownloadError(f"{error}; {_so_far(arrived)}") from None
            wait = max(PAUSES_S[max(tried, 1) - 1], min(error.wait_s, 60.0))
            print(f"{url}: {error}; {_so_far(arrived)}; again in {wait:.0f} s", flush=True)
            pause(wait)


def part_of(path: Path) -> Path:
    """Where what has arrived of ``path`` lies."""
    return path.with_name(path.name + ".part")


def note_of(path: Path) -> Path:
    """Where it is noted what the part of ``path`` is part of; it stays when the part is whole."""
    return path.with_name(path.name + ".part.json")


def forget(path: Path) -> None:
    """Remove what has arrived of ``path``."""
    part_of(path).unlink(missing_ok=True)
    note_of(path).unlink(missing_ok=True)


def _so_far(arrived: int) -> str:
    return f"{arrived / MIB:.1f} MiB kept, to go on from" if arrived else "nothing has arrived"


def _attempt(url: str, path: Path, expected: Expected) -> None:
    import requests
    import urllib3

    part, note = part_of(path), note_of(path)
    known = _known(note, url) if part.exists() else {}
    if not known:
        forget(path)
    start = part.stat().st_size if known else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "segtrace"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if known.get("validator"):
            headers["If-Range"] = known["validator"]
    try:
        with _get(url, headers, expected) as response:
            start = _begin(response, url, path, start, known, expected)
            if start >= 0:
                _receive(response, part, start, _total(response, start), expected)
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise _TransientError("no answer in time", answered=False) from None
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
        raise DownloadError(f"its certificate is not accepted ({_inner(error)})") from None
    except (requests.ConnectionError, urllib3.exceptions.HTTPError) as error:
        received = part.exists() and part.stat().st_size > start >= 0
        raise _TransientError(f"connection failed ({_inner(error)})", answered=received) from None
    except (requests.RequestException, ValueError) as error:
        raise DownloadError(f"cannot be fetched ({_inner(error)})") from None
    part.rename(path)  # the note stays: it tells a download from a file put there by hand


def _inner(error: BaseException) -> str:
    """The short cause inside the nested errors of an HTTP library, without object addresses."""
    seen: BaseException = error
    while isinstance(deeper := getattr(seen, "reason", None) or (seen.args or [None])[0], BaseException):
        seen = deeper
    text = re.sub(r"<[^>]*>:? ?", "", str(seen)).strip() or type(seen).__name__
    return text if len(text) <= 200 else text[:200] + "..."


def _get(url: str, headers: dict[str, str], expected: Expected) -> Any:
    """The response to a GET. Where the bytes are pinned by a SHA-256, a certificate that is not accepted
    is no reason to stop: some owners' servers present a broken one, and the checksum decides anyway.
    """
    import requests
    import urllib3

    try:
        return requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
    except requests.exceptions.SSLError as error:
        if not expected.pinned:
            raise
        print(
            f"{url}: its certificate is not accepted ({_inner(error)}); the pinned SHA-256 decides",
            flush=True,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
        # The empty `auth` keeps passwords of ~/.netrc from a server that has not proved who it is.
        return requests.get(
            url, headers=headers, stream=True, timeout=TIMEOUT_S, verify=False, auth=lambda request: request
        )


def _known(note: Path, url: str) -> dict[str, Any]:
    """What was noted of the part, if it belongs to this address."""
    try:
        value = read_json(note)
    except SegtraceError:
        return {}
    return value if isinstance(value, dict) and value.get("url") == url else {}


def _total(response: Any, start: int) -> int | None:
    """Size of the whole file as the response tells it."""
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
    if response.status_code == 206 and match:
        return int(match[3])
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else None


def _begin(response: Any, url: str, path: Path, start: int, known: dict[str, Any], expected: Expected) -> int:
    """Judge the response's head. The byte from which its body goes on; -1 if the part is whole already."""
    code = response.status_code
    if code == 416 and start:
        size = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
        if size and int(size[1]) == start:
            return -1
        forget(path)
        raise _TransientError("the server has another version by now; from the start", answered=True)
    if code in (408, 425, 429) or code >= 500:
        after = response.headers.get("Retry-After", "")
        wait = float(after) if after.isdigit() else 0.0
        raise _TransientError(f"HTTP {code} {response.reason}", answered=True, wait_s=wait)
    if code not in (200, 206):
        raise DownloadError(f"HTTP {code} {response.reason}")
    kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        forget(path)
        raise DownloadError(
            "a web page came instead of the archive: a login, a consent form or an error page"
        )
    if code == 206:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not start or not match or int(match[1]) != start:
            forget(path)
            raise _TransientError("the server answered with another range; from the start", answered=True)
    else:
        start = 0
    total = _total(response, start)
    if None not in (total, expected.size) and total != expected.size:
        forget(path)
        raise DownloadError(f"the server offers {total} bytes, published are {expected.size}")
    if start and known.get("total") not in (None, total):
        forget(path)
        raise _TransientError("the server has another version by now; from the start", answered=True)
    if not start:
        forget(path)
        write_json(note_of(path), {"url": url, "total": total, "validator": _validator(response)})
    return start


def _validator(response: Any) -> str:
    """What names this version of the file for If-Range: a strong ETag, or the date of last change."""
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return str(etag)
    return str(response.headers.get("Last-Modified", ""))


def _receive(response: Any, part: Path, start: int, total: int | None, expected: Expected) -> None:
    """Append the body to the part."""
    limit = total if total is not None else expected.size
    free = shutil.disk_usage(part.parent).free
    if limit is not None and limit - start + SPARE_BYTES > free:
        raise DownloadError(
            f"{(limit - start) / MIB:.0f} MiB are to come and 64 MiB to spare, but the disk of {part.parent} has "
            f"{free / MIB:.0f} MiB free"
        )
    size = start
    # Raw, not decoded: a server that calls a tar.gz "Content-Encoding: gzip" must not change its bytes.
    stream = response.raw.stream(CHUNK, decode_content=False)
    with part.open("ab") as handle, progress(f"fetch {part.stem} (MiB)", (limit or start) // MIB) as bar:
        bar.advance(start // MIB)
        for chunk in stream:
            handle.write(chunk)
            bar.advance((size + len(chunk)) // MIB - size // MIB)
            size += len(chunk)
            if limit is not None and size > limit:
                raise DownloadError(f"more than the {limit} bytes that were announced")
            if limit is None and size + SPARE_BYTES > free + start:
                raise DownloadError(
                    "the disk is nearly full, and the server does not say how much is to come"
                )
    if limit is not None and size < limit:
        raise _TransientError(f"the connection ended at {size} of {limit} bytes", answered=True)
