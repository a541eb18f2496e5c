"""Surface distances: by hand, by law, and against an implementation of the same definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from random_masks import random_pair
from segtrace.metrics import nearest
from segtrace.metrics.borders import REACH, border
from segtrace.metrics.surface import (
    SurfaceDistances,
    average_distance,
    average_distances,
    hausdorff,
    surface_distances,
    surface_overlap,
)


def masks(shape: tuple[int, ...], *places: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for place in places:
        mask[place] = True
    return mask


def hd95(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> float:
    found = surface_distances(prediction, reference, spacing=spacing)
    assert found is not None
    return hausdorff(found)


def slow(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> SurfaceDistances:
    """The definition, word for word: erosion by a cross, and every pair of border voxels."""
    edges = [mask ^ ndimage.binary_erosion(mask) for mask in (prediction, reference)]
    one, two = (np.argwhere(edge) * np.asarray(spacing) for edge in edges)
    pairs = np.sqrt(((one[:, None] - two[None]) ** 2).sum(-1))
    return SurfaceDistances(np.sort(pairs.min(1)), np.sort(pairs.min(0)))


def test_two_voxels_two_millimetres_apart() -> None:
    one, two = masks((3, 3, 5), (1, 1, 1)), masks((3, 3, 5), (1, 1, 2))
    assert hd95(one, two, (1.0, 1.0, 2.0)) == 2.0
    assert hd95(one, two, (1.0, 1.0, 1.0)) == 1.0


def test_a_shifted_cube_is_as_far_as_its_shift() -> None:
    one = np.zeros((12, 12, 12), bool)
    one[2:6, 2:6, 2:6] = True
    for shift, spacing, expected in (((1, 0, 0), (3.0, 1.0, 1.0), 3.0), ((0, 0, 5), (1.0, 1.0, 0.5), 2.5)):
        assert hd95(one, np.roll(one, shift, (0, 1, 2)), spacing) == pytest.approx(expected)


def test_a_percentile_is_interpolated_linearly() -> None:
    # from the row to the single voxel: 0, 1, …, 10; the 95th percentile lies at 9.5; the other way: 0
    row, single = np.ones((1, 11), bool), masks((1, 11), (0, 0))
    found = surface_distances(row, single, spacing=(1.0, 1.0))
    assert found is not None
    assert found.to_reference.tolist() == list(range(11))
    assert found.to_prediction.tolist() == [0.0]
    assert hausdorff(found) == pytest.approx(9.5)
    assert hausdorff(found, percentile=100) == 10.0
    assert hausdorff(found.scaled(0.5)) == pytest.approx(4.75)


def test_of_two_directions_the_greater_counts() -> None:
    """Pooling both directions would hide the far voxel of the smaller mask."""
    reference = np.zeros((40, 40), bool)
    reference[:20, :20] = True
    prediction = masks((40, 40), (5, 0), (30, 0))
    found = surface_distances(prediction, reference, spacing=(1.0, 1.0))
    assert found is not None
    assert hausdorff(found) == max(
        np.percentile(found.to_reference, 95), np.percentile(found.to_prediction, 95)
    )
    pooled = np.percentile(np.concatenate([found.to_reference, found.to_prediction]), 95)
    assert hausdorff(found) > pooled


def test_assd_and_nsd_by_hand() -> None:
    # a row of 11 against its first voxel: distances 0 to 10 one way, 0 the other
    row, single = np.ones((1, 11), bool), masks((1, 11), (0, 0))
    found = surface_distances(row, single, spacing=(1.0, 0.7))
    assert found is not None
    assert average_distances(found) == (pytest.approx(5 * 0.7), 0.0)
    assert average_distance(found) == pytest.approx(55 * 0.7 / 12)
    for tolerance, within in ((0.0, 1), (0.69, 1), (0.7, 2), (2.1, 4), (7.0, 11)):
        assert surface_overlap(found, tolerance=tolerance) == pytest.approx((within + 1) / 12)


def test_a_distance_of_the_tolerance_is_within_it_whatever_the_rounding() -> None:
    """Spacings go through single precision in NIfTI headers: 3 · float32(0.7) is more than 2.1."""
    one, two = masks((1, 8), (0, 0)), masks((1, 8), (0, 3))
    for spacing in (0.7, 0.1, 0.3, 1.1):
        for rounded in (spacing, float(np.float32(spacing))):
            found = surface_distances(one, two, spacing=(1.0, rounded))
            assert found is not None
            assert surface_overlap(found, tolerance=3 * spacing) == 1.0
            assert surface_overlap(found, tolerance=2.999 * spacing) == 0.0


@pytest.mark.parametrize("which", ["prediction", "reference", "both"])
def test_an_empty_mask_has_no_distance(which: str) -> None:
    full, empty = masks((4, 4), (1, 1)), np.zeros((4, 4), bool)
    pair = {"prediction": (empty, full), "reference": (full, empty), "both": (empty, empty)}[which]
    assert surface_distances(*pair, spacing=(1.0, 1.0)) is None


def test_unfit_arguments_are_refused() -> None:
    one = masks((4, 4), (1, 1))
    with pytest.raises(ValueError, match=r"shape \(4, 4\), reference of shape \(4, 5\)"):
        surface_distances(one, masks((4, 5), (1, 1)), spacing=(1.0, 1.0))
    with pytest.raises(ValueError, match="2 dimensions"):
        surface_distances(one, one, spacing=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="spacing"):
        surface_distances(one, one, spacing=(1.0, 0.0))


def test_the_border_of_each_label_is_the_mask_without_its_erosion() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (9, 8, 7), dtype=np.uint8)
    labels[:, :4, :4] = 2
    found = border(labels)
    reach = REACH[3]
    inner = found.labels[reach:-reach, reach:-reach, reach:-reach]
    for label in (1, 2):
        mask = labels == label
        np.testing.assert_array_equal(inner == label, mask & ~ndimage.binary_erosion(mask))
    assert found.values.tolist() == found.labels.ravel()[found.places].tolist()


@pytest.mark.filterwarnings("ignore::FutureWarning:monai")
def test_equals_monai_on_hundreds_of_random_masks() -> None:
    torch = pytest.importorskip("torch")
    from monai import metrics as monai
    from monai.metrics.utils import get_edge_surface_distance

    for seed in range(400):
        one, two, spacing = random_pair(seed)
        found = surface_distances(one, two, spacing=spacing)
        assert found is not None
        pair = [torch.from_numpy(mask) for mask in (one, two)]
        _, theirs, _ = get_edge_surface_distance(*pair, spacing=spacing, symmetric=True)
        for ours, their in zip((found.to_reference, found.to_prediction), theirs, strict=True):
            np.testing.assert_allclose(ours, np.sort(their.numpy()), rtol=1e-6, err_msg=str(seed))
        batched = [mask[None, None] for mask in pair]
        for percentile in (95, 100):
            expected = float(
                monai.compute_hausdorff_distance(
                    *batched, include_background=True, percentile=percentile, spacing=spacing
                )
            )
            # torch.quantile finds the place between two of n values in single precision: n · 6e-8 of their gap
            values = np.concatenate([found.to_reference, found.to_prediction])
            place = 1e-7 * len(values) * np.diff(np.sort(values)).max(initial=0.0)
            assert hausdorff(found, percentile=percentile) == pytest.approx(expected, rel=1e-6, abs=place), (
                seed
            )
        if seed % 2:  # what follows from the distances by counting and adding
            options = {"include_background": True, "spacing": spacing}
            expected = float(monai.compute_average_surface_distance(*batched, symmetric=True, **options))
            assert average_distance(found) == pytest.approx(expected, rel=1e-6), seed
            for tolerance in (0.0, 0.7, 2.5, 3.3):
                expected = float(monai.compute_surface_dice(*batched, [tolerance], **options))
                overlap = surface_overlap(found, tolerance=tolerance)
                assert overlap == pytest.approx(expected, abs=1e-6), (seed, tolerance)


def test_equals_the_definition_on_random_masks() -> None:
    for seed in range(60):
        one, two, spacing = random_pair(seed)
        found, expected = surface_distances(one, two, spacing=spacing), slow(one, two, spacing)
        assert found is not None
        np.testing.assert_allclose(found.to_reference, expected.to_reference, rtol=1e-12, err_msg=str(seed))
        np.testing.assert_allclose(found.to_prediction, expected.to_prediction, rtol=1e-12, err_msg=str(seed))
        every = np.concatenate([expected.to_reference, expected.to_prediction])
        assert average_distance(found) == pytest.approx(every.mean(), rel=1e-12), seed
        means = (expected.to_reference.mean(), expected.to_prediction.mean())
        assert average_distances(found) == pytest.approx(means, rel=1e-12), seed
        assert hausdorff(found, percentile=100) == pytest.approx(every.max(), rel=1e-12), seed
        within = (every <= 1.1).mean()
        assert surface_overlap(found, tolerance=1.1) == pytest.approx(within, rel=1e-12), seed


@pytest.mark.parametrize("yield_", [0.0, 2.0])
def test_neighbours_and_tree_agree(monkeypatch: pytest.MonkeyPatch, yield_: float) -> None:
    """With a least yield of 0 the neighbours are searched to the end, with 2 the tree does the work."""
    monkeypatch.setattr(nearest, "LEAST_YIELD", yield_)
    for seed in range(24):
        one, two, spacing = random_pair(seed)
        found, expected = surface_distances(one, two, spacing=spacing), slow(one, two, spacing)
        assert found is not None
        np.testing.assert_allclose(found.to_reference, expected.to_reference, rtol=1e-12)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 1.0, 1.0), (5.5, 0.7, 0.7), (0.4, 8.0)])
def test_among_the_neighbours_none_nearer_is_left_out(spacing: tuple[float, ...]) -> None:
    steps, lengths = nearest._neighbours(spacing)
    assert (np.diff(lengths) >= 0).all()
    assert np.abs(steps).max() <= REACH[len(spacing)]
    wide = np.stack(np.meshgrid(*[np.arange(-25, 26)] * len(spacing), indexing="ij"), -1)
    every = np.sort(np.sqrt(((wide.reshape(-1, len(spacing)) * spacing) ** 2).sum(1)))
    np.testing.assert_allclose(lengths, every[: len(lengths)])


PAIRS = st.integers(2, 3).flatmap(
    lambda axes: st.tuples(
        *[st.integers(1, 7)] * axes,
    ).flatmap(
        lambda shape: st.tuples(
            hnp.arrays(bool, shape),
            hnp.arrays(bool, shape),
            st.tuples(*[st.sampled_from([0.5, 1.0, 1.25, 3.0])] * len(shape)),
        )
    )
)


@settings(max_examples=80, deadline=None)
@given(PAIRS)
def test_laws(pair: tuple[np.ndarray, np.ndarray, tuple[float, ...]]) -> None:
    one, two, spacing = pair
    found = surface_distances(one, two, spacing=spacing)
    if not one.any() or not two.any():
        assert found is None
        return
    assert found is not None
    value = hausdorff(found)
    assert hd95(two, one, spacing) == value  # symmetry
    assert hd95(one, one, spacing) == 0.0  # identity
    doubled = tuple(2 * size for size in spacing)
    assert hd95(one, two, doubled) == pytest.approx(2 * value)  # unit
    padded = [np.pad(mask, 3) for mask in (one, two)]
    assert hd95(padded[0], padded[1], spacing) == value  # the frame does not matter, to the bit
    farthest = hausdorff(found, percentile=100)
    assert value <= farthest <= np.linalg.norm(np.array(one.shape) * spacing)
    assert average_distance(found) <= farthest
    back = surface_distances(two, one, spacing=spacing)
    framed = surface_distances(*padded, spacing=spacing)
    assert back is not None
    assert framed is not None
    assert average_distance(back) == average_distance(found) == average_distance(framed)
    shares = [surface_overlap(found, tolerance=t) for t in (0.0, 0.5, 1.0, 3.0, farthest)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
