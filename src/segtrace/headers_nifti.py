"""NIfTI-1 headers: judged before the file is opened, and written byte for byte.

The library that reads volumes fills missing voxels with zeros, turns voxels that are not finite into zeros,
takes the spacing from one field and the direction from another, and aborts the process on some headers. What
it or another reader would get wrong in silence is refused here. Format: nifti1.h of the NIfTI working group.
"""

import itertools
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from scipy.spatial.transform import Rotation

from segtrace.errors import SegtraceError
from segtrace.geometry import Grid, format_numbers
from segtrace.headers import REMEDY, check_length, content

#: Data type code → bytes a voxel, for the plain numbers.
BYTES = {2: 1, 4: 2, 8: 4, 16: 4, 64: 8, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8}
CODES = {"uint8": 2, "int16": 4, "int32": 8, "float32": 16}
#: A corner of the volume may lie this part of a voxel apart between two ways to read its place.
CORNER_TOLERANCE = 0.1
#: A file's content up to here is kept for the reader.
PLAIN_BYTES = 1 << 26
_START = 352


@dataclass(frozen=True)
class Header:
    """The fields of a NIfTI-1 header that decide how voxels are read and where they lie."""

    path: Path
    data: bytes
    order: str

    def get(self, offset: int, fields: str) -> tuple[float, ...]:
        """The fields at a byte offset, such as ``3f``."""
        return struct.unpack_from(self.order + fields, self.data, offset)

    def fail(self, fault: str, remedy: str = REMEDY) -> SegtraceError:
        """An error that names the file."""
        return SegtraceError(f"{self.path}: {fault}; {remedy}")

    @property
    def size(self) -> tuple[int, ...]:
        """(x, y[, z[, channels]])."""
        dimensions = [int(n) for n in self.get(40, "8h")]
        return tuple(dimensions[1 : 1 + dimensions[0]])


def check(path: Path, *, plain: IO[bytes] | None = None) -> bool:
    """Judge a NIfTI file: header, length, checksum if compressed, and whether all voxels are finite.

    Its uncompressed content is written to ``plain``, as far as ``PLAIN_BYTES`` go; whether all of it was.
    Raises :class:`SegtraceError` that names the file and what is wrong with it.
    """
    blocks = content(path)
    first = next(blocks, b"")
    header = _read(path, first[:_START])
    start = _check_storage(header)
    _check_place(header)
    code = int(header.get(70, "h")[0])
    kind = {16: np.dtype(header.order + "f4"), 64: np.dtype(header.order + "f8")}.get(code)
    voxels = int(np.prod(header.size, dtype=object))
    length, nan, infinite, rest = 0, 0, 0, b""
    for block in itertools.chain([first], blocks):
        if kind is not None:
            data = rest + block[max(0, start - length) :]
            whole = len(data) - len(data) % kind.itemsize
            values, rest = np.frombuffer(data[:whole], kind), data[whole:]
            nan, infinite = nan + int(np.isnan(values).sum()), infinite + int(np.isinf(values).sum())
        length += len(block)
        if plain is not None and length <= PLAIN_BYTES:
            plain.write(block)
    check_length(path, found=length, announced=start + voxels * BYTES[code])
    if nan or infinite:
        raise header.fail(f"{nan} voxels are NaN and {infinite} infinite of {voxels}")
    return plain is not None and length <= PLAIN_BYTES


def _read(path: Path, data: bytes) -> Header:
    if len(data) < _START:
        raise SegtraceError(f"{path}: {len(data)} bytes are too few for a NIfTI file; {REMEDY}")
    order = next((o for o in "<>" if struct.unpack(o + "i", data[:4])[0] == 348), None)
    if order is None:
        second = 540 in struct.unpack("<i", data[:4]) + struct.unpack(">i", data[:4])
        raise SegtraceError(f"{path}: {'NIfTI-2' if second else 'not NIfTI'}; convert it to NIfTI-1")
    header = Header(path, data, order)
    if data[344:348] != b"n+1\0":
        kind = (
            "half of a pair of files (.hdr and .img)" if data[344:347] == b"ni1" else "Analyze 7.5 or damaged"
        )
        raise header.fail(f"not a single-file NIfTI-1, but {kind}", "convert it to NIfTI-1 in one file")
    return header


