"""From probabilities to the most probable labels: SimpleITK's, whatever the blocks they come in."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrace import images
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid, places_along
from segtrace.predict import restore

LINE = (1.0, 0.0, 0.0, 1.0)


def labels_on(probabilities: np.ndarray, prepared: Grid, target: Grid, *, planes: int = 1000) -> np.ndarray:
    """The most probable labels, of probabilities in blocks of some planes."""
    values = torch.from_numpy(probabilities)
    blocks = ((i, values[:, i : i + planes]) for i in range(0, values.shape[1], planes))
    return restore.labels_on(blocks, prepared=prepared, target=target)


def by_simpleitk(share: np.ndarray, prepared: Grid, target: Grid) -> np.ndarray:
    """One class on ``target`` as SimpleITK interpolates it."""
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(target.size)
    resampler.SetOutputSpacing(target.spacing_mm)
    resampler.SetOutputOrigin(target.origin_mm)
    resampler.SetOutputDirection(target.direction)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetUseNearestNeighborExtrapolator(True)
    return sitk.GetArrayFromImage(resampler.Execute(images.from_array(share, prepared)))


def turned(dimensions: int) -> tuple[float, ...]:
    """A direction that is oblique in the plane of the first two axes."""
    turn = np.eye(dimensions)
    turn[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    return tuple(turn.ravel().tolist())


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(), dimensions=st.sampled_from([2, 3]), planes=st.integers(1, 9), chunk=st.integers(1, 300)
)
def test_labels_are_simpleitks_but_for_ties(data, dimensions: int, planes: int, chunk: int) -> None:
    def several(values: st.SearchStrategy) -> list:
        return data.draw(st.lists(values, min_size=dimensions, max_size=dimensions))

    sizes = st.integers(1, 9)
    spacings = st.sampled_from([0.4, 0.7, 1.0, 1.5, 3.0])
    shift = np.array(several(st.integers(-12, 12).map(lambda n: n / 11)))
    direction = turned(dimensions)
    prepared = Grid(tuple(several(sizes)), tuple(several(spacings)), (5.0, -3.0, 2.0)[:dimensions], direction)
    origin = np.array(prepared.origin_mm) + np.array(direction).reshape(dimensions, -1) @ shift
    target = Grid(tuple(several(sizes)), tuple(several(spacings)), tuple(origin.tolist()), direction)
    share = np.random.default_rng(planes).dirichlet([0.5] * 4, prepared.array_shape).astype(np.float32)
    share = np.ascontiguousarray(np.moveaxis(share, -1, 0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restore, "CHUNK_VOXELS", chunk)
        found = labels_on(share, prepared, target, planes=planes)
    theirs = np.stack([by_simpleitk(one, prepared, target) for one in share])
    for axis, inside in enumerate(restore._covered(places_along(prepared, target), prepared)):
        theirs[(0, *[slice(None)] * axis, ~inside)] = 2.0  # outside the field of view, background
    first, second = np.sort(theirs, axis=0)[[-1, -2]]
    clear = first - second > 1e-5
    for axis, along in enumerate(places_along(prepared, target)):
        half = (
            np.abs(np.abs(along - (prepared.array_shape[axis] - 1) / 2) - prepared.array_shape[axis] / 2)
            < 1e-6
        )
        clear[(slice(None),) * axis + (half,)] = False  # on the border of the image: inside or beyond
        whole = np.abs(along - np.floor(along) - 0.5) < 1e-6
        clear[(slice(None),) * axis + (whole,)] = False  # between two voxels: either may be the nearest
    assert np.array_equal(found[clear], theirs.argmax(axis=0)[clear])


def test_the_blocks_that_probabilities_come_in_change_nothing() -> None:
    prepared = Grid((9, 8, 11), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
    target = Grid((14, 5, 23), (0.6, 1.7, 0.9), (0.1, 0.2, 0.3), prepared.direction)
    share = np.random.default_rng(0).random((5, *prepared.array_shape), np.float32)
    whole = labels_on(share, prepared, target)
    assert len(np.unique(whole)) == 5
    assert all(np.array_equal(labels_on(share, prepared, target, planes=n), whole) for n in (1, 2, 5))
    same = labels_on(share, prepared, prepared, planes=3)
    assert np.array_equal(same, share.argmax(axis=0))


def test_voxels_outside_the_prepared_field_of_view_are_background() -> None:
    prepared = Grid((3, 2), (2.0, 1.0), (0.0, 0.0), LINE)  # covers x from -1 to 5 mm
    target = Grid((13, 2), (1.0, 1.0), (-4.0, 0.0), LINE)  # x from -4 to 8
    share = np.stack([np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)])
    found = labels_on(share, prepared, target)
    # up to half a prepared voxel (1 mm) beyond the edge keeps the edge's value: rounding can cut that off
    assert found[0].tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]


def test_classes_are_interpolated_linearly_and_ties_go_to_the_lower_label() -> None:
    prepared = Grid((2, 1), (4.0, 1.0), (0.0, 0.0), LINE)
    target = Grid((5, 1), (1.0, 1.0), (0.0, 0.0), LINE)
    share = np.zeros((3, 1, 2), np.float32)
    share[:, 0, 0] = 0.0, 0.25, 0.75  # at x = 0 mm
    share[:, 0, 1] = 0.25, 0.75, 0.0  # at x = 4 mm
    # at 0..4 mm, class 1: .25 .375 .5 .625 .75 and class 2: .75 .5625 .375 .1875 0
    assert labels_on(share, prepared, target).tolist() == [[2, 2, 1, 1, 1]]
    half = np.full((3, 1, 2), 0.5, np.float32)
    half[0] = 0.25
    assert labels_on(half, prepared, target).tolist() == [[1] * 5]


def test_probabilities_of_another_shape_are_refused() -> None:
    grid = Grid((3, 2), (1.0, 1.0), (0.0, 0.0), LINE)
    for shape in ((2, 3, 2), (2, 2, 2), (2, 1, 3)):
        with pytest.raises(SegtraceError, match=r"voxels do not fit the prepared grid of size 3x2"):
            labels_on(np.zeros(shape, np.float32), grid, grid)
