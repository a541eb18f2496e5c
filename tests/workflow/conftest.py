"""Fixtures of the end-to-end runs."""

import shutil
from pathlib import Path

import pytest
from workflow_helpers import Project, make_project


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished project that no test changes: copy it, or compare with it."""
    project = make_project(tmp_path_factory.mktemp("reference") / "project")
    project.output = project.snakemake()  # type: ignore[attr-defined]
    return project


@pytest.fixture
def finished(reference: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, its times kept, for a test to change."""
    shutil.copytree(reference.path, tmp_path / "project", copy_function=shutil.copy2)
    return Project(tmp_path / "project")


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """A project in which nothing has run."""
    return make_project(tmp_path / "project")
