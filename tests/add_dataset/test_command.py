"""``segtrace add-dataset``, whole: what it writes, what it refuses, and that no person's name gets in."""

import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from folders import disc, pairs, save, shot
from segtrace import tables
from segtrace.add_dataset import command, take
from segtrace.config import load
from segtrace.errors import SegtraceError

Add = Callable[..., tuple[int, str]]
PERSONS = ["Jänsen-Petra", "Okafor_Chidi", "Müller Hans", "Silva_Ana"]
BIRTHS = ["1961-05-12", "19700203", "12.03.1958", "010299"]


def written(project: Path, *, but: str = ".segtrace/private") -> list[Path]:
    return [p for p in project.rglob("*") if p.is_file() and but not in p.as_posix()]


def test_a_folder_becomes_a_data_set_with_a_short_yaml(add: Add, project: Path, folder: Path) -> None:
    pairs(folder, [f"p{p:02d} view ({s})" for p in range(1, 9) for s in (1, 2)])
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "table.csv").write_text("a,b\n")
    status, printed = add("--name", "mine")
    assert status == 0, printed
    text = (project / "config/datasets/mine.yaml").read_text()
    assert len(text.splitlines()) < 15
    data = load.dataset("mine")
    assert (data.access, data.labels, data.spacing_known) == ("own", {1: "foreground"}, False)
    cases = tables.read("cases", project / "data/index/mine/cases.csv")
    assert len(cases) == 16
    assert sorted(set(cases["subject"])) == [f"p{n:02d}" for n in range(1, 9)]
    assert json.loads((project / "data/raw/mine.receipt.json").read_text())["local_edits"] == []
    assert printed.rstrip().endswith("snakemake --cores 2 --config experiments=mine")
    assert "1 hidden or system files, 1 files that are no images" in printed
    page = (project / "reports/add-dataset/mine/index.html").read_text()
    assert page.count("<figure>") == 16
    assert "://" not in page
    assert not list((project / "data/raw").glob(".mine*"))
    assert (folder / "p01 view (1).png").read_bytes() == (
        project / "data/raw/mine/images/p01_view_1.png"
    ).read_bytes()

    status, printed = add("--name", "mine")
    assert status == 1
    assert "already; nothing was changed" in printed
    assert text == (project / "config/datasets/mine.yaml").read_text()


def test_a_dry_run_says_all_and_writes_nothing(add: Add, project: Path, folder: Path) -> None:
    pairs(folder, [f"view_{n}" for n in range(6)])
    before = sorted(project.rglob("*"))
    status, printed = add("--dry-run")
    assert status == 0
    assert "images and masks side by side" in printed
    assert "view_0_mask.png -> masks/view_0.png" in printed
    assert [p for p in sorted(project.rglob("*")) if p not in before] == []


def plant(folder: Path) -> None:
    """Pictures under the names and birth dates of persons, a folder each, and a table of DICOM headers."""
    for number, (person, birth) in enumerate(zip(PERSONS, BIRTHS, strict=True)):
        for view in range(4):
            save(folder / f"{person}/{birth} {person} {view}.png", shot(10 * number + view))
            save(folder / f"{person}/{birth} {person} {view}_mask.png", disc(10 * number + view))
    save(folder / f"{PERSONS[0]}/{BIRTHS[0]} alone.png", shot(99))
    save(folder / f"{PERSONS[1]}/{BIRTHS[1]} odd 7.png", shot(98))
    save(folder / f"{PERSONS[1]}/{BIRTHS[1]} odd 7_mask.png", disc(98, (30, 30)))
    (folder / "headers.csv").write_text(
        "file,PatientName,PatientBirthDate,PatientID\n"
        + "".join(
            f"{p}.dcm,{p},{b},123456789{n}\n" for n, (p, b) in enumerate(zip(PERSONS, BIRTHS, strict=True))
        )
    )


