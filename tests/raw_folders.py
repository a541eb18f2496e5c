"""Raw folders for tests of readers: unpacked from a miniature or from the mirror, and indexed."""

import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import miniatures
from segtrace.config import load
from segtrace.datasets import Case
from segtrace.errors import SegtraceError, raise_all
from segtrace.index import build

MIRROR = Path(os.environ.get("SEGTRACE_MIRROR", "/nowhere"))
needs_mirror = pytest.mark.skipif(not MIRROR.is_dir(), reason="SEGTRACE_MIRROR names no folder of archives")


def unpack(archives: Sequence[Path], folder: Path) -> Path:
    """``folder`` with the ZIP archives unpacked in it."""
    for archive in archives:
        with zipfile.ZipFile(archive) as handle:
            handle.extractall(folder)
    return folder


def miniature(name: str, folder: Path) -> Path:
    """A folder with the miniature of the data set ``name``, unpacked."""
    miniatures.build(name, folder / "archives")
    return unpack(sorted((folder / "archives").glob("*.zip")), folder / "raw")


def mirrored(archives: Sequence[str], folder: Path) -> Path:
    """A folder with archives of the mirror, unpacked."""
    return unpack([MIRROR / name for name in archives], folder)


def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in ``folder`` as in a fresh project with this repository's configuration."""
    shutil.copytree(Path(__file__).parents[1] / "config", folder / "config")
    monkeypatch.chdir(folder)


def check_faults(
    reader: ModuleType,
    root: Path,
    heading: str,
    faults: Sequence[str],
    *,
    options: Mapping[str, Any] | None = None,
) -> str:
    """The message with which the reader refuses ``root``: as many problems as ``faults``, each found in one line."""
    with pytest.raises(SegtraceError) as caught:
        reader.cases(root, options or {})
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{root}: {heading}: {len(faults)} problems"
    for part in faults:
        assert sum(part in line for line in lines) == 1, part
    return str(caught.value)


def index(
    name: str, root: Path, cases: Sequence[Case], options: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Rows of the index for ``cases``; the faults of all of them are one error, as the command ``index`` raises it."""
    data = load.dataset(name)
    indexed = [
        build.index_case(
            build.Job(
                dataset=name,
                root=root,
                reader=data.reader or name,
                options=data.options if options is None else options,
                case=case,
                dimensions=data.dimensions,
                channels=len(data.channels),
                labels=tuple(sorted(data.labels)),
                empty_allowed=data.gate.empty_masks[1] > 0,
            )
        )
        for case in cases
    ]
    raise_all([problem for one in indexed for problem in one.problems], heading=f"index {name}")
    return [one.row for one in indexed]
