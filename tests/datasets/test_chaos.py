"""CHAOS: slices and masks paired by names, patients kept apart, and every fault of a copy named at once."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from dicom_slices import PATIENT, dicom
from miniatures import chaos_ct as miniature
from miniatures import picture
from raw_folders import MIRROR, needs_mirror
from segtrace import images
from segtrace.config import load
from segtrace.datasets import Case, _chaos, chaos_ct, chaos_ct_slices, chaos_mr
from segtrace.errors import SegtraceError
from segtrace.index import build

FILES = miniature.files()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path


def ct(root: Path, number: int = 1) -> Case:
    return next(case for case in chaos_ct.cases(root, {}) if case.subject == f"ct_{number}")


@given(st.lists(st.integers(0, 3000), unique=True))
def test_names_are_sorted_by_their_numbers_padded_or_not(numbers: list[int]) -> None:
    for form in ("{}.dcm", "IMG-0002-{:05d}.dcm", "i{:04d},0000b.dcm"):
        names = [form.format(number) for number in numbers]
        assert sorted(names, key=_chaos.natural) == [form.format(number) for number in sorted(numbers)]


def test_each_voxel_of_the_liver_lies_where_its_slice_says(root: Path) -> None:
    for number, step in ((1, -2.0), (2, 3.0), (10, -3.2)):
        case = ct(root, number)
        image = chaos_ct.read_image(root, case, {})
        label, notes = chaos_ct.read_label(root, case, {})
        assert notes == []
        assert images.grid_of(image) == images.grid_of(label)
        assert image.TransformIndexToPhysicalPoint((4, 3, 2)) == pytest.approx(
            (-8 + 3, -7 + 2.25, 100 + 2 * step)
        )
        inside = sitk.GetArrayFromImage(image)[sitk.GetArrayFromImage(label) > 0]
        assert 110 <= inside.min() <= inside.max() < 150
        assert image.GetPixelID() == sitk.sitkInt16


def test_both_modalities_of_one_number_are_two_people(root: Path) -> None:
    subjects = [{case.subject for case in reader.cases(root, {})} for reader in (chaos_ct, chaos_mr)]
    assert subjects == [{"ct_1", "ct_2", "ct_10"}, {"mr_1", "mr_2"}]


def test_images_of_a_patient_are_cases_of_one_subject_and_phases_share_masks(root: Path) -> None:
    found = {case.case: case for case in chaos_mr.cases(root, {})}
    one, other, second = (found[f"mr_01_{name}"] for name in ("t1_in", "t1_out", "t2_spir"))
    assert one.labels == other.labels != second.labels
    assert one.images != other.images
    assert {case.subject for case in (one, other, second)} == {"mr_1"}
    labels = [sitk.GetArrayFromImage(chaos_mr.read_label(root, case, {})[0]) for case in (one, other)]
    np.testing.assert_array_equal(*labels)
    chosen = chaos_mr.cases(root, {"sequences": ["t2_spir"]})
    assert [case.case for case in chosen] == ["mr_01_t2_spir", "mr_02_t2_spir"]
    with pytest.raises(SegtraceError, match="option sequences of chaos_mr is 't2'"):
        chaos_mr.cases(root, {"sequences": "t2"})


@pytest.mark.parametrize("reader", [chaos_ct, chaos_mr])
def test_nothing_about_the_patient_reaches_the_index(root: Path, reader) -> None:
    name = reader.__name__.rsplit(".", 1)[1]
    for case in reader.cases(root, {}):
        content = (root / case.images[0]).read_bytes()
        for value in PATIENT.values():  # planted
            assert value.encode() in content
        job = build.Job(name, root, name, {}, case, 3, 1, (1,) if reader is chaos_ct else (1, 2, 3, 4), False)
        indexed = build.index_case(job)
        assert not indexed.problems
        text = json.dumps([indexed.row, str(case)])
        for value in PATIENT.values():
            assert value not in text
            assert all(part not in text for part in value.split("^"))


def test_faults_of_the_layout_are_listed_together(root: Path) -> None:
    top = root / "Train_Sets/CT"
    (top / "1/Ground/liver_GT_003.png").unlink()
    (top / "2/DICOM_anon/IMG-0002-00004.dcm").unlink()
    (top / "10/Ground/liver_GT_2.png").rename(top / "10/Ground/other.png")
    (top / "notes").mkdir()
    (top / "30").mkdir()
    with pytest.raises(SegtraceError) as caught:
        chaos_ct.cases(root, {})
    text = str(caught.value)
    assert "6 problems" in text
    for part in (
        "1/DICOM_anon: 12 slices, but 11 masks",
        "2/DICOM_anon: 11 slices, but 12 masks",
        "other.png: not the name of a mask",
        "notes: a patient's folder is named by a number",
        "30/DICOM_anon: no files *.dcm",
        "30/Ground: no files *.png",
    ):
        assert part in text
    with pytest.raises(SegtraceError, match=r"Train_Sets/MR: no such folder"):
        chaos_mr.cases(root / "empty", {})


def test_damaged_slices_and_masks_are_listed_together(root: Path) -> None:
    case = ct(root)
    whole = (root / case.images[2]).read_bytes()
    (root / case.images[2]).write_bytes(whole[:-100])
    (root / case.images[3]).write_bytes(b"")
    (root / case.images[5]).write_bytes(b"<html>log in</html>")
    with pytest.raises(
        SegtraceError, match=r"(?s)3 problems.*i0002.*truncated.*i0003.*0 bytes.*i0005.*web page"
    ):
        chaos_ct.read_image(root, case, {})
    case = ct(root, 2)
    (root / case.labels[1]).write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (root / case.labels[4]).write_bytes(picture(np.zeros((9, 16), np.uint8), "PNG"))
    (root / case.labels[6]).write_bytes(picture(np.full((14, 16, 3), (9, 0, 0), np.uint8), "PNG"))
    with pytest.raises(
        SegtraceError,
        match=r"(?s)3 problems.*liver_001.*liver_004.png: 16x9 pixels, its slices have 16x14.*liver_006.*colours",
    ):
        chaos_ct.read_label(root, case, {})


def test_a_slice_that_is_missing_with_its_mask_is_named(root: Path) -> None:
    case = ct(root)
    (root / case.images[4]).unlink()
    (root / case.labels[4]).unlink()
    with pytest.raises(
        SegtraceError, match=r"i0003,0000b.dcm and i0005,0000b.dcm: -4 mm .* others -2 mm: a slice is missing"
    ):
        chaos_ct.read_image(root, ct(root), {})


def test_a_faulty_case_of_many_files_is_named_by_its_first(root: Path) -> None:
    case = ct(root)
    (root / case.images[3]).write_bytes(b"")
    indexed = build.index_case(build.Job("chaos_ct", root, "chaos_ct", {}, case, 3, 1, (1,), False))
    assert indexed.row == {}
    assert indexed.problems[0].startswith(f"ct_01 ({case.images[0]}, 23 more files): ")
    assert "i0003,0000b.dcm: the file is empty" in indexed.problems[0]


def test_masks_of_other_slices_are_an_error_with_the_mean_inside_them(root: Path) -> None:
    case = ct(root)
    content = [(root / name).read_bytes() for name in case.labels]
    for name, data in zip(case.labels, reversed(content), strict=True):
        (root / name).write_bytes(data)
    # two of five slices of the mask still meet the liver: 2/5 of 130 HU and 3/5 of 20 HU are no fault by themselves
    with pytest.raises(
        SegtraceError,
        match=r"1/Ground: mean inside the liver masks is 6\d\.\d HU, with the slices in reverse 1[23]\d\.\d HU",
    ):
        chaos_ct.read_label(root, case, {})
    for name, data in zip(case.labels, content[6:] + content[:6], strict=True):
        (root / name).write_bytes(data)
    with pytest.raises(SegtraceError, match=r"masks is 1\d\.\d HU, .*; expected 50 to 200"):
        chaos_ct.read_label(root, case, {})


def test_unexpected_greys_are_an_error_with_their_values(root: Path) -> None:
    case = ct(root, 2)
    mask = images.read_picture(root / case.labels[3]).copy()
    mask[0, :4] = 128
    (root / case.labels[3]).write_bytes(picture(mask, "PNG"))
    with pytest.raises(SegtraceError, match=r"grey levels \[0, 128, 255\]; expected black and one other"):
        chaos_ct.read_label(root, case, {})
    case = chaos_mr.cases(root, {})[0]
    mask = images.read_picture(root / case.labels[3]).copy()
    mask[0, :3], mask[0, 3] = 90, 215
    (root / case.labels[3]).write_bytes(picture(mask, "PNG"))
    with pytest.raises(
        SegtraceError, match=r"grey levels 90 \(3 pixels\), 215 \(1 pixels\); expected 0 and 55 to 70"
    ):
        chaos_mr.read_label(root, case, {})


def test_an_rgb_mask_and_an_empty_one_are_read(root: Path) -> None:
    case = ct(root, 2)
    for name in case.labels:
        (root / name).write_bytes(picture(np.zeros((14, 16, 3), np.uint8), "PNG"))
    label, _ = chaos_ct.read_label(root, case, {})  # the index refuses it, where empty masks are not expected
    assert not sitk.GetArrayFromImage(label).any()


def test_slices_of_two_sizes_are_an_error(root: Path) -> None:
    case = ct(root)
    small = np.zeros((10, 16), np.uint16)
    (root / case.images[6]).write_bytes(dicom(small, position=(-8, -7, 88), spacing_mm=(0.75, 0.75)))
    with pytest.raises(
        SegtraceError, match=r"i0006,0000b.dcm: rows and columns 10, 16, those of i0000,0000b.dcm are 14, 16"
    ):
        chaos_ct.read_label(root, case, {})


def test_slices_are_the_planes_of_their_volume(root: Path) -> None:
    volumes = {case.subject: case for case in chaos_ct.cases(root, {})}
    seen: dict[str, int] = {}
    for case in chaos_ct_slices.cases(root, {}):
        place = seen.setdefault(case.subject, 0)
        seen[case.subject] += 1
        assert case.case == f"{volumes[case.subject].case}_{place:03d}"
        image = chaos_ct_slices.read_image(root, case, {})
        label, notes = chaos_ct_slices.read_label(root, case, {})
        whole = sitk.GetArrayFromImage(chaos_ct.read_image(root, volumes[case.subject], {}))
        assert np.array_equal(sitk.GetArrayFromImage(image), whole[place])
        assert (image.GetDimension(), image.GetSpacing(), notes) == (2, (0.75, 0.75), [])
        liver = sitk.GetArrayFromImage(label)
        assert np.count_nonzero(liver) == (36 if 2 <= place < 7 else 0)
        assert not liver.any() or sitk.GetArrayFromImage(image)[liver > 0].mean() > 100
    assert seen == {subject: len(case.images) for subject, case in volumes.items()}


def test_a_slice_whose_mask_lies_on_no_liver_is_refused(root: Path) -> None:
    case = chaos_ct_slices.cases(root, {})[0]
    fat = np.full((60, 60), 900, np.uint16)  # -100 HU
    (root / case.images[0]).write_bytes(
        dicom(fat, position=(0, 0, 0), spacing_mm=(0.75, 0.75), intercept=-1000.0)
    )
    mask = np.zeros((60, 60), np.uint8)
    for rows, refused in ((49, False), (50, True)):  # 2940 and 3000 pixels
        mask[:rows] = 255
        (root / case.labels[0]).write_bytes(picture(mask, "PNG"))
        if refused:
            with pytest.raises(
                SegtraceError, match=r"mean inside the liver mask is -100.0 HU, expected 50 to 200"
            ):
                chaos_ct_slices.read_label(root, case, {})
        else:
            chaos_ct_slices.read_label(root, case, {})
    mask[0] = 100
    (root / case.labels[0]).write_bytes(picture(mask, "PNG"))
    with pytest.raises(SegtraceError, match=r"grey levels \[0, 100, 255\]; expected black and one other"):
        chaos_ct_slices.read_label(root, case, {})


@needs_mirror
@pytest.mark.mirror
def test_chaos_archive_slice_by_slice(tmp_path: Path) -> None:
    with zipfile.ZipFile(MIRROR / miniature.ARCHIVE) as archive:
        archive.extractall(tmp_path)
    found = chaos_ct_slices.cases(tmp_path, {})
    pixels = [
        int(sitk.GetArrayViewFromImage(chaos_ct_slices.read_label(tmp_path, case, {})[0]).sum())
        for case in found
    ]
    empty = pixels.count(0)
    shares = [count / 512**2 for count in pixels if count]
    print(f"{len(found)} slices, {empty} without liver, mean share of liver {sum(shares) / len(shares):.3f}")
    gate = load.dataset("chaos_ct_slices").gate
    assert len(found) == 78
    assert gate.empty_masks[0] <= empty / len(found) <= gate.empty_masks[1]
    assert gate.foreground[1][0] <= sum(shares) / len(shares) <= gate.foreground[1][1]


@needs_mirror
@pytest.mark.mirror
def test_chaos_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(MIRROR / miniature.ARCHIVE) as archive:
        archive.extractall(tmp_path)
    (case,) = chaos_ct.cases(tmp_path, {})
    assert (case.case, case.subject) == ("ct_01", "ct_1")
    assert len(case.images) == len(case.labels) == 78
    image = chaos_ct.read_image(tmp_path, case, {})
    label, notes = chaos_ct.read_label(tmp_path, case, {})
    assert notes == []
    assert image.GetSize() == (512, 512, 78)
    assert image.GetSpacing() == pytest.approx((0.7265625, 0.7265625, 2.0))  # SliceThickness says 3.2
    assert image.GetDirection()[8] == -1  # names run from head to feet
    assert images.grid_of(image).differences(images.grid_of(label)) == []
    values, liver = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(label) > 0
    mean = float(values[liver].mean())
    print(
        f"mean inside the liver {mean:.1f} HU, {values[::-1][liver].mean():.1f} HU with the slices in reverse"
    )
    assert 90 <= mean <= 180
