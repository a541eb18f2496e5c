"""DICOM slices as a volume: place, values, and a named error for every file that is not as it should be."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, RLELossless

from dicom_slices import PATIENT, dicom
from segtrace import images
from segtrace.datasets._dicom import read_slices
from segtrace.errors import SegtraceError

SHAPE = (5, 7)


def write(
    folder: Path, *, count: int = 4, step: float = 2.0, start: float = 10.0, **tags: object
) -> list[Path]:
    """Slice k holds 100 * k + 1 ...; names in the order of the slices."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k in range(count):
        values = (np.arange(35, dtype=np.uint16).reshape(SHAPE) + 100 * k + 1).astype(np.uint16)
        path = folder / f"slice{k}.dcm"
        path.write_bytes(
            dicom(values, position=(-3.0, 4.0, start + k * step), spacing_mm=(0.5, 0.75), **tags)  # type: ignore[arg-type]
        )
        paths.append(path)
    return paths


def test_place_and_values_come_from_positions_and_rescaling(tmp_path: Path) -> None:
    image = read_slices(write(tmp_path, intercept=-1000.0), order="given")
    assert image.GetSize() == (7, 5, 4)
    assert image.GetSpacing() == pytest.approx((0.5, 0.75, 2.0))  # SliceThickness says 3.2
    assert image.GetOrigin() == pytest.approx((-3, 4, 10))
    assert np.array(image.GetDirection()) == pytest.approx(np.eye(3).ravel())
    array = sitk.GetArrayFromImage(image)
    assert array.dtype == np.int16
    assert array[2, 1, 3] == 201 + 7 + 3 - 1000


def test_slices_against_the_normal_keep_their_order_or_are_sorted(tmp_path: Path) -> None:
    paths = write(tmp_path, step=-2.0)
    kept, turned = read_slices(paths, order="given"), read_slices(paths, order="position")
    for image, first in ((kept, 1), (turned, 301)):
        assert sitk.GetArrayFromImage(image)[0, 0, 0] == first
        assert image[6, 4, 3] == (335 if first == 1 else 35)
    assert kept.GetDirection()[8] == -1
    assert turned.GetDirection()[8] == 1
    for k in range(4):  # each slice lies at one place, whichever way the grid runs
        np.testing.assert_allclose(
            kept.TransformIndexToPhysicalPoint((2, 1, k)),
            turned.TransformIndexToPhysicalPoint((2, 1, 3 - k)),
        )


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.floats(-3, 3)] * 3), st.floats(0.5, 5.0), st.sampled_from((1, -1)))
def test_any_orientation_puts_each_voxel_where_its_slice_says(
    tmp_path_factory: pytest.TempPathFactory, angles: tuple[float, float, float], step: float, sign: int
) -> None:
    folder = tmp_path_factory.mktemp("turned")
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*angles)
    row, column, normal = np.array(turn.GetMatrix()).reshape(3, 3).T
    paths, places = [], []
    for k in range(3):
        position = np.array([5.0, -6.0, 7.0]) + sign * step * k * normal
        places.append(position)
        path = folder / f"{k}.dcm"
        cosines = [f"{v:.9f}" for v in (*row, *column)]
        path.write_bytes(
            dicom(np.full(SHAPE, k, np.uint16), position=[f"{p:.8f}" for p in position], orientation=cosines)  # type: ignore[arg-type, misc]
        )
        paths.append(path)
    image = read_slices(paths, order="given")
    for k, place in enumerate(places):
        expected = place + 4 * row + 3 * column
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((4, 3, k)), expected, atol=1e-5)
        assert image[4, 3, k] == k


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLosslessSV1])
def test_compressed_slices_have_the_values_of_plain_ones(tmp_path: Path, syntax: str) -> None:
    packed = write(tmp_path / "packed", syntax=syntax, intercept=-1000.0)
    plain = read_slices(write(tmp_path / "plain", intercept=-1000.0), order="given")
    image = read_slices(packed, order="given")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(plain))
    assert images.grid_of(image).differences(images.grid_of(plain)) == []


def test_a_slope_that_is_not_whole_gives_floats_and_signed_bits_keep_their_sign(tmp_path: Path) -> None:
    image = read_slices(write(tmp_path / "a", slope=0.5), order="given")
    array = sitk.GetArrayFromImage(image)
    assert array.dtype == np.float32
    assert array[0, 0, 1] == 1.0
    for k in range(2):  # 12 bits stored: the four above them are of no meaning
        values = np.full(SHAPE, np.int16(-5) & np.int16(0x0FFF), np.int16)
        (tmp_path / f"{k}.dcm").write_bytes(dicom(values, position=(0, 0, k), BitsStored=12, HighBit=11))
    array = sitk.GetArrayFromImage(read_slices([tmp_path / "0.dcm", tmp_path / "1.dcm"], order="given"))
    assert np.unique(array).tolist() == [-5]


