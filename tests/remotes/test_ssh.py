"""A remote on an SSH server: round trip, faults that are said in one line, an interrupted push, changed bytes."""

import getpass

import pytest
from remote_helpers import (
    Place,
    Server,
    contents,
    interrupt_push,
    make_key,
    object_of,
    round_trip,
)

pytestmark = pytest.mark.remotes


def settings(server: Server) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The remote, which is committed, and its key, which each clone sets for itself."""
    url = f"ssh://{getpass.getuser()}@127.0.0.1:{server.port}{server.folder}/store"
    return ("add", "--default", "s", url), key(server, "key")


def key(server: Server, name: str) -> tuple[str, ...]:
    return ("modify", "--local", "s", "keyfile", str(server.folder / name))


def stored(server: Server) -> list[str]:
    """Complete objects in the store."""
    found = (server.folder / "store").glob("files/md5/??/*")
    return [path.name for path in found if len(path.name.removesuffix(".dir")) == 30]


def test_push_clone_pull(place: Place, ssh: Server) -> None:
    remote, local = settings(ssh)
    round_trip(place, place.repository(remote, local), local)


def test_faults_are_one_line_each(place: Place, ssh: Server) -> None:
    remote, local = settings(ssh)
    repository = place.repository(remote, local)
    for command in ("push", "status --cloud"):
        place.call(repository, "dvc", "remote", *key(ssh, "wrong"))
        assert "Permission denied for user" in place.says(repository, "dvc", *command.split())
        place.call(repository, "dvc", "remote", *key(ssh, "none"))
        assert str(ssh.folder / "none") in place.says(repository, "dvc", *command.split())
    place.call(repository, "dvc", "remote", *local)
    place.call(repository, "dvc", "push")
    ssh.stop()
    assert "Connect call failed" in place.says(repository, "dvc", "status", "--cloud")
    clone = place.clone(repository, local)
    output = place.call(clone, "dvc", "pull", expect=1)
    assert "failed to connect to ssh" in output
    assert "Traceback" not in output
    assert not (clone / "data").exists()


def test_a_push_that_was_killed_is_completed_by_the_next(place: Place, ssh: Server) -> None:
    remote, local = settings(ssh)
    repository = place.repository(remote, local, files=400, size=20_000)
    interrupt_push(place, repository, lambda: stored(ssh), total=403)
    clone = place.clone(repository, local)
    place.call(clone, "dvc", "pull")
    assert contents(clone / "data") == contents(repository / "data")


def test_changed_bytes_are_seen_with_verify_and_pass_without(place: Place, ssh: Server) -> None:
    """Why docs/remotes.md says to set it."""
    remote, local = settings(ssh)
    repository = place.repository(remote, local)
    place.call(repository, "dvc", "push")
    path = ssh.folder / "store" / object_of(repository, "003.bin")
    whole = path.read_bytes()
    path.write_bytes(b"XX" + whole[2:])
    trusting = place.clone(repository, local, name="trusting")
    place.call(trusting, "dvc", "pull")
    assert (trusting / "data/003.bin").read_bytes() != whole
    clone = place.clone(repository, local, ("modify", "--local", "s", "verify", "true"))
    assert "failed to pull" in place.says(clone, "dvc", "pull", expect=1)
    path.write_bytes(whole)
    place.call(clone, "dvc", "pull")
    assert contents(clone / "data") == contents(repository / "data")


def test_the_servers_own_key_is_not_verified(place: Place, ssh: Server) -> None:
    """A pitfall that docs/remotes.md names: a server that is not the known one is talked to all the same."""
    remote, local = settings(ssh)
    repository = place.repository(remote, local)
    home = place.folder / "home/.ssh"
    home.mkdir(mode=0o700, parents=True)
    make_key(home / "other")
    kind, public = (home / "other.pub").read_text().split()[:2]
    (home / "known_hosts").write_text(f"[127.0.0.1]:{ssh.port} {kind} {public}\n")
    assert "pushed" in place.call(repository, "dvc", "push")
