"""Fixtures of the end-to-end runs."""

from pathlib import Path

import pytest
from workflow_helpers import Project, copy_of, make_project, make_versioned


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished project that no test changes: copy it, or compare with it."""
    project = make_project(tmp_path_factory.mktemp("reference") / "project")
    project.output = project.snakemake()  # type: ignore[attr-defined]
    return project


@pytest.fixture
def finished(reference: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, its times kept, for a test to change."""
    return copy_of(reference, tmp_path / "project")


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """A project in which nothing has run."""
    return make_project(tmp_path / "project")


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished project under git and DVC, all committed and pushed to a store beside it; no test changes it."""
    project = make_versioned(tmp_path_factory.mktemp("recorded") / "project")
    project.snakemake("data/raw/phantom3d.receipt.json")
    project.call("segtrace", "pin", "phantom3d")
    project.dvc("repro")
    project.snakemake()
    project.commit("first")
    return project


@pytest.fixture
def versioned(recorded: Project, tmp_path: Path) -> Project:
    """A copy of the finished project under git and DVC, for a test to change."""
    return copy_of(recorded, tmp_path / "project")