def test_all_faulty_files_are_named_at_once(tmp_path: Path) -> None:
    paths = write(tmp_path, count=11)
    whole = paths[0].read_bytes()
    values = np.zeros(SHAPE, np.uint16)
    paths[1].write_bytes(whole[:-20])
    paths[2].write_bytes(b"")
    paths[3].write_bytes(b"<!DOCTYPE html><title>Log in</title>")
    paths[4].write_bytes(b"no DICOM" * 50)
    paths[5].unlink()
    paths[6].write_bytes(dicom(values, position=(0, 0, 0), NumberOfFrames=3))
    paths[7].write_bytes(dicom(values, position=(0, 0, 0), PhotometricInterpretation="PALETTE COLOR"))
    paths[8].write_bytes(dicom(values, position=(0, 0, 0), ImagePositionPatient=None))
    paths[9].write_bytes(whole[:400])
    paths[10].write_bytes(dicom(values, position=(0, 0, 0), orientation=(1, 0, 0, 1, 0, 0)))
    with pytest.raises(SegtraceError) as caught:
        read_slices(paths, order="given")
    text = str(caught.value)
    assert "10 problems" in text
    for k, reason in (
        (1, r"truncated: 50 bytes of pixel data where the header announces 70"),
        (2, "empty (0 bytes)"),
        (3, "a web page"),
        (4, "not a DICOM file"),
        (5, "no such file"),
        (6, "3 frames in one file"),
        (7, "PALETTE COLOR"),
        (8, "no ImagePositionPatient"),
        (9, "truncated"),
        (10, "unit vectors at right angles"),
    ):
        assert any(f"slice{k}.dcm" in line and reason in line for line in text.splitlines()), reason
    assert not any(value in text for value in PATIENT.values())


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bytes_are_a_named_error_or_the_same_grid(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    paths = write(folder, count=2)
    content = bytearray(paths[1].read_bytes())
    for place in data.draw(st.lists(st.integers(132, len(content) - 1), min_size=1, max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    paths[1].write_bytes(bytes(content[: data.draw(st.integers(140, len(content)))]))
    try:
        image = read_slices(paths, order="given")
    except SegtraceError as error:
        if str(folder) not in str(error):
            raise
    else:
        assert image.GetSize() == (7, 5, 2)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLosslessSV1])
def test_truncated_compressed_slices_are_named(tmp_path: Path, syntax: str) -> None:
    paths = write(tmp_path, syntax=syntax)
    content = paths[2].read_bytes()
    for length in range(len(content) - 9, len(content) - 70, -7):
        paths[2].write_bytes(content[:length])
        with pytest.raises(SegtraceError, match=r"1 problem\n.*slice2\.dcm: "):
            read_slices(paths, order="given")


def test_missing_and_repeated_slices_are_named_with_both_distances(tmp_path: Path) -> None:
    paths = write(tmp_path, count=6)
    with pytest.raises(
        SegtraceError, match=r"slice2.dcm and slice4.dcm: 4 mm apart .* others 2 mm: a slice is missing"
    ):
        read_slices([*paths[:3], *paths[4:]], order="position")
    paths[3].write_bytes(paths[2].read_bytes())
    with pytest.raises(SegtraceError, match=r"slice2.dcm and slice3.dcm: at the same position, -3, 4, 14 mm"):
        read_slices(paths, order="given")
    shuffled = write(tmp_path / "b")
    with pytest.raises(SegtraceError, match="not in one regular row"):
        read_slices([shuffled[0], shuffled[2], shuffled[1], shuffled[3]], order="given")
    assert read_slices(shuffled[::-1], order="position").GetSize() == (7, 5, 4)


def test_slices_of_different_kinds_are_named(tmp_path: Path) -> None:
    paths = write(tmp_path)
    small = np.zeros((5, 6), np.uint16)
    paths[1].write_bytes(dicom(small, position=(-3, 4, 12), spacing_mm=(0.5, 0.75)))
    paths[2].write_bytes(dicom(np.zeros(SHAPE, np.uint16), position=(-3, 4, 14), spacing_mm=(0.6, 0.75)))
    with pytest.raises(
        SegtraceError, match=r"(?s)2 problems.*slice1.dcm: rows and columns 5, 6, those .*5, 7.*0\.6, 0\.75"
    ):
        read_slices(paths, order="given")


def test_a_tilted_gantry_and_a_single_slice_are_refused(tmp_path: Path) -> None:
    paths = write(tmp_path)
    for k, path in enumerate(paths):
        path.write_bytes(dicom(np.zeros(SHAPE, np.uint16), position=(-3, 4 + 0.5 * k, 2 * k)))
    with pytest.raises(SegtraceError, match=r"shift by up to 1\.5 mm in their own plane"):
        read_slices(paths, order="given")
    with pytest.raises(SegtraceError, match="1 DICOM slices; a volume has at least two"):
        read_slices(paths[:1], order="given")
    with pytest.raises(SegtraceError, match="no files"):
        read_slices([], order="given")
