"""The reader of the user's own pairs: how images and masks find each other, label values, colours, subjects."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

import miniatures
from segtrace import images
from segtrace.datasets import Case, pairs
from segtrace.errors import SegtraceError


def put(path: Path, array: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(array).save(path, **options)


def grey(value: int = 90, shape: tuple[int, ...] = (6, 8)) -> np.ndarray:
    return np.full(shape, value, np.uint8)


def mask(value: int = 255) -> np.ndarray:
    return miniatures.box((6, 8), (1, 3), (2, 5), value=value)


def label(root: Path, case: Case, options: dict[str, Any]) -> np.ndarray:
    return images.to_array(pairs.read_label(root, case, options)[0])[0]


def test_two_folders_nested_with_other_endings_and_files_left_behind(tmp_path: Path) -> None:
    for name in ("a/img (1)", "a/img (2)", "b/img (1)"):
        put(tmp_path / f"images/{name}.jpg", grey())
        put(tmp_path / f"masks/{name}.PNG", mask())
    for junk in ("images/.hidden.png", "images/a/Thumbs.db", "masks/._img.png", "images/notes.txt"):
        (tmp_path / junk).write_text("x")
    options = {"values": {255: 1}, "subject": "([ab])_", "keep_names": True}
    found = pairs.cases(tmp_path, options)
    assert [(c.case, c.subject) for c in found] == [("a_img_1", "a"), ("a_img_2", "a"), ("b_img_1", "b")]
    assert np.unique(label(tmp_path, found[0], options)).tolist() == [0, 1]
    assert pairs.read_image(tmp_path, found[0], options).GetSize() == (8, 6)


def test_side_by_side_with_further_masks_united(tmp_path: Path) -> None:
    for name in ("p1", "p1_1"):
        put(tmp_path / f"{name}.png", grey())
        put(tmp_path / f"{name}_seg.png", mask())
    put(tmp_path / "p1_seg_2.png", miniatures.box((6, 8), (4, 6), (0, 2), value=255))
    options = {"images": ".", "masks": ".", "mask_suffix": "_seg", "values": {255: 1}}
    first, second = pairs.cases(tmp_path, options)
    assert (first.case, first.labels) == ("p1", ("p1_seg.png", "p1_seg_2.png"))
    assert (second.case, second.labels) == ("p1_1", ("p1_1_seg.png",))
    united, notes = pairs.read_label(tmp_path, first, options)
    assert images.to_array(united).sum() == 6 + 4
    assert notes == ["2 masks are united"]


def test_all_files_without_a_partner_are_one_error(tmp_path: Path) -> None:
    for name in ("a1", "a2"):
        put(tmp_path / f"images/{name}.png", grey())
    for name in ("a2", "a3"):
        put(tmp_path / f"masks/{name}.png", mask())
    put(tmp_path / "images/a2.bmp", grey())
    with pytest.raises(SegtraceError) as raised:
        pairs.cases(tmp_path, {})
    message = str(raised.value)
    assert "3 problems" in message
    for part in ("a1.png: has no mask", "a3.png: a mask without an image", "a2.bmp", "images of one name"):
        assert part in message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"images": "."}, "no such folder"),
        ({"images": ".", "masks": "."}, "mask_suffix must say"),
        ({"mask_sufix": "_m"}, "did you mean 'mask_suffix'"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    put(tmp_path / "a.png", grey())
    with pytest.raises(SegtraceError, match=said):
        pairs.cases(tmp_path, options)


def test_names_of_persons_are_refused_unless_kept_on_purpose(tmp_path: Path) -> None:
    for name in ("Meier", "Schulz"):
        put(tmp_path / f"images/{name}.png", grey())
        put(tmp_path / f"masks/{name}.png", mask())
    with pytest.raises(SegtraceError, match="2 of 2 names hold words") as raised:
        pairs.cases(tmp_path, {})
    assert "Meier" not in str(raised.value).replace(str(tmp_path), "")
    assert [c.case for c in pairs.cases(tmp_path, {"keep_names": True})] == ["Meier", "Schulz"]


def read(tmp_path: Path, array: np.ndarray, options: dict[str, Any]) -> np.ndarray:
    put(tmp_path / "masks/a.png", array)
    return label(tmp_path, Case("a", "a", ("images/a.png",), ("masks/a.png",)), options)


def test_values_thresholds_and_colours_of_masks(tmp_path: Path) -> None:
    stored = np.array([[0, 100, 200]], np.uint8)
    assert read(tmp_path, stored, {"values": {100: 1, 200: 2}}).tolist() == [[0, 1, 2]]
    assert read(tmp_path, stored, {"threshold": 150}).tolist() == [[0, 0, 1]]
    assert read(tmp_path, stored, {}).tolist() == [[0, 100, 200]]
    assert read(tmp_path, np.repeat(stored[..., None], 3, -1), {}).tolist() == [[0, 100, 200]]
    coloured = np.array([[[0, 0, 0], [255, 0, 0], [0, 255, 0]]], np.uint8)
    colours = {"values": {"#ff0000": 1, "#00ff00": 2}}
    assert read(tmp_path, coloured, colours).tolist() == [[0, 1, 2]]
    for array, options, said in (
        (stored, {"values": {100: 1}}, "holds the values 200, which"),
        (coloured, {}, "a mask in colours"),
        (stored, {"values": {100: 1}, "threshold": 5}, "goes without the option values"),
        (stored, {"values": {"red": 1}}, "a number or a colour"),
    ):
        with pytest.raises(SegtraceError, match=said):
            read(tmp_path, array, options)


def test_pictures_in_grey_and_colours_as_found_or_made_alike(tmp_path: Path) -> None:
    put(tmp_path / "images/a.png", grey())
    put(tmp_path / "images/b.png", np.full((6, 8, 4), (10, 20, 30, 255), np.uint8))
    a, b = (Case(n, n, (f"images/{n}.png",), ()) for n in "ab")
    sizes = [pairs.read_image(tmp_path, c, o).GetNumberOfComponentsPerPixel()
             for o in ({}, {"colours": "rgb"}, {"colours": "grey"}) for c in (a, b)]  # fmt: skip
    assert sizes == [1, 3, 3, 3, 1, 1]
    weighted = images.to_array(pairs.read_image(tmp_path, b, {"colours": "grey"}))
    np.testing.assert_allclose(weighted, 0.299 * 10 + 0.587 * 20 + 0.114 * 30, rtol=1e-6)
