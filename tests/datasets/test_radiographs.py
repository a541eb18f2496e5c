"""Readers of chest radiographs: what is wrong with a folder is one error, and nothing of a patient enters a table."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import miniatures
from miniatures import box, picture
from miniatures.jsrt import PLACES, gif
from segtrace import cli, datasets, images
from segtrace.acquire.unpack import unpack
from segtrace.config import load
from segtrace.datasets import Case, _radiographs
from segtrace.errors import SegtraceError
from segtrace.files import read_json

ROOT = Path(__file__).parents[2]
GREY, HALF = np.arange(1920, dtype=np.uint8).reshape(48, 40), np.ones((24, 20), np.uint8)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with the unpacked miniatures, by name."""
    top = tmp_path_factory.mktemp("published")
    for name in (
        "montgomery",
        "shenzhen",
        "jsrt",
        "jsrt_mini01",
        "jsrt_mini02",
        "nih_chestxray14",
        "nih_xlsor",
    ):
        miniatures.build(name, top / "archives" / name)
        (top / name).mkdir()
        for source in load.dataset(name).sources:
            unpack(top / "archives" / name / source.archive, top / name)
    return top


@pytest.fixture
def raw(published: Path, tmp_path: Path) -> Any:
    """A copy of one of the folders, to spoil."""
    return lambda name: Path(shutil.copytree(published / name, tmp_path / name))


def found(name: str, root: Path, **options: Any) -> list[Case]:
    data = load.dataset(name)
    cases: list[Case] = datasets.reader(data.reader or name).cases(root, {**data.options, **options})
    return cases


def label(name: str, root: Path, case: Case, **options: Any) -> tuple[np.ndarray, list[str]]:
    data = load.dataset(name)
    mask, notes = datasets.reader(data.reader or name).read_label(root, case, {**data.options, **options})
    return sitk.GetArrayFromImage(mask), notes


def refused(name: str, root: Path, **options: Any) -> str:
    with pytest.raises(SegtraceError) as error:
        found(name, root, **options)
    return str(error.value)


# --- folders -------------------------------------------------------------------------------------------


def test_every_fault_of_a_folder_is_in_one_error(raw: Any) -> None:
    root = raw("montgomery")
    top = root / "MontgomerySet"
    (top / "ManualMask/leftMask/MCUCXR_0001_0.png").unlink()
    (top / "ManualMask/rightMask/MCUCXR_0104_1.png").rename(top / "ManualMask/rightMask/MCUCXR_0105_1.png")
    (top / "CXR_png/MCUCXR_17.png").write_bytes(b"")
    text = refused("montgomery", root)
    assert "4 problems" in text
    assert "MCUCXR_0001_0.png: has no left mask" in text
    assert "MCUCXR_0104_1.png: has no right mask" in text
    assert "MCUCXR_0105_1.png: a right mask without an image" in text
    assert "MCUCXR_17.png: unexpected name" in text


def test_a_folder_of_another_layout_is_described(raw: Any) -> None:
    root = raw("jsrt_mini01")
    (root / "Segmentation01/train").rename(root / "Segmentation01/training")
    text = refused("jsrt_mini01", root)
    assert "train/org: no such folder" in text
    assert "Segmentation01 holds test, training" in text
    root = raw("jsrt")
    (root / "All247images").rename(root / "elsewhere")  # any folder will do
    assert len(found("jsrt", root)) == 2
    shutil.rmtree(root / "elsewhere")
    assert "no image JPCLNNNN.IMG" in refused("jsrt", root)


