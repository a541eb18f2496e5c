import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from segtrace.acquire import download
from segtrace.acquire.fetch import Archive, Fetched, fetch, read_sums
from segtrace.errors import SegtraceError

BODY = bytes(range(256)) * 4000  # about 1 MiB
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()
OTHER = b"a subset"
Get = Callable[..., Fetched]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    return []


@pytest.fixture
def get(tmp_path: Path, pauses: list[float]) -> Get:
    def go(archive: Archive, mirror: Path | None = None) -> Fetched:
        return fetch(archive, folder=tmp_path / "downloads", mirror=mirror, pause=pauses.append)

    return go


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    return folder


def sums(mirror: Path, content: bytes, name: str = "a.zip") -> None:
    (mirror / "SHA256SUMS").write_text(f"{hashlib.sha256(content).hexdigest()}  {name}\n")


# --- mirror ------------------------------------------------------------------------------------------


def test_a_mirror_vouches_for_bytes_of_its_own(mirror: Path, get: Get) -> None:
    (mirror / "a.zip").write_bytes(OTHER)
    sums(mirror, OTHER)
    found = get(Archive("a.zip", sha256=SHA256, size=len(BODY)), mirror)
    assert (found.path, found.size, found.origin) == (mirror / "a.zip", len(OTHER), "mirror")
    assert found.sha256 == hashlib.sha256(OTHER).hexdigest()
    assert "SHA256SUMS" in found.verified_by


def test_the_owners_bytes_are_the_owners_wherever_they_lie(mirror: Path, get: Get) -> None:
    (mirror / "a.zip").write_bytes(BODY)
    sums(mirror, BODY)
    for archive in (
        Archive("a.zip", sha256=SHA256.upper()),
        Archive("a.zip", md5=MD5),
        Archive("a.zip", sha256=SHA256, md5=MD5, size=len(BODY)),
    ):
        assert get(archive, mirror).origin == "published"
    (mirror / "SHA256SUMS").unlink()
    assert get(Archive("a.zip", sha256=SHA256), mirror).verified_by == "published sha256"
    assert get(Archive("a.zip"), mirror).verified_by == "nothing: no checksum is published"


def test_a_mirror_without_sums_is_held_to_the_published_checksum(mirror: Path, get: Get) -> None:
    (mirror / "a.zip").write_bytes(OTHER)
    with pytest.raises(
        SegtraceError, match=f"sha256 is {hashlib.sha256(OTHER).hexdigest()}, published is {SHA256}"
    ):
        get(Archive("a.zip", sha256=SHA256), mirror)
    with pytest.raises(SegtraceError, match=r"bytes is 8, published is 9; md5 is .*, published is"):
        get(Archive("a.zip", md5=MD5, size=9), mirror)


