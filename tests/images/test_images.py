"""Reading: bad files are named errors, unusual ones are read right, what is written reads back."""

import gzip
import hashlib
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


def f32(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def s_only(path: Path, *rows: float) -> Path:
    """Only an sform, with these 12 numbers."""
    return edited(edited(path, 252, struct.pack("<2h", 0, 1)), 280, f32(*rows))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("gone.nii", lambda p: p.unlink(), "no such file"),
        ("empty.nii.gz", lambda p: p.write_bytes(b""), "0 bytes"),
        ("page.nii.gz", lambda p: p.write_bytes(b"\xef\xbb\xbf <!DOCTYPE html><html>log in</html>"), "web page"),
        ("short.nii", lambda p: p.write_bytes(p.read_bytes()[:-7]), "truncated: 585 bytes .* announces 592"),
        ("long.nii", lambda p: p.write_bytes(p.read_bytes() + b"abc"), "longer than its header says"),
        ("stub.nii", lambda p: p.write_bytes(p.read_bytes()[:100]), "too few"),
        ("cut.nii.gz", lambda p: p.write_bytes(p.read_bytes()[:-30]), "damaged gzip"),
        ("crc.nii.gz", lambda p: edited(p, p.stat().st_size - 8, b"\0\1\2\3"), "damaged gzip"),
        ("plain.nii.gz", lambda p: p.write_bytes(gzip.decompress(p.read_bytes())), "not gzip-compressed"),
        ("zipped.nii", lambda p: p.write_bytes(gzip.compress(p.read_bytes())), "gzip-compressed"),
        ("five.nii", lambda p: edited(p, 40, struct.pack("<8h", 5, 6, 5, 4, 1, 1, 1, 1)), "5 dimensions"),
        ("none.nii", lambda p: edited(p, 40, struct.pack("<8h", 3, 6, -5, 4, 1, 1, 1, 1)), "impossible dimensions"),
        ("line.nii", lambda p: edited(p, 40, struct.pack("<8h", 1, 120, 1, 1, 1, 1, 1, 1)), "1 dimensions"),
        ("text.nii", lambda p: p.write_bytes(b"no image " * 90), "not NIfTI"),
        ("two.nii", lambda p: edited(p, 0, struct.pack("<i", 540)), "NIfTI-2"),
        ("pair.nii", lambda p: edited(p, 344, b"ni1\0"), "half of a pair"),
        ("analyze.nii", lambda p: edited(p, 344, b"\0\0\0\0"), "Analyze"),
        ("rgb.nii", lambda p: edited(p, 70, struct.pack("<h", 128)), "type 128"),
        ("bits.nii", lambda p: edited(p, 72, struct.pack("<h", 8)), "has 16 bits .* says 8"),
        ("start.nii", lambda p: edited(p, 108, f32(0)), "start at byte 0"),
        ("nowhere.nii", lambda p: edited(p, 108, f32(float("nan"))), "start at byte nan"),
        ("slope.nii", lambda p: edited(p, 112, f32(float("nan"), 0)), "slope nan"),
        ("intercept.nii", lambda p: edited(p, 112, f32(0, 5)), "slope 0 and intercept 5"),
        ("metres.nii", lambda p: edited(p, 123, b"\1"), "metres"),
        ("flat.nii", lambda p: edited(p, 84, f32(0)), r"spacing 0\.5x0x2; each must be above 0"),
        ("mirrored.nii", lambda p: edited(p, 80, f32(-0.5)), "each must be above 0"),
        ("adrift.nii", lambda p: edited(p, 252, struct.pack("<2h", 0, 0)), "neither qform nor sform"),
        ("turn.nii", lambda p: edited(p, 256, f32(2, 2, 2)), "no rotation"),
        ("origin.nii", lambda p: edited(p, 268, f32(float("nan"))), "its qform holds"),
        ("forms.nii", lambda p: edited(p, 292, f32(40.0)), "qform and sform place a corner 37"),
        ("sheared.nii", lambda p: s_only(p, 0.5, 0.02, 0, 0, 0, 0.75, 0, 0, 0, 0, 2, 0), r"sheared: two axes are 88\.47"),
        ("scaled.nii", lambda p: s_only(p, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0), r"spacing 1x1x1 mm .* 0\.5x0\.75x2"),
        ("axis.nii", lambda p: s_only(p, *[0.0] * 12), "an axis of length 0"),
        ("lost.nii", lambda p: s_only(p, float("inf"), *[0.0] * 11), "its sform holds"),
        ("volume.mgz", lambda p: None, "ends in one of"),
    ],
)  # fmt: skip
def test_a_bad_volume_is_a_named_error(tmp_path: Path, name: str, change, message: str) -> None:
    path = volume(tmp_path / (name if name.endswith((".nii", ".gz")) else "made.nii"))
    path = path.rename(tmp_path / name)
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


