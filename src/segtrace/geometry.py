"""The grid of an image: where its voxels lie in the patient.

Axis order: a :class:`Grid` follows SimpleITK, (x, y, z) with world coordinates in LPS millimetres.
Arrays are (D, H, W) = (z, y, x) or (H, W) = (y, x); ``array_shape`` and ``array_spacing_mm`` are in
array order, and only those two cross over.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segtrace.errors import SegtraceError

#: Elements of two direction matrices that differ by less than this are the same.
SAME_DIRECTION = 1e-4


@dataclass(frozen=True)
class Grid:
    """Size, spacing, origin and direction of an image of two or three dimensions.

    ``direction`` is the row-major matrix whose columns are the world directions of the index axes.
    """

    size: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: tuple[float, ...]

    def __post_init__(self) -> None:
        n = len(self.size)
        if (
            n not in (2, 3)
            or len(self.spacing_mm) != n
            or len(self.origin_mm) != n
            or len(self.direction) != n * n
        ):
            raise ValueError(
                f"grid of {n} sizes {self.size}, spacing {self.spacing_mm}, origin {self.origin_mm}, "
                f"direction {self.direction}: lengths must be n, n, n and n*n for n = 2 or 3"
            )

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self.size)

    @property
    def array_shape(self) -> tuple[int, ...]:
        """(D, H, W) or (H, W)."""
        return tuple(reversed(self.size))

    @property
    def array_spacing_mm(self) -> tuple[float, ...]:
        """Spacing in array order, (z, y, x) or (y, x)."""
        return tuple(reversed(self.spacing_mm))

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of a voxel (area of a pixel in two dimensions)."""
        return float(np.prod(self.spacing_mm))

    def matrix(self) -> np.ndarray:
        """The n×n matrix that maps an (x, y, z) index to millimetres before the origin is added."""
        n = self.dimensions
        return np.asarray(self.direction, float).reshape(n, n) * np.asarray(self.spacing_mm, float)

    def world(self, array_index: Sequence[float] | np.ndarray) -> np.ndarray:
        """World position in mm (x, y, z order) of array indices (z, y, x order); last axis is the index."""
        index = np.asarray(array_index, float)[..., ::-1]
        return index @ self.matrix().T + np.asarray(self.origin_mm, float)

    def differences(
        self, other: "Grid", *, tolerance_mm: float = 1e-2, tolerance_direction: float = 1e-3
    ) -> list[str]:
        """What differs between two grids beyond the tolerances, each with both values; empty if nothing.

        ``tolerance_mm`` bounds the shift of any voxel's position that origin or spacing can cause;
        ``tolerance_direction`` bounds each element of the direction matrix.
        """
        if self.size != other.size:
            return [f"size {format_numbers(self.size)} and {format_numbers(other.size)}"]
        found = []
        extent = np.asarray(self.size, float) - 1
        drift = np.abs(np.asarray(self.spacing_mm) - np.asarray(other.spacing_mm)) * np.maximum(extent, 1)
        if drift.max() > tolerance_mm:
            found.append(
                f"spacing {format_numbers(self.spacing_mm)} and {format_numbers(other.spacing_mm)} mm"
            )
        if np.abs(np.asarray(self.origin_mm) - np.asarray(other.origin_mm)).max() > tolerance_mm:
            found.append(f"origin {format_numbers(self.origin_mm)} and {format_numbers(other.origin_mm)} mm")
        if np.abs(np.asarray(self.direction) - np.asarray(other.direction)).max() > tolerance_direction:
            found.append(f"direction {format_numbers(self.direction)} and {format_numbers(other.direction)}")
        return found

    def to_json(self) -> dict[str, list[float]]:
        """A JSON form that :meth:`from_json` reads back exactly."""
        return {
            "size": list(self.size),
            "spacing_mm": list(self.spacing_mm),
            "origin_mm": list(self.origin_mm),
            "direction": list(self.direction),
        }

    @classmethod
    def from_json(cls, value: dict[str, list[float]]) -> "Grid":
        """The grid that :meth:`to_json` wrote."""
        return cls(
            size=tuple(int(n) for n in value["size"]),
            spacing_mm=tuple(float(v) for v in value["spacing_mm"]),
            origin_mm=tuple(float(v) for v in value["origin_mm"]),
            direction=tuple(float(v) for v in value["direction"]),
        )


def format_numbers(values: Sequence[float]) -> str:
    """Numbers as a table cell: shortest exact form, joined by ``x``; :func:`parse_numbers` reads it back."""
    return "x".join(repr(v) if isinstance(v, float) and v != int(v) else str(int(v)) for v in values)


def parse_numbers(text: str) -> tuple[float, ...]:
    """The numbers of a cell that :func:`format_numbers` wrote."""
    return tuple(float(part) for part in text.split("x"))


def places_along(source: Grid, target: Grid) -> list[np.ndarray]:
    """For each array axis of ``target``, where its voxels lie along that axis of ``source``, in voxels from 0.

    Raises :class:`SegtraceError` unless both have the same direction: else no axis of one follows one of the other.
    """
    n = source.dimensions
    if np.abs(np.subtract(source.direction, target.direction)).max() > SAME_DIRECTION:
        raise SegtraceError(
            f"grids of different directions, {format_numbers(source.direction)} and "
            f"{format_numbers(target.direction)}, cannot be sampled axis by axis; orient the image first"
        )
    direction = np.asarray(target.direction, float).reshape(n, n)
    offset = direction.T @ np.subtract(target.origin_mm, source.origin_mm)  # mm along the index axes
    return [
        (offset[axis] + np.arange(target.size[axis]) * target.spacing_mm[axis]) / source.spacing_mm[axis]
        for axis in reversed(range(n))
    ]
