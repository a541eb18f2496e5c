"""Reading and writing images so that a bad file is a named error, never a wrong picture.

SimpleITK fills truncated volumes with zeros, other readers pass damaged gzip streams, and some headers
abort the process; so the header and the length of a volume are checked here before SimpleITK opens it.
Pictures (PNG, JPEG, TIFF, GIF) are read with Pillow. Axis order is that of :mod:`segtrace.geometry`.
"""

import gzip
import itertools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image as Picture

from segtrace.errors import SegtraceError
from segtrace.files import atomic_path
from segtrace.geometry import Grid

#: A picture of more pixels than this is refused before it is decoded.
MAX_PIXELS = 200_000_000
#: NIfTI data type code → bytes a voxel, for the types that are read.
_NIFTI_BYTES = {2: 1, 4: 2, 8: 4, 16: 4, 64: 8, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8}
_META_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 8, "FLOAT": 4, "DOUBLE": 8}
_REMEDY = "fetch or export this file again"


def read_volume(path: Path) -> sitk.Image:
    """Read a volume (NIfTI, MetaImage, NRRD); several volumes in a 4-D file become channels.

    Raises :class:`SegtraceError`, naming the file, for a missing, empty, truncated or damaged file, for
    more than four dimensions, for a sheared grid, for a qform and sform that disagree, and for voxels
    that are not finite.
    """
    path = Path(path)
    _check_start(path)
    if path.name.endswith((".nii", ".nii.gz")):
        _check_nifti(path)
    elif path.suffix == ".mha":
        _check_metaimage(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("ITK ERROR: ")
        raise SegtraceError(f"{path}: cannot be read as a volume ({reason}); {_REMEDY}") from None
    if image.GetDimension() == 4:
        image = (
            sitk.Compose([image[:, :, :, i] for i in range(image.GetSize()[3])])
            if image.GetSize()[3] > 1
            else image[:, :, :, 0]
        )
    array = sitk.GetArrayViewFromImage(image)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        nan, infinite = int(np.isnan(array).sum()), int(np.isinf(array).sum())
        raise SegtraceError(
            f"{path}: {nan} voxels are NaN and {infinite} infinite of {array.size}; {_REMEDY}"
        )
    return image


def _check_start(path: Path) -> None:
    """Refuse what is no file, empty, or a web page saved under an image's name."""
    if not path.is_file():
        raise SegtraceError(f"{path}: no such file")
    with path.open("rb") as handle:
        start = handle.read(512)
    if not start:
        raise SegtraceError(f"{path}: the file is empty (0 bytes); {_REMEDY}")
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise SegtraceError(
            f"{path}: a web page, not an image (a log-in or error page was saved instead); {_REMEDY}"
        )


def _blocks(path: Path) -> Iterator[bytes]:
    """The file's content in blocks; a gzip stream is read to its end, where its checksum is."""
    zipped = path.name.endswith(".gz")
    with path.open("rb") as handle:
        magic = handle.read(2)
    if zipped != (magic == b"\x1f\x8b"):
        found = (
            "is not gzip-compressed, as its name says"
            if zipped
            else "is gzip-compressed, its name does not say so"
        )
        raise SegtraceError(f"{path}: {found}; rename it or {_REMEDY}")
    try:
        with gzip.open(path, "rb") if zipped else path.open("rb") as stream:
            while block := stream.read(1 << 20):
                yield block
    except (OSError, EOFError, zlib.error) as error:
        raise SegtraceError(f"{path}: damaged gzip stream ({error}); {_REMEDY}") from None


def _check_nifti(path: Path) -> None:
    """Judge header, length, and whether all voxels are finite (the library that reads them puts zeros instead)."""
    blocks = _blocks(path)
    first = next(blocks)
    order, sizes, code, offset = _nifti_header(path, first[:352])
    kind = {16: np.dtype(order + "f4"), 64: np.dtype(order + "f8")}.get(code)
    voxels = int(np.prod(sizes, dtype=np.int64))
    length, nan, infinite, rest = 0, 0, 0, b""
    for block in itertools.chain([first], blocks):
        if kind is not None:
            data = rest + block[max(0, offset - length) :]
            whole = len(data) - len(data) % kind.itemsize
            values, rest = np.frombuffer(data[:whole], kind), data[whole:]
            nan, infinite = nan + int(np.isnan(values).sum()), infinite + int(np.isinf(values).sum())
        length += len(block)
    expected = offset + voxels * _NIFTI_BYTES[code]
    if length < expected:
        raise SegtraceError(
            f"{path}: truncated: {length} bytes where the header announces {expected}; {_REMEDY}"
        )
    if nan or infinite:
        raise SegtraceError(f"{path}: {nan} voxels are NaN and {infinite} infinite of {voxels}; {_REMEDY}")
    _check_forms(path, first, order, sizes[:3])


def _nifti_header(path: Path, header: bytes) -> tuple[str, tuple[int, ...], int, int]:
    """(byte order, sizes, type code, offset of the voxels) of a NIfTI-1 header that can be read."""
    if len(header) < 348:
        raise SegtraceError(f"{path}: {len(header)} bytes are too few for a NIfTI header; {_REMEDY}")
    order = next((o for o in "<>" if struct.unpack(o + "i", header[:4])[0] == 348), None)
    if order is None:
        second = 540 in struct.unpack("<i", header[:4]) + struct.unpack(">i", header[:4])
        raise SegtraceError(f"{path}: {'NIfTI-2' if second else 'not NIfTI'}; convert it to NIfTI-1")
    dimensions = struct.unpack(order + "8h", header[40:56])
    rank, sizes = dimensions[0], dimensions[1:]
    if not 1 <= rank <= 7 or min(sizes[:rank]) < 1:
        raise SegtraceError(f"{path}: impossible dimensions {list(dimensions)} in the header; {_REMEDY}")
    if rank > 4 or rank < 3:
        raise SegtraceError(
            f"{path}: {rank} dimensions {list(sizes[:rank])}; a volume has 3, or 4 with channels: convert it"
        )
    code = struct.unpack(order + "h", header[70:72])[0]
    if code not in _NIFTI_BYTES:
        raise SegtraceError(f"{path}: voxels of NIfTI type {code}, which is not a plain number; convert it")
    offset = int(struct.unpack(order + "f", header[108:112])[0])
    return order, sizes[:rank], code, max(offset, 352 if header[344:348] == b"n+1\0" else 0)


def _check_forms(path: Path, header: bytes, order: str, size: tuple[int, ...]) -> None:
    """Refuse a file whose qform and sform place a corner of the volume differently: readers differ in which they take."""
    q_code, s_code = struct.unpack(order + "2h", header[252:256])
    if q_code <= 0 or s_code <= 0:
        return
    spacing = np.abs(struct.unpack(order + "8f", header[76:108])[1:4])
    sign = -1.0 if struct.unpack(order + "f", header[76:80])[0] < 0 else 1.0
    b, c, d = struct.unpack(order + "3f", header[256:268])
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    q_matrix = rotation * spacing * np.array([1.0, 1.0, sign])
    q_origin = np.array(struct.unpack(order + "3f", header[268:280]))
    rows = np.array(struct.unpack(order + "12f", header[280:328])).reshape(3, 4)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in size])).reshape(3, -1)
    apart = np.linalg.norm(
        (q_matrix - rows[:, :3]) @ corners + (q_origin - rows[:, 3])[:, None], axis=0
    ).max()
    if apart > 0.1 * spacing.min():
        raise SegtraceError(
            f"{path}: its qform and sform place a corner {apart:.2f} mm apart, so readers disagree on where it lies; "
            "decide which is right and write both alike"
        )


