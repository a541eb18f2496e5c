"""DICOM series with segmentations or structure sets: every voxel where its object says, or a named error."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import JPEGLosslessSV1, RLELossless

import dicom_objects as objects
from segtrace import images
from segtrace.datasets import _dicom_rtstruct, dicom_series
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid

OPTIONS = {"structures": {"liver": 1, "Left kidney": 2}}
SHAPE = (6, 10, 12)
TURN = sitk.Euler3DTransform()
TURN.SetRotation(0.3, -0.5, 0.8)
OBLIQUE = np.array(TURN.GetMatrix()).reshape(3, 3)


@pytest.fixture
def slices(tmp_path: Path) -> list[Path]:
    return objects.series(tmp_path / "subj_001/series_01")


def boxes() -> np.ndarray:
    """(D, H, W, 2): the first 3 x 2 x 4 = 24 voxels, the second 1 x 3 x 2 = 6."""
    masks = np.zeros((*SHAPE, 2), np.uint8)
    masks[1:4, 2:4, 3:7, 0] = 1
    masks[4, 6:9, 9:11, 1] = 1
    return masks


def seg_of(root: Path) -> Path:
    return root / "subj_001/series_01_seg.dcm"


def read(root: Path, options: dict[str, Any] | None = None) -> tuple[np.ndarray, list[str]]:
    """The label map and its notes; image and label lie on one grid."""
    chosen = OPTIONS if options is None else options
    (case,) = dicom_series.cases(root, chosen)
    assert (case.case, case.subject) == ("subj_001_series_01", "subj_001")
    label, notes = dicom_series.read_label(root, case, chosen)
    image = dicom_series.read_image(root, case, chosen)
    assert images.grid_of(image).differences(images.grid_of(label)) == []
    return sitk.GetArrayFromImage(label), notes


def mend(path: Path, change: Any) -> None:
    """Change a file's header."""
    header = pydicom.dcmread(path)
    change(header)
    header.save_as(path)


