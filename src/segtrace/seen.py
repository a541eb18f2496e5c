"""Checksums of files that were read before: a file is hashed again only when its state has changed.

The state is size, inode, modification *and* change time. The change time is in it because no tool can
set it back: a file that is edited in place with its size and times restored still shows. What is known
lies under ``.segtrace/seen``: removing it costs one reading of the files, never correctness.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from segtrace.files import sha256_file, write_text

FOLDER = Path(".segtrace/seen")
#: From how many bytes on that have to be read, the user is told why nothing seems to happen.
TOLD_FROM = 2 * 1024**3
State = list[int]


def state_of(path: Path) -> State:
    """Size, inode, modification and change time of a file (links are followed)."""
    status = path.stat()
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


class Seen:
    """What is known of one group of files; ``group`` names where it is kept."""

    def __init__(self, group: str) -> None:
        self._path = FOLDER / (group.strip("/").replace("/", "~") + ".json")
        self._known: dict[str, tuple[State, str]] = {}
        self._changed = False
        with suppress(OSError, ValueError, TypeError, AttributeError):
            content = json.loads(self._path.read_text(encoding="utf-8"))
            self._known = {name: (list(state), str(sha256)) for name, (state, sha256) in content.items()}

    def sha256(self, path: Path) -> str | None:
        """The checksum of a file's present bytes; None where there is no file."""
        try:
            state = state_of(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        known = self._known.get(str(path))
        if known is not None and known[0] == state:
            return known[1]
        found = sha256_file(path)
        if state_of(path) == state:  # not written to meanwhile
            self._known[str(path)] = (state, found)
            self._changed = True
        return found

    def sums(self, paths: Iterable[Path]) -> dict[str, str | None]:
        """Path → checksum of each file; says so when much has to be read."""
        paths = list(paths)
        waiting = 0
        for path in paths:
            with suppress(OSError):
                state = state_of(path)
                if self._known.get(str(path), (None, ""))[0] != state:
                    waiting += state[0]
        if waiting > TOLD_FROM:
            print(f"segtrace: reading {waiting / 1e9:.1f} GB that changed or are new", file=sys.stderr)
        return {str(path): self.sha256(path) for path in paths}

    def note(self, sums: Mapping[Path, str]) -> None:
        """Take over checksums that the caller has just computed from the files' bytes."""
        for path, sha256 in sums.items():
            with suppress(OSError):
                self._known[str(path)] = (state_of(path), sha256)
                self._changed = True

    def save(self) -> None:
        """Keep what is known; a folder that cannot be written to costs time only."""
        if not self._changed:
            return
        with suppress(OSError):
            write_text(self._path, json.dumps(self._known, sort_keys=True))
        self._changed = False


def tree_sums(folder: Path) -> dict[str, str | None] | None:
    """Path relative to ``folder`` → checksum, of every file below it; None where there is no folder."""
    if not folder.is_dir():
        return None
    paths = [Path(root, name) for root, _, names in os.walk(folder, followlinks=True) for name in names]
    seen = Seen(str(folder))
    found = seen.sums(sorted(paths))
    seen.save()
    return {str(Path(name).relative_to(folder)): sha256 for name, sha256 in found.items()}
