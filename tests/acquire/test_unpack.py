import gzip
import hashlib
import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segtrace.acquire import unpack as unpacking
from segtrace.acquire.unpack import Limits, unpack
from segtrace.errors import SegtraceError

Make = Callable[..., bytes]
GOOD = [("set/a.txt", b"alpha"), ("set/deep/b.txt", b""), ("set/c (1).txt", b"x" * 2_500_001)]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def put(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "archive"
    path.write_bytes(content)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_what_comes_out_is_what_went_in(
    kind: str, tmp_path: Path, target: Path, make_tar: Make, make_zip: Make
) -> None:
    content = make_zip(GOOD) if kind == "zip" else make_tar(GOOD, mode="w:gz" if kind == "tar.gz" else "w")
    archive = put(tmp_path, content)
    assert unpacking.kind_of(archive) == kind
    found = unpack(archive, target)
    assert tree(target) == dict(GOOD)
    assert found.files == {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in GOOD}
    assert found.left_out == 0
    read_only = unpack(archive, None)
    assert read_only.files == found.files
    assert not os.stat(target / "set/a.txt").st_mode & 0o111


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_every_refusal_of_a_tar_is_listed_and_nothing_written(
    tmp_path: Path, target: Path, make_tar: Make
) -> None:
    members = [
        ("good.txt", b"good"),
        ("/abs.txt", b"1"),
        ("../up.txt", b"2"),
        special("soft", tarfile.SYMTYPE, "/etc"),
        special("hard", tarfile.LNKTYPE, "good.txt"),
        special("pipe", tarfile.FIFOTYPE),
        special("char", tarfile.CHRTYPE),
        special("block", tarfile.BLKTYPE),
        special("odd", b"Z"),
        ("GOOD.txt", b"3"),
        ("good.txt", b"4"),
        special("._link", tarfile.SYMTYPE, "/etc/passwd"),
    ]
    with pytest.raises(SegtraceError) as caught:
        unpack(put(tmp_path, make_tar(members)), target)
    text = str(caught.value)
    assert "11 problems" in text
    for line in (
        "/abs.txt: absolute path",
        "../up.txt: leads out",
        "soft: symbolic link to '/etc'",
        "hard: hard link to 'good.txt'",
        "pipe: pipe",
        "char: device",
        "block: device",
        "odd: member of unknown kind",
        "GOOD.txt: differs from 'good.txt' in case",
        "good.txt: name occurs twice",
        "._link: symbolic link",
    ):
        assert line in text, line
    assert not tree(target)


def test_every_refusal_of_a_zip_is_listed_and_nothing_written(
    tmp_path: Path, target: Path, make_zip: Make
) -> None:
    def with_mode(name: str, mode: int) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        return info

    members = [
        ("good.txt", b"good"),
        ("/abs.txt", b"1"),
        ("a/../../up.txt", b"2"),
        ("..\\up.txt", b"3"),
        (with_mode("soft", 0o120777), b"/etc/passwd"),
        (with_mode("pipe", 0o010644), b""),
        (with_mode("char", 0o020644), b""),
        ("Good.txt", b"4"),
    ]
    with pytest.raises(SegtraceError) as caught:
        unpack(put(tmp_path, make_zip(members)), target)
    text = str(caught.value)
    assert "7 problems" in text
    for line in ("/abs.txt: absolute", "up.txt: leads out", "backslash", "soft: symbolic link", "pipe: pipe"):
        assert line in text, line
    assert "char: device" in text
    assert "Good.txt: differs from 'good.txt' in case" in text
    assert not tree(target)


def test_encrypted_and_oddly_compressed_zips(tmp_path: Path, target: Path, make_zip: Make) -> None:
    content = bytearray(make_zip([("secret.txt", b"1234"), ("open.txt", b"5")]))
    entry = content.index(b"PK\x01\x02")
    content[entry + 8] |= 1
    with pytest.raises(SegtraceError, match=r"secret\.txt: encrypted"):
        unpack(put(tmp_path, bytes(content)), target)
    with pytest.raises(SegtraceError, match=r"compression method 14 is not supported"):
        unpack(put(tmp_path, make_zip([("a", b"a" * 99)], compression=zipfile.ZIP_LZMA)), target)


def test_a_member_given_twice_by_overlap_is_refused(tmp_path: Path, target: Path, make_zip: Make) -> None:
    content = make_zip([("a", b"a" * 1000), ("b", b"b" * 1000)], compression=zipfile.ZIP_STORED)
    start = content.index(b"PK\x01\x02")
    second = content.index(b"PK\x01\x02", start + 4)
    changed = bytearray(content)
    changed[second + 42 : second + 46] = struct.pack("<I", 10)  # its local header lies within the first
    with pytest.raises(SegtraceError, match="overlaps another member"):
        unpack(put(tmp_path, bytes(changed)), target)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_sizes_beyond_the_limits(
    kind: str, tmp_path: Path, target: Path, make_tar: Make, make_zip: Make
) -> None:
    members = [("a", bytes(40_000)), ("b", bytes(40_000))]
    archive = put(
        tmp_path,
        make_zip(members) if kind == "zip" else make_tar(members, mode="w:gz" if kind == "tar.gz" else "w"),
    )
    with pytest.raises(SegtraceError, match=r"(?s)a: 40000 bytes, more than the limit of 39999.*b: 40000"):
        unpack(archive, target, limits=Limits(file_bytes=39_999))
    with pytest.raises(SegtraceError, match="more than the limit of 79999 bytes"):
        unpack(archive, target, limits=Limits(total_bytes=79_999))
    with pytest.raises(SegtraceError, match="more than 1 members"):
        unpack(archive, target, limits=Limits(members=1))
    if kind != "tar":
        with pytest.raises(SegtraceError, match="more than 50 times its own"):
            unpack(archive, target, limits=Limits(ratio=50, ratio_from_bytes=1000))
    assert not tree(target)
    unpack(archive, target, limits=Limits(file_bytes=40_000, total_bytes=80_000, members=2))


def test_a_zip_that_holds_more_than_it_declares(tmp_path: Path, target: Path, make_zip: Make) -> None:
    content = make_zip([("a", b"a" * 5000)])
    for offset, kind in ((22, b"PK\x03\x04"), (24, b"PK\x01\x02")):
        at = content.index(kind) + offset
        content = content[:at] + struct.pack("<I", 10) + content[at + 4 :]
    with pytest.raises(SegtraceError, match="damaged or cut short"):
        unpack(put(tmp_path, content), target)


def test_a_header_that_would_fill_the_memory(tmp_path: Path, target: Path) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    content = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
    with pytest.raises(SegtraceError, match="a header declares"):
        unpack(put(tmp_path, content), target)


def test_negative_and_sparse_members(tmp_path: Path, target: Path) -> None:
    info = tarfile.TarInfo("back")
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 12
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(SegtraceError, match=r"declares -1 bytes|damaged"):
        unpack(put(tmp_path, bytes(block) + bytes(1024)), target)
    info = tarfile.TarInfo("holes")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "0,0",
        "GNU.sparse.size": "9",
    }
    with pytest.raises(SegtraceError, match="holes: sparse file"):
        unpack(put(tmp_path, info.tobuf(tarfile.PAX_FORMAT) + bytes(1024)), target)


