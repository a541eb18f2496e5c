"""Bringing files and configuration to their places: all of them or none, and never over what is there.

The tree is copied into a hidden folder beside its place; the configuration waits beside it. A process killed between
the two renames leaves a tree whose configuration still waits: the next call finishes that.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from segtrace import layout
from segtrace.errors import SegtraceError, raise_all
from segtrace.files import check_safe_name, json_text, write_text
from segtrace.progress import progress

PRIVATE = Path(".segtrace/private")


@dataclass(frozen=True)
class Places:
    """Where everything of a new data set goes, and where it waits."""

    name: str
    tree: Path
    config: Path
    new_tree: Path
    new_config: Path
    private: Path
    page: Path


def places_of(name: str) -> Places:
    """The places of a new data set."""
    check_safe_name(name, what="the name of the data set")
    tree = layout.raw(name)
    return Places(
        name=name,
        tree=tree,
        config=Path("config/datasets") / f"{name}.yaml",
        new_tree=tree.with_name(f".{name}.adding"),
        new_config=tree.with_name(f".{name}.adding.yaml"),
        private=PRIVATE / f"{name}.json",
        page=Path("reports/add-dataset") / name / "index.html",
    )


def check_folder(folder: Path) -> Path:
    """The folder with links resolved; raises :class:`SegtraceError` for one that cannot be taken in."""
    if not folder.is_dir():
        raise SegtraceError(
            f"{folder}: no such folder" if not folder.exists() else f"{folder}: a file, not a folder"
        )
    found, project = folder.resolve(), Path.cwd().resolve()
    if project.is_relative_to(found):
        raise SegtraceError(
            f"{folder}: the project itself lies in this folder; name the folder that holds the images"
        )
    if found.is_relative_to(project / "data"):
        raise SegtraceError(
            f"{folder}: lies in the project's own data folder; keep the original files outside of the project, for they "
            "are copied to data/raw"
        )
    return found


def check_free(places: Places) -> None:
    """Raise :class:`SegtraceError` if anything of that name is there already. What a killed call left is finished."""
    if places.new_config.is_file() and places.tree.is_dir() and not places.config.exists():
        os.replace(places.new_config, places.config)
    for stale in (places.new_tree, places.new_config):
        if stale.is_dir():
            shutil.rmtree(stale)
        stale.unlink(missing_ok=True)
    there = [
        path
        for path in (
            places.tree,
            layout.receipt(places.name),
            places.config,
            Path("config/experiments") / f"{places.name}.yaml",
        )
        if path.exists() or path.is_symlink()
    ]
    raise_all(
        [f"{path} exists" for path in there],
        heading=f"there is a data set or an experiment {places.name!r} already; nothing was changed",
        remedy=f"Choose another name: --name NAME. To take the files in anew, move these away first. A data set that is "
        f"there is indexed by 'segtrace index {places.name}'.",
    )


@contextmanager
def copied(places: Places, files: Mapping[str, Path]) -> Iterator[Path]:
    """The hidden folder with copies of ``files`` (place → source); it is removed unless it was published."""
    try:
        places.new_tree.mkdir(parents=True)
        problems = []
        with progress("copy files", len(files)) as bar:
            for place, source in files.items():
                target = places.new_tree / place
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    shutil.copyfile(source, target)
                except PermissionError as error:
                    problems.append(f"{source}: cannot be read ({error.strerror})")
                bar.advance()
        raise_all(
            problems,
            heading="files could not be copied; nothing was taken in",
            remedy="Give yourself the right to read them.",
        )
        yield places.new_tree
    finally:
        shutil.rmtree(places.new_tree, ignore_errors=True)
        places.new_config.unlink(missing_ok=True)


def write_private(places: Places, names: Mapping[str, str], problems: list[str]) -> None:
    """The key from made-up ids to names, readable by its owner alone; git and DVC leave it out."""
    PRIVATE.mkdir(parents=True, exist_ok=True)
    PRIVATE.chmod(0o700)
    temporary = places.private.with_name(f".{places.private.name}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as handle:
        handle.write(json_text({"names": dict(names), "problems": problems}))
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, places.private)


def publish(places: Places, config: str) -> None:
    """Bring tree and configuration to their places, one right after the other."""
    write_text(places.new_config, config)
    os.sync()  # many small files: one flush for all, before the first name is final
    places.new_tree.rename(places.tree)
    places.config.parent.mkdir(parents=True, exist_ok=True)
    os.replace(places.new_config, places.config)
