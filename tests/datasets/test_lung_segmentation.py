"""Lung masks of Montgomery and Shenzhen: traps of the layout, greys in masks; the part archive that a mirror holds."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

import raw_folders
from raw_folders import needs_mirror
from segtrace import cli, datasets, images, layout, tables
from segtrace.config import load
from segtrace.datasets import lung_segmentation
from segtrace.errors import SegtraceError

TOP = "Lung Segmentation"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return raw_folders.miniature("lung_segmentation", tmp_path)


def test_the_radiographs_without_a_mask_are_96_and_named_in_the_notes() -> None:
    missing = lung_segmentation.WITHOUT_MASK
    assert len(missing) == 96
    assert Counter(name[-1] for name in missing) == {"0": 47, "1": 49}
    (note,) = (n for n in load.dataset("lung_segmentation").notes if n.startswith("Left out"))
    noted: set[str] = set()
    for first, last, finding in re.findall(r"(\d{4})_[01](?: to (\d{4}))?_?([01])?", note):
        finding = finding or re.search(rf"{first}_([01])", note)[1]
        noted |= {f"CHNCXR_{n:04d}_{finding}" for n in range(int(first), int(last or first) + 1)}
    assert noted == missing


def test_a_known_radiograph_without_a_mask_is_dropped_and_any_other_is_an_error(root: Path) -> None:
    assert (root / TOP / "CXR_png/CHNCXR_0025_0.png").is_file()
    assert "CHNCXR_0025_0" not in [case.case for case in lung_segmentation.cases(root, {})]
    (root / TOP / "masks/CHNCXR_0001_0_mask.png").unlink()
    with pytest.raises(SegtraceError, match=r"1 problem\n.*CHNCXR_0001_0\.png: has no mask"):
        lung_segmentation.cases(root, {})


def test_every_fault_of_the_layout_is_listed(root: Path) -> None:
    pictures, masks = root / TOP / "CXR_png", root / TOP / "masks"
    (pictures / "CHNCXR_0001_0.png").unlink()
    (masks / "MCUCXR_0001_0.png").rename(masks / "MCUCXR_0001_0_mask.png")
    (masks / "CHNCXR_0327_1_mask.png").rename(masks / "CHNCXR_0327_1.png")
    (pictures / "MCUCXR_0002_2.png").write_bytes(b"x")
    raw_folders.check_faults(
        lung_segmentation,
        root,
        "not the layout of the lung masks",
        (
            "CXR_png/MCUCXR_0002_2.png: no image",
            "masks/MCUCXR_0001_0_mask.png: no mask",
            "masks/CHNCXR_0327_1.png: no mask",
            "CXR_png/MCUCXR_0001_0.png: has no mask",
            "CXR_png/CHNCXR_0327_1.png: has no mask",
            "masks/CHNCXR_0001_0_mask.png: a mask without an image",
        ),
    )


def test_missing_folders_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(
        SegtraceError, match=r"(?s)2 problems.*CXR_png: no such folder.*masks: no such folder"
    ):
        lung_segmentation.cases(tmp_path, {})


def test_the_other_place_of_the_folders_is_read_too(root: Path) -> None:
    whole = [case.case for case in lung_segmentation.cases(root, {})]
    (root / "data").mkdir()
    (root / TOP).rename(root / "data" / TOP)
    assert [case.case for case in lung_segmentation.cases(root, {})] == whole


def test_greys_are_cut_or_refused_as_the_option_says(root: Path) -> None:
    found = lung_segmentation.cases(root, {})
    rows = raw_folders.index("lung_segmentation", root, found, {"grey_masks": "threshold"})
    assert [row["case"] for row in rows if row["notes"]] == ["CHNCXR_0327_1"]
    case = next(case for case in found if case.case == "CHNCXR_0327_1")
    mask = images.to_array(lung_segmentation.read_label(root, case, {"grey_masks": "threshold"})[0])[0]
    assert (mask[7].sum(), mask[30].sum()) == (0, 10)  # 127 of 255 is not lung, 128 is
    for options in ({"grey_masks": "error"}, {}):
        with pytest.raises(
            SegtraceError, match=r"1 problem\n.*CHNCXR_0327_1_mask\.png: a mask with 4 grey values"
        ):
            raw_folders.index("lung_segmentation", root, found, options)
    with pytest.raises(SegtraceError, match="grey_masks of lung_segmentation is 'round'"):
        lung_segmentation.cases(root, {"grey_masks": "round"})


def test_masks_of_other_sizes_and_empty_ones_are_listed(root: Path) -> None:
    found = lung_segmentation.cases(root, {})
    Picture.fromarray(np.zeros((44, 41), np.uint8)).save(root / found[0].labels[0])
    Picture.fromarray(np.full((44, 40), 120, np.uint8)).save(root / found[2].labels[0])
    with pytest.raises(
        SegtraceError,
        match=r"(?s)2 problems.*CHNCXR_0001_0 .*has 41x44 and its image 40x44.*MCUCXR_0001_0 .*label is empty",
    ):
        raw_folders.index("lung_segmentation", root, found)


def test_a_palette_is_read_by_its_colours(root: Path) -> None:
    case = lung_segmentation.cases(root, {})[0]
    assert Picture.open(root / case.images[0]).mode == "P"
    array = images.to_array(lung_segmentation.read_image(root, case, {}))
    assert (array.shape, array.dtype) == ((1, 44, 40), np.uint8)
    with Picture.open(root / case.images[0]) as picture:
        np.testing.assert_array_equal(array[0], np.asarray(picture.convert("L")))
        assert (array[0] != np.asarray(picture)).any()


@needs_mirror
@pytest.mark.mirror
def test_part_archive_of_the_mirror_from_archive_to_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw_folders.project(tmp_path, monkeypatch)
    name = "lung_segmentation"
    for command in (["acquire", name, "--mirror", str(raw_folders.MIRROR)], ["index", name]):
        assert cli.main(command) == 0, capsys.readouterr().err
    rows = tables.read("cases", layout.cases(name)).to_dict("records")
    assert Counter(row["group"] for row in rows) == {"montgomery_normal": 60, "shenzhen_normal": 40}
    assert all(row["case"].endswith("_0") for row in rows)
    assert {row["size"] for row in rows} == {"512x512"}
    greys = [int(re.fullmatch(r".*: (\d+) grey values, cut at 127\.5", row["notes"])[1]) for row in rows]
    assert (min(greys), max(greys)) == (96, 195)
    for row in rows:
        lung = json.loads(row["voxels"])["1"] / 512**2
        assert 0.09 < lung < 0.4, row["case"]
    found = datasets.reader(name).cases(layout.raw(name), {})[::10]
    with pytest.raises(SegtraceError, match=r"^index lung_segmentation: 10 problems\n"):
        raw_folders.index(name, layout.raw(name), found, {"grey_masks": "error"})