def test_a_damaged_mirror_is_named_and_the_address_is_tried(
    mirror: Path, get: Get, web: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    (mirror / "a.zip").write_bytes(OTHER + b"!")
    sums(mirror, OTHER)
    with pytest.raises(SegtraceError, match="SHA256SUMS beside it says " + hashlib.sha256(OTHER).hexdigest()):
        get(Archive("a.zip"), mirror)
    web.files["/a.zip"] = BODY
    found = get(Archive("a.zip", urls=(web.url("/a.zip"),), sha256=SHA256), mirror)
    assert found.origin == "published"
    assert "trying the published address" in capsys.readouterr().out


def test_sums_as_sha256sum_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "SHA256SUMS"
    path.write_text(f"# comment\n{SHA256}  a b (1).zip\n{SHA256.upper()} *./c.tar\n\n")
    assert read_sums(path) == {"a b (1).zip": SHA256, "c.tar": SHA256}
    path.write_text(f"{SHA256}  a\nnonsense\n")
    with pytest.raises(SegtraceError, match=r"SHA256SUMS, line 2.*nonsense"):
        read_sums(path)


def test_an_archive_name_that_is_a_path_is_refused(get: Get) -> None:
    with pytest.raises(SegtraceError, match=r"\.\./a"):
        get(Archive("../a.zip"))


# --- addresses -----------------------------------------------------------------------------------------


def test_a_cut_connection_is_resumed_where_it_ended(get: Get, web: SimpleNamespace, tmp_path: Path) -> None:
    web.files["/a.zip"] = BODY
    web.moods = ["cut", "cut"]
    found = get(Archive("a.zip", urls=(web.url("/a.zip"),), sha256=SHA256, size=len(BODY)))
    assert found.path.read_bytes() == BODY
    assert found.path == tmp_path / "downloads/a.zip"
    asked = [headers.get("Range") for _, headers in web.requests]
    assert asked == [None, f"bytes={len(BODY) // 2}-", f"bytes={len(BODY) - len(BODY) // 4}-"]
    assert not download.part_of(found.path).exists()


def test_a_later_run_goes_on_with_the_part_of_an_earlier_one(
    get: Get, web: SimpleNamespace, tmp_path: Path
) -> None:
    web.files["/a.zip"] = BODY
    archive = Archive("a.zip", urls=(web.url("/a.zip"),), sha256=SHA256)
    path = tmp_path / "downloads/a.zip"
    web.moods = ["cut"]
    path.parent.mkdir()
    with pytest.raises(download._TransientError):
        download._attempt(archive.urls[0], path, download.Expected())
    assert download.part_of(path).stat().st_size == len(BODY) // 2
    assert get(archive).sha256 == SHA256
    assert web.requests[-1][1]["Range"] == f"bytes={len(BODY) // 2}-"
    assert web.requests[-1][1]["If-Range"].startswith('"')


def test_a_part_of_another_version_is_fetched_anew(get: Get, web: SimpleNamespace, tmp_path: Path) -> None:
    url = web.url("/a.zip")
    path = tmp_path / "downloads/a.zip"
    path.parent.mkdir()
    web.files["/a.zip"] = OTHER * 9000
    web.moods = ["cut"]
    with pytest.raises(download._TransientError):
        download._attempt(url, path, download.Expected())
    web.files["/a.zip"] = BODY
    assert get(Archive("a.zip", urls=(url,), sha256=SHA256)).sha256 == SHA256
    assert len(web.requests) == 2, "If-Range made the server send the whole new version at once"


def test_a_damaged_part_costs_one_more_download_and_no_more(
    get: Get, web: SimpleNamespace, tmp_path: Path
) -> None:
    url = web.url("/a.zip")
    path = tmp_path / "downloads/a.zip"
    path.parent.mkdir()
    web.files["/a.zip"] = BODY
    web.moods = ["cut"]
    with pytest.raises(download._TransientError):
        download._attempt(url, path, download.Expected())
    part = download.part_of(path)
    part.write_bytes(b"?" + part.read_bytes()[1:])
    assert get(Archive("a.zip", urls=(url,), sha256=SHA256)).sha256 == SHA256
    assert [headers.get("Range") is None for _, headers in web.requests] == [True, False, True]


def test_a_part_that_is_whole_already(get: Get, web: SimpleNamespace, tmp_path: Path) -> None:
    url = web.url("/a.zip")
    path = tmp_path / "downloads/a.zip"
    path.parent.mkdir()
    web.files["/a.zip"] = BODY
    web.moods = ["cut"]
    with pytest.raises(download._TransientError):
        download._attempt(url, path, download.Expected())
    download.part_of(path).write_bytes(BODY)
    assert get(Archive("a.zip", urls=(url,), sha256=SHA256)).sha256 == SHA256
    assert len(web.requests) == 2


def test_a_server_without_ranges_sends_all_again(get: Get, web: SimpleNamespace) -> None:
    web.files["/a.zip"] = BODY
    web.ranges = False
    web.moods = ["cut"]
    assert get(Archive("a.zip", urls=(web.url("/a.zip"),), sha256=SHA256)).sha256 == SHA256


def test_a_server_that_always_cuts_is_given_up(get: Get, web: SimpleNamespace, pauses: list[float]) -> None:
    web.files["/a.zip"] = BODY
    web.ranges = False
    web.moods = ["cut"] * 50
    with pytest.raises(SegtraceError, match="kept, to go on from"):
        get(Archive("a.zip", urls=(web.url("/a.zip"),), sha256=SHA256))
    assert len(web.requests) < 10
    assert pauses[-4:] == [1, 2, 4, 8]


def test_a_busy_server_is_asked_again_when_it_says(
    get: Get, web: SimpleNamespace, pauses: list[float]
) -> None:
    web.files["/a.zip"] = BODY
    web.moods = ["busy"]
    assert get(Archive("a.zip", urls=(web.url("/a.zip"),), sha256=SHA256)).sha256 == SHA256
    assert pauses == [7.0]


def test_wrong_checksum_size_404_and_login_page_are_each_named(
    get: Get, web: SimpleNamespace, tmp_path: Path
) -> None:
    web.files |= {"/wrong.zip": OTHER, "/page.zip": b"<html><title>Log in</title>", "/empty.zip": b""}
    web.moods = ["well", "well", "login"]
    urls = tuple(web.url(f"/{name}.zip") for name in ("gone", "wrong", "page", "page", "empty"))
    with pytest.raises(SegtraceError) as caught:
        get(Archive("a.zip", urls=urls, sha256=SHA256))
    text = str(caught.value)
    assert "no mirror folder is given" in text
    assert f"{urls[0]}: HTTP 404" in text
    assert f"{urls[1]}: sha256 is {hashlib.sha256(OTHER).hexdigest()}, published is {SHA256}" in text
    assert f"{urls[2]}: a web page came instead of the archive" in text
    assert f"{urls[3]}: a web page ('Log in') instead of the archive" in text
    assert f"{urls[4]}: the file is empty" in text
    assert str(tmp_path / "downloads/a.zip") in text
    assert "SEGTRACE_MIRROR" in text
    with pytest.raises(SegtraceError, match="the server offers 8 bytes, published are 9"):
        get(Archive("a.zip", urls=(urls[1],), size=9))
    assert os.listdir(tmp_path / "downloads") == []


def test_bytes_are_not_decoded_on_the_way(get: Get, web: SimpleNamespace) -> None:
    web.files["/a.zip"] = BODY
    web.moods = ["odd"]  # says that the body is gzip, as some servers do of a tar.gz
    assert get(Archive("a.zip", urls=(web.url("/a.zip"),), sha256=SHA256)).sha256 == SHA256


def test_a_server_that_does_not_say_the_size(get: Get, web: SimpleNamespace) -> None:
    web.files["/a.zip"] = BODY
    web.silent = True
    assert get(Archive("a.zip", urls=(web.url("/a.zip"),), sha256=SHA256)).sha256 == SHA256
    with pytest.raises(SegtraceError, match="more than the 99 bytes"):
        get(Archive("b.zip", urls=(web.url("/a.zip"),), size=99))


def test_a_full_disk_is_seen_before_the_download(
    get: Get, web: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.files["/a.zip"] = BODY
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: SimpleNamespace(free=64 << 20))
    with pytest.raises(SegtraceError, match=r"1 MiB are to come and 64 MiB to spare.*64 MiB free"):
        get(Archive("a.zip", urls=(web.url("/a.zip"),)))


def test_without_a_network_every_place_is_named_once_and_soon(
    get: Get, mirror: Path, pauses: list[float]
) -> None:
    urls = ("http://127.0.0.1:9/a.zip", "http://127.0.0.1:9/b.zip")
    with pytest.raises(SegtraceError) as caught:
        get(Archive("a.zip", urls=urls, sha256=SHA256), mirror)
    text = str(caught.value)
    assert f"{mirror / 'a.zip'}: no such file" in text
    for url in urls:
        assert text.count(url) == 1
    assert "refused" in text
    assert "0x" not in text
    assert "Then run the same command again" in text
    assert sum(pauses) <= 3
    with pytest.raises(SegtraceError, match=r"nowhere: no such folder \(the mirror\)"):
        get(Archive("a.zip"), mirror / "nowhere")


def test_a_broken_certificate_matters_unless_the_bytes_are_pinned(
    get: Get, web: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.files["/a.zip"] = BODY
    real, verified = requests.get, []

    def strict(url: str, **options: Any) -> Any:
        verified.append(options.get("verify", True))
        if verified[-1]:
            raise requests.exceptions.SSLError("certificate verify failed")
        assert options["auth"] is not None, "no password goes to a server that has not proved who it is"
        return real(url, **options)

    monkeypatch.setattr(requests, "get", strict)
    with pytest.raises(SegtraceError, match="certificate is not accepted"):
        get(Archive("a.zip", urls=(web.url("/a.zip"),), md5=MD5))
    assert verified == [True]
    assert get(Archive("a.zip", urls=(web.url("/a.zip"),), sha256=SHA256)).sha256 == SHA256
    assert verified == [True, True, False]


# --- by hand -------------------------------------------------------------------------------------------


def test_a_registration_says_which_file_goes_where(get: Get, mirror: Path, tmp_path: Path) -> None:
    archive = Archive("heart.zip", manual="Fill in the form at example.org and fetch heart.zip.")
    with pytest.raises(SegtraceError) as caught:
        get(archive)
    assert "Fill in the form at example.org" in str(caught.value)
    assert f"Put the file at {tmp_path / 'downloads/heart.zip'}" in str(caught.value)
    with pytest.raises(SegtraceError, match=f"Put the file at {mirror / 'heart.zip'}"):
        get(archive, mirror)
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads/heart.zip").write_bytes(BODY)
    assert get(archive).sha256 == SHA256


def test_a_wrong_file_put_there_by_hand_is_set_aside_not_deleted(
    get: Get, web: SimpleNamespace, tmp_path: Path
) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "a.zip").write_bytes(OTHER)
    with pytest.raises(SegtraceError, match="published is"):
        get(Archive("a.zip", sha256=SHA256))
    assert (folder / "a.zip").read_bytes() == OTHER
    web.files["/a.zip"] = BODY
    assert get(Archive("a.zip", urls=(web.url("/a.zip"),), sha256=SHA256)).sha256 == SHA256
    assert (folder / "a.zip.refused").read_bytes() == OTHER
