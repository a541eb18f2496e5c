"""DICOM slices as a volume, judged file by file before anything is decoded.

The place of the slices comes from ImagePositionPatient, ImageOrientationPatient and PixelSpacing alone: the
tag SliceThickness is the thickness of a slice, not the distance of two. Only the tags named in ``_TAGS`` are
parsed, so nothing about the patient can reach a table.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
import SimpleITK as sitk

from segtrace import images
from segtrace.errors import SegtraceError, raise_all
from segtrace.geometry import Grid
from segtrace.headers import REMEDY, check_length, check_start

_TAGS = (
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "PixelSpacing", "ImagePositionPatient",
    "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "PixelData",
)  # fmt: skip
_NEEDED = (
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "PixelRepresentation", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "PixelData",
)  # fmt: skip
#: Two steps from slice to slice may differ by this fraction: positions are often rounded to 0.1 mm.
UNEVEN = 0.1
#: Slices nearer to one another than this are at one place.
SAME_PLACE_MM = 1e-3
#: Slices may shift within their plane by this many pixels in the whole volume; a tilted gantry shifts more.
SHIFT = 0.5


@dataclass(frozen=True)
class _Slice:
    """One slice: place in the patient (LPS, mm) and values (H, W) after rescaling."""

    path: Path
    position: np.ndarray
    row: np.ndarray
    """Direction in which the column index grows: the volume's x axis."""
    column: np.ndarray
    spacing_mm: tuple[float, float]
    """(x, y)."""
    values: np.ndarray

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.row, self.column)


def read_slices(paths: Sequence[Path], *, order: Literal["given", "position"]) -> sitk.Image:
    """Single-frame grey DICOM files as one volume in LPS millimetres, rescaled: int16 where that holds all values, else float32.

    ``order``: ``given`` keeps the order of ``paths`` along the third axis, whose direction follows, also
    against the normal of the slices (a left-handed grid); ``position`` sorts along the normal.

    Raises one :class:`SegtraceError` for all files that are missing, empty, web pages, no DICOM, truncated or
    damaged, in colours or of several frames, or without a place; and for slices that differ in size,
    orientation or pixel spacing, share a position, leave a gap, or do not lie behind one another.
    """
    slices, problems = [], []
    for path in map(Path, paths):
        try:
            slices.append(_read(path))
        except SegtraceError as error:
            problems.append(str(error))
    where = f"{Path(paths[0]).parent}" if paths else "no files"
    heading = f"{where}: DICOM slices cannot be read"
    raise_all(problems, heading=heading)
    if len(slices) < 2:
        raise SegtraceError(f"{where}: {len(slices)} DICOM slices; a volume has at least two")
    raise_all(_unlike(slices), heading=f"{where}: DICOM slices of different kinds")
    if order == "position":
        normal = slices[0].normal
        slices.sort(key=lambda one: (float(one.position @ normal), one.path.name))
    step = _step(slices, where)
    first = slices[0]
    third = first.normal * np.sign(step)
    grid = Grid(
        (first.values.shape[1], first.values.shape[0], len(slices)),
        (*first.spacing_mm, abs(step)),
        tuple(map(float, first.position)),
        tuple(map(float, np.stack([first.row, first.column, third], axis=1).ravel())),
    )
    return images.from_array(_stacked([one.values for one in slices]), grid)