def test_no_name_and_no_date_of_birth_gets_into_any_file(add: Add, project: Path, folder: Path) -> None:
    plant(folder)
    before = {path: path.read_bytes() for path in written(project)}
    status, printed = add("--name", "ward")
    assert status == 0, printed
    words = [w for p in PERSONS for w in re.split("[-_ ]", p)] + [
        *BIRTHS,
        "J\\u00e4nsen",
        "Jansen",
        "Muller",
        "123456789",
    ]
    found = [path for path in written(project) if before.get(path) != path.read_bytes()]
    assert any(p.name == "cases.csv" for p in found)
    assert any(p.parts[-4:] == ("reports", "add-dataset", "ward", "index.html") for p in found)
    for path in found:
        place = path.relative_to(project).as_posix()
        content = path.read_bytes().decode("utf-8", "ignore")
        text = re.sub(r"data:image/png;base64,[^\"]+", "", content) if path.suffix == ".html" else content
        for word in words:
            assert word not in place, (word, place)
            if path.suffix != ".png":
                assert word not in text, (word, place)
    cases = tables.read("cases", project / "data/index/ward/cases.csv")
    assert len(cases) == 16
    assert sorted(set(cases["subject"])) == [f"subj_{n:03d}" for n in range(1, 5)]
    key = project / ".segtrace/private/ward.json"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    private = json.loads(key.read_text())
    assert any(PERSONS[0] in value for value in private["names"].values())
    assert set(cases["case"]) <= set(private["names"])
    assert "alone.png: has no mask" in printed
    for ignore in (".gitignore", ".dvcignore"):
        assert ".segtrace" in (Path(__file__).parents[2] / ignore).read_text()


def test_a_folder_named_after_a_person_names_no_data_set(add: Add, project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Müller Hans"
    plant(folder)
    status, printed = add("--dry-run", at=folder)
    assert status == 0
    assert "name of the data set: own_1" in printed


def test_names_are_kept_when_asked(add: Add, project: Path, folder: Path) -> None:
    pairs(folder, ["alpha", "beta", "gamma", "delta"])
    status, printed = add("--keep-names", "--name", "greek")
    assert status == 0, printed
    assert set(tables.read("cases", project / "data/index/greek/cases.csv")["case"]) == {
        "alpha",
        "beta",
        "gamma",
        "delta",
    }
    assert not (project / ".segtrace/private").exists()


def test_names_in_other_letters_are_made_plain_or_replaced(add: Add, project: Path, folder: Path) -> None:
    pairs(folder, [f"Röntgenbild № {n}" for n in range(6)])
    status, printed = add("--name", "plain")
    assert status == 0, printed
    cases = list(tables.read("cases", project / "data/index/plain/cases.csv")["case"])
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", case) for case in cases)
    assert cases[0].startswith("Rontgenbild")
    other = folder.parent / "other"
    pairs(other, [f"{'図' * n}_{n % 2}" for n in range(1, 5)])
    status, printed = add("--name", "replaced", at=other)
    assert status == 0, printed
    assert set(tables.read("cases", project / "data/index/replaced/cases.csv")["case"]) == {
        f"case_{n:04d}" for n in range(1, 5)
    }


def test_every_faulty_case_is_named_shown_and_excluded(add: Add, project: Path, folder: Path) -> None:
    pairs(folder, [f"f{n:02d}" for n in range(12)])
    (folder / "f00.png").write_bytes((folder / "f00.png").read_bytes()[:200])
    (folder / "f01_mask.png").write_bytes(b"")
    (folder / "f02_mask.png").write_text("<!doctype html><title>log in</title>")
    save(folder / "f03_mask.png", disc(3, (41, 48)))
    (folder / "f04_mask.png").unlink()
    (folder / "f05.png").unlink()
    save(folder / "f06.bmp", shot(66))
    (folder / "f07.png").unlink()
    (folder / "f07.png").symlink_to(folder / "nowhere.png")
    (folder / "f08.png").rename(folder.parent / "outside.png")
    (folder / "f08.png").symlink_to(folder.parent / "outside.png")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    status, printed = add("--name", "faulty")
    assert status == 0, printed
    for part in (
        "f04.png: has no mask; left out",
        "f05_mask.png: a mask without an image; left out",
        "f06.bmp, f06.png, f06_mask.png: several of one name",
        "f07.png: a link to nothing",
        "f07_mask.png: a mask without an image",
        "loop: a link to a folder is not followed",
        "4 faulty cases, excluded",
    ):
        assert part in printed, part
    excluded = load.dataset("faulty").exclude
    assert sorted(excluded) == ["f00", "f01", "f02", "f03"]
    for case, words in (
        ("f00", "cannot be read"),
        ("f01", "empty (0 bytes)"),
        ("f02", "a web page"),
        ("f03", "size 48x40 and 48x41"),
    ):
        assert words in excluded[case], excluded[case]
    assert not any(".adding" in reason or str(project) in reason for reason in excluded.values())
    cases = list(tables.read("cases", project / "data/index/faulty/cases.csv")["case"])
    assert cases == ["f08", "f09", "f10", "f11"]
    assert not (project / "data/raw/faulty/images/f08.png").is_symlink()
    page = (project / "reports/add-dataset/faulty/index.html").read_text()
    assert page.index("Faulty cases") < page.index("f00") < page.index("A sample of the cases")


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (lambda f: None, "holds no files"),
        (lambda f: (f / ".DS_Store").write_text("x"), r"holds no files \(1 hidden"),
        (
            lambda f: [save(f / f"{n}.png", shot(n)) for n in range(4)],
            r"no layout is recognised(?s:.*)4 × \.png",
        ),
        (lambda f: (f / "report.docx").write_text("x"), r"1 × \.docx"),
        (lambda f: f.rmdir(), "no such folder"),
        (lambda f: (f.rmdir(), f.write_text("x")), "a file, not a folder"),
        (
            lambda f: [(f / f"{n}{tail}.png").write_bytes(b"") for n in range(4) for tail in ("", "_mask")],
            "no case can be used; nothing was taken in: 4 problems",
        ),
    ],
)
def test_folders_that_cannot_be_taken_in(
    fill: Callable[[Path], object], said: str, add: Add, project: Path, folder: Path
) -> None:
    fill(folder)
    before = {p for p in project.rglob("*") if p.is_file()}
    status, printed = add("--name", "bad")
    assert status == 1
    assert re.search(said, printed), printed
    assert "Traceback" not in printed
    new = {p for p in project.rglob("*") if p.is_file()} - before
    assert {p.relative_to(project).parts[0] for p in new} <= {".segtrace"}
    assert not list((project / "data").glob("raw/.bad*"))


