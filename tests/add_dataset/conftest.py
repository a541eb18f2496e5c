"""A project to take folders into, and folders to take in."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from segtrace import cli
from segtrace.add_dataset import command

ROOT = Path(__file__).parents[2]
Add = Callable[..., tuple[int, str]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "project"
    for name in ("config", "envs"):
        shutil.copytree(ROOT / name, path / name)
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the user's files lie: outside of the project."""
    path = tmp_path / "shots"
    path.mkdir()
    return path


@pytest.fixture
def add(
    project: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Add:
    """``add-dataset`` on the folder, its phases run in this process: status and all that was printed."""

    def phase(name: str, dataset: str) -> None:
        assert cli.main([name, dataset]) == 0, capsys.readouterr().err

    monkeypatch.setattr(command, "_phase", phase)

    def call(*options: str, at: Path = folder) -> tuple[int, str]:
        status = cli.main(["add-dataset", str(at), *options])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return call