# --- segmentations ------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [np.eye(3), OBLIQUE])
@pytest.mark.parametrize("syntax", [None, JPEGLosslessSV1])
def test_segments_of_several_numbers_lie_where_they_were_drawn(
    tmp_path: Path, axes: np.ndarray, syntax: str | None
) -> None:
    tags = {"syntax": syntax} if syntax else {}
    slices = objects.series(tmp_path / "subj_001/series_01", axes=axes, **tags)
    objects.segmentation(seg_of(tmp_path), slices, boxes(), ["Liver", " left_KIDNEY"])
    label, notes = read(tmp_path)
    assert notes == []
    np.testing.assert_array_equal(label, boxes()[..., 0] + 2 * boxes()[..., 1])
    assert (np.count_nonzero(label == 1), np.count_nonzero(label == 2)) == (24, 6)
    (case,) = dicom_series.cases(tmp_path, OPTIONS)
    volume = sitk.GetArrayFromImage(dicom_series.read_image(tmp_path, case, OPTIONS))
    assert [int(plane.mean()) // 10 for plane in volume] == [0, 1, 2, 3, 4, 5]  # files are named in reverse


def test_frames_in_another_order_and_on_some_slices(tmp_path: Path, slices: list[Path]) -> None:
    written = objects.segmentation(
        seg_of(tmp_path), slices, boxes(), ["liver", "left kidney"], only=[1, 2, 3, 4]
    )
    assert (
        len(written.PerFrameFunctionalGroupsSequence) == 4
    )  # frames of 120 bits, 15 bytes, none of empty planes

    def shuffle(header: Any) -> None:
        order = [3, 1, 0, 2]
        frames = [header.PixelData[15 * i : 15 * i + 15] for i in range(4)]
        header.PixelData = b"".join(frames[i] for i in order)
        groups = list(header.PerFrameFunctionalGroupsSequence)
        header.PerFrameFunctionalGroupsSequence = [groups[i] for i in order]

    mend(seg_of(tmp_path), shuffle)
    np.testing.assert_array_equal(read(tmp_path)[0], boxes()[..., 0] + 2 * boxes()[..., 1])


@pytest.mark.parametrize(("threshold", "voxels"), [(None, 12), (0.25, 18), (0.75, 6)])
def test_fractions_count_from_a_threshold_on(
    tmp_path: Path, slices: list[Path], threshold: float | None, voxels: int
) -> None:
    masks = np.zeros((*SHAPE, 1), np.float32)
    for row, value in enumerate((0.3, 0.6, 0.9)):
        masks[2, row, :6, 0] = value
    objects.segmentation(seg_of(tmp_path), slices, masks, ["liver"], kind="FRACTIONAL", syntax=RLELossless)
    options = OPTIONS if threshold is None else OPTIONS | {"fractional_threshold": threshold}
    label, notes = read(tmp_path, options)
    assert np.count_nonzero(label) == voxels
    assert notes == [f"fractions from {threshold or 0.5:g} on count as inside"]


def test_a_label_map_and_a_part_of_a_slice(tmp_path: Path, slices: list[Path]) -> None:
    numbers = (boxes()[..., 0] + 2 * boxes()[..., 1]).astype(np.uint8)
    objects.segmentation(seg_of(tmp_path), slices, numbers, ["liver", "left kidney"], kind="LABELMAP")
    np.testing.assert_array_equal(read(tmp_path)[0], numbers)

    def cut(header: Any) -> None:  # columns 2 on of a frame of 10 x 12
        frames = header.pixel_array.reshape(-1, 10, 12)[..., 2:]
        header.Columns, header.PixelData = 10, frames.tobytes()
        for group in header.PerFrameFunctionalGroupsSequence:
            position = group.PlanePositionSequence[0].ImagePositionPatient
            position[0] = float(position[0]) + 2 * 0.5

    mend(seg_of(tmp_path), cut)
    np.testing.assert_array_equal(read(tmp_path)[0], numbers)


def test_overlap_needs_a_precedence_and_an_unnamed_structure_a_label(
    tmp_path: Path, slices: list[Path]
) -> None:
    masks = boxes()
    masks[1, 2:4, 3:6, 1] = 1  # 6 voxels of both
    objects.segmentation(seg_of(tmp_path), slices, masks, ["liver", "left kidney"])
    with pytest.raises(SegtraceError, match=r"6 voxels are of both 'liver' and 'left kidney'\n.*precedence"):
        read(tmp_path)
    for order, counts in ((["liver", "left kidney"], (24, 6)), (["LEFT kidney", "liver"], (18, 12))):
        label, notes = read(tmp_path, OPTIONS | {"precedence": order})
        assert (np.count_nonzero(label == 1), np.count_nonzero(label == 2)) == counts
        kept = order[0].lower()
        assert notes == [f"6 voxels are of both 'liver' and 'left kidney': given to '{kept}'"]
    label, _ = read(tmp_path, {"structures": {"liver": 1, "left kidney": 1}})  # one label: a union
    assert np.count_nonzero(label) == 24 + 6
    label, _ = read(tmp_path, {"structures": {"liver": 1, "left kidney": 0}})
    assert np.count_nonzero(label) == 24
    with pytest.raises(SegtraceError, match=r"'left kidney' has no label; did you mean 'left kidny'"):
        read(tmp_path, {"structures": {"liver": 1, "left kidny": 2}})


def _all_frames(header: Any, change: Any) -> None:
    for group in (*header.PerFrameFunctionalGroupsSequence, *header.SharedFunctionalGroupsSequence):
        change(group)


def _shift(group: Any, mm: float) -> None:
    if "PlanePositionSequence" in group:
        position = group.PlanePositionSequence[0].ImagePositionPatient
        position[2] = float(position[2]) + mm


def _spread(group: Any) -> None:
    if "PixelMeasuresSequence" in group:
        group.PixelMeasuresSequence[0].PixelSpacing = [0.8, 0.5]


def _tilt(group: Any) -> None:
    if "PlaneOrientationSequence" in group:
        group.PlaneOrientationSequence[0].ImageOrientationPatient = [0, 1, 0, 1, 0, 0]


def _repeat(header: Any) -> None:
    groups = header.PerFrameFunctionalGroupsSequence
    groups[1].PlanePositionSequence = groups[0].PlanePositionSequence


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: setattr(h, "FrameOfReferenceUID", "1.2.3"), "another frame of reference"),
        (
            lambda h: _all_frames(h, lambda g: _shift(g, 0.9)),
            r"between the image's voxels, by 0.00, 0.00, 0.45",
        ),
        (lambda h: _all_frames(h, lambda g: _shift(g, 20.0)), "beyond the image"),
        (lambda h: _all_frames(h, _spread), "another pixel spacing"),
        (lambda h: _all_frames(h, _tilt), "turned against"),
        (_repeat, "1 frames lie where another frame"),
        (lambda h: setattr(h, "PixelData", h.PixelData[:10]), "damaged DICOM file"),
        (lambda h: h.PerFrameFunctionalGroupsSequence.pop(), "places for 3"),
        (lambda h: h.SegmentSequence.pop(0), "frames of segment 1"),
    ],
)
def test_a_segmentation_off_its_image_is_a_named_error(
    tmp_path: Path, slices: list[Path], change: Any, message: str
) -> None:
    objects.segmentation(seg_of(tmp_path), slices, boxes(), ["liver", "left kidney"])
    mend(seg_of(tmp_path), change)
    with pytest.raises(SegtraceError, match=message) as caught:
        read(tmp_path)
    assert str(seg_of(tmp_path)) in str(caught.value)
    assert objects.uid("frame", "P1") not in str(caught.value)