def test_folders_in_or_around_the_project_are_refused(add: Add, project: Path) -> None:
    pairs(project / "data/mine", ["a1", "a2"])
    for place, said in (
        (project / "data/mine", "lies in the project's own data folder"),
        (project, "the project itself lies in this folder"),
        (project.parent, "the project itself lies in this folder"),
    ):
        status, printed = add(at=place)
        assert status == 1
        assert said in printed


def test_names_that_are_taken_or_cannot_be(add: Add, project: Path, folder: Path) -> None:
    pairs(folder, [f"a{n}" for n in range(4)])
    for name, said in (
        ("busi", "already"),
        ("hippocampus", "already"),
        ("../x", "cannot be used as a file name"),
    ):
        status, printed = add("--name", name)
        assert status == 1
        assert said in printed
    assert not (project / "data").exists()


def test_a_kill_between_the_two_renames_is_mended(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    class Killed(BaseException):
        pass

    whole = os.replace

    def replace(source: Path, target: Path) -> None:
        if str(target) == "config/datasets/mine.yaml":
            raise Killed
        whole(source, target)

    places = take.places_of("mine")
    places.new_tree.mkdir(parents=True)
    (places.new_tree / "x").write_text("x")
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(Killed):
        take.publish(places, "title: mine\n")
    monkeypatch.setattr(os, "replace", whole)
    assert places.tree.is_dir()
    assert not places.config.exists()
    with pytest.raises(SegtraceError, match="already"):
        take.check_free(places)
    assert places.config.read_text() == "title: mine\n"
    assert not places.new_config.exists()


def test_two_subjects_are_too_few_and_said(add: Add, project: Path, folder: Path) -> None:
    pairs(folder, ["a1", "a2"])
    status, printed = add("--name", "few")
    assert status == 0, printed
    assert "2 subjects cannot be divided into training, validation and test" in printed


def test_a_small_structure_in_large_pictures_gets_a_finer_grid(add: Add, project: Path, folder: Path) -> None:
    for number in range(4):
        save(folder / f"a{number}.png", shot(number, (800, 1000)))
        mask = np.zeros((800, 1000), np.uint8)
        mask[10:22, 10:22] = 255
        save(folder / f"a{number}_mask.png", mask)
    status, printed = add("--name", "large")
    assert status == 0, printed
    assert load.dataset("large").recipes["default"].size == [384, 384]


def test_phases_are_processes_of_their_own(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    with pytest.raises(SegtraceError, match="'segtrace acquire nothing' failed"):
        command._phase("acquire", "nothing")