def read_slice(path: Path) -> sitk.Image:
    """One single-frame grey DICOM file as a picture, rescaled, with the distances of its pixels and no place.

    Raises :class:`SegtraceError` as :func:`read_slices` does for a file.
    """
    one = _read(path)
    height, width = one.values.shape
    grid = Grid((width, height), one.spacing_mm, (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    return images.from_array(one.values, grid)


def _stacked(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Planes (H, W) as (D, H, W): int16 if all of them are, else float32."""
    return np.stack(planes, dtype=np.result_type(*planes), casting="safe")


def _compact(values: np.ndarray) -> np.ndarray:
    """The values in int16 if that holds them all exactly, else in float32."""
    limits = np.iinfo(np.int16)
    whole = values.min() >= limits.min and values.max() <= limits.max and (values == np.rint(values)).all()
    return values.astype(np.int16 if whole else np.float32)


# --- one file ---------------------------------------------------------------------------------------


def _read(path: Path) -> _Slice:
    check_start(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values in a form that the standard does not allow
            header = pydicom.dcmread(path, specific_tags=list(_TAGS))
            return _slice(path, header)
    except SegtraceError:
        raise
    except pydicom.errors.InvalidDicomError:
        raise SegtraceError(f"{path}: not a DICOM file (no 'DICM' after 128 bytes); {REMEDY}") from None
    except Exception as error:  # damaged bytes make the library raise anything
        # the library's text may quote a value of the header, so only its kind is passed on
        raise SegtraceError(f"{path}: damaged DICOM file ({type(error).__name__}); {REMEDY}") from None


def _slice(path: Path, header: Any) -> _Slice:
    """The slice of a parsed file, its values decoded once all else is found sound."""
    frames = int(header.get("NumberOfFrames") or 1)
    if frames != 1:
        raise SegtraceError(f"{path}: {frames} frames in one file; a slice has one: split the file")
    missing = [tag for tag in _NEEDED if tag not in header or header[tag].is_empty]
    if missing:
        raise SegtraceError(
            f"{path}: truncated, or not a slice with a place in the patient: no {', '.join(missing)}; {REMEDY}"
        )
    colours = header.PhotometricInterpretation
    if header.SamplesPerPixel != 1 or colours not in ("MONOCHROME1", "MONOCHROME2"):
        raise SegtraceError(
            f"{path}: {header.SamplesPerPixel} samples a pixel, {colours}; a slice is grey (MONOCHROME2)"
        )
    if "ModalityLUTSequence" in header:
        raise SegtraceError(f"{path}: values by a table (ModalityLUTSequence) are not read; convert the file")
    position = _numbers(path, header, "ImagePositionPatient", 3)
    orientation = _numbers(path, header, "ImageOrientationPatient", 6)
    spacing = _numbers(path, header, "PixelSpacing", 2)
    row, column = orientation[:3], orientation[3:]
    if max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column)) > 1e-3:
        raise SegtraceError(
            f"{path}: ImageOrientationPatient {orientation.tolist()}: two unit vectors at right angles are needed"
        )
    if spacing.min() <= 0:
        raise SegtraceError(f"{path}: PixelSpacing {spacing.tolist()}; it must be positive")
    row = row / np.linalg.norm(row)
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)
    return _Slice(
        path=path,
        position=position,
        row=row,
        column=np.cross(normal, row),  # at a right angle in spite of rounded numbers
        spacing_mm=(float(spacing[1]), float(spacing[0])),  # the tag holds the distance of rows first
        values=_compact(_values(path, header)),
    )


def _numbers(path: Path, header: Any, tag: str, count: int) -> np.ndarray:
    """The finite numbers of a tag."""
    value = header[tag].value
    values = np.array([float(v) for v in value] if hasattr(value, "__iter__") else [float(value)])
    if len(values) != count or not np.isfinite(values).all():
        raise SegtraceError(f"{path}: {tag} is {values.tolist()}; {count} finite numbers are needed")
    return values


def _values(path: Path, header: Any) -> np.ndarray:
    """The rescaled values (H, W), float64."""
    rows, columns = int(header.Rows), int(header.Columns)
    allocated, stored = int(header.BitsAllocated), int(header.BitsStored)
    if rows < 1 or columns < 1 or rows * columns > images.MAX_PIXELS:
        raise SegtraceError(f"{path}: {columns} x {rows} pixels; from 1 to {images.MAX_PIXELS} are read")
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated:
        raise SegtraceError(f"{path}: {stored} bits stored in {allocated}; 8, 16 or 32 are read")
    high = int(header.get("HighBit", stored - 1))
    if high != stored - 1:
        raise SegtraceError(f"{path}: highest bit {high} of {stored} stored bits; {stored - 1} is read")
    slope, intercept = (
        float(header[tag].value) if tag in header and not header[tag].is_empty else default
        for tag, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise SegtraceError(f"{path}: RescaleSlope {slope} and RescaleIntercept {intercept} cannot be")
    syntax = header.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated and syntax != pydicom.uid.RLELossless:  # that one pydicom decodes by itself
        return _decoded(path, (rows, columns), header.PixelData)
    if not syntax.is_encapsulated:
        announced = rows * columns * allocated // 8
        announced += announced % 2  # values have an even length
        check_length(path, found=len(header.PixelData), announced=announced, what=" of pixel data")
    unused = allocated - stored  # bits above the stored ones are of no meaning
    return (header.pixel_array << unused >> unused) * slope + intercept


def _decoded(path: Path, shape: tuple[int, int], data: bytes) -> np.ndarray:
    """The rescaled values of a compressed slice."""
    frames = list(pydicom.encaps.generate_frames(data, number_of_frames=1))
    if len(frames) != 1 or not frames[0]:
        raise SegtraceError(f"{path}: {len(frames)} compressed frames, expected 1 with content; {REMEDY}")
    try:
        image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("ITK ERROR: ")
        raise SegtraceError(f"{path}: its compressed pixels cannot be decoded ({reason}); {REMEDY}") from None
    array = sitk.GetArrayFromImage(image)
    if array.shape not in (shape, (1, *shape)):
        raise SegtraceError(f"{path}: decoded as {array.shape}, the header says {shape}; {REMEDY}")
    return array.reshape(shape).astype(np.float64)


# --- the slices together ----------------------------------------------------------------------------


def _unlike(slices: Sequence[_Slice]) -> list[str]:
    """What of each slice is not as in the first."""
    first, problems = slices[0], []
    for one in slices[1:]:
        for what, own, theirs, tolerance in (
            ("rows and columns", one.values.shape, first.values.shape, 0.0),
            ("spacing (x, y) mm", one.spacing_mm, first.spacing_mm, 1e-4),
            ("row direction", one.row, first.row, 1e-3),
            ("column direction", one.column, first.column, 1e-3),
        ):
            if np.abs(np.subtract(own, theirs)).max() > tolerance:
                problems.append(
                    f"{one.path}: {what} {_shown(own)}, those of {first.path.name} are {_shown(theirs)}"
                )
    return problems


def _step(slices: Sequence[_Slice], where: str) -> float:
    """The signed distance in mm from a slice to the next along the normal; the slices are in their order."""
    first = slices[0]
    offsets = np.array([one.position for one in slices]) - first.position
    along = offsets @ first.normal
    steps = np.diff(along)
    step = float(sorted(steps, key=abs)[(len(steps) - 1) // 2])
    problems = []
    for one, following, own in zip(slices, slices[1:], steps, strict=False):
        pair = f"{one.path.name} and {following.path.name}"
        if abs(own) < SAME_PLACE_MM:
            problems.append(f"{pair}: at the same position, {_shown(one.position)} mm")
        elif abs(own - step) > UNEVEN * abs(step):
            missing = abs(step) >= SAME_PLACE_MM and own / step > 1.5
            reason = "a slice is missing" if missing else "the slices are not in one regular row"
            problems.append(f"{pair}: {own:g} mm apart along the normal, most others {step:g} mm: {reason}")
    raise_all(problems, heading=f"{where}: DICOM slices are not evenly spaced")
    mean = float(along[-1] / (len(slices) - 1))
    drift = float(np.abs(along - mean * np.arange(len(slices))).max())
    if drift > 0.5 * abs(mean):
        raise SegtraceError(f"{where}: DICOM slices lie up to {drift:g} mm off a regular row of {mean:g} mm")
    within = float(np.linalg.norm(offsets - np.outer(along, first.normal), axis=1).max())
    if within > SHIFT * min(first.spacing_mm):
        raise SegtraceError(
            f"{where}: DICOM slices shift by up to {within:g} mm in their own plane (a tilted gantry, or slices of "
            "several series); resample them to a grid with right angles"
        )
    return mean


def _shown(values: Sequence[float] | np.ndarray) -> str:
    return ", ".join(f"{float(value):g}" for value in values)