def _check_metaimage(path: Path) -> None:
    with path.open("rb") as handle:
        data = handle.read()
    marker = data.find(b"ElementDataFile")
    end = data.find(b"\n", marker)
    if marker < 0 or end < 0:
        raise SegtraceError(f"{path}: not a MetaImage; {_REMEDY}")
    header = dict(
        line.split("=", 1) for line in data[:end].decode("ascii", "replace").splitlines() if "=" in line
    )
    keys = {key.strip(): value.strip() for key, value in header.items()}
    sizes = [int(n) for n in keys.get("DimSize", "0").split()]
    width = _META_BYTES.get(keys.get("ElementType", "").removeprefix("MET_").removeprefix("U"))
    if keys["ElementDataFile"].upper() != "LOCAL" or width is None:
        return
    if len(sizes) > 4:
        raise SegtraceError(
            f"{path}: {len(sizes)} dimensions {sizes}; a volume has 3, or 4 with channels: convert it"
        )
    expected = int(np.prod(sizes, dtype=np.int64)) * width * int(keys.get("ElementNumberOfChannels", "1"))
    body = data[end + 1 :]
    if keys.get("CompressedData", "False").lower() == "true":
        try:
            length = len(zlib.decompress(body))
        except zlib.error as error:
            raise SegtraceError(f"{path}: damaged or truncated data ({error}); {_REMEDY}") from None
    else:
        length = len(body)
    if length < expected:
        raise SegtraceError(
            f"{path}: truncated: {length} bytes of voxels where the header announces {expected}; {_REMEDY}"
        )