def test_without_a_frame_of_reference_a_note_says_so(tmp_path: Path, slices: list[Path]) -> None:
    objects.segmentation(seg_of(tmp_path), slices, boxes(), ["liver", "left kidney"])
    mend(seg_of(tmp_path), lambda header: header.pop("FrameOfReferenceUID"))
    label, notes = read(tmp_path)
    assert np.count_nonzero(label) == 30
    assert len(notes) == 1
    assert "placed by position alone" in notes[0]


# --- structure sets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [np.eye(3), OBLIQUE])
def test_contours_fill_the_centres_inside_but_for_holes(tmp_path: Path, axes: np.ndarray) -> None:
    slices = objects.series(tmp_path / "subj_001/series_01", axes=axes)

    def at(rectangle: tuple[float, float, float, float], slice_: float) -> np.ndarray:
        return objects.outline(rectangle, slice_, axes=axes)

    keyhole = np.concatenate([at((1.5, 2.5, 6.5, 7.5), 3), at((1.5, 2.5, 6.5, 7.5), 3)[:1]])
    inner = at((2.5, 3.5, 4.5, 5.5), 3)
    contours = {
        "Liver": [
            at((1.5, 2.5, 6.5, 7.5), 2),  # 5 x 5
            at((2.5, 3.5, 4.5, 5.5), 2),  # less 2 x 2
            np.concatenate([keyhole, inner, inner[:1]]),  # the same by a keyhole
            at((2, 3, 5, 7), 4),  # on centres: first ones in, last ones out: 3 x 4
        ],
        "left kidney": [at((5, 3, 8, 7), 4)],  # shares an edge and no voxel
        "Isocentre": [],
    }
    objects.structure_set(tmp_path / "subj_001/series_01_rtstruct.dcm", slices, contours)
    label, notes = read(tmp_path)
    assert notes == []
    assert [int((label[k] == 1).sum()) for k in range(6)] == [0, 0, 21, 21, 12, 0]
    assert not label[2, 4:6, 3:5].any()
    assert label[2, 3, 2] == label[2, 7, 6] == 1
    assert [int((label[k] == 2).sum()) for k in range(6)] == [0, 0, 0, 0, 12, 0]
    assert label[4, 3:7, 5].tolist() == [2] * 4


