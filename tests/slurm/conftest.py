"""A Slurm, started for these tests and stopped with them.

They run by `make test-slurm`, or when they are named (`-m slurm`, or their path), and never by `make test`.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_helpers import Cluster, environment, finish, quick, reason_against_slurm, slurm, submit, without
from workflow_helpers import Project, make_project

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    if "slurm" in config.option.markexpr or any(path.is_relative_to(HERE) for path in named):
        return
    ours = [item for item in items if item.path.is_relative_to(HERE) and item.get_closest_marker("slurm")]
    if ours:
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if item not in ours]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes with two GPUs each; one for all tests."""
    reason = reason_against_slurm()
    if reason:
        pytest.skip(reason)
    # a short path: a socket's may have 108 characters
    folder = Path(tempfile.mkdtemp(prefix="segtrace-slurm-"))
    try:
        with slurm(folder / "slurm") as running:
            yield running
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The phantoms' whole chain, run through Slurm with the project's own profile."""
    folder = tmp_path_factory.mktemp("undisturbed")
    project = make_project(folder / "project")
    project.environment.update(environment(cluster, folder / "watch"))
    # many short steps, so that something can happen between two of them
    project.edit("config/budgets/smoke.yaml", lambda v: v.update(training={"epochs": 20}, by_training={}))
    project.edit("profiles/slurm/profile.yaml", quick)
    project.output = finish(submit(project))  # type: ignore[attr-defined]
    return project


@pytest.fixture
def untrained(undisturbed: Project, tmp_path: Path) -> Project:
    """The same project up to its split, so that the training is what runs next, slowly."""
    made = ("checkpoints", "predictions", "scores", "results", "reports", "seen")
    project = without(undisturbed, tmp_path / "project", made)
    (project.path / "slow").touch()
    return project
