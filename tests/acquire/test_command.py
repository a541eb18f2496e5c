import argparse
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from miniatures import noise, picture
from segtrace import cli, datasets, digests, layout
from segtrace.acquire import command, place
from segtrace.datasets import busi
from segtrace.errors import SegtraceError

Project = Callable[..., None]
Make = Callable[..., bytes]
TREE, RECEIPT = Path("data/raw/toy"), Path("data/raw/toy.receipt.json")
MEMBERS = [("set/a.txt", b"alpha"), ("set/._a.txt", b"mac"), ("set/deep/b.txt", b"beta")]


def acquire(*words: str, name: str = "toy") -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args([name, *words]))


def receipt() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(RECEIPT.read_text())
    return value


def state(root: Path = Path()) -> dict[str, bytes]:
    """Every file of the project but its locks."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted((root / "data").rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def mirrored(project: Project, tmp_path: Path, make_tar: Make) -> Path:
    """A mirror whose archive the data set ``toy`` names, with no address."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    content = make_tar(MEMBERS, mode="w:gz")
    (mirror / "toy.tar.gz").write_bytes(content)
    (mirror / "SHA256SUMS").write_text(f"{hashlib.sha256(content).hexdigest()}  toy.tar.gz\n")
    project(sources=[{"archive": "toy.tar.gz", "sha256": "0" * 64}])
    return mirror


# --- published data ------------------------------------------------------------------------------------