def test_macos_bookkeeping_is_left_out_and_counted(
    tmp_path: Path, target: Path, make_tar: Make, make_zip: Make
) -> None:
    members = [("s/a", b"1"), ("s/._a", b"2"), ("__MACOSX/s/._a", b"3"), ("s/.hidden", b"4")]
    found = unpack(put(tmp_path, make_tar(members)), target)
    assert sorted(found.files) == ["s/.hidden", "s/a"]
    assert found.left_out == 2
    assert unpack(put(tmp_path, make_zip(members)), None).left_out == 2


def test_names_that_are_no_utf8(tmp_path: Path, target: Path, make_zip: Make) -> None:
    info = tarfile.TarInfo("caf\udce9.txt")  # Latin-1 bytes
    content = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + bytes(1024)
    assert list(unpack(put(tmp_path, content), target).files) == ["cafΘ.txt"]
    unmarked = make_zip([("caf\u00e9.txt", b"")])
    at = [unmarked.index(b"PK\x03\x04") + 6, unmarked.index(b"PK\x01\x02") + 8]
    changed = bytearray(unmarked)
    for position in at:
        changed[position + 1] &= ~0x08  # UTF-8 that does not say so, as macOS writes it
    assert list(unpack(put(tmp_path, bytes(changed)), None).files) == ["café.txt"]


