"""A remote in S3's way: round trip, faults that are said in one line, an interrupted push, changed bytes."""

from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from remote_helpers import Place, Server, contents, interrupt_push, object_of, round_trip

pytestmark = pytest.mark.remotes


def settings(server: Server, *, bucket: str = "segtrace") -> tuple[tuple[str, ...], ...]:
    return (
        ("add", "--default", "--force", "m", f"s3://{bucket}/dvc"),
        ("modify", "m", "endpointurl", server.url),
    )


def client(server: Server) -> Any:
    """A client that looks into the bucket past DVC."""
    return botocore.session.get_session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=server.url,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(proxies={}, s3={"addressing_style": "path"}),
    )


def stored(server: Server) -> list[str]:
    """Objects in the bucket."""
    listed = client(server).list_objects_v2(Bucket="segtrace", Prefix="dvc/files/md5/")
    return [entry["Key"] for entry in listed.get("Contents", [])]


def test_push_clone_pull(place: Place, s3: Server) -> None:
    round_trip(place, place.repository(*settings(s3)))


def test_faults_are_one_line_each(place: Place, s3: Server) -> None:
    repository = place.repository(*settings(s3, bucket="nobody-made-it"))
    for command in ("push", "status --cloud"):
        assert "The specified bucket does not exist" in place.says(repository, "dvc", *command.split())
    for setting in settings(s3):
        place.call(repository, "dvc", "remote", *setting)
    lost = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    assert "Unable to locate credentials" in place.says(repository, "dvc", "push", **lost)
    place.call(repository, "dvc", "push")
    s3.stop()
    said = place.says(repository, "dvc", "status", "--cloud", AWS_MAX_ATTEMPTS="1")
    assert f'Could not connect to the endpoint URL: "{s3.url}/segtrace/' in said


def test_a_wrong_key_is_said(place: Place, s3_with_keys: Server) -> None:
    repository = place.repository(*settings(s3_with_keys))
    assert "Forbidden" in place.says(repository, "dvc", "push")


def test_a_push_that_was_killed_is_completed_by_the_next(place: Place, s3: Server) -> None:
    repository = place.repository(*settings(s3), files=400, size=20_000)
    interrupt_push(place, repository, lambda: stored(s3), total=403)
    clone = place.clone(repository)
    place.call(clone, "dvc", "pull")
    assert contents(clone / "data") == contents(repository / "data")


def test_changed_bytes_are_seen_with_verify_and_pass_without(place: Place, s3: Server) -> None:
    """Why docs/remotes.md says to set it."""
    repository = place.repository(*settings(s3))
    place.call(repository, "dvc", "push")
    whole = (repository / "data/003.bin").read_bytes()
    place_of = {"Bucket": "segtrace", "Key": f"dvc/{object_of(repository, '003.bin')}"}
    inside = client(s3)
    assert inside.get_object(**place_of)["Body"].read() == whole
    inside.put_object(**place_of, Body=b"XX" + whole[2:])
    trusting = place.clone(repository, name="trusting")
    place.call(trusting, "dvc", "pull")
    assert (trusting / "data/003.bin").read_bytes() != whole
    clone = place.clone(repository, ("modify", "--local", "m", "verify", "true"))
    assert "failed to pull" in place.says(clone, "dvc", "pull", expect=1)
    inside.put_object(**place_of, Body=whole)
    place.call(clone, "dvc", "pull")
    assert contents(clone / "data") == contents(repository / "data")