def test_from_a_mirror_to_tree_receipt_and_record(mirrored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acquire("--mirror", str(mirrored))
    told = capsys.readouterr().out
    assert "CC BY-NC-SA 4.0" in told
    assert "non-commercial" in told
    assert "do not redistribute" in told
    assert "not the owner's bytes but the mirror's, by its own checksums: toy.tar.gz" in told
    archive = (mirrored / "toy.tar.gz").read_bytes()
    alpha, beta = (hashlib.sha256(text).hexdigest() for text in (b"alpha", b"beta"))
    assert receipt() == {
        "dataset": "toy",
        "licence": {"terms": "CC BY-NC-SA 4.0", "url": "", "redistribution": False},
        "archives": [
            {
                "archive": "toy.tar.gz",
                "bytes": len(archive),
                "sha256": hashlib.sha256(archive).hexdigest(),
                "origin": "mirror",
                "verified_by": "SHA256SUMS of the mirror",
            }
        ],
        "files": {"set/a.txt": [5, alpha], "set/deep/b.txt": [4, beta]},
        "left_out": {"AppleDouble": 1},
        "local_edits": [],
        "generator": None,
    }
    assert str(mirrored.parent) not in RECEIPT.read_text()
    assert (TREE / "set/a.txt").read_bytes() == b"alpha"
    assert sorted(p.name for p in TREE.parent.iterdir()) == [
        "toy",
        "toy.receipt.json",
        "toy.receipt.json.prov.json",
    ]
    acquire()
    assert "licence" not in capsys.readouterr().out, "the terms are said once"


def test_mirror_by_environment_and_by_configuration(mirrored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGTRACE_MIRROR", str(mirrored))
    acquire()
    first = state()
    shutil.rmtree("data")
    monkeypatch.delenv("SEGTRACE_MIRROR")
    Path("config/config.yaml").write_text(f"experiments: [none]\nmirror: {mirrored}\n")
    acquire()
    assert state() == first
    shutil.rmtree("data")
    monkeypatch.setenv("SEGTRACE_MIRROR", "/nowhere")
    with pytest.raises(SegtraceError, match="/nowhere: no such folder"):
        acquire()
    acquire("--mirror", str(mirrored))
    assert state() == first


def test_from_an_address_the_same_tree_and_no_archive_left(
    project: Project, web: SimpleNamespace, make_zip: Make, tmp_path: Path
) -> None:
    content = make_zip(MEMBERS)
    web.files["/toy.zip"] = content
    source = {
        "archive": "toy.zip",
        "urls": [web.url("/toy.zip")],
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    project(sources=[source])
    acquire()
    fetched = state()
    assert receipt()["archives"][0]["origin"] == "published"
    assert not (TREE.parent / ".downloads").exists()
    shutil.rmtree("data")
    (tmp_path / "toy.zip").write_bytes(content)
    acquire("--mirror", str(tmp_path))
    assert state() == fetched, "the owner's bytes give one receipt, wherever they lay"


def test_a_tree_with_a_receipt_needs_neither_mirror_nor_network(mirrored: Path) -> None:
    acquire("--mirror", str(mirrored))
    before = state()
    acquire("--mirror", "/nowhere")
    assert state() == before


def test_local_edits_are_listed_and_the_tree_is_kept(
    mirrored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    acquire("--mirror", str(mirrored))
    (TREE / "set/a.txt").write_bytes(b"ALPHA")
    (TREE / "set/deep/b.txt").unlink()
    (TREE / "new.txt").write_bytes(b"")
    (TREE / "gone.txt").symlink_to("nothing")
    files = receipt()["files"]
    edits = ["added: gone.txt", "added: new.txt", "changed: set/a.txt", "missing: set/deep/b.txt"]
    acquire()
    assert receipt()["local_edits"] == edits
    assert receipt()["files"] == files
    assert (TREE / "set/a.txt").read_bytes() == b"ALPHA"
    assert not (TREE / "set/deep/b.txt").exists()
    told = capsys.readouterr().out
    assert all(edit in told for edit in edits)
    with_receipt = RECEIPT.read_bytes()
    RECEIPT.unlink()  # without a receipt the archive says the same
    acquire("--mirror", str(mirrored))
    assert RECEIPT.read_bytes() == with_receipt
    assert not (TREE / "set/deep/b.txt").exists()
    (TREE / "set/a.txt").write_bytes(b"alpha")
    (TREE / "set/deep/b.txt").write_bytes(b"beta")
    for name in ("new.txt", "gone.txt"):
        (TREE / name).unlink()
    acquire()
    assert receipt()["local_edits"] == []


def test_links_that_a_data_versioning_tool_puts_are_read_through(mirrored: Path, tmp_path: Path) -> None:
    acquire("--mirror", str(mirrored))
    (tmp_path / "cached").write_bytes(b"alpha")
    (TREE / "set/a.txt").unlink()
    (TREE / "set/a.txt").symlink_to(tmp_path / "cached")
    TREE.rename(tmp_path / "elsewhere")
    TREE.symlink_to(tmp_path / "elsewhere")
    acquire()
    assert receipt()["local_edits"] == []


def test_a_damaged_receipt_is_made_again(mirrored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acquire("--mirror", str(mirrored))
    before = state()
    for damage in ("{", "[]", '{"dataset": "toy", "archives": [], "files": {"a": 1}}'):
        RECEIPT.write_text(damage)
        acquire("--mirror", str(mirrored))
        assert state() == before
    assert "not used" in capsys.readouterr().out


def test_a_tree_of_other_archives_is_refused(mirrored: Path, project: Project) -> None:
    acquire("--mirror", str(mirrored))
    before = state()
    project(sources=[{"archive": "toy-v2.tar.gz"}])
    with pytest.raises(
        SegtraceError, match=r"(?s)toy-v2\.tar\.gz is not in the tree.*holds toy\.tar\.gz.*move data/raw/toy"
    ):
        acquire()
    assert state() == before


def test_a_published_checksum_that_changed_is_seen(project: Project, tmp_path: Path, make_zip: Make) -> None:
    content = make_zip(MEMBERS)
    (tmp_path / "toy.zip").write_bytes(content)
    project(sources=[{"archive": "toy.zip", "sha256": hashlib.sha256(content).hexdigest()}])
    acquire("--mirror", str(tmp_path))
    project(sources=[{"archive": "toy.zip", "sha256": "f" * 64}])
    with pytest.raises(SegtraceError, match=f"the configuration says {'f' * 64}"):
        acquire()


def test_several_archives_fill_one_tree_and_all_missing_ones_are_named(
    project: Project, tmp_path: Path, make_zip: Make
) -> None:
    project(sources=[{"archive": "images.zip"}, {"archive": "masks.zip"}, {"archive": "list.zip"}])
    (tmp_path / "images.zip").write_bytes(make_zip([("images/1.png", b"1")]))
    with pytest.raises(SegtraceError) as caught:
        acquire("--mirror", str(tmp_path))
    assert "masks.zip could not be had" in str(caught.value)
    assert "list.zip could not be had" in str(caught.value)
    assert "images.zip could" not in str(caught.value)
    (tmp_path / "masks.zip").write_bytes(make_zip([("masks/1.png", b"2")]))
    (tmp_path / "list.zip").write_bytes(make_zip([("images/1.png", b"other")]))
    with pytest.raises(SegtraceError, match=r"images/1\.png: name occurs twice"):
        acquire("--mirror", str(tmp_path))
    assert not state(), "a refused archive leaves nothing"
    assert not (TREE.parent / ".toy.new").exists()
    (tmp_path / "list.zip").write_bytes(make_zip([("list.csv", b"3")]))
    names = ("images.zip", "masks.zip", "list.zip")
    sums = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in names]
    project(sources=[{"archive": name, "sha256": s} for name, s in zip(names, sums, strict=True)])
    acquire("--mirror", str(tmp_path))
    assert sorted(receipt()["files"]) == ["images/1.png", "list.csv", "masks/1.png"]


def test_files_put_there_by_hand_are_checked_by_their_layout_and_stay(
    project: Project, make_zip: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    source = {"archive": "heart.zip", "manual": "Fill in the form."}
    project(sources=[source], access="registration", reader="busi")
    with pytest.raises(SegtraceError) as caught:
        acquire()
    by_hand = Path("data/raw/.downloads/toy/heart.zip")
    assert f"Put the file at {by_hand}" in str(caught.value)
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(make_zip(MEMBERS))
    with pytest.raises(
        SegtraceError, match=r"heart\.zip: no checksum is published, and .* not the layout of toy"
    ) as wrong:
        acquire()
    assert "data/raw/toy/Dataset_BUSI_with_GT/benign: no such folder" in str(wrong.value)
    assert list(state()) == [str(by_hand)], "a refused archive leaves nothing"
    assert not (TREE.parent / ".toy.new").exists()
    pixel = picture(noise(1, 1), "PNG")
    files = [f"Dataset_BUSI_with_GT/{g}/{g} (1){end}.png" for g in busi.CLASSES for end in ("", "_mask")]
    by_hand.write_bytes(make_zip([(name, pixel) for name in files]))
    capsys.readouterr()
    acquire()
    assert "no checksum is published for heart.zip; the layout is right: 3 cases" in capsys.readouterr().out
    assert by_hand.exists()
    assert receipt()["archives"][0]["verified_by"] == "nothing: no checksum is published"


def test_a_data_set_of_ones_own_has_no_archive(project: Project) -> None:
    project()
    with pytest.raises(SegtraceError, match="names no sources, and data/raw/toy does not exist"):
        acquire()
    TREE.mkdir(parents=True)
    (TREE / "a.txt").write_bytes(b"mine")
    acquire()
    assert receipt()["files"] == {"a.txt": [4, hashlib.sha256(b"mine").hexdigest()]}
    (TREE / "a.txt").write_bytes(b"changed")
    acquire()
    assert receipt()["local_edits"] == ["changed: a.txt"]


def test_an_error_reaches_the_user_as_one_message(mirrored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["acquire", "toy", "--mirror", "/nowhere"]) == 1
    assert "segtrace acquire: toy.tar.gz could not be had" in capsys.readouterr().err
    assert cli.main(["acquire", "toy", "--mirror", str(mirrored)]) == 0


# --- embedded data -------------------------------------------------------------------------------------


def generate(root: Path, options: Mapping[str, Any]) -> None:
    (root / "images").mkdir()
    for number in range(options["count"]):
        (root / f"images/{number}.txt").write_text(str(options.get("seed", 0)))


@pytest.fixture
def embedded(project: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.setattr(datasets, "reader", lambda name: SimpleNamespace(generate=generate))

    def write(**options: Any) -> None:
        project(access="embedded", licence="Apache-2.0", redistribution=True, options=options)

    return write


def test_generated_once_and_again_only_when_options_change(embedded: Callable[..., None]) -> None:
    embedded(count=3)
    acquire()
    before, inode = state(), os.stat(TREE / "images/0.txt").st_ino
    assert receipt()["generator"]["options"] == {"count": 3}
    acquire()
    assert state() == before
    assert os.stat(TREE / "images/0.txt").st_ino == inode
    embedded(count=2, seed=5)
    acquire()
    assert sorted(receipt()["files"]) == ["images/0.txt", "images/1.txt"]
    assert (TREE / "images/0.txt").read_text() == "5"
    assert not (TREE / "images/2.txt").exists()
    assert not [p.name for p in TREE.parent.iterdir() if p.name.startswith(".")]


def test_changed_code_that_gives_the_same_bytes_moves_nothing(
    embedded: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded(count=2)
    acquire()
    inode, code = os.stat(TREE / "images/0.txt").st_ino, receipt()["generator"]["code"]
    monkeypatch.setattr(digests, "code_digest", lambda phase, extra: "other")
    (TREE / "images/1.txt").write_text("edited")
    acquire()
    assert os.stat(TREE / "images/0.txt").st_ino == inode
    assert receipt()["generator"]["code"] == "other" != code
    assert receipt()["local_edits"] == ["changed: images/1.txt"]


def test_an_edited_tree_is_not_generated_anew(embedded: Callable[..., None]) -> None:
    embedded(count=3)
    acquire()
    (TREE / "images/1.txt").write_text("mine")
    acquire()
    assert receipt()["local_edits"] == ["changed: images/1.txt"]
    before = state()
    embedded(count=3, seed=9)
    with pytest.raises(
        SegtraceError, match=r"(?s)edited since it was generated.*changed: images/1\.txt.*move data"
    ):
        acquire()
    assert state() == before
    (TREE / "images/1.txt").write_text("0")
    acquire()
    assert (TREE / "images/1.txt").read_text() == "9"
    assert receipt()["local_edits"] == []


def test_a_generated_tree_without_a_receipt_is_compared(embedded: Callable[..., None]) -> None:
    embedded(count=2)
    acquire()
    (TREE / "images/1.txt").write_text("mine")
    RECEIPT.unlink()
    acquire()
    assert receipt()["local_edits"] == ["changed: images/1.txt"]
    assert (TREE / "images/1.txt").read_text() == "mine"


def test_a_generator_that_fails_leaves_nothing(embedded: Callable[..., None]) -> None:
    embedded()
    with pytest.raises(KeyError):
        acquire()
    assert not list(TREE.parent.iterdir())


# --- killed at every point -----------------------------------------------------------------------------

TOUCHING = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "tempfile.mkstemp")


def killed_at(step: int, action: Callable[[], None]) -> bool:
    """Run ``action`` in a child that dies, without any clean-up, before its ``step``-th touch of a file below
    ``data``. Whether it died.
    """
    child = os.fork()
    if not child:
        left = step

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if event in TOUCHING and arguments and "data" in str(arguments[0]):
                left -= 1
                if left < 0:
                    os._exit(9)

        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.addaudithook(count)
        try:
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), "the run that is to be killed failed by itself"
    return code == 9


def test_killed_anywhere_the_same_command_finishes_alike(mirrored: Path) -> None:
    def go() -> None:
        acquire("--mirror", str(mirrored))

    go()
    whole = state()
    step = 0
    while True:
        shutil.rmtree("data")
        died = killed_at(step, go)
        if not RECEIPT.exists() and not TREE.exists():
            go()
        else:
            acquire("--mirror", "/nowhere")  # the tree is in its place: its archive is needed no more
        assert state() == whole, f"killed before touch {step}"
        assert not (TREE.parent / ".toy.new").exists()
        if not died:
            break
        step += 1
    assert step > 15


def test_killed_anywhere_while_a_generated_tree_is_exchanged(embedded: Callable[..., None]) -> None:
    embedded(count=2)
    acquire()
    first = state()
    shutil.copytree("data", "before")
    embedded(count=2, seed=1)
    acquire()
    whole = state()
    assert whole != first
    step = 0
    while True:
        shutil.rmtree("data")
        shutil.copytree("before", "data")
        died = killed_at(step, acquire)
        place.settle(place.places_of("toy"))
        assert (TREE / "images/1.txt").is_file(), "the old tree or the new one, never none"
        acquire()
        assert state() == whole, f"killed before touch {step}"
        if not died:
            break
        step += 1
    assert step > 15


def test_killed_while_a_download_runs(project: Project, web: SimpleNamespace, make_zip: Make) -> None:
    content = make_zip([("a.bin", os.urandom(1 << 20))])
    web.files["/toy.zip"] = content
    sha256 = hashlib.sha256(content).hexdigest()
    project(sources=[{"archive": "toy.zip", "urls": [web.url("/toy.zip")], "sha256": sha256}])
    acquire()
    whole = state()
    step = 0
    while True:
        shutil.rmtree("data")
        died = killed_at(step, acquire)
        acquire()
        assert state() == whole, f"killed before touch {step}"
        if not died:
            break
        step += 3
    assert step > 20


def test_the_lock_is_that_of_the_raw_folder(mirrored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from segtrace import files

    held: list[tuple[Path, str]] = []
    real = files.hold

    def hold(folder: Path, *, what: str) -> Any:
        held.append((folder, what))
        return real(folder, what=what)

    monkeypatch.setattr(files, "hold", hold)
    acquire("--mirror", str(mirrored))
    assert held == [(layout.raw("toy"), "acquire")]


# --- real archives -------------------------------------------------------------------------------------


@pytest.mark.mirror
@pytest.mark.skipif(
    not os.environ.get("SEGTRACE_MIRROR"), reason="SEGTRACE_MIRROR names no folder of archives"
)
@pytest.mark.parametrize(
    ("name", "count", "path"),
    [
        ("msd_hippocampus", 521, "Task04_Hippocampus/dataset.json"),
        ("busi", 300, "Dataset_BUSI_with_GT/benign/benign (4)_mask_1.png"),
    ],
)
def test_real_archives_unpack_whole(
    name: str, count: int, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(Path(__file__).parents[2] / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    acquire(name=name)
    found = json.loads(layout.receipt(name).read_text())
    assert len(found["files"]) == count
    assert (layout.raw(name) / path).is_file()
    assert re.fullmatch("[0-9a-f]{64}", found["archives"][0]["sha256"])
    assert place.edits(layout.raw(name), place.files_of(found)) == []
