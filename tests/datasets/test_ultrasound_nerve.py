"""Ultrasound nerve: traps of the layout, all at once; the part archive that a mirror holds."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

import raw_folders
from miniatures.ultrasound_nerve import run_lengths
from raw_folders import needs_mirror
from segtrace import cli, layout, tables
from segtrace.datasets import ultrasound_nerve
from segtrace.errors import SegtraceError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return raw_folders.miniature("ultrasound_nerve", tmp_path)


def test_run_lengths_go_down_the_columns_and_count_from_one() -> None:
    assert run_lengths(np.array([[0, 1], [1, 1], [1, 0]])) == "2 4"
    assert run_lengths(np.array([[1, 0], [0, 0], [0, 1]])) == "1 1 6 1"
    assert run_lengths(np.zeros((2, 2))) == ""


def test_every_fault_of_the_layout_is_listed(root: Path) -> None:
    train = root / "train"
    (train / "2_1.tif").unlink()
    (train / "2_2_mask.tif").unlink()
    for name in ("2_12.tif", "2_12_mask.tif"):  # gone altogether: the table knows
        (train / name).unlink()
    for name in ("10_4.tif", "10_4_mask.tif"):  # not in the table
        (train / name).write_bytes((train / name.replace("4", "3")).read_bytes())
    (train / "10-3.tif").write_bytes(b"x")
    raw_folders.check_faults(
        ultrasound_nerve,
        root,
        "not the layout of the nerve data",
        (
            "10-3.tif: neither an image",
            "2_2.tif: has no mask",
            "2_1_mask.tif: a mask without an image",
            "2_12.tif: missing, train_masks.csv names it",
            "10_4.tif: is not in train_masks.csv",
        ),
    )


def test_without_its_table_the_files_are_taken_as_they_are(root: Path) -> None:
    whole = ultrasound_nerve.cases(root, {})
    (root / "train_masks.csv").unlink()
    assert ultrasound_nerve.cases(root, {}) == whole


@pytest.mark.parametrize(
    "text", ["image,pixels\n1,1 1\n", "subject,img,pixels\none,2,\n", "subject,img\n1\n"]
)
def test_a_table_of_another_form_is_named(root: Path, text: str) -> None:
    (root / "train_masks.csv").write_text(text)
    with pytest.raises(SegtraceError, match=r"train_masks\.csv: not a table with whole numbers"):
        ultrasound_nerve.cases(root, {})


def test_a_folder_without_training_frames_is_named(tmp_path: Path) -> None:
    with pytest.raises(SegtraceError, match=r"train: no such folder; .*segtrace acquire"):
        ultrasound_nerve.cases(tmp_path, {})


def test_bad_masks_are_listed_and_empty_ones_are_not(root: Path) -> None:
    found = ultrasound_nerve.cases(root, {})
    raw_folders.index("ultrasound_nerve", root, found)
    Picture.fromarray(np.full((42, 58), 7, np.uint8)).save(root / found[0].labels[0])
    Picture.fromarray(np.zeros((42, 57), np.uint8)).save(root / found[3].labels[0])
    with pytest.raises(
        SegtraceError,
        match=r"(?s)2 problems.*s02_f001 .*1 grey values \[7\].*s10_f003 .*has 57x42 and its image 58x42",
    ):
        raw_folders.index("ultrasound_nerve", root, found)


@needs_mirror
@pytest.mark.mirror
def test_part_archive_of_the_mirror_from_archive_to_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw_folders.project(tmp_path, monkeypatch)
    name = "ultrasound_nerve"
    for command in (["acquire", name, "--mirror", str(raw_folders.MIRROR)], ["index", name]):
        assert cli.main(command) == 0, capsys.readouterr().err
    rows = tables.read("cases", layout.cases(name)).to_dict("records")
    assert len(rows) == 307
    assert sorted({int(row["subject"][1:]) for row in rows}) == [1, 2, 4, 6, 12, 17, 27, 29, 30, 33, 39, 45]
    assert all(re.fullmatch(r"s\d\d_f\d{3}", row["case"]) for row in rows)
    assert {row["size"] for row in rows} == {"256x256"}
    assert all(json.loads(row["voxels"])["1"] > 0 and row["notes"] == "" for row in rows)
    for protocol, folds in (("subjects", 1), ("subjects5", 5)):
        assert cli.main(["split", name, protocol]) == 0, capsys.readouterr().err  # an empty role is an error
        split = tables.read("split", layout.split(name, protocol)).to_dict("records")
        roles = {(row["fold"], row["subject"]): row["role"] for row in split}
        assert len(roles) == 12 * folds
        assert all(roles[row["fold"], row["subject"]] == row["role"] for row in split)
