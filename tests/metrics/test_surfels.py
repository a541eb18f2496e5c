"""Surface elements between voxels: their areas by hand and against MONAI's table, and where they lie."""

import itertools
from math import sqrt

import numpy as np
import pytest

from segtrace.metrics import surfels
from segtrace.metrics.borders import REACH

CORNERS = list(itertools.product((0, 1), repeat=3))
#: The area in a unit cube by the distances (in edges) between every two of its up to four corners inside.
BY_HAND = {
    (): sqrt(3) / 8,  # one corner is cut off: a triangle with sides of √2/2
    (1,): sqrt(2) / 2,  # an edge: a rectangle, 1 by √2/2
    (2,): 2 * sqrt(3) / 8,  # corners that do not touch: each by itself
    (3,): 2 * sqrt(3) / 8,
    (1, 1, 2): 1 / 2 + 3 * sqrt(3) / 8,  # half the cube's section, and a trapezium of three small triangles
    (1, 2, 3): sqrt(2) / 2 + sqrt(3) / 8,
    (2, 2, 2): 3 * sqrt(3) / 8,
    (1, 1, 1, 1, 2, 2): 1.0,  # a face: the section of the cube
    (1, 1, 1, 2, 2, 2): 6 * sqrt(3) / 8,  # a corner and its neighbours: a regular hexagon
    (1, 1, 1, 2, 2, 3): 4 * sqrt(3) / 8 + sqrt(2) / 2,  # a path round the corner: a hexagon that is not flat
    (1, 1, 2, 2, 2, 3): 1 / 2 + 3 * sqrt(3) / 8 + sqrt(3) / 8,
    (1, 1, 2, 2, 3, 3): sqrt(2),  # two edges
    (2, 2, 2, 2, 2, 2): 4 * sqrt(3) / 8,
}


def inside(code: int) -> list[tuple[int, ...]]:
    return [corner for place, corner in enumerate(CORNERS) if code >> (7 - place) & 1]


def test_areas_in_the_unit_cube_by_hand() -> None:
    areas = surfels.areas((1.0, 1.0, 1.0))
    assert (areas[0], areas[255]) == (0.0, 0.0)
    for code in range(1, 255):
        corners = inside(code) if len(inside(code)) <= 4 else inside(255 - code)
        apart = (
            sum(a != b for a, b in zip(*pair, strict=True)) for pair in itertools.combinations(corners, 2)
        )
        assert areas[code] == pytest.approx(BY_HAND[tuple(sorted(apart))], rel=1e-12), code


def test_flat_surfaces_have_the_area_of_their_faces() -> None:
    areas = surfels.areas((2.0, 0.5, 3.0))
    assert areas[0b11110000] == pytest.approx(0.5 * 3.0)  # the first axis' half: its face is y by x
    assert areas[0b11001100] == pytest.approx(2.0 * 3.0)
    assert areas[0b10101010] == pytest.approx(2.0 * 0.5)


def test_lengths_in_the_plane_by_hand() -> None:
    lengths = surfels.areas((3.0, 4.0))
    expected = dict.fromkeys((0b0001, 0b0010, 0b0100, 0b1000), 2.5)  # half the diagonal
    expected |= {0b0011: 4.0, 0b0101: 3.0, 0b0110: 5.0}
    expected |= {15 - code: length for code, length in expected.items()} | {0: 0.0, 15: 0.0}
    assert lengths.tolist() == pytest.approx([expected[code] for code in range(16)])


@pytest.mark.parametrize("axes", [2, 3])
def test_areas_equal_monais_table_for_any_spacing(axes: int) -> None:
    pytest.importorskip("torch")
    from monai.metrics.utils import get_code_to_measure_table

    rng = np.random.default_rng(axes)
    for _ in range(50):
        spacing = tuple(rng.uniform(0.2, 8.0, axes))
        theirs, _ = get_code_to_measure_table(spacing)
        np.testing.assert_allclose(surfels.areas(spacing), theirs.numpy().ravel(), rtol=1e-6)


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 2)])
def test_codes_are_the_voxels_around_each_corner(shape: tuple[int, ...]) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.5
    found = surfels.neighbour_codes(mask)
    assert found.shape == tuple(n + 1 for n in shape)
    around = list(itertools.product((-1, 0), repeat=len(shape)))
    for corner in np.ndindex(*found.shape):
        bits = ""
        for step in around:
            voxel = tuple(c + s for c, s in zip(corner, step, strict=True))
            there = all(0 <= v < n for v, n in zip(voxel, shape, strict=True))
            bits += str(int(there and bool(mask[voxel])))
        assert found[corner] == int(bits, 2)


def test_a_single_voxel_has_eight_surfels_also_at_the_edge() -> None:
    for place in ((1, 1, 1), (0, 0, 2)):
        mask = np.zeros((3, 3, 3), bool)
        mask[place] = True
        found, area = surfels.surfels(mask, spacing=(1.0, 1.0, 1.0))
        assert area.tolist() == pytest.approx([sqrt(3) / 8] * 8)
        where = np.stack(np.unravel_index(found.places, found.labels.shape), 1) - REACH[3]
        assert (where.min(0).tolist(), where.max(0).tolist()) == ([*place], [p + 1 for p in place])
