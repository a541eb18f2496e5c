"""MM-WHS: values to labels, the two known faults, and errors with their values."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import raw_folders
from miniatures.mmwhs_ct import COUNTS, LPS, RAI, SHAPE, TURNED, heart, volume
from segtrace import images
from segtrace.datasets import _mmwhs, mmwhs_ct, mmwhs_mr
from segtrace.errors import SegtraceError


def write(root: Path, name: str, label: np.ndarray, direction: tuple[float, ...] = LPS) -> None:
    folder = root / name[:8]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}_image.nii.gz").write_bytes(volume(np.ones(SHAPE, np.int16), direction))
    (folder / f"{name}_label.nii.gz").write_bytes(volume(label, direction))


def test_values_become_labels(tmp_path: Path) -> None:
    write(tmp_path, "ct_train_1001", heart())
    case = mmwhs_ct.cases(tmp_path, {})[0]
    label, notes = mmwhs_ct.read_label(tmp_path, case, {})
    assert notes == []
    array = sitk.GetArrayFromImage(label)
    for value, number in _mmwhs.VALUES.items():
        np.testing.assert_array_equal(array == number, heart() == value)
    assert {n: int((array == n).sum()) for n in COUNTS} == COUNTS


@pytest.mark.parametrize("direction", [LPS, RAI, TURNED])
def test_borders_are_those_of_the_patient(tmp_path: Path, direction: tuple[float, ...]) -> None:
    full = np.full(SHAPE, 500, np.int16)
    write(tmp_path, "mr_train_1002", full, direction)
    case = mmwhs_mr.cases(tmp_path, {})[0]
    kept, notes = mmwhs_mr.read_label(tmp_path, case, {"mr_train_1002_border": "keep"})
    assert notes == []
    assert sitk.GetArrayFromImage(kept).all()
    label, notes = mmwhs_mr.read_label(tmp_path, case, {"mr_train_1002_border": "clear"})
    assert images.grid_of(label) == images.grid_of(kept)
    standing = sitk.DICOMOrient(label, "LPS")
    array = sitk.GetArrayFromImage(standing)
    expected = np.zeros_like(array)
    expected[4:, : array.shape[1] - 10, 4:] = 1
    np.testing.assert_array_equal(array, expected)
    assert notes == [f"{int((expected == 0).sum())} voxels of spurious labels along the borders removed"]


def test_only_one_case_has_spurious_borders_and_only_one_the_mistaken_value(tmp_path: Path) -> None:
    label = heart()
    label[0] = 500
    write(tmp_path, "mr_train_1003", label)
    case = mmwhs_mr.cases(tmp_path, {})[0]
    kept, _ = mmwhs_mr.read_label(tmp_path, case, {"mr_train_1002_border": "clear"})
    assert sitk.GetArrayFromImage(kept)[0].all()
    label[1] = 421
    label[2, 0, 0] = 7
    write(tmp_path, "mr_train_1003", label)
    count = SHAPE[1] * SHAPE[2]
    with pytest.raises(
        SegtraceError, match=rf"values 7 \(1 voxels\), 421 \({count} voxels\); expected 0 and 500"
    ):
        mmwhs_mr.read_label(tmp_path, case, {})
    with pytest.raises(SegtraceError, match="mr_train_1002_border of mmwhs_mr is 'yes'"):
        mmwhs_mr.cases(tmp_path, {"mr_train_1002_border": "yes"})


def test_unequal_sizes_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "ct_train_1001", heart())
    (tmp_path / "ct_train/ct_train_1001_label.nii.gz").write_bytes(volume(heart()[1:]))
    case = mmwhs_ct.cases(tmp_path, {})[0]
    with pytest.raises(SegtraceError, match="size 24x22x19, its image has 24x22x20"):
        mmwhs_ct.read_label(tmp_path, case, {})


def test_files_without_partner_and_files_found_twice_are_listed_together(tmp_path: Path) -> None:
    for number in (1001, 1002, 1003, 1004):
        write(tmp_path, f"ct_train_{number}", heart())
    folder = tmp_path / "ct_train"
    (folder / "ct_train_1001_label.nii.gz").unlink()
    (folder / "ct_train_1002_image.nii.gz").unlink()
    (folder / "ct_train_1004_seg.nii.gz").write_bytes(b"x")
    (tmp_path / "more").mkdir()
    (tmp_path / "more/ct_train_1003_image.nii.gz").write_bytes(b"x")
    raw_folders.check_faults(
        mmwhs_ct,
        tmp_path,
        "not the layout of MM-WHS CT",
        (
            "ct_train_1004_seg.nii.gz: neither",
            "more/ct_train_1003_image.nii.gz: the image of ct_train_1003 is also",
            "ct_train_1001_image.nii.gz: has no label",
            "ct_train_1002_label.nii.gz: has no image",
        ),
    )
    with pytest.raises(SegtraceError, match="no files mr_train_NNNN_image"):
        mmwhs_mr.cases(tmp_path, {})