def read_picture(path: Path) -> np.ndarray:
    """Read a picture as it is stored: (H, W) or (H, W, C), uint8 or uint16; 1-bit becomes 0 and 255.

    A palette is resolved to its colours. Raises :class:`SegtraceError`, naming the file, for one that is
    missing, empty, damaged, or too large.
    """
    path = Path(path)
    _check_start(path)
    try:
        with Picture.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise SegtraceError(
                    f"{path}: {picture.width} x {picture.height} pixels, more than {MAX_PIXELS}"
                )
            picture.load()
            if picture.mode == "1":
                return np.asarray(picture.convert("L"))
            if picture.mode == "P":
                return np.asarray(picture.convert("RGBA" if "transparency" in picture.info else "RGB"))
            array = np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Picture.DecompressionBombError) as error:
        raise SegtraceError(f"{path}: cannot be read as a picture ({error}); {_REMEDY}") from None
    if array.dtype == np.int32:  # Pillow's form of 16-bit greys
        array = array.astype(np.uint16)
    return array


def grid_of(image: sitk.Image) -> Grid:
    """The grid of an image."""
    return Grid(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def to_array(image: sitk.Image) -> np.ndarray:
    """The voxels, (C, D, H, W) or (C, H, W), in their own type; a scalar image has one channel."""
    array = sitk.GetArrayFromImage(image)
    return np.moveaxis(array, -1, 0) if image.GetNumberOfComponentsPerPixel() > 1 else array[None]


def from_array(array: np.ndarray, grid: Grid) -> sitk.Image:
    """An image on ``grid`` from (D, H, W) or (H, W) voxels, or with a channel axis before them."""
    if array.ndim == grid.dimensions + 1:
        image = sitk.GetImageFromArray(np.ascontiguousarray(array[0])) if len(array) == 1 else _vector(array)
    else:
        image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    if image.GetSize() != grid.size:
        raise ValueError(f"array of size {image.GetSize()} does not fit a grid of size {grid.size}")
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction)
    return image


def _vector(array: np.ndarray) -> sitk.Image:
    return sitk.GetImageFromArray(np.ascontiguousarray(np.moveaxis(array, 0, -1)), isVector=True)


def label_array(image: sitk.Image, *, where: str) -> np.ndarray:
    """The voxels of a label map as int64, (D, H, W) or (H, W); fractional values are an error that names ``where``."""
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise SegtraceError(f"{where}: {image.GetNumberOfComponentsPerPixel()} channels; a label map has one")
    array = sitk.GetArrayFromImage(image)
    if array.dtype.kind == "f":
        whole = np.rint(array)
        wrong = array[array != whole]
        if wrong.size:
            raise SegtraceError(
                f"{where}: {wrong.size} voxels are no whole numbers, such as {float(wrong.flat[0])!r}; labels are whole"
            )
        array = whole
    return array.astype(np.int64)


def write_label(path: Path, array: np.ndarray, grid: Grid) -> None:
    """Write a uint8 label map (D, H, W) as ``.nii.gz`` or (H, W) as ``.png``, in one step; equal input, equal bytes."""
    if array.dtype != np.uint8:
        raise ValueError(f"{path}: label map is {array.dtype}, expected uint8")
    if path.name.endswith(".png"):
        with atomic_path(path, suffix=".png") as temporary:
            Picture.fromarray(array, mode="L").save(temporary, format="PNG", compress_level=6)
        return
    with atomic_path(path, suffix=".nii.gz") as temporary:
        sitk.WriteImage(from_array(array, grid), str(temporary), useCompression=True, compressionLevel=5)


def read_label_file(path: Path) -> sitk.Image:
    """Read a label map that :func:`write_label` wrote."""
    if path.name.endswith(".png"):
        array = read_picture(path)
        if array.ndim != 2:
            raise SegtraceError(f"{path}: {array.shape[2]} channels; a label map has one")
        return picture_image(array)
    return read_volume(path)


def picture_image(array: np.ndarray) -> sitk.Image:
    """An image with spacing 1 from (H, W) or (H, W, C) pixels."""
    return sitk.GetImageFromArray(np.ascontiguousarray(array), isVector=array.ndim == 3)