def test_shenzhen_leaves_out_the_known_images_and_no_other(raw: Any) -> None:
    root, reader = raw("shenzhen"), datasets.reader("shenzhen")
    assert reader.left_out(root, {}) == {"CHNCXR_0025_0": "no mask of it was published"}
    assert "CHNCXR_0025_0" not in [case.case for case in found("shenzhen", root)]
    (root / "mask/mask/CHNCXR_0002_0_mask.png").unlink()
    assert "CHNCXR_0002_0.png: has no mask" in refused("shenzhen", root)
    shutil.copytree(root / "mask", root / "again")
    assert "a second file of CHNCXR_0001_0" in refused("shenzhen", root)
    shutil.rmtree(root / "again")
    shutil.rmtree(root / "mask")
    assert "the masks are a second archive" in refused("shenzhen", root)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("montgomery", {"lungs": "two"}, "unknown option 'lungs'"),
        ("shenzhen", {"grey_masks": "round"}, "grey_masks of shenzhen is 'round'"),
        ("jsrt", {"objects": "ribs"}, "objects of jsrt is 'ribs'"),
        ("jsrt_mini01", {"archive": "segmentation03"}, "archive of jsrt_mini is 'segmentation03'"),
        ("nih_chestxray14", {"masks": "chexmask"}, "masks is 'chexmask'"),
        ("nih_chestxray14", {"images": "xlsor"}, "images: xlsor needs masks: xlsor"),
        ("nih_chestxray14", {"folder": None}, "folder is None"),
    ],
)
def test_options_that_cannot_be(published: Path, name: str, options: Mapping[str, Any], reason: str) -> None:
    assert reason in refused(name, published / name, **options)


# --- masks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (GREY, "grey values"),
        (HALF, "has 20x24 and its image 40x48"),
        (np.zeros((48, 40), bool), "an empty mask"),
        (np.dstack([GREY, GREY, GREY + 1]), "a mask with colours"),
    ],
)
def test_masks_of_montgomery_that_are_none(raw: Any, mask: np.ndarray, reason: str) -> None:
    root = raw("montgomery")
    case = found("montgomery", root)[0]
    (root / case.labels[1]).write_bytes(picture(mask, "PNG"))
    with pytest.raises(SegtraceError, match=rf"rightMask/MCUCXR_0001_0\.png: .*{reason}"):
        label("montgomery", root, case)


def test_grey_masks_are_cut_or_refused_as_the_option_says(published: Path) -> None:
    root = published / "shenzhen"
    case = found("shenzhen", root)[1]
    array, notes = label("shenzhen", root, case)
    assert array[8].sum() == 14 - 14 + 16  # the row of 100 on the left is background, on the right is white
    assert notes == ["CHNCXR_0002_0_mask.png: 4 grey values, cut at 127.5"]
    with pytest.raises(SegtraceError, match=r"CHNCXR_0002_0_mask\.png: a mask with 4 grey values"):
        label("shenzhen", root, case, grey_masks="error")


@given(
    mask=arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)),
    factor=st.integers(2, 4),
)
def test_a_smaller_mask_keeps_its_shape_on_a_finer_grid(mask: np.ndarray, factor: int) -> None:
    size = (mask.shape[1] * factor, mask.shape[0] * factor)
    large, notes = _radiographs.fit(mask, size, where=Path("m.png"))
    assert large.sum() == mask.sum() * factor**2
    for row in range(factor):
        for column in range(factor):
            np.testing.assert_array_equal(large[row::factor, column::factor], mask)
    assert f"each pixel stands for {factor}x{factor}" in notes[0]
    with pytest.raises(SegtraceError, match="a whole number of times smaller"):
        _radiographs.fit(mask, (size[0] + 1, size[1]), where=Path("m.png"))
    with pytest.raises(SegtraceError, match="a whole number of times smaller"):
        _radiographs.fit(large, (mask.shape[1], mask.shape[0]), where=Path("m.png"))


# --- JSRT ----------------------------------------------------------------------------------------------


def test_raw_images_are_big_endian_inverted_and_to_scale(published: Path) -> None:
    root = published / "jsrt"
    case = found("jsrt", root)[0]
    assert (case.case, case.side) == ("JPCLN002", "fold2")
    image = datasets.reader("jsrt").read_image(root, case, {})
    array = sitk.GetArrayFromImage(image)
    assert image.GetSpacing() == (0.175, 0.175)
    stored = (root / case.images[0]).read_bytes()
    for row, column in ((0, 0), (3, 2047), (1999, 5)):
        place = 2 * (row * 2048 + column)
        assert array[row, column] == 4095 - (stored[place] * 256 + stored[place + 1])
    assert array.max() == 4095