def _check_storage(header: Header) -> int:
    """Judge sizes, type and scaling; give the byte at which the voxels start."""
    rank, *sizes = (int(n) for n in header.get(40, "8h"))
    if not 1 <= rank <= 7 or min(sizes[:rank]) < 1:
        raise header.fail(f"impossible dimensions {[rank, *sizes]} in the header")
    if not 2 <= rank <= 4:
        raise header.fail(
            f"{rank} dimensions {sizes[:rank]}; an image has 2 or 3, or 4 with channels", "convert it"
        )
    code, bits = (int(n) for n in header.get(70, "2h"))
    if code not in BYTES:
        raise header.fail(f"voxels of NIfTI type {code}, which is not a plain number", "convert it")
    if bits != 8 * BYTES[code]:
        raise header.fail(f"type {code} has {8 * BYTES[code]} bits a voxel, but the header says {bits}")
    (start,) = header.get(108, "f")
    if not (np.isfinite(start) and start >= _START and start == int(start)):
        raise header.fail(
            f"the header says that voxels start at byte {start:g}, before its own end at {_START}"
        )
    slope, intercept = header.get(112, "2f")
    if not np.isfinite([slope, intercept]).all() or (slope == 0 and intercept != 0):
        raise header.fail(
            f"scaling by slope {slope:g} and intercept {intercept:g}, which readers understand differently",
            "set both as meant, or slope 0 and intercept 0 for none",
        )
    return int(start)


def _check_place(header: Header) -> None:
    """Judge spacing, unit, and the one or two matrices that place the volume in the patient."""
    size = (*header.size[:3], 1)[:3]
    dimensions = min(3, len(header.size))
    spacing = np.array(header.get(80, "3f"))
    if not np.isfinite(spacing[:dimensions]).all() or min(spacing[:dimensions]) <= 0:
        raise header.fail(f"spacing {format_values(spacing[:dimensions])}; each must be above 0")
    spacing = np.where(np.isfinite(spacing) & (spacing > 0), spacing, 1.0)
    unit = header.data[123] & 7
    if unit not in (0, 2):
        raise header.fail(
            f"lengths in {({1: 'metres', 3: 'micrometres'}).get(unit, f'unit {unit}')}, which readers treat differently",
            "convert it to millimetres",
        )
    q_code, s_code = header.get(252, "2h")
    if q_code <= 0 and s_code <= 0:
        raise header.fail(
            "neither qform nor sform is set, so where it lies in the patient, left and right included, is not known",
            "set one of them from the source of the file",
        )
    q_affine = _q_affine(header, spacing) if q_code > 0 else None
    s_affine = _s_affine(header, spacing, size) if s_code > 0 else None
    if q_affine is None or s_affine is None:
        return
    apart = _apart(q_affine, s_affine, size)
    if not apart <= CORNER_TOLERANCE * spacing[:dimensions].min():
        raise header.fail(
            f"its qform and sform place a corner {apart:.2f} mm apart, so readers disagree on where it lies",
            "decide which is right and write both alike",
        )


