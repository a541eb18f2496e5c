"""ISIC, task 1: traps of the layout and of the masks, all at once; the archives that a mirror holds."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

import raw_folders
from raw_folders import needs_mirror
from segtrace import cli, datasets, images, layout, tables
from segtrace.config import load
from segtrace.datasets import Case, isic
from segtrace.errors import SegtraceError

Y2017 = {"year": 2017}
TRAINING_2018 = ("ISIC2018_Task1-2_Training_Input.zip", "ISIC2018_Task1_Training_GroundTruth.zip")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return raw_folders.miniature("isic2017", tmp_path)


def sources(name: str) -> dict[str, list[str]]:
    return {source.archive: source.urls for source in load.dataset(name).sources}


@pytest.mark.parametrize(
    ("name", "year", "count"),
    [("isic2016", 2016, 4), ("isic2017", 2017, 6), ("isic2018", 2018, 2), ("isic2018_official", 2018, 6)],
)
def test_archives_are_the_reader_s_folders_and_lie_on_both_hosts(name: str, year: int, count: int) -> None:
    archives, options = sources(name), load.dataset(name).options
    wanted = options.get("sides", list(isic.FOLDERS[year]))
    assert sorted(archives) == sorted(f"{f}.zip" for side in wanted for f in isic.FOLDERS[year][side])
    assert len(archives) == count
    for archive, urls in archives.items():
        assert urls == [
            f"https://isic-archive.s3.amazonaws.com/challenges/{year}/{archive}",
            f"https://isic-challenge-data.s3.amazonaws.com/{year}/{archive}",
        ]


def test_every_archive_of_2018_is_pinned_and_the_training_archives_are_the_same_in_both_sets() -> None:
    whole = {source.archive: source.sha256 for source in load.dataset("isic2018_official").sources}
    part = {source.archive: source.sha256 for source in load.dataset("isic2018").sources}
    assert all(re.fullmatch("[0-9a-f]{64}", sha256 or "") for sha256 in whole.values())
    assert len(set(whole.values())) == 6
    assert part == {archive: whole[archive] for archive in TRAINING_2018}


def test_one_side_alone_needs_its_own_folders_only(root: Path, tmp_path: Path) -> None:
    for folder in root.iterdir():
        if "Validation" not in folder.name:
            folder.rename(tmp_path / folder.name)
    found = isic.cases(root, {"year": 2017, "sides": ["validation"]})
    assert [case.case for case in found] == ["ISIC_0020000", "ISIC_0020001"]
    assert {case.side for case in found} == {"validation"}
    with pytest.raises(
        SegtraceError, match=r"(?s)4 problems.*Training_Data.*Training_Part1.*Test_v2_Data.*Test_v2_Part1"
    ):
        isic.cases(root, Y2017)


def test_every_fault_of_the_layout_is_listed(root: Path) -> None:
    training, truth = (root / folder for folder in isic.FOLDERS[2017]["training"])
    test, test_truth = (root / folder for folder in isic.FOLDERS[2017]["test"])
    (training / "ISIC_0010000.jpg").rename(training / "ISIC_0010009.JPG")  # image gone, foreign name
    (test_truth / "ISIC_0030001_segmentation.png").unlink()
    mask = truth / "ISIC_0010001_segmentation.png"
    (truth / "ISIC_0010001_Segmentation.png").write_bytes(mask.read_bytes())
    (test / "ISIC_30.jpg").write_bytes(b"x")
    message = raw_folders.check_faults(
        isic,
        root,
        "not the layout of ISIC 2017, task 1",
        (
            "ISIC_0010009.JPG: no image",
            "ISIC_30.jpg: no image",
            "a second mask beside",
            "ISIC_0010000_segmentation.png: a mask without an image",
            "ISIC_0030001.jpg: has no mask",
        ),
        options=Y2017,
    )
    assert "superpixels" not in message


def test_an_image_on_two_sides_is_two_cases_of_one_subject(root: Path) -> None:
    (test, test_truth), (training, truth) = (isic.FOLDERS[2017][side] for side in ("test", "training"))
    for file, start, end in (
        ("ISIC_0010000.jpg", training, test),
        ("ISIC_0010000_segmentation.png", truth, test_truth),
    ):
        (root / end / file).write_bytes((root / start / file).read_bytes())
    twins = [case for case in isic.cases(root, Y2017) if case.subject == "ISIC_0010000"]
    assert [(case.case, case.side) for case in twins] == [
        ("ISIC_0010000", "training"),
        ("ISIC_0010000_test", "test"),
    ]


def test_every_bad_mask_is_listed_by_the_index(root: Path) -> None:
    found = isic.cases(root, Y2017)

    def spoil(number: int, array: np.ndarray) -> str:
        Picture.fromarray(array).save(root / found[number].labels[0])
        return re.escape(found[number].case)

    grey = np.zeros((30, 40), np.uint8)
    grey[5, 5:8] = 254, 255, 1
    one = spoil(0, grey)
    two = spoil(1, np.zeros((15, 21), np.uint8))
    three = spoil(2, np.full((30, 40, 3), (255, 0, 0), np.uint8))
    four = spoil(4, np.zeros((30, 40), np.uint8))
    with pytest.raises(
        SegtraceError,
        match=rf"(?s)4 problems.*{one} .*4 grey values \[0, 1, 254, 255\].*{two} .*has 21x15 and its image 42x31"
        rf".*{three} .*a mask with colours.*{four} .*label is empty",
    ):
        raw_folders.index("isic2017", root, found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"year": 2019}, "option year of isic is 2019; it can be 2016, 2017, 2018"),
        ({}, "option year of isic is None"),
        ({"year": 2016, "sides": ["validation"]}, "for 2016 it is a list of some of training, test"),
        ({"year": 2018, "sides": []}, r"option sides of isic is \[\]"),
        ({"year": 2018, "sides": "training"}, "option sides of isic is 'training'"),
        ({"year": 2018, "side": ["training"]}, "unknown option 'side': did you mean 'sides'"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(SegtraceError, match=message):
        isic.cases(tmp_path, options)


def test_images_stay_as_published(root: Path) -> None:
    case = isic.cases(root, Y2017)[0]
    array = images.to_array(isic.read_image(root, case, Y2017))
    assert (array.shape, array.dtype) == ((3, 30, 40), np.uint8)
    np.testing.assert_array_equal(np.moveaxis(array, 0, -1), Picture.open(root / case.images[0]))


@needs_mirror
@pytest.mark.mirror
def test_2017_archives_of_the_mirror(tmp_path: Path) -> None:
    archives = [f"ISIC-2017_Validation_{part}.zip" for part in ("Data", "Part1_GroundTruth")]
    root, options = raw_folders.mirrored(archives, tmp_path), {"year": 2017, "sides": ["validation"]}
    found = isic.cases(root, options)
    rows = raw_folders.index("isic2017", root, found, options)
    assert [row["case"] for row in rows] == [
        f"ISIC_00{n}" for n in ("09995", "10459", "12099", "12660", "12965", "13793", "14608", "14610")
    ]
    assert {row["side"] for row in rows} == {"validation"}
    assert {row["size"] for row in rows} == {"1024x768", "3008x2000", "2304x1536", "2592x1936"}
    assert all(json.loads(row["voxels"])["1"] > 0 and row["notes"] == "" for row in rows)


def listed_2018(root: Path) -> list[Case]:
    found = datasets.reader("isic").cases(root, load.dataset("isic2018").options)
    assert len(found) == 2594
    assert (found[0].case, found[-1].case) == ("ISIC_0000000", "ISIC_0016072")
    assert {case.side for case in found} == {"training"}
    return found


def check_2018(rows: list[dict]) -> None:
    for row in rows:
        assert (row["size"], row["channels"], row["dtype"], row["notes"]) == ("512x512", 3, "uint8", "")
        voxels = json.loads(row["voxels"])
        assert voxels["0"] + voxels["1"] == 512 * 512
        assert voxels["1"] > 0


@needs_mirror
@pytest.mark.mirror
def test_2018_training_archives_of_the_mirror_listed_and_sampled(tmp_path: Path) -> None:
    root = raw_folders.mirrored(TRAINING_2018, tmp_path)
    sample = listed_2018(root)[::43]
    assert len(sample) == 61
    check_2018(raw_folders.index("isic2018", root, sample))


@needs_mirror
@pytest.mark.mirror
@pytest.mark.slow
def test_2018_training_archives_of_the_mirror_from_archive_to_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw_folders.project(tmp_path, monkeypatch)
    for command in (["acquire", "isic2018", "--mirror", str(raw_folders.MIRROR)], ["index", "isic2018"]):
        assert cli.main(command) == 0, capsys.readouterr().err
    listed_2018(layout.raw("isic2018"))
    rows = tables.read("cases", layout.cases("isic2018")).to_dict("records")
    assert len(rows) == 2594
    check_2018(rows)