def test_raw_images_that_are_cut_too_long_or_in_the_other_order(raw: Any) -> None:
    root, reader = raw("jsrt"), datasets.reader("jsrt")
    case = found("jsrt", root)[0]
    path = root / case.images[0]
    whole = path.read_bytes()
    for data, reason in (
        (whole[:-1], "has 8388607 bytes; 2048 x 2048 values of 16 bit have 8388608"),
        (b"", "has 0 bytes"),
        (whole + b"\0", "has 8388609 bytes"),
        (np.frombuffer(whole, "<u2").astype(">u2").tobytes(), "more than 12 bit"),
    ):
        path.write_bytes(data)
        with pytest.raises(SegtraceError, match=rf"JPCLN002\.IMG: .*{reason}"):
            reader.read_image(root, case, {})


def test_five_objects_are_laid_over_one_another_in_order(published: Path) -> None:
    root = published / "jsrt"
    for case in found("jsrt", root, objects="all"):  # one with 1-bit masks, one with palettes
        array, notes = label("jsrt", root, case, objects="all")
        wanted = np.zeros((1024, 1024), np.uint8)
        for value, name in enumerate(("right lung", "left lung", "heart", "right clavicle", "left clavicle")):
            wanted[box((1024, 1024), *PLACES[name]) > 0] = value + 1
        np.testing.assert_array_equal(array, wanted.repeat(2, 0).repeat(2, 1))
        assert notes == [
            f"heart over {4 * 250 * 40} pixels of other objects",
            f"right clavicle over {4 * 30 * 250} pixels of other objects",
            f"left clavicle over {4 * 30 * 260} pixels of other objects",
        ]
    lungs, notes = label("jsrt", root, found("jsrt", root)[0])
    assert set(np.unique(lungs)) == {0, 1}
    assert notes == []


def test_masks_of_jsrt_that_lack_or_lie_in_the_other_fold(raw: Any) -> None:
    root = raw("jsrt")
    (root / "fold2/masks/left lung/JPCLN002.gif").unlink()
    heart = root / "fold1/masks/heart/JPCNN093.gif"
    heart.rename(root / "fold2/masks/heart/JPCNN093.gif")
    text = refused("jsrt", root, objects="all")
    assert "JPCLN002.IMG: has no mask 'left lung'" in text
    assert "fold2/masks/heart/JPCNN093.gif: lies in fold2; its number belongs to fold1" in text
    shutil.rmtree(root / "fold2/masks")
    shutil.rmtree(root / "fold1/masks")
    text = refused("jsrt", root)
    assert "no mask masks/right lung/NAME.gif" in text
    assert "no mask masks/left lung/NAME.gif" in text


def test_gif_masks_that_are_none(raw: Any) -> None:
    root = raw("jsrt")
    case = found("jsrt", root)[0]
    for data, reason in (
        (gif(np.ones((1000, 1024), np.uint8), palette=True), "a whole number of times smaller"),
        (gif(np.zeros((1024, 1024), np.uint8), palette=False), "an empty mask"),
        ((root / case.labels[0]).read_bytes()[:200], "cannot be read as a picture"),
    ):
        (root / case.labels[0]).write_bytes(data)
        with pytest.raises(SegtraceError, match=rf"right lung/JPCLN002\.gif: .*{reason}"):
            label("jsrt", root, case)


def test_labels_of_minijsrt_hold_four_greys(raw: Any) -> None:
    root = raw("jsrt_mini02")
    case = found("jsrt_mini02", root)[0]
    assert (case.case, case.side) == ("test_227", "test")
    pixels = images.read_picture(root / case.labels[0]).copy()
    assert set(np.unique(pixels)) == {0, 85, 170, 255}
    pixels[0, :3] = 84, 1, 169
    (root / case.labels[0]).write_bytes(picture(pixels, "PNG"))
    with pytest.raises(SegtraceError, match=r"case227_label\.png: holds 3 grey values such as \[1, 84"):
        label("jsrt_mini02", root, case)
    (root / case.labels[0]).write_bytes(picture(pixels[1:], "PNG"))
    with pytest.raises(SegtraceError, match="has 32x31 and its image 32x32"):
        label("jsrt_mini02", root, case)


# --- NIH -----------------------------------------------------------------------------------------------