def test_two_archives_of_one_data_set_may_not_meet(tmp_path: Path, target: Path, make_tar: Make) -> None:
    from segtrace.acquire.names import Names

    taken, archive = Names(), put(tmp_path, make_tar(GOOD))
    unpack(archive, target, names=taken)
    with pytest.raises(SegtraceError, match=r"set/a\.txt: name occurs twice"):
        unpack(archive, target, names=taken)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_a_cut_archive_is_never_taken_for_a_whole_one(
    kind: str, tmp_path: Path, make_tar: Make, make_zip: Make
) -> None:
    members = [(f"{number}.bin", os.urandom(700)) for number in range(6)]
    whole = (
        make_zip(members) if kind == "zip" else make_tar(members, mode="w:gz" if kind == "tar.gz" else "w")
    )
    ends = range(1, len(whole) - (10240 - 512 * 2 if kind == "tar" else 0), 97)
    for end in [*ends, 3 * 1536, 6 * 1536 - 512] if kind == "tar" else ends:
        if kind == "tar" and end > 6 * 1536:
            break
        with pytest.raises(SegtraceError, match=r"damaged|neither tar"):
            unpack(put(tmp_path, whole[:end]), None)


def test_what_is_no_archive_and_what_is_empty(tmp_path: Path, target: Path, make_zip: Make) -> None:
    with pytest.raises(SegtraceError, match=r"neither tar, tar\.gz nor zip: 5 bytes"):
        unpack(put(tmp_path, b"hello"), target)
    with pytest.raises(SegtraceError, match="holds no file"):
        unpack(put(tmp_path, make_zip([])), target)
    with pytest.raises(SegtraceError, match="holds no file"):
        unpack(put(tmp_path, bytes(10240)), target)


def test_a_list_that_is_published_beside_archives_is_taken_as_it_is(
    tmp_path: Path, target: Path, make_zip: Make
) -> None:
    path = tmp_path / "test_list.txt"
    path.write_bytes(b"00000001_000.png\n")
    assert unpack(path, target).files == {path.name: (17, hashlib.sha256(path.read_bytes()).hexdigest())}
    assert tree(target) == {"test_list.txt": b"00000001_000.png\n"}
    packed = tmp_path / "packed.csv"  # content goes before the name
    packed.write_bytes(make_zip(GOOD))
    assert set(unpack(packed, None).files) == {name for name, _ in GOOD}


def test_a_damaged_tar_header_does_not_end_the_archive_silently(
    tmp_path: Path, target: Path, make_tar: Make
) -> None:
    content = bytearray(make_tar([("a", b"1"), ("b", b"2"), ("c", b"3")]))
    content[1024 + 3] ^= 0xFF  # within the header of b
    with pytest.raises(SegtraceError, match="damaged header"):
        unpack(put(tmp_path, bytes(content)), target)


def test_a_changed_byte_within_a_compressed_member(tmp_path: Path, target: Path, make_zip: Make) -> None:
    content = bytearray(make_zip([("a", b"abcdefgh" * 10)], compression=zipfile.ZIP_STORED))
    content[60] ^= 0xFF
    with pytest.raises(SegtraceError, match="damaged or cut short"):
        unpack(put(tmp_path, bytes(content)), target)


def test_too_little_space_is_said_before_anything_is_written(
    tmp_path: Path, target: Path, make_zip: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda path: SimpleNamespace(free=65 << 20))
    archive = put(tmp_path, make_zip([("a", bytes(2 << 20))]))
    with pytest.raises(SegtraceError, match=r"needs 2 MiB and 64 MiB to spare.*65 MiB free"):
        unpack(archive, target)
    assert not tree(target)


def _seeds() -> list[bytes]:
    buffers = [io.BytesIO() for _ in range(3)]
    for buffer, mode in zip(buffers, ("w", "w:gz"), strict=False):
        with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.PAX_FORMAT) as handle:  # type: ignore[call-overload]
            for name in ("a.txt", "é" * 80 + "/b.txt"):
                info = tarfile.TarInfo(name)
                info.size = 20
                handle.addfile(info, io.BytesIO(b"x" * 20))
    with zipfile.ZipFile(buffers[2], "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a.txt", b"x" * 500)
        zipped.writestr("é/b.txt", b"y")
    return [buffer.getvalue() for buffer in buffers]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.sampled_from(_seeds()),
    changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_changed_bytes_give_files_below_the_target_or_a_named_error(
    seed: bytes, changes: list[tuple[int, int]], tmp_path: Path
) -> None:
    content = bytearray(seed)
    for place, value in changes:
        content[place % min(len(content), 4096)] = value
    outer = tmp_path / "outer"
    inner = outer / "inner"
    inner.mkdir(parents=True, exist_ok=True)
    try:
        found = unpack(put(tmp_path, bytes(content)), inner)
    except SegtraceError:
        pass
    else:
        assert {name: len(data) for name, data in tree(inner).items()} == {
            name: size for name, (size, _) in found.files.items()
        }
    assert os.listdir(outer) == ["inner"], "something was written beside the target"
    for path in sorted(inner.rglob("*"), reverse=True):
        assert not path.is_symlink()
        path.rmdir() if path.is_dir() else path.unlink()
