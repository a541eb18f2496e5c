"""Servers for DVC's remotes, started for a test and stopped with it.

These tests run by `make test-remotes`, or when they are named (`-m remotes`, or their path), and never by `make test`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from remote_helpers import Place, Server, moto, reason_against_moto, reason_against_sshd, sshd

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    if "remotes" in config.option.markexpr or any(path.is_relative_to(HERE) for path in named):
        return
    ours = [item for item in items if item.path.is_relative_to(HERE)]
    if ours:
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if item not in ours]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder with a home of its own, in which repositories are made."""
    return Place(tmp_path)


@pytest.fixture
def ssh(place: Place) -> Iterator[Server]:
    """An SSH server with SFTP, which knows the key `key` and not `wrong`."""
    reason = reason_against_sshd()
    if reason:
        pytest.skip(reason)
    with sshd(place.folder / "ssh") as server:
        yield server


def _s3(place: Place, **options: int) -> Iterator[Server]:
    reason = reason_against_moto()
    if reason:
        pytest.skip(reason)
    with moto(place.folder / "moto.log", **options) as server:
        yield server


@pytest.fixture
def s3(place: Place) -> Iterator[Server]:
    """A stand-in for S3 with the bucket `segtrace`."""
    yield from _s3(place)


@pytest.fixture
def s3_with_keys(place: Place) -> Iterator[Server]:
    """The same, which lets nobody in but the one who makes the bucket."""
    yield from _s3(place, open_calls=1)