def test_nih_takes_what_is_there_and_says_what_it_left_out(raw: Any) -> None:
    root, reader = raw("nih_chestxray14"), datasets.reader("nih_chestxray14")
    options = load.dataset("nih_chestxray14").options
    out = reader.left_out(root, options)
    assert out["00099999_000"] == "its image is not there"
    assert list(out.values()).count("no mask of it is there") == 8
    shutil.rmtree(root / "masks")
    (root / "masks").mkdir()
    assert "of 12 images and 0 masks, no two belong together" in refused("nih_chestxray14", root)


def test_lists_of_sides_are_whole_or_absent(raw: Any) -> None:
    root = raw("nih_chestxray14")
    (root / "test_list.txt").write_text("00000003_000.png\n00000001_000.png\n")
    text = refused("nih_chestxray14", root)
    assert "00000001_000.png: in 2 of the lists" in text
    assert "00000003_001.png: in 0 of the lists" in text
    (root / "test_list.txt").unlink()
    assert "test_list.txt: missing" in refused("nih_chestxray14", root)
    (root / "train_val_list.txt").unlink()
    assert {case.side for case in found("nih_chestxray14", root)} == {""}


def test_xlsor_is_read_by_its_table_beside_the_owners_images(raw: Any) -> None:
    root, reader = raw("nih_xlsor"), datasets.reader("nih_chestxray14")
    table = root / "correspondence_with_chestXray8.csv"
    options = {"masks": "xlsor", "images": "archives"}
    assert "images: no such folder" in refused("nih_xlsor", root, images="archives")
    (root / "images").mkdir()
    shutil.copy(root / "data/NIH/images/NIH_0034.png", root / "images/00009863_038.png")
    (case,) = reader.cases(root, options)
    assert case.images == ("images/00009863_038.png",)
    assert case.labels == ("data/NIH/masks/NIH_0034_mask.png",)
    assert reader.left_out(root, options) == {
        "NIH_0077": "not in correspondence_with_chestXray8.csv",
        "00009863_008": "its image is not there",
    }
    table.write_text(
        "NIH,ChestX-ray14\nNIH_0010,00009863_008.png\nNIH_0010,00009863_009.png\nNIH_34,9863.png\n"
    )
    text = refused("nih_xlsor", root)
    assert "line 3: NIH_0010 or 00009863_009.png stands there twice" in text
    assert "line 4: NIH is 'NIH_34'" in text
    table.write_text("a,b\n1,2\n")
    assert "NIH is '' and ChestX-ray14 None" in refused("nih_xlsor", root)
    table.unlink()
    assert "no table correspondence_with_chestXray8.csv" in refused("nih_xlsor", root)


# --- from archives to the index ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "planted", "left_out"),
    [
        ("montgomery", ("Sex", "061Y"), None),
        ("shenzhen", ("45yrs", "male"), {"no mask of it was published": 1}),
        (
            "nih_chestxray14",
            ("58Y", "Malefactor", "Cardiomegaly"),
            {"no mask of it is there": 8, "its image is not there": 1},
        ),
    ],
)
def test_nothing_of_a_patient_enters_a_table_and_what_is_left_out_is_counted(
    name: str,
    planted: tuple[str, ...],
    left_out: dict[str, int] | None,
    published: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / f"config/datasets/{name}.yaml"
    content = yaml.safe_load(file.read_text())
    content["gate"] = {}  # the miniature is smaller than the data set
    file.write_text(yaml.safe_dump(content))
    assert cli.main(["acquire", name, "--mirror", str(published / "archives" / name)]) == 0
    stored = b"".join(
        path.read_bytes() for path in sorted((tmp_path / "data/raw" / name).rglob("*")) if path.is_file()
    )
    capsys.readouterr()
    assert cli.main(["index", name, "--workers", "1"]) == 0
    out = capsys.readouterr().out
    written = b"".join(
        path.read_bytes()
        for folder in ("data/index", "reports", ".segtrace")
        for path in sorted((tmp_path / folder).rglob("*"))
        if path.is_file()
    )
    for word in planted:
        assert word.encode() in stored
        assert word.encode() not in written
    record = read_json(tmp_path / f"data/index/{name}/cases.csv.prov.json")
    assert record.get("notes", {}).get("left_out_by_reader") == left_out
    for reason, count in (left_out or {}).items():
        assert f"left out {count} images ({reason})" in out
