"""Small copies of published layouts, one module a data set of ``config/datasets``.

``build(folder)`` writes the archives of a data set into ``folder``, under the names that its file in
``config/datasets`` gives, and returns what the reader must find in them. A miniature holds a few cases with
the owner's names, formats and traps; pixels are drawn here. A data set without one fails
``tests/datasets/test_miniatures.py``.
"""

import hashlib
import importlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from segtrace import images
from segtrace.geometry import Grid


@dataclass(frozen=True)
class Expected:
    """What the index must say of a case."""

    size: tuple[int, ...]
    """Columns, rows[, slices]."""
    voxels: Mapping[int, int]
    """Label → voxels, for every label of the data set (background may be left out)."""
    subject: str | None = None
    """None where a case is its own subject."""
    group: str = ""
    side: str = ""
    spacing_mm: tuple[float, ...] | None = None
    """None for pictures without a scale."""
    channels: int = 1
    notes: str = ""
    """A part of the notes."""


def build(name: str, folder: Path) -> dict[str, Expected]:
    """Write the archives of the data set ``name`` into ``folder``, with a ``SHA256SUMS``; case → what must be found."""
    folder.mkdir(parents=True, exist_ok=True)
    expected: dict[str, Expected] = importlib.import_module(f"miniatures.{name}").build(folder)
    write_sums(folder)
    return expected


def write_sums(folder: Path) -> None:
    """The file ``SHA256SUMS`` of a folder: its archives are taken in place of the published ones."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """uint8 noise of a shape."""
    return np.random.default_rng([seed, *shape]).integers(0, 256, shape, dtype=np.uint8)


def box(shape: tuple[int, ...], *ends: tuple[int, int], value: int = 1) -> np.ndarray:
    """uint8 zeros of a shape with ``value`` in a box, given as (first, past the last) for each axis."""
    array = np.zeros(shape, np.uint8)
    array[tuple(slice(*pair) for pair in ends)] = value
    return array


def picture(array: np.ndarray, kind: str, **options: object) -> bytes:
    """A picture file: PNG, JPEG, TIFF or GIF. Bool becomes 1-bit; (H, W, 3) RGB, (H, W, 4) RGBA."""
    buffer = io.BytesIO()
    Picture.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def nifti(array: np.ndarray, spacing_mm: tuple[float, ...] = (1.0, 1.0, 1.0)) -> bytes:
    """A NIfTI-1 file in gzip from (D, H, W) voxels, axes in LPS order, origin 0."""
    size = tuple(reversed(array.shape))
    return images.nifti_bytes(array, Grid(size, spacing_mm, (0.0, 0.0, 0.0), tuple(np.eye(3).ravel())))


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    """A ZIP archive of ``files`` in their order."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def write_tar(path: Path, files: Mapping[str, bytes], *, compression: str = "") -> None:
    """A TAR archive of ``files`` in their order; ``compression`` is '' or 'gz'."""
    with tarfile.open(path, f"w:{compression}" if compression else "w") as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
