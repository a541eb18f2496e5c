"""Surface elements of a mask between its voxels, with their areas: the convention of DeepMind's surface-distance.

Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", Journal of
Medical Internet Research 23 (2021): wherever the 2×2×2 (2×2) voxels around a corner of the grid are neither
all inside nor all outside, a piece of surface passes, whose area follows from which of them are inside. The
pieces are those of marching cubes (Lorensen and Cline, SIGGRAPH 1987) with every vertex in the middle of
its edge:

* on a face with two opposite corners inside, each is cut off by itself; a code of more than four corners
  has the surface of its complement;
* a polygon that is not flat is divided into triangles in the way of greatest area. That is a choice: it is
  the one by which the areas come out as in the published table, for each of the 256 codes and any spacing.
"""

import itertools
import math
from functools import lru_cache

import numpy as np

from segtrace.metrics.borders import REACH, Border, of_padded

_Point = tuple[float, ...]
_Edge = tuple[tuple[int, ...], tuple[int, ...]]


def surfels(mask: np.ndarray, *, spacing: tuple[float, ...]) -> tuple[Border, np.ndarray]:
    """The surface elements of a boolean mask, (D, H, W) or (H, W), and the area (length in 2-D) of each.

    The elements lie at voxels' corners: the border's map, before its padding, has one place more along
    each axis than the mask. Areas are in the squared unit of ``spacing``, in the order of the places.
    """
    code = neighbour_codes(mask)
    area = areas(spacing)
    surface = (code != 0) & (code != len(area) - 1)
    found = of_padded(np.pad(surface.view(np.uint8), REACH[mask.ndim]))
    return found, area[code[surface]]


def neighbour_codes(mask: np.ndarray) -> np.ndarray:
    """For each corner of the grid which of the voxels around it are inside, as bits of a uint8.

    The voxel before the corner along all axes has the highest bit, the one after it along all axes bit 0,
    and the last axis changes fastest. Outside the image is outside the mask. From (D, H, W) to
    (D + 1, H + 1, W + 1), from (H, W) to (H + 1, W + 1).
    """
    padded = np.pad(mask, 1).view(np.uint8)
    code = np.zeros([size + 1 for size in mask.shape], np.uint8)
    for corner, bit in _bits(mask.ndim).items():
        part = tuple(slice(c, c + size) for c, size in zip(corner, code.shape, strict=True))
        code |= padded[part] * np.uint8(bit)
    return code


@lru_cache(maxsize=64)
def areas(spacing: tuple[float, ...]) -> np.ndarray:
    """Area (3-D; 256 codes) or length (2-D; 16 codes) of the surface of each neighbour code."""
    if len(spacing) == 2:
        pieces = [[math.dist(*_scaled(line, spacing)) for line in _loops(code, 2)] for code in range(16)]
    else:
        pieces = [[_area(_scaled(triangle, spacing)) for triangle in triangles] for triangles in _triangles()]
    return np.array([math.fsum(sorted(sizes)) for sizes in pieces])


def _bits(axes: int) -> dict[tuple[int, ...], int]:
    """Corner of the unit square or cube → its bit."""
    corners = list(itertools.product((0, 1), repeat=axes))
    return {corner: 1 << (len(corners) - 1 - place) for place, corner in enumerate(corners)}


@lru_cache(maxsize=1)
def _triangles() -> tuple[tuple[tuple[_Point, ...], ...], ...]:
    """The triangles of each of the 256 codes, in the unit cube."""
    made: list[tuple[tuple[_Point, ...], ...]] = []
    for code in range(256):
        simpler = code if code.bit_count() <= 4 else 255 - code
        made.append(tuple(part for polygon in _loops(simpler, 3) for part in _divided(polygon)))
    return tuple(made)


def _loops(code: int, axes: int) -> list[tuple[_Point, ...]]:
    """The polygons (in 2-D: lines) between the corners inside and those outside, of edges' middles in order."""
    inside = {corner for corner, bit in _bits(axes).items() if code & bit}
    crossed = [edge for edge in _edges(axes) if len(inside.intersection(edge)) == 1]
    lines = [line for face in _faces(axes) for line in _lines(face, crossed, inside)]
    if axes == 2:
        return [tuple(_middle(edge) for edge in line) for line in lines]
    meeting = {edge: [line for line in lines if edge in line] for edge in crossed}
    loops, waiting = [], list(crossed)
    while waiting:
        loop, line = [waiting[0]], meeting[waiting[0]][0]
        while (following := line[0] if line[1] == loop[-1] else line[1]) != loop[0]:
            loop.append(following)
            line = next(other for other in meeting[following] if other is not line)
        waiting = [edge for edge in waiting if edge not in loop]
        loops.append(tuple(_middle(edge) for edge in loop))
    return loops


def _edges(axes: int) -> list[_Edge]:
    corners = list(_bits(axes))
    return [
        (one, two)
        for one, two in itertools.combinations(corners, 2)
        if sum(a != b for a, b in zip(one, two, strict=True)) == 1
    ]


def _faces(axes: int) -> list[set[tuple[int, ...]]]:
    """The corners of each face of the cube; the square is its own."""
    corners = list(_bits(axes))
    if axes == 2:
        return [set(corners)]
    return [{corner for corner in corners if corner[axis] == side} for axis in range(3) for side in (0, 1)]


def _lines(
    face: set[tuple[int, ...]], crossed: list[_Edge], inside: set[tuple[int, ...]]
) -> list[tuple[_Edge, _Edge]]:
    """The lines of the surface on a face, each between two of its edges."""
    here = [edge for edge in crossed if face.issuperset(edge)]
    if len(here) == 4:  # two opposite corners are inside: each is cut off
        return [_pair([edge for edge in here if corner in edge]) for corner in sorted(face & inside)]
    return [_pair(here)] if here else []


def _pair(edges: list[_Edge]) -> tuple[_Edge, _Edge]:
    one, two = edges
    return one, two


def _middle(edge: _Edge) -> _Point:
    return tuple((a + b) / 2 for a, b in zip(*edge, strict=True))


def _divided(polygon: tuple[_Point, ...]) -> list[tuple[_Point, ...]]:
    """The triangles of greatest area together that a polygon can be divided into."""
    if len(polygon) < 3:
        return []
    ways = (
        [*_divided(polygon[: k + 1]), (polygon[0], polygon[k], polygon[-1]), *_divided(polygon[k:])]
        for k in range(1, len(polygon) - 1)
    )
    return max(ways, key=lambda triangles: math.fsum(_area(triangle) for triangle in triangles))


def _scaled(points: tuple[_Point, ...], spacing: tuple[float, ...]) -> tuple[_Point, ...]:
    return tuple(tuple(x * step for x, step in zip(point, spacing, strict=True)) for point in points)


def _area(triangle: tuple[_Point, ...]) -> float:
    one, two = (tuple(a - b for a, b in zip(point, triangle[0], strict=True)) for point in triangle[1:])
    cross = [one[i - 2] * two[i - 1] - one[i - 1] * two[i - 2] for i in range(3)]
    return math.hypot(*cross) / 2
