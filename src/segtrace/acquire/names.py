"""Which member names of an archive may become files, and which of them get into each other's way.

An archive comes from elsewhere, so a name is a claim to be judged: it must stay below the folder it is
unpacked to, on Linux, macOS and Windows alike, and must not meet another name there.
"""

import re
import unicodedata

#: Longest part of a path, in bytes of UTF-8: the limit of the usual file systems.
MAX_PART_BYTES = 255
#: Longest path, in bytes of UTF-8.
MAX_PATH_BYTES = 2048


class UnsafeNameError(ValueError):
    """A name that must not become a file; the text is the reason."""


def readable(name: str) -> str:
    """``name`` as proper text.

    Bytes that are not UTF-8 arrive here as lone surrogates (tar); they are read as code page 437, which
    is what the zip format prescribes, so that one archive gives the same names on every machine.
    """
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("cp437")
    return name


def relative_path(name: str) -> str:
    """The path below the target that ``name`` stands for, with ``/`` between its parts and no ``.`` part;
    empty text for the target itself.

    Raises :class:`UnsafeNameError` for a name that is absolute, holds ``..``, a backslash, a drive letter or
    a control character, or is too long.
    """
    if not name:
        raise UnsafeNameError("empty name")
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise UnsafeNameError("control character in the name")
    if "\\" in name:
        raise UnsafeNameError("backslash in the name")
    if name.startswith("/"):
        raise UnsafeNameError("absolute path")
    if re.match(r"[A-Za-z]:", name):
        raise UnsafeNameError("absolute path with a drive letter")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UnsafeNameError("leads out of the folder by '..'")
    try:
        longest = max((len(part.encode("utf-8")) for part in parts), default=0)
    except UnicodeEncodeError:
        raise UnsafeNameError("name is no text") from None
    path = "/".join(parts)
    if longest > MAX_PART_BYTES or len(path.encode("utf-8")) > MAX_PATH_BYTES:
        raise UnsafeNameError(f"name too long (a part of {longest} bytes)")
    return path


def is_apple_double(path: str) -> bool:
    """Whether a path is macOS bookkeeping: below ``__MACOSX``, or with a part that starts with ``._``."""
    parts = path.split("/")
    return "__MACOSX" in parts or any(part.startswith("._") for part in parts)


def _key(path: str) -> str:
    """What a file system that ignores case and Unicode form makes of a path."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


class Names:
    """The names taken so far, over all archives of a data set."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def add_folder(self, path: str) -> None:
        """Take ``path`` and the folders above it; raise :class:`UnsafeNameError` if one of them is taken."""
        parts = path.split("/") if path else []
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            key = _key(folder)
            if key in self._files:
                raise UnsafeNameError(f"folder has the name of the file {self._files[key]!r}")
            known = self._folders.setdefault(key, folder)
            if known != folder:
                raise UnsafeNameError(f"folder differs from {known!r} in case or Unicode form only")

    def add_file(self, path: str) -> None:
        """Take ``path`` for a file; raise :class:`UnsafeNameError` if it meets a name already taken."""
        self.add_folder(path.rpartition("/")[0])
        key = _key(path)
        if key in self._folders:
            raise UnsafeNameError(f"file has the name of the folder {self._folders[key]!r}")
        known = self._files.get(key)
        if known == path:
            raise UnsafeNameError("name occurs twice")
        if known is not None:
            raise UnsafeNameError(f"differs from {known!r} in case or Unicode form only")
        self._files[key] = path
