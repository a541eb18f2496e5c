"""A finished project to look at, and a copy of it to change."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fabricated import fabricate


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a finished project: see ``fabricated``."""
    root, before = tmp_path_factory.mktemp("made"), Path.cwd()
    os.chdir(root)
    try:
        return fabricate(root)
    finally:
        os.chdir(before)


@pytest.fixture(scope="session")
def spare(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project: ``project`` hands it out, and puts it right."""
    return shutil.copytree(made, tmp_path_factory.mktemp("copy") / "project")


@pytest.fixture
def kept(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project as working directory, for tests that change nothing."""
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def project(made: Path, spare: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the project as working directory, to be changed. It is put right afterwards: the files of a
    new copy would all have to be read anew.
    """
    monkeypatch.chdir(spare)
    yield spare
    for root in (made, spare):
        for path in [path for path in root.rglob("*") if path.is_file() and ".segtrace" not in path.parts]:
            name = path.relative_to(root)
            if not (made / name).exists():
                path.unlink()
            elif not (spare / name).exists() or (spare / name).read_bytes() != (made / name).read_bytes():
                (spare / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(made / name, spare / name)
