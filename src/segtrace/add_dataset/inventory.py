"""What lies in a folder: its images, its other files by ending, and what cannot be followed."""

import os
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from segtrace.datasets import _files


@dataclass(frozen=True)
class Inventory:
    """The files below a folder, as paths relative to it with ``/``."""

    root: Path
    images: list[str] = field(default_factory=list)
    """Pictures and volumes by their ending, sorted."""
    others: list[str] = field(default_factory=list)
    left_behind: int = 0
    """Hidden files and folders, and those of operating systems."""
    problems: list[str] = field(default_factory=list)

    def counted(self) -> list[str]:
        """How many files of each ending lie in each folder, one line each, at most 20."""
        counts: Counter[tuple[str, str]] = Counter()
        for name in [*self.images, *self.others]:
            folder, _, file = name.rpartition("/")
            counts[
                folder or ".", _files.split_ending(file)[1] or Path(file).suffix.lower() or "no ending"
            ] += 1
        lines = [
            f"{printable(folder)}: {count} × {printable(ending)}"
            for (folder, ending), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ]
        return lines[:20] + ([f"and {len(lines) - 20} more"] if len(lines) > 20 else [])


def printable(name: str) -> str:
    """A file's name as it can be printed, whatever bytes it is made of."""
    text = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in text)


@cache
def of(folder: Path) -> Inventory:
    """Look through a folder once. Links to files are followed; links to folders are not, and said."""
    found = Inventory(folder)
    left = 0

    def unreadable(error: OSError) -> None:
        place = Path(error.filename).relative_to(folder).as_posix() if error.filename else "."
        found.problems.append(f"{printable(place)}: cannot be opened ({error.strerror}); left out")

    for top, folders, names in os.walk(folder, onerror=unreadable):
        here = Path(top).relative_to(folder)
        left += sum(_files.is_left_behind(name) for name in [*folders, *names])
        folders[:] = sorted(name for name in folders if not _files.is_left_behind(name))
        for name in list(folders):
            if os.path.islink(os.path.join(top, name)):
                folders.remove(name)
                place = printable((here / name).as_posix())
                found.problems.append(f"{place}: a link to a folder is not followed; copy the folder there")
        for name in names:
            if _files.is_left_behind(name):
                continue
            place = (here / name).as_posix()
            if not os.path.isfile(os.path.join(top, name)):
                what = "a link to nothing" if os.path.islink(os.path.join(top, name)) else "no ordinary file"
                found.problems.append(f"{printable(place)}: {what}; left out")
            else:
                (found.images if _files.split_ending(name)[1] else found.others).append(place)
    return Inventory(folder, sorted(found.images), sorted(found.others), left, sorted(found.problems))