def noise(kind: type = np.int16) -> sitk.Image:
    return sitk.GetImageFromArray(np.random.default_rng(0).integers(1, 99, (4, 5, 6)).astype(kind))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("name", "holder"), [("a.mha", "a.mha"), ("a.mhd", "a.*raw"), ("a.nrrd", "a.nrrd")])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, np.float32])
def test_truncated_voxels_are_not_filled_with_zeros(
    tmp_path: Path, name: str, holder: str, compressed: bool, kind: type
) -> None:
    path = tmp_path / name
    sitk.WriteImage(noise(kind), str(path), useCompression=compressed)
    np.testing.assert_array_equal(
        images.to_array(images.read_volume(path))[0], sitk.GetArrayFromImage(noise(kind))
    )
    (data,) = tmp_path.glob(holder)
    data.write_bytes(data.read_bytes()[:-9])
    with pytest.raises(SegtraceError, match=r"a\.\w+: (truncated|damaged)"):
        images.read_volume(path)


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
def test_a_damaged_byte_of_compressed_voxels_is_found(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    sitk.WriteImage(noise(), str(path), useCompression=True)
    data = bytearray(path.read_bytes())
    data[-20] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(SegtraceError, match="damaged compressed data"):
        images.read_volume(path)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("a.mha", b"ElementDataFile = LOCAL", b"ElementDataFile = ../secret.raw", "said to lie in '../secret.raw'"),
        ("a.mhd", b"ElementDataFile = a.raw", b"ElementDataFile = ../a.raw", "said to lie in"),
        ("a.mhd", b"ElementDataFile = a.raw", b"ElementDataFile = LIST", "said to lie in 'LIST'|no such file"),
        ("a.mhd", b"ElementDataFile = a.raw", b"ElementDataFile = b.raw", r"b\.raw: no such file"),
        ("a.mha", b"DimSize = 6 5 4", b"DimSize = 6 x 4", "DimSize is '6 x 4'"),
        ("a.mha", b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 0 1", "ElementSpacing is '1 0 1'"),
        ("a.mha", b"TransformMatrix = 1 0", b"TransformMatrix = 1 1", "sheared or stretched"),
        ("a.mha", b"MET_SHORT", b"MET_LONG", "ElementType is 'MET_LONG'"),
        ("a.nrrd", b"encoding: raw", b"encoding: hex", "encoding is 'hex'"),
        ("a.nrrd", b"encoding: raw", b"encoding: raw\ndata file: b.raw", "another file"),
        ("a.nrrd", b"space: left-posterior-superior\n", b"", "no field 'space'"),
        ("a.nrrd", b"type: short", b"type: block", "type is 'block'"),
        ("a.nrrd", b"(0,1,0)", b"(1,1,0)", "sheared or stretched|cannot be read"),
        ("a.nrrd", b"NRRD0004", b"nrrd0004", "not an NRRD file"),
    ],
)  # fmt: skip
def test_text_headers_are_judged(tmp_path: Path, name: str, old: bytes, new: bytes, message: str) -> None:
    path = tmp_path / name
    sitk.WriteImage(noise(), str(path), useCompression=False)
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    with pytest.raises(SegtraceError, match=message) as caught:
        images.read_volume(path)
    assert str(tmp_path) in str(caught.value)