@pytest.mark.parametrize(
    ("slice_", "message"), [(2.3, r"1 of 2 contours lie off .* up to 0.30 slices"), (9.0, "beyond the first")]
)
def test_a_contour_off_the_slices_is_a_named_error(
    tmp_path: Path, slices: list[Path], slice_: float, message: str
) -> None:
    path = tmp_path / "subj_001/series_01_rtstruct.dcm"
    drawn = [objects.outline((1, 1, 3, 3), 2), objects.outline((1, 1, 3, 3), slice_)]
    objects.structure_set(path, slices, {"liver": drawn})
    with pytest.raises(SegtraceError, match=message) as caught:
        read(tmp_path)
    assert str(path) in str(caught.value)


def test_a_structure_of_another_frame_of_reference_and_one_in_two_files_are_errors(
    tmp_path: Path, slices: list[Path]
) -> None:
    path = tmp_path / "subj_001/series_01_rtstruct.dcm"
    objects.structure_set(path, slices, {"liver": [objects.outline((1, 1, 3, 3), 2)]})
    objects.segmentation(seg_of(tmp_path), slices, boxes(), ["liver", "left kidney"])
    with pytest.raises(SegtraceError, match=r"seg.dcm: draws 'liver'.*keep one"):
        read(tmp_path)
    seg_of(tmp_path).unlink()
    mend(
        path,
        lambda header: setattr(header.StructureSetROISequence[0], "ReferencedFrameOfReferenceUID", "1.2"),
    )
    with pytest.raises(SegtraceError, match="the structure 'liver' has another frame of reference"):
        read(tmp_path)


def inside(point: tuple[int, int], outlines: list[list[tuple[Fraction, Fraction]]]) -> bool:
    """The even-odd rule for one point, in exact numbers: edges at or left of it that its row crosses."""
    x, y = point
    crossed = 0
    for outline in outlines:
        for (x0, y0), (x1, y1) in zip(outline, outline[1:] + outline[:1], strict=True):
            if min(y0, y1) <= y < max(y0, y1):
                crossed += x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x
    return crossed % 2 == 1


QUARTERS = st.integers(-8, 40).map(lambda n: Fraction(n, 4))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(QUARTERS, QUARTERS), min_size=3, max_size=7), min_size=1, max_size=3))
def test_filling_follows_the_even_odd_rule_on_centres(
    outlines: list[list[tuple[Fraction, Fraction]]],
) -> None:
    grid = Grid((9, 8, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
    contours = [np.array([(float(x), float(y), 0.0) for x, y in outline]) for outline in outlines]
    mask = _dicom_rtstruct._filled(Path("x"), "x", contours, grid)
    wanted = [[inside((x, y), outlines) for x in range(9)] for y in range(8)]
    np.testing.assert_array_equal(mask[0], wanted)


# --- the layout ---------------------------------------------------------------------------------------


def test_a_missing_slice_is_an_error_and_a_series_without_mask_a_case_without_label(tmp_path: Path) -> None:
    objects.series(tmp_path / "subj_001/series_01", without=[2])
    (case,) = dicom_series.cases(tmp_path, OPTIONS)
    assert case.labels == ()
    with pytest.raises(SegtraceError, match="a slice is missing"):
        dicom_series.read_image(tmp_path, case, OPTIONS)


def test_files_that_do_not_fit_are_all_listed(tmp_path: Path, slices: list[Path]) -> None:
    for name in ("notes.txt", "subj_001/series_02_seg.dcm", "subj_001/.hidden"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "subj_002/series_01").mkdir(parents=True)
    with pytest.raises(SegtraceError, match="3 problems") as caught:
        dicom_series.cases(tmp_path, OPTIONS)
    for part in ("notes.txt", "series_02_seg.dcm", "holds no slices"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "options.structures"),
        ({"structures": {"a": 1}, "order": 1}, "unknown option 'order'"),
        ({"structures": {"a": 300}}, "from 0 to 255"),
        ({"structures": {"a b": 1, "A_b": 2}}, "two labels"),
        ({"structures": {"a": 1, "b": 0}, "precedence": ["b"]}, "no structure with a label"),
        ({"structures": {"a": 1}, "fractional_threshold": 0}, "above 0"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SegtraceError, match=message):
        dicom_series.cases(tmp_path, options)
