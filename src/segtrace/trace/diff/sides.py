"""The two sides of a comparison: folders of results, of this or another checkout, or revisions of the project.

A side gives files by their names in a project (``results/demo/per_case.csv``). Those of a revision are taken
out of git, or out of DVC's cache, into a folder of their own: the workspace is never touched.
"""

import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segtrace import layout
from segtrace.errors import SegtraceError
from segtrace.trace import jobs, record, tools

#: The side that is what lies here now.
WORKSPACE = "workspace"
#: The table that makes a folder one of an experiment's results.
TABLE = "per_case.csv"
#: What is read of a revision where git has it: results, and the records of what is made from the raw data.
IN_GIT = ("results", "data/index", "data/splits")


@dataclass
class Side:
    """One side: its name as given, and where its files are."""

    name: str
    root: Path | None
    """The project's root, or the folder into which a revision's files are put; None for a bare results folder."""
    folders: dict[str, Path]
    """Experiment → the folder of its tables."""
    revision: str = ""
    """The commit, in full, where the side is a revision."""
    one: bool = False
    """Whether the folder of one experiment's tables was given: it may be compared with one of another name."""
    lost: set[str] = field(default_factory=set)
    """Output folders of which a file was asked for and could not be had."""

    def file(self, path: Path) -> Path | None:
        """The file that is ``path`` in a project; None where this side does not have it."""
        if path.parts[0] == layout.RESULTS.name and len(path.parts) == 3:
            folder = self.folders.get(path.parts[1])
            found = folder / path.name if folder is not None else None
            return found if found is not None and found.is_file() else None
        if self.root is None:
            return None
        found = self.root / path
        if not found.is_file() and self.revision:
            self._get(path, found)
        return found if found.is_file() else None

    def record(self, output: Path) -> dict[str, Any] | None:
        """The provenance record of an output of a project; None where this side has none that can be read."""
        found = self.file(jobs.record_of(output))
        return record.read(found.with_name(output.name)) if found is not None else None

    def _get(self, path: Path, target: Path) -> None:
        """Take a file of the revision out of DVC's cache, if it is there.

        Where one file of an output folder is not to be had, no other one of it is asked for: each try takes a second.
        """
        folder = _output(path)
        if folder in self.lost:
            return
        try:
            _dvc_get(path, revision=self.revision, target=target)
        except SegtraceError:
            self.lost.add(folder)

    def remedy(self, paths: Iterable[Path]) -> str:
        """What to do to have files that this side lacks."""
        folders = " ".join(sorted({_output(path) for path in paths}))
        if not self.revision:
            return f"of {folders}: not there; snakemake, or 'dvc pull' and 'segtrace sync', in that folder brings them"
        short = self.revision[:12]
        return (
            f"of {folders}: neither in git nor in DVC's cache; 'git worktree add ../{short} {short}', there "
            f"'dvc pull {folders}' (or snakemake, which makes them anew), and compare with that folder"
        )


def _output(path: Path) -> str:
    """The folder that a stage owns whole, of a file in it."""
    return "/".join(path.parts[: 2 if path.parts[0] == "data" else 1])


def resolve(word: str, *, experiment: str | None, scratch: Path) -> Side:
    """The side that ``word`` names: ``workspace``, a folder, or else a revision of the project here.

    ``experiment`` is the only one that is wanted, if one is; a revision's files are put into ``scratch``. Raises
    :class:`SegtraceError` for a word that is neither, and for a side without results.
    """
    if not word:
        raise SegtraceError(
            "an empty word names no side; give a folder of results, a git revision or 'workspace' (is a variable of a "
            "script unset?)"
        )
    if word == WORKSPACE:
        side = Side(word, Path(), _experiments(layout.RESULTS))
        if not side.folders:
            raise SegtraceError(
                f"{layout.RESULTS}: no results here; make them with: snakemake --cores 2, or after git clone: dvc pull "
                "and segtrace sync"
            )
    elif Path(word).is_dir():
        side = _folder(word, Path(word))
    else:
        side = _revision(word, scratch)
    if experiment is not None:
        if experiment not in side.folders:
            raise SegtraceError(
                f"{word}: no results of experiment {experiment!r}; there are: {', '.join(sorted(side.folders))}"
            )
        side.folders = {experiment: side.folders[experiment]}
    return side


def _experiments(folder: Path) -> dict[str, Path]:
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{TABLE}"))}


def _folder(word: str, path: Path) -> Side:
    """A folder of one experiment's tables, of several experiments, or a project's root."""
    whole = path.resolve()
    if (path / TABLE).is_file():
        root = whole.parent.parent if whole.parent.name == layout.RESULTS.name else None
        return Side(word, root, {whole.name: path}, one=True)
    for results in (path, path / layout.RESULTS):
        found = _experiments(results)
        if found:
            named = results.resolve()
            root = named.parent if named.name == layout.RESULTS.name else None
            return Side(word, root, found)
    raise SegtraceError(
        f"{word}: no {TABLE} in this folder, nor in folders in it or in its {layout.RESULTS}; give results/EXPERIMENT, "
        f"results, or a project's root. For a branch of this name: refs/heads/{word}"
    )


def _revision(word: str, scratch: Path) -> Side:
    """A revision of the project here, its results taken out into ``scratch``."""
    try:
        tools.call("git", "rev-parse", "--git-dir")
    except SegtraceError:
        raise SegtraceError(
            f"{word!r} is no folder, and this is no git repository, so it is no revision; give two folders of results, "
            f"or {WORKSPACE!r} for what is here"
        ) from None
    try:
        commit = tools.call(
            "git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{word}^{{commit}}"
        ).strip()
    except SegtraceError:
        raise SegtraceError(
            f"{word!r} is neither a folder nor a revision; 'git log --oneline' lists revisions, {WORKSPACE!r} is what "
            "is here"
        ) from None
    scratch.mkdir(parents=True, exist_ok=True)
    _take_out(commit, scratch)
    results = scratch / layout.RESULTS
    side = Side(word, scratch, _experiments(results), revision=commit)
    if not side.folders:
        try:
            _dvc_get(layout.RESULTS, revision=commit, target=results)
        except SegtraceError as error:
            raise SegtraceError(
                f"{word} ({commit[:12]}): no results to be had {side.remedy([layout.RESULTS])}\n{error}"
            ) from None
        side.folders = _experiments(results)
    if not side.folders:
        raise SegtraceError(f"{word} ({commit[:12]}): its results hold no {TABLE} of any experiment")
    return side


def _take_out(commit: str, scratch: Path) -> None:
    """Put what git has of a revision's results and records into ``scratch``."""
    there = [path for path in IN_GIT if tools.call("git", "ls-tree", "--name-only", commit, "--", path)]
    if not there:
        return
    archive = scratch / "revision.tar"
    tools.call("git", "archive", "--format=tar", f"--output={archive}", commit, "--", *there)
    with tarfile.open(archive) as packed:
        packed.extractall(scratch, filter="data")
    archive.unlink()


def _dvc_get(path: Path, *, revision: str, target: Path) -> None:
    """A file or folder of a revision from DVC's cache or remote; raises :class:`SegtraceError` where it is not there."""
    if not tools.has_dvc():
        raise SegtraceError("this is no DVC repository")
    target.parent.mkdir(parents=True, exist_ok=True)
    tools.call("dvc", "get", "--quiet", "--rev", revision, "--out", str(target), ".", str(path))
