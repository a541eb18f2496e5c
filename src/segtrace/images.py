"""Reading and writing images so that a bad file is a named error, never a wrong picture.

SimpleITK fills truncated volumes with zeros, other readers pass damaged gzip streams, and some headers
abort the process; so the header and the length of a volume are checked before SimpleITK opens it.
Pictures (PNG, JPEG, TIFF, GIF) are read with Pillow. Axis order is that of :mod:`segtrace.geometry`.
"""

import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image as Picture

from segtrace import headers_nifti, headers_text
from segtrace.errors import SegtraceError
from segtrace.files import atomic
from segtrace.geometry import Grid
from segtrace.headers import REMEDY, check_start

#: A picture of more pixels than this is refused before it is decoded.
MAX_PIXELS = 150_000_000
#: Ending of a volume's name → (what judges the file, the library's reader that is allowed to open it).
_VOLUMES: dict[str, tuple[Callable[[Path], object], str]] = {
    ".nii": (headers_nifti.check, "NiftiImageIO"),
    ".nii.gz": (headers_nifti.check, "NiftiImageIO"),
    ".mha": (headers_text.check_metaimage, "MetaImageIO"),
    ".mhd": (headers_text.check_metaimage, "MetaImageIO"),
    ".nrrd": (headers_text.check_nrrd, "NrrdImageIO"),
}
#: Pillow's modes that are read as they are; 1-bit and palettes are converted, all others refused.
_MODES = ("L", "LA", "RGB", "RGBA", "I;16", "I;16L", "I;16B", "I")
#: Deflate level of label maps.
LEVEL = 6


def read_volume(path: Path) -> sitk.Image:
    """Read a volume (NIfTI-1, MetaImage, NRRD); several volumes in a 4-D file become channels.

    Raises :class:`SegtraceError`, naming the file, for one that is missing, empty, truncated, longer than
    its header says or damaged, for more than four dimensions, for a place in the patient that is not given,
    not a right-angled grid, or understood differently by other readers, and for voxels that are not finite.
    """
    path = Path(path)
    check_start(path)
    ending = next((e for e in _VOLUMES if path.name.lower().endswith(e)), None)
    if ending is None:
        raise SegtraceError(f"{path}: a volume's name ends in one of {', '.join(_VOLUMES)}; convert it")
    check, reader = _VOLUMES[ending]
    if ending == ".nii.gz":
        # the library opens a compressed file several times over: small ones it reads sooner unpacked
        with tempfile.NamedTemporaryFile(suffix=".nii") as plain:
            whole = headers_nifti.check(path, plain=plain)
            plain.flush()
            image = _read(path, plain.name if whole else path, reader)
    else:
        check(path)
        image = _read(path, path, reader)
    if image.GetDimension() == 4:
        parts = [image[:, :, :, i] for i in range(image.GetSize()[3])]
        image = sitk.Compose(parts) if len(parts) > 1 else parts[0]
    _check_place(path, image)
    array = sitk.GetArrayViewFromImage(image)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        nan, infinite = int(np.isnan(array).sum()), int(np.isinf(array).sum())
        raise SegtraceError(f"{path}: {nan} voxels are NaN and {infinite} infinite of {array.size}; {REMEDY}")
    return image


def _read(path: Path, place: Path | str, reader: str) -> sitk.Image:
    """Read the volume ``path`` that lies in ``place``."""
    try:
        return sitk.ReadImage(str(place), imageIO=reader)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("ITK ERROR: ")
        raise SegtraceError(f"{path}: cannot be read as a volume ({reason}); {REMEDY}") from None


def _check_place(path: Path, image: sitk.Image) -> None:
    """Refuse a grid without right angles, whichever format it came from."""
    n = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(n, n)
    if not np.isfinite([*image.GetOrigin(), *image.GetSpacing()]).all() or min(image.GetSpacing()) <= 0:
        raise SegtraceError(
            f"{path}: spacing {image.GetSpacing()} and origin {image.GetOrigin()} cannot be; {REMEDY}"
        )
    if not np.abs(direction.T @ direction - np.eye(n)).max() <= 1e-3:
        raise SegtraceError(
            f"{path}: its axes are sheared or stretched (direction {np.round(direction, 4).tolist()}); "
            "resample it to a grid with right angles"
        )


