"""Geometry of preparation: positions in the patient are kept through orientation and resampling."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrace import resample
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid
from segtrace.images import grid_of
from segtrace.structures import structures

RAS = (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0)


def angle_triples(limit: float) -> st.SearchStrategy:
    """Rotation angles to a microradian: ITK cannot invert a matrix with elements near the smallest double."""
    return st.tuples(*[st.floats(-limit, limit).map(lambda value: round(value, 6))] * 3)


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    a, b, c = angles
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return x @ y @ z


def image_of(
    array: np.ndarray, *, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), direction=None
) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[: array.ndim])
    image.SetOrigin(origin[: array.ndim])
    image.SetDirection(
        np.eye(array.ndim).ravel() if direction is None else np.asarray(direction, float).ravel()
    )
    return image


def ellipsoid(shape: tuple[int, ...], centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    axes = np.indices(shape)
    total = sum(((axes[i] - centre[i]) / radii[i]) ** 2 for i in range(len(shape)))
    return (total <= 1).astype(np.uint8)


def test_ras_grows_to_right_front_and_head():
    image = image_of(np.arange(24, dtype=np.float32).reshape(2, 3, 4))  # identity: LPS
    oriented = resample.orient(image, "RAS")
    assert oriented.GetDirection() == RAS
    assert np.array_equal(sitk.GetArrayFromImage(oriented), sitk.GetArrayFromImage(image)[:, ::-1, ::-1])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (1, -1, -1)])
def test_every_axis_order_becomes_one(order, signs):
    """Each voxel keeps its value at its place in the patient, whatever the order of the file's axes."""
    rng = np.random.default_rng(0)
    direction = np.zeros((3, 3))
    for axis, (place, sign) in enumerate(zip(order, signs, strict=True)):
        direction[place, axis] = sign
    image = image_of(
        rng.random((3, 4, 5)).astype(np.float32), spacing=(0.5, 1, 2), origin=(3, -7, 11), direction=direction
    )
    oriented = resample.orient(image, "RAS")
    assert oriented.GetDirection() == RAS
    for index in ((0, 0, 0), (4, 3, 2), (2, 1, 0)):
        there = oriented.TransformPhysicalPointToIndex(image.TransformIndexToPhysicalPoint(index))
        assert oriented[there] == image[index]


def test_orientation_is_for_volumes_and_must_be_a_code():
    flat = image_of(np.zeros((4, 4), np.float32))
    with pytest.raises(SegtraceError, match="2 dimensions"):
        resample.orient(flat, "RAS")
    assert resample.orient(flat, None) is flat
    with pytest.raises(SegtraceError, match="'RLS' is no code of three axes"):
        resample.orient(image_of(np.zeros((2, 2, 2), np.float32)), "RLS")


def grid(size=(10, 8, 6), spacing=(1.0, 1.0, 3.0), origin=(5.0, 6.0, 7.0), direction=None) -> Grid:
    return Grid(size, spacing, origin, tuple(np.eye(3).ravel() if direction is None else direction))


def centre(value: Grid) -> np.ndarray:
    return value.world([(n - 1) / 2 for n in value.array_shape])


def test_the_same_spacing_is_the_same_grid():
    assert resample.target_grid(grid(), {"spacing_mm": [1, 1, 3]}) is not None
    given_grid = grid()
    assert resample.target_grid(given_grid, {"spacing_mm": [1.0, 1.0, 3.0]}) is given_grid
    assert resample.target_grid(given_grid, {"size": [10, 8, 6]}) is given_grid
    assert resample.target_grid(given_grid, {}) is given_grid
    noisy = grid(spacing=(1.0000001, 0.9999999, 3.0))
    assert (
        resample.target_grid(noisy, {"spacing_mm": [1.0, 1.0, 3.0]}) is noisy
    )  # header rounding, not another grid


def test_a_size_keeps_the_covered_box():
    found = resample.target_grid(grid(), {"size": [5, 16, 6]})
    assert found.size == (5, 16, 6)
    assert found.spacing_mm == (2.0, 0.5, 3.0)
    assert found.origin_mm == (5.5, 5.75, 7.0)  # the corner at 4.5, 5.5, 5.5 stays


@given(
    st.tuples(*[st.integers(1, 40)] * 3),
    st.tuples(*[st.floats(0.2, 6.0)] * 3),
    st.tuples(*[st.floats(0.3, 5.0)] * 3),
    angle_triples(3.0),
)
def test_a_spacing_keeps_the_centre_and_at_most_half_a_voxel_is_lost(size, spacing, target, angles):
    before = grid(size, spacing, direction=rotation(angles).ravel())
    after = resample.target_grid(before, {"spacing_mm": list(target)})
    assert np.allclose(centre(before), centre(after), atol=1e-9)
    for axis in range(3):
        cover = after.size[axis] * after.spacing_mm[axis], before.size[axis] * before.spacing_mm[axis]
        assert (
            abs(cover[0] - cover[1]) <= after.spacing_mm[axis] / 2 + 0.02 * after.spacing_mm[axis]
            or after.size[axis] == 1
        )


def test_a_target_of_other_rank_is_refused():
    with pytest.raises(SegtraceError, match=r"spacing_mm \[1.0, 1.0\] has 2 values, the image 3 axes"):
        resample.target_grid(grid(), {"spacing_mm": [1.0, 1.0]})


