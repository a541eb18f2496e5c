"""Interpolation axis by axis: the values of ITK's resampling, which works voxel by voxel."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrace import images, interpolation, resample
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid

ANGLE = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])


def itk(array: np.ndarray, own: Grid, grid: Grid, interpolator: int) -> np.ndarray:
    """ITK's answer on ``grid`` for voxels (D, H, W) or (H, W) on ``own``."""
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(grid.size)
    resampler.SetOutputSpacing(grid.spacing_mm)
    resampler.SetOutputOrigin(grid.origin_mm)
    resampler.SetOutputDirection(grid.direction)
    resampler.SetInterpolator(interpolator)
    resampler.SetUseNearestNeighborExtrapolator(True)
    found: np.ndarray = sitk.GetArrayFromImage(resampler.Execute(images.from_array(array, own)))
    return found


def oblique(size: tuple[int, ...], spacing: tuple[float, ...]) -> Grid:
    """A grid turned in its first two axes."""
    direction = np.eye(len(size))
    direction[:2, :2] = ANGLE
    return Grid(size, spacing, (3.0, -7.0, 11.0)[: len(size)], tuple(direction.ravel()))


@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=3),
    st.data(),
    st.sampled_from(["linear", "bspline"]),
)
@settings(max_examples=60, deadline=None)
def test_images_equal_itk(shape: list[int], data: st.DataObject, kind: str) -> None:
    """For finer and coarser grids, in 2-D and 3-D, at single voxels and at the edges."""
    # ITK reads beyond a pair of voxels when it mirrors at both; one or at least three are compared
    shape = [n + (n == 2) for n in shape]
    own = oblique(tuple(shape[::-1]), (0.7, 1.3, 2.0)[: len(shape)])
    size = data.draw(st.lists(st.integers(1, 15), min_size=len(shape), max_size=len(shape)))
    grid = resample.target_grid(own, {"size": size})
    array = np.random.default_rng(0).normal(0, 100, shape).astype(np.float32)
    found = resample.resample_image(images.from_array(array, own), grid, interpolation=kind, antialias=False)[
        0
    ]
    expected = itk(array, own, grid, sitk.sitkLinear if kind == "linear" else sitk.sitkBSpline)
    np.testing.assert_allclose(found, expected, atol=2e-4, rtol=1e-5)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=3), st.data(), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_a_vote_is_the_largest_of_linear_shares(shape: list[int], data: st.DataObject, seed: int) -> None:
    """Label by label over the whole image, the way that needs no thought."""
    size = data.draw(st.lists(st.integers(1, 12), min_size=len(shape), max_size=len(shape)))
    label = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint8)
    positions = [(np.arange(m) + 0.5) * n / m - 0.5 for n, m in zip(shape, size, strict=True)]
    shares = np.stack([interpolation.linear((label == value).astype(float), positions) for value in range(4)])
    expected = (shares >= shares.max(0) - 1e-6).argmax(0)
    np.testing.assert_array_equal(interpolation.vote(label, positions), expected)


def test_half_way_is_the_higher_index_whatever_the_spacing() -> None:
    """The nearest voxel of a position half-way between two does not depend on rounding."""
    values = np.arange(40)
    for spacing in (0.1, 0.3, 1 / 3, 0.7):
        positions = (0.5 * spacing + np.arange(39) * spacing) / spacing
        np.testing.assert_array_equal(interpolation.nearest(values, [positions]), np.arange(1, 40))


def test_a_spline_passes_through_its_voxels_and_ends_in_their_values() -> None:
    values = np.random.default_rng(2).normal(size=(6, 7))
    where = [np.arange(6.0), np.arange(7.0)]
    np.testing.assert_allclose(interpolation.cubic(values, where), values, atol=1e-6)
    beyond = interpolation.cubic(values, [np.array([-0.6, 5.6]), np.array([-3.0, 9.0])])
    np.testing.assert_allclose(beyond, values[::5, ::6], atol=1e-6)


def test_blocks_and_memory_order_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(size=(3, 20, 30))
    positions = [np.linspace(0, 19, 13), np.linspace(0, 29, 44)]
    whole = interpolation.cubic(values, positions)
    turned = np.asfortranarray(values)
    monkeypatch.setattr(interpolation, "COLUMNS", 7)
    np.testing.assert_array_equal(interpolation.cubic(turned, positions), whole)


def test_grids_of_other_directions_are_refused() -> None:
    own = oblique((5, 6), (1.0, 1.0))
    other = Grid((5, 6), (1.0, 1.0), own.origin_mm, (1.0, 0.0, 0.0, 1.0))
    image = images.from_array(np.zeros((6, 5), np.float32), own)
    with pytest.raises(SegtraceError, match="different directions"):
        resample.resample_image(image, other, interpolation="linear", antialias=False)