def read_picture(path: Path) -> np.ndarray:
    """Read a picture as it is stored: (H, W) or (H, W, C), uint8 or uint16; 1-bit becomes 0 and 255.

    A palette is resolved to its colours; a turn that a camera noted (EXIF) is not made, since masks lack the
    note. Raises :class:`SegtraceError`, naming the file, for one that is missing, empty, damaged, too large,
    of several pages, or in colours other than grey and RGB.
    """
    path = Path(path)
    check_start(path)
    try:
        with warnings.catch_warnings(), Picture.open(path) as picture:
            warnings.simplefilter("ignore")  # of damaged notes about the camera, which are not read
            if picture.width * picture.height > MAX_PIXELS:
                raise SegtraceError(
                    f"{path}: {picture.width} x {picture.height} pixels, more than {MAX_PIXELS}"
                )
            pages = getattr(picture, "n_frames", 1)
            if pages > 1 and picture.format != "MPO":  # an MPO is a camera's photograph with its previews
                raise SegtraceError(f"{path}: {pages} pages or frames; a picture has one: split it")
            if picture.format == "PNG":  # the checksum of every chunk, which loading alone does not judge
                with Picture.open(path) as twin:
                    twin.verify()
            picture.load()
            if picture.mode == "1":
                return np.asarray(picture.convert("L"))
            if picture.mode == "P":
                return np.asarray(picture.convert("RGBA" if "transparency" in picture.info else "RGB"))
            if picture.mode not in _MODES:
                raise SegtraceError(f"{path}: pixels of mode {picture.mode}; save it in grey or RGB")
            array = np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Picture.DecompressionBombError) as error:
        raise SegtraceError(f"{path}: cannot be read as a picture ({error}); {REMEDY}") from None
    if array.dtype.kind == "i":  # Pillow's wide form of 16-bit greys
        if array.min() < 0 or array.max() > 0xFFFF:
            raise SegtraceError(f"{path}: greys from {array.min()} to {array.max()}; 0 to 65535 are read")
        array = array.astype(np.uint16)
    return array


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) of a picture in pixels, from its header alone."""
    check_start(Path(path))
    try:
        with Picture.open(path) as picture:
            return picture.size
    except (OSError, SyntaxError, ValueError, Picture.DecompressionBombError) as error:
        raise SegtraceError(f"{path}: cannot be read as a picture ({error}); {REMEDY}") from None


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
    data = png_bytes(array) if path.name.endswith(".png") else nifti_bytes(array, grid)
    with atomic(path, "wb") as handle:
        handle.write(data)


def nifti_bytes(array: np.ndarray, grid: Grid, *, level: int = LEVEL) -> bytes:
    """Voxels (D, H, W) of uint8, int16, int32 or float32 on ``grid`` as a NIfTI-1 file in gzip.

    Equal input gives equal bytes: no time, name or version is in the file. ``level`` is that of the deflate
    compression; at 0 the bytes do not depend on the compression library either.
    """
    if array.shape != grid.array_shape:
        raise ValueError(f"array {array.shape} does not fit a grid of {grid.array_shape}")
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    data = headers_nifti.build(grid, array.dtype) + little.tobytes()
    head = b"\x1f\x8b\x08\0" + bytes(4) + b"\0\xff"
    return head + _deflated(data, level) + struct.pack("<2I", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def png_bytes(array: np.ndarray, *, level: int = LEVEL) -> bytes:
    """uint8 greys (H, W) as a PNG file; equal input, equal bytes, as in :func:`nifti_bytes`."""
    if array.ndim != 2 or array.dtype != np.uint8 or not array.size:
        raise ValueError(f"{array.dtype} of shape {array.shape}, expected uint8 (H, W)")
    rows = np.pad(array, ((0, 0), (1, 0))).tobytes()  # each row after its filter byte, 0 for none
    stream = b"\x78\x9c" + _deflated(rows, level) + struct.pack(">I", zlib.adler32(rows))
    size = struct.pack(">2I5B", array.shape[1], array.shape[0], 8, 0, 0, 0, 0)
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", size), (b"IDAT", stream), (b"IEND", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _deflated(data: bytes, level: int) -> bytes:
    """``data`` as a raw deflate stream (RFC 1951); at level 0 in stored blocks of the greatest length."""
    if level:
        packer = zlib.compressobj(level, zlib.DEFLATED, -15, 8)
        return packer.compress(data) + packer.flush()
    parts = []
    for start in range(0, len(data), 0xFFFF):
        block = data[start : start + 0xFFFF]
        last = start + len(block) == len(data)
        parts += [struct.pack("<B2H", last, len(block), len(block) ^ 0xFFFF), block]
    return b"".join(parts)


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