def test_a_compressed_bomb_is_counted_no_further_than_announced(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    sitk.WriteImage(noise(), str(path), useCompression=True)
    head = path.read_bytes().split(b"\n\n")[0] + b"\n\n"
    path.write_bytes(head + gzip.compress(bytes(64 << 20)))
    with pytest.raises(SegtraceError, match=r"longer than its header says: \d+ bytes of voxels .* 240"):
        images.read_volume(path)


def test_a_flat_nifti_is_an_image_of_two_dimensions(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.arange(6, dtype=np.int16).reshape(2, 3))
    image.SetSpacing((0.5, 0.7))
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    back = images.read_volume(tmp_path / "a.nii.gz")
    assert images.to_array(back).tolist() == [[[0, 1, 2], [3, 4, 5]]]
    np.testing.assert_allclose(back.GetSpacing(), (0.5, 0.7), atol=1e-6)


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


@pytest.mark.parametrize("level", [0, 6])
def test_what_is_written_is_a_fixed_function_of_its_input(tmp_path: Path, level: int) -> None:
    array = (np.arange(60 * 41 * 40).reshape(60, 41, 40) % 7).astype(np.int16)  # more than one stored block
    grid = Grid((40, 41, 60), (0.5, 0.75, 2.0), (-3.0, 4.0, 10.0), (0, 1, 0, 1, 0, 0, 0, 0, 1))  # mirrored
    data = images.nifti_bytes(array, grid, level=level)
    (tmp_path / "a.nii.gz").write_bytes(data)
    assert data[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, no time, no system
    back = images.read_volume(tmp_path / "a.nii.gz")
    assert grid.differences(images.grid_of(back)) == []
    np.testing.assert_array_equal(images.to_array(back)[0], array)
    if level == 0:
        want = "45c1e61a15a4e1d94cdb941b89bb657a9a52954e344a9a7d5f3f788f338938b0"
        assert hashlib.sha256(data).hexdigest() == want


@pytest.mark.parametrize("shape", [(1, 1), (3, 300), (300, 301)])
@pytest.mark.parametrize("level", [0, 6])
def test_greys_read_back(tmp_path: Path, shape: tuple[int, int], level: int) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(images.png_bytes(array, level=level))
    np.testing.assert_array_equal(images.read_picture(tmp_path / "a.png"), array)
    assert images.picture_size(tmp_path / "a.png") == shape[::-1]


def test_pictures_of_every_mode(tmp_path: Path) -> None:
    one = Picture.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    one.save(tmp_path / "one.png")
    assert images.read_picture(tmp_path / "one.png").tolist() == [[0, 255], [255, 0]]
    Picture.fromarray(np.zeros((2, 3, 4), np.uint8), "RGBA").save(tmp_path / "rgba.png")
    assert images.read_picture(tmp_path / "rgba.png").shape == (2, 3, 4)
    Picture.fromarray(np.array([[0, 40000]], np.uint16)).save(tmp_path / "deep.png")
    assert images.read_picture(tmp_path / "deep.png").tolist() == [[0, 40000]]
    palette = Picture.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "palette.png")
    assert images.read_picture(tmp_path / "palette.png").tolist() == [[[10, 20, 30], [40, 50, 60]]]


def test_pictures_that_would_be_misread_are_refused(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    picture = Picture.fromarray(colours)
    picture.convert("CMYK").save(tmp_path / "cmyk.tif")
    picture.save(tmp_path / "pages.tif", save_all=True, append_images=[picture])
    Picture.fromarray(colours[..., 0].astype(np.float32)).save(tmp_path / "float.tif")
    Picture.fromarray(colours[..., 0].astype(np.int32) * 1000).save(tmp_path / "wide.tif")
    (tmp_path / "page.png").write_bytes(b"<html>log in</html>")
    messages = {"cmyk": "mode CMYK", "pages": "2 pages", "float": "mode F", "wide": "greys from"}
    for path in (*sorted(tmp_path.glob("*.tif")), tmp_path / "page.png"):
        with pytest.raises(SegtraceError, match=messages.get(path.stem, "web page")) as caught:
            images.read_picture(path)
        assert path.name in str(caught.value)


def test_a_photograph_with_its_preview_is_one_picture(tmp_path: Path) -> None:
    picture = Picture.fromarray(np.full((20, 30, 3), 90, np.uint8))
    preview = Picture.fromarray(np.zeros((10, 15, 3), np.uint8))
    picture.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    assert images.read_picture(tmp_path / "a.jpg").shape == (20, 30, 3)


@pytest.mark.parametrize("cut", [5, 12, 16, 20, 200])
def test_a_png_cut_anywhere_is_refused(tmp_path: Path, cut: int) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    Picture.fromarray(colours).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:-cut])
    with pytest.raises(SegtraceError, match=r"a\.png: cannot be read as a picture"):
        images.read_picture(tmp_path / "a.png")


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_of_a_compressed_label_never_reads_as_another_label(
    tmp_path_factory, position: int, bit: int
) -> None:
    """Wherever a bit of the file flips: the same labels on the same grid, or a named error."""
    path = tmp_path_factory.mktemp("flip") / "a.nii.gz"
    array = np.random.default_rng(0).integers(0, 3, (5, 6, 7)).astype(np.uint8)
    grid = Grid((7, 6, 5), (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    images.write_label(path, array, grid)
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= 1 << bit
    path.write_bytes(data)
    try:
        back = images.read_label_file(path)
    except SegtraceError:
        return
    np.testing.assert_array_equal(images.to_array(back)[0], array)
    assert grid.differences(images.grid_of(back)) == []


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