def test_a_linear_ramp_is_sampled_at_world_positions():
    """The value of a ramp over x is its position in mm: half a voxel of misplacement would show."""
    before = image_of(
        np.tile(np.arange(20, dtype=np.float32) * 2 + 4, (6, 6, 1)), spacing=(2, 2, 2), origin=(4, 0, 0)
    )
    after = resample.target_grid(grid_of(before), {"spacing_mm": [0.7, 2.0, 2.0]})
    found = resample.resample_image(before, after, interpolation="linear", antialias=False)[0]
    x = np.array([after.world((0, 0, i))[0] for i in range(after.size[0])])
    inside = (x >= 4) & (x <= 42)
    assert np.allclose(found[2, 3][inside], x[inside], atol=1e-4)
    assert np.allclose(found[2, 3][x < 4], 4)
    assert np.allclose(found[2, 3][x > 42], 42)
    assert (~inside).any()


@pytest.mark.parametrize("interpolation", ["linear", "bspline"])
def test_channels_are_sampled_alike_and_one_by_one(interpolation):
    rng = np.random.default_rng(1)
    array = rng.random((8, 9, 10, 2)).astype(np.float32)
    both = sitk.GetImageFromArray(array, isVector=True)
    after = resample.target_grid(grid_of(both), {"size": [7, 7, 7]})
    found = resample.resample_image(both, after, interpolation=interpolation, antialias=False)
    assert found.shape == (2, 7, 7, 7)
    assert found.dtype == np.float32
    for number in range(2):
        alone = sitk.GetImageFromArray(array[..., number])
        assert np.array_equal(
            found[number],
            resample.resample_image(alone, after, interpolation=interpolation, antialias=False)[0],
        )


def test_smoothing_removes_what_the_coarse_grid_cannot_show():
    stripes = image_of(np.tile(np.arange(64) % 2, (8, 1)).astype(np.float32) * 100)
    after = resample.target_grid(grid_of(stripes), {"spacing_mm": [4.0, 1.0]})
    plain = resample.resample_image(stripes, after, interpolation="linear", antialias=False)[0]
    smooth = resample.resample_image(stripes, after, interpolation="linear", antialias=True)[0]
    assert np.abs(smooth[:, 3:-3] - 50).max() < 1
    assert plain.shape == smooth.shape
    mild = resample.target_grid(grid_of(stripes), {"spacing_mm": [1.4, 1.0]})
    assert np.array_equal(
        resample.resample_image(stripes, mild, interpolation="linear", antialias=True),
        resample.resample_image(stripes, mild, interpolation="linear", antialias=False),
    )


def test_a_vote_goes_to_the_lower_label_where_shares_are_equal():
    label = image_of(np.array([[2, 1, 0, 0]] * 2, np.uint8))
    after = resample.target_grid(grid_of(label), {"size": [2, 2]})
    found = resample.resample_label(label, after, interpolation="vote", labels=[1, 2])
    assert found.tolist() == [[1, 0], [1, 0]]  # halves of 2 and 1: the lower one


def test_a_vote_never_invents_a_label_between_two():
    label = image_of(np.repeat(np.array([[0, 0, 3, 3, 1, 1]], np.uint8), 6, axis=0))
    after = resample.target_grid(grid_of(label), {"size": [17, 11]})
    found = resample.resample_label(label, after, interpolation="vote", labels=[1, 2, 3])
    assert set(np.unique(found)) == {0, 1, 3}
    changes = found[5][np.flatnonzero(np.diff(found[5].astype(int), prepend=-1))]
    assert changes.tolist() == [0, 3, 1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["nearest", "vote"]), angle_triples(3.0))
def test_on_the_same_grid_a_label_is_exact(seed, interpolation, angles):
    array = np.random.default_rng(seed).integers(0, 4, (5, 6, 7)).astype(np.uint8)
    label = image_of(array, spacing=(0.7, 1.1, 3.0), origin=(1, 2, 3), direction=rotation(angles))
    found = resample.resample_label(label, grid_of(label), interpolation=interpolation, labels=[1, 2, 3])
    assert np.array_equal(found, array)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), angle_triples(0.4))
def test_an_oriented_label_maps_back_exactly(seed, angles):
    """Orientation loses nothing: nearest sampling onto the file's own grid restores every voxel."""
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 3, (5, 6, 7)).astype(np.uint8)
    flips = np.diag(rng.choice([-1.0, 1.0], 3))[:, rng.permutation(3)]
    label = image_of(array, spacing=(0.5, 1.0, 2.5), origin=(-3, 8, 1), direction=rotation(angles) @ flips)
    oriented = resample.orient(label, "RAS")
    back = sitk.Resample(oriented, label, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert np.array_equal(sitk.GetArrayFromImage(back), array)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.floats(0.6, 2.0)] * 3),
    st.tuples(*[st.floats(0.6, 2.0)] * 3),
    angle_triples(3.0),
    st.sampled_from(["nearest", "vote"]),
)
def test_a_structure_stays_where_it_was_and_as_large(spacing, target, angles, interpolation):
    array = ellipsoid((22, 26, 30), (9.0, 14.0, 12.0), (6.0, 7.0, 8.0))
    label = image_of(array, spacing=spacing, origin=(10, -20, 30), direction=rotation(angles))
    before = grid_of(label)
    oriented = resample.orient(label, "RAS")
    after = resample.target_grid(grid_of(oriented), {"spacing_mm": list(target)})
    found = resample.resample_label(oriented, after, interpolation=interpolation, labels=[1])
    raw, new = structures(array, before, labels=[1])[1], structures(found, after, labels=[1])[1]
    apart = np.linalg.solve(after.matrix(), np.subtract(raw.centroid_mm, new.centroid_mm))
    assert np.abs(apart).max() < 0.5
    assert new.voxels * after.voxel_volume_mm3 == pytest.approx(
        raw.voxels * before.voxel_volume_mm3, rel=0.15
    )