def _apart(one: np.ndarray, other: np.ndarray, size: tuple[int, ...]) -> float:
    """Greatest distance in mm between the corners of a volume under two affine matrices (3, 4)."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in size])).reshape(3, -1)
    difference = one - other
    return float(np.linalg.norm(difference[:, :3] @ corners + difference[:, 3:], axis=0).max())


def _q_affine(header: Header, spacing: np.ndarray) -> np.ndarray:
    b, c, d, *origin = header.get(256, "6f")
    if not np.isfinite([b, c, d, *origin]).all():
        raise header.fail(f"its qform holds {format_values((b, c, d, *origin))}, which are no numbers")
    square = b * b + c * c + d * d
    if square > 1.001:
        raise header.fail(f"its qform ({b:g}, {c:g}, {d:g}) is no rotation")
    a = np.sqrt(max(0.0, 1.0 - square))
    sign = -1.0 if header.get(76, "f")[0] < 0 else 1.0
    matrix = Rotation.from_quat([b, c, d, a]).as_matrix() * spacing * np.array([1.0, 1.0, sign])
    return np.column_stack([matrix, origin])


def _s_affine(header: Header, spacing: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    affine = np.array(header.get(280, "12f")).reshape(3, 4)
    if not np.isfinite(affine).all():
        raise header.fail(f"its sform holds {format_values(affine.ravel())}, which are not all numbers")
    used = min(3, len(header.size))
    columns = affine[:, :used]
    lengths = np.linalg.norm(columns, axis=0)
    if min(lengths) <= 0:
        raise header.fail("its sform has an axis of length 0")
    cosines = (columns / lengths).T @ (columns / lengths) - np.eye(used)
    if np.abs(cosines).max() > 1e-3:
        raise header.fail(
            f"its sform is sheared: two axes are {np.degrees(np.arccos(np.abs(cosines).max())):.2f}° apart, not 90°",
            "resample it to a grid with right angles",
        )
    drift = np.abs(lengths - spacing[:used]) * np.maximum(np.array(size[:used]) - 1, 1)
    if not max(drift) <= CORNER_TOLERANCE * spacing[:used].min():
        raise header.fail(
            f"its sform has the spacing {format_values(lengths)} mm and its field pixdim {format_values(spacing[:used])} mm, "
            "so readers disagree on its size",
            "decide which is right and write both alike",
        )
    return affine


def format_values(values: np.ndarray | tuple[float, ...]) -> str:
    """Numbers joined by ``x``; those that are not finite by name."""
    plain = [float(v) for v in values]
    return format_numbers(plain) if np.isfinite(plain).all() else "x".join(f"{v:g}" for v in plain)


def build(grid: Grid, dtype: np.dtype) -> bytes:
    """The 352 bytes before the voxels of a volume on ``grid``; qform and sform say the same.

    It is written here and not by a library, so that equal volumes are equal bytes under every version.
    """
    if grid.dimensions != 3 or dtype.name not in CODES:
        raise ValueError(
            f"a grid of {grid.dimensions} dimensions of {dtype}; NIfTI files here have 3 of {list(CODES)}"
        )
    to_ras = np.diag([-1.0, -1.0, 1.0])
    direction = to_ras @ np.array(grid.direction, float).reshape(3, 3)
    affine = np.column_stack([direction * grid.spacing_mm, to_ras @ np.array(grid.origin_mm, float)])
    mirrored = np.linalg.det(direction) < 0
    turned = direction * np.array([1.0, 1.0, -1.0]) if mirrored else direction
    x, y, z, w = Rotation.from_matrix(turned).as_quat()
    sign = -1.0 if w < 0 else 1.0
    data = bytearray(_START)
    struct.pack_into("<i", data, 0, 348)
    struct.pack_into("<8h", data, 40, 3, *grid.size, 1, 1, 1, 1)
    struct.pack_into("<2h", data, 70, CODES[dtype.name], 8 * dtype.itemsize)
    struct.pack_into("<8f", data, 76, -1.0 if mirrored else 1.0, *grid.spacing_mm, 0, 0, 0, 0)
    struct.pack_into("<3f", data, 108, _START, 1.0, 0.0)
    data[123] = 2  # millimetres
    struct.pack_into("<2h", data, 252, 1, 1)
    struct.pack_into("<6f", data, 256, sign * x, sign * y, sign * z, *affine[:, 3])
    struct.pack_into("<12f", data, 280, *affine.ravel())
    data[344:348] = b"n+1\0"
    return bytes(data)
