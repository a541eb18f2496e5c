"""Reading: bad files are named errors, unusual ones are read right, what is written reads back."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from segtrace import images
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid

ODD = Path(os.environ.get("SEGTRACE_ODD_FILES", "/nowhere"))
needs_odd_files = pytest.mark.skipif(
    not ODD.is_dir(), reason="SEGTRACE_ODD_FILES names no folder of faulty files"
)


def volume(path: Path, *, size: tuple[int, int, int] = (6, 5, 4), kind: type = np.int16) -> Path:
    array = np.arange(np.prod(size)).reshape(size[::-1]).astype(kind)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetOrigin((-3.0, 4.0, 10.0))
    sitk.WriteImage(image, str(path))
    return path


def edited(path: Path, offset: int, value: bytes) -> Path:
    data = bytearray(path.read_bytes())
    data[offset : offset + len(value)] = value
    path.write_bytes(data)
    return path


def test_a_sound_volume_is_read_with_its_grid(tmp_path: Path) -> None:
    image = images.read_volume(volume(tmp_path / "a.nii.gz"))
    assert (
        images.grid_of(image).differences(
            Grid((6, 5, 4), (0.5, 0.75, 2.0), (-3.0, 4.0, 10.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
        )
        == []
    )
    assert images.to_array(image).shape == (1, 4, 5, 6)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("gone.nii", lambda p: p.unlink(), "no such file"),
        ("empty.nii.gz", lambda p: p.write_bytes(b""), "0 bytes"),
        ("page.nii.gz", lambda p: p.write_bytes(b"<!DOCTYPE html><html>log in</html>"), "web page"),
        ("short.nii", lambda p: p.write_bytes(p.read_bytes()[:-7]), "truncated"),
        ("stub.nii", lambda p: p.write_bytes(p.read_bytes()[:100]), "too few"),
        ("cut.nii.gz", lambda p: p.write_bytes(p.read_bytes()[:-30]), "damaged gzip"),
        ("crc.nii.gz", lambda p: edited(p, p.stat().st_size - 8, b"\0\1\2\3"), "damaged gzip"),
        ("plain.nii.gz", lambda p: p.write_bytes(gzip.decompress(p.read_bytes())), "not gzip-compressed"),
        ("zipped.nii", lambda p: p.write_bytes(gzip.compress(p.read_bytes())), "gzip-compressed"),
        ("five.nii", lambda p: edited(p, 40, struct.pack("<8h", 5, 6, 5, 4, 1, 1, 1, 1)), "5 dimensions"),
        (
            "none.nii",
            lambda p: edited(p, 40, struct.pack("<8h", 3, 6, -5, 4, 1, 1, 1, 1)),
            "impossible dimensions",
        ),
        ("flat.nii", lambda p: edited(p, 40, struct.pack("<8h", 2, 6, 5, 1, 1, 1, 1, 1)), "2 dimensions"),
        ("rgb.nii", lambda p: edited(p, 70, struct.pack("<h", 128)), "type 128"),
        ("forms.nii", lambda p: edited(p, 292, struct.pack("<f", 40.0)), "disagree"),
        (
            "sheared.nii",
            lambda p: edited(edited(p, 252, struct.pack("<h", 0)), 284, struct.pack("<f", 0.4)),
            "cannot be read",
        ),
    ],
)
def test_a_bad_volume_is_a_named_error(tmp_path: Path, name: str, change, message: str) -> None:
    path = volume(tmp_path / name)
    change(path)
    with pytest.raises(SegtraceError, match=message) as caught:
        images.read_volume(path)
    assert name in str(caught.value)


def test_voxels_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    array = np.zeros((3, 3, 3), np.float32)
    array[0, 0, 0], array[1, 1, 1], array[2, 2, 2] = np.nan, np.inf, np.inf
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "a.nii.gz"))
    with pytest.raises(SegtraceError, match="1 voxels are NaN and 2 infinite of 27"):
        images.read_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_metaimage_is_not_filled_with_zeros(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.mha"
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 99, (4, 5, 6)).astype(np.int16))
    sitk.WriteImage(image, str(path), useCompression=compressed)
    assert images.read_volume(path).GetSize() == (6, 5, 4)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SegtraceError, match=r"a\.mha: (truncated|damaged)"):
        images.read_volume(path)


def test_several_volumes_in_one_file_become_channels(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(2, 4, 5, 6)).astype(np.float32)
    parts = [sitk.GetImageFromArray(part) for part in array]
    sitk.WriteImage(sitk.JoinSeries(parts), str(tmp_path / "a.nii.gz"))
    image = images.read_volume(tmp_path / "a.nii.gz")
    assert image.GetDimension() == 3
    np.testing.assert_array_equal(images.to_array(image), array)


def test_fractional_labels_are_refused_and_whole_floats_taken() -> None:
    whole = sitk.GetImageFromArray(np.array([[[0.0, 2.0]]], np.float32))
    assert images.label_array(whole, where="a").tolist() == [[[0, 2]]]
    broken = sitk.GetImageFromArray(np.array([[[0.0, 1.5]]], np.float32))
    with pytest.raises(SegtraceError, match=r"mask\.nii: 1 voxels are no whole numbers, such as 1\.5"):
        images.label_array(broken, where="mask.nii")


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 7)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 5)] * 3),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    angles=st.tuples(*[st.floats(-3, 3)] * 3),
    seed=st.integers(0, 99),
)
def test_a_label_map_reads_back_equal_and_aligned(
    tmp_path_factory, size, spacing, origin, angles, seed
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*angles)
    grid = Grid(size, spacing, origin, turn.GetMatrix())
    array = np.random.default_rng(seed).integers(0, 4, grid.array_shape).astype(np.uint8)
    images.write_label(folder / "a.nii.gz", array, grid)
    back = images.read_label_file(folder / "a.nii.gz")
    np.testing.assert_array_equal(images.to_array(back)[0], array)
    assert grid.differences(images.grid_of(back)) == []
    images.write_label(folder / "b.nii.gz", array, grid)
    assert (folder / "a.nii.gz").read_bytes() == (folder / "b.nii.gz").read_bytes()


def test_a_picture_label_map_reads_back(tmp_path: Path) -> None:
    array = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    images.write_label(tmp_path / "a.png", array, Grid((3, 2), (1, 1), (0, 0), (1, 0, 0, 1)))
    assert images.to_array(images.read_label_file(tmp_path / "a.png"))[0].tolist() == array.tolist()


def test_pictures_of_every_mode(tmp_path: Path) -> None:
    one = Picture.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    one.save(tmp_path / "one.png")
    assert images.read_picture(tmp_path / "one.png").tolist() == [[0, 255], [255, 0]]
    Picture.fromarray(np.zeros((2, 3, 4), np.uint8), "RGBA").save(tmp_path / "rgba.png")
    assert images.read_picture(tmp_path / "rgba.png").shape == (2, 3, 4)
    Picture.fromarray(np.array([[0, 40000]], np.uint16)).save(tmp_path / "deep.png")
    assert images.read_picture(tmp_path / "deep.png").tolist() == [[0, 40000]]
    (tmp_path / "bad.png").write_bytes((tmp_path / "rgba.png").read_bytes()[:-20])
    with pytest.raises(SegtraceError, match=r"bad\.png"):
        images.read_picture(tmp_path / "bad.png")


@needs_odd_files
@pytest.mark.mirror
def test_bad_files_are_refused_by_name() -> None:
    found = sorted(ODD.glob("bad_*"))
    assert len(found) == 4
    for path in found:
        with pytest.raises(SegtraceError, match=path.name):
            images.read_volume(path)


@needs_odd_files
@pytest.mark.mirror
def test_odd_files_are_read_right() -> None:
    reference = images.read_volume(ODD / "00_reference_image.nii.gz")
    array = images.to_array(reference)[0].astype(float)
    same = sitk.DICOMOrient(images.read_volume(ODD / "odd_LPS_same_anatomy.nii.gz"), "RAS")
    back = sitk.DICOMOrient(reference, "RAS")
    assert images.grid_of(same).differences(images.grid_of(back)) == []
    np.testing.assert_array_equal(images.to_array(same), images.to_array(back))
    scaled = images.to_array(images.read_volume(ODD / "odd_scl_slope_0.5_inter_-10_int16.nii"))[0]
    np.testing.assert_allclose(scaled, array, atol=0.5)
    for name in ("odd_uint16.nii.gz", "odd_int16.mha"):
        other = images.to_array(images.read_volume(ODD / name))[0].astype(float)
        assert np.corrcoef(other.ravel(), array.ravel())[0, 1] > 0.999
    assert images.read_volume(ODD / "odd_4d_trailing_1.nii.gz").GetDimension() == 3
    assert images.grid_of(images.read_volume(ODD / "odd_anisotropic_1x1x5.nii.gz")).spacing_mm == (
        1.0,
        1.0,
        5.0,
    )
    oblique = images.grid_of(images.read_volume(ODD / "odd_oblique20deg.nii.gz"))
    label = images.grid_of(images.read_volume(ODD / "odd_oblique20deg_label.nii.gz"))
    assert oblique.differences(label) == []
    assert abs(oblique.direction[0]) < 0.99 or abs(oblique.direction[4]) < 0.99
    assert np.ptp(images.to_array(images.read_volume(ODD / "odd_constant_image.nii.gz"))) == 0
    with pytest.raises(SegtraceError, match=r"odd_nan_inf\.nii\.gz: \d+ voxels are NaN and \d+ infinite"):
        images.read_volume(ODD / "odd_nan_inf.nii.gz")


@needs_odd_files
@pytest.mark.mirror
def test_faulty_labels_differ_from_their_image_as_named() -> None:
    reference = images.grid_of(images.read_volume(ODD / "00_reference_image.nii.gz"))
    shape = images.grid_of(images.read_volume(ODD / "label_shape_off_by_one.nii.gz"))
    spacing = images.grid_of(images.read_volume(ODD / "label_spacing_differs.nii.gz"))
    assert reference.differences(shape)[0].startswith("size")
    assert reference.differences(spacing)[0].startswith("spacing")
