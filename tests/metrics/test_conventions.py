"""The other conventions of surface metrics: by hand, by their definition, and against their packages."""

import importlib
import importlib.util
import itertools
import math

import numpy as np
import pytest

from random_masks import random_pair
from segtrace.metrics.surface import (
    Convention,
    SurfaceDistances,
    average_distance,
    average_distances,
    hausdorff,
    label_distances,
    surface_distances,
    surface_overlap,
)

WHY = "a peer, not in the project's environment; benchmarks/metrics.py compares in the peers' one"


def distances(
    one: np.ndarray, two: np.ndarray, spacing: tuple[float, ...], convention: Convention
) -> SurfaceDistances:
    found = surface_distances(one, two, spacing=spacing, convention=convention)
    assert found is not None
    return found


# --- pooled -------------------------------------------------------------------------------------------


def test_pooled_takes_the_percentile_of_both_directions_together() -> None:
    # a row of 11 and its first voxel: 0 to 10 one way and 0 the other; of the 12 the 95th percentile is at 10.45
    row, single = np.ones((1, 11), bool), np.zeros((1, 11), bool)
    single[0, 0] = True
    pooled = distances(row, single, (1.0, 1.0), Convention.POOLED)
    assert hausdorff(pooled) == pytest.approx(9 + 0.45)
    assert hausdorff(pooled) < hausdorff(distances(row, single, (1.0, 1.0), Convention.BORDER))
    assert hausdorff(pooled.scaled(2.0)) == pytest.approx(2 * 9.45)


def test_pooled_differs_from_border_in_its_percentiles_alone() -> None:
    for seed in range(40):
        one, two, spacing = random_pair(seed)
        pooled, border = (
            distances(one, two, spacing, kind) for kind in (Convention.POOLED, Convention.BORDER)
        )
        every = np.concatenate([border.to_reference, border.to_prediction])
        for percentile in (50, 95):
            expected = np.percentile(every, percentile)
            assert hausdorff(pooled, percentile=percentile) == pytest.approx(expected, rel=1e-12), seed
        assert hausdorff(pooled, percentile=100) == hausdorff(border, percentile=100)
        assert average_distance(pooled) == average_distance(border)
        assert surface_overlap(pooled, tolerance=1.0) == surface_overlap(border, tolerance=1.0)


@pytest.mark.skipif(importlib.util.find_spec("medpy") is None, reason=f"medpy: {WHY}")
def test_pooled_equals_medpy_on_hundreds_of_random_masks() -> None:
    peer = importlib.import_module("medpy.metric.binary")
    for seed in range(300):
        one, two, spacing = random_pair(seed)
        pooled = distances(one, two, spacing, Convention.POOLED)
        assert hausdorff(pooled) == pytest.approx(peer.hd95(one, two, voxelspacing=spacing), rel=1e-9), seed
        if seed % 3 == 0:
            farthest = hausdorff(pooled, percentile=100)
            assert farthest == pytest.approx(peer.hd(one, two, voxelspacing=spacing), rel=1e-9), seed
            mean = average_distance(pooled)
            assert mean == pytest.approx(peer.assd(one, two, voxelspacing=spacing), rel=1e-9), seed


# --- surfel -------------------------------------------------------------------------------------------


def test_surfels_of_two_voxels_by_hand() -> None:
    """Two voxels a step apart share four of their eight corners: the distances are 0 (4 surfels) and 1 (4)."""
    one, two = np.zeros((2, 3, 3, 4), bool)
    one[1, 1, 1], two[1, 1, 2] = True, True
    found = distances(one, two, (1.0, 1.0, 1.0), Convention.SURFEL)
    assert found.to_reference.tolist() == found.to_prediction.tolist() == [0.0] * 4 + [1.0] * 4
    assert average_distances(found) == (0.5, 0.5)
    assert average_distance(found) == 0.5
    assert hausdorff(found) == hausdorff(found, percentile=100) == 1.0
    assert hausdorff(found, percentile=50) == 0.0  # half the area lies within 0: no interpolation
    assert (surface_overlap(found, tolerance=0.9), surface_overlap(found, tolerance=1.0)) == (0.5, 1.0)


def test_surfels_weigh_by_their_area() -> None:
    """A row of 1 mm by 10 mm against its first pixel, in the plane: the corners' pieces are √101/2 mm long,
    those of the sides 10 mm.
    """
    row, single = np.zeros((2, 1, 3), bool)
    row[:], single[0, 0] = True, True
    found = distances(row, single, (1.0, 10.0), Convention.SURFEL)
    corner = math.sqrt(101) / 2
    assert found.to_reference.tolist() == [0.0] * 4 + [10.0] * 2 + [20.0] * 2
    assert found.areas is not None
    assert found.areas[0].tolist() == pytest.approx([corner, corner, 10, 10, 10, 10, corner, corner])
    length = 4 * corner + 40
    mean = (20 * 10 + 2 * corner * 20) / length
    assert average_distances(found) == (pytest.approx(mean), 0.0)
    assert average_distance(found) == pytest.approx(mean * length / (length + 4 * corner))
    near = 2 * corner + 20 + 4 * corner
    assert surface_overlap(found, tolerance=1.0) == pytest.approx(near / (length + 4 * corner))
    assert hausdorff(found, percentile=100 * (2 * corner + 20 + 0.01) / length) == 10.0
    assert hausdorff(found, percentile=100 * (2 * corner + 20 - 0.01) / length) == 0.0


def slow(mask: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Positions and areas of the surface elements, corner by corner, with the areas from MONAI's table."""
    pytest.importorskip("torch")
    from monai.metrics.utils import get_code_to_measure_table

    table = get_code_to_measure_table(spacing)[0].numpy().ravel().astype(float)
    places, areas = [], []
    for corner in np.ndindex(*(n + 1 for n in mask.shape)):
        bits = ""
        for step in itertools.product((-1, 0), repeat=mask.ndim):
            voxel = tuple(c + s for c, s in zip(corner, step, strict=True))
            there = all(0 <= v < n for v, n in zip(voxel, mask.shape, strict=True))
            bits += str(int(there and bool(mask[voxel])))
        if "0" in bits and "1" in bits:
            places.append(np.array(corner) * spacing)
            areas.append(table[int(bits, 2)])
    return np.array(places), np.array(areas)


def slow_percentile(values: np.ndarray, areas: np.ndarray, share: float) -> float:
    gathered = 0.0
    for value, area in sorted(zip(values.tolist(), areas.tolist(), strict=True)):
        gathered += area
        if gathered >= share * areas.sum():
            return value
    return float(values.max())


def between(found: SurfaceDistances, percentile: float, expected: float) -> bool:
    """Whether a percentile, which jumps, is the expected one within rounding of the areas."""
    low, high = (hausdorff(found, percentile=percentile + step) for step in (-1e-4, 1e-4))
    return low * (1 - 1e-9) <= expected <= high * (1 + 1e-9)


def test_surfels_equal_their_definition_on_small_random_masks() -> None:
    rng = np.random.default_rng(5)
    for seed in range(30):
        shape = tuple(int(n) for n in rng.integers(1, 6, 2 + seed % 2))
        one, two = (rng.random(shape) < rng.choice([0.2, 0.5, 0.9]) for _ in range(2))
        for mask in (one, two):
            mask[tuple(int(rng.integers(n)) for n in shape)] = True
        spacing = tuple(float(s) for s in rng.choice([0.3, 1.0, 2.5], len(shape)))
        found = distances(one, two, spacing, Convention.SURFEL)
        (here, here_areas), (there, there_areas) = slow(one, spacing), slow(two, spacing)
        pairs = np.sqrt(((here[:, None] - there[None]) ** 2).sum(-1))
        directed = ((pairs.min(1), here_areas), (pairs.min(0), there_areas))
        for ours, (values, _) in zip((found.to_reference, found.to_prediction), directed, strict=True):
            np.testing.assert_allclose(ours, np.sort(values), rtol=1e-9)
        means = tuple(float((v * a).sum() / a.sum()) for v, a in directed)
        assert average_distances(found) == pytest.approx(means, rel=1e-6)
        near = sum(float(a[v <= 1.1].sum()) for v, a in directed)
        whole = here_areas.sum() + there_areas.sum()
        assert surface_overlap(found, tolerance=1.1) == pytest.approx(near / whole, rel=1e-6)
        for percentile in (50, 95):
            expected = max(slow_percentile(v, a, percentile / 100) for v, a in directed)
            assert between(found, percentile, expected), (seed, percentile)


@pytest.mark.filterwarnings("ignore::FutureWarning:monai")
def test_the_surface_dice_of_surfels_equals_monais_on_hundreds_of_random_masks() -> None:
    torch = pytest.importorskip("torch")
    from monai.metrics import compute_surface_dice

    for seed in range(200):
        one, two, spacing = random_pair(seed)
        found = distances(one, two, spacing, Convention.SURFEL)
        pair = [torch.from_numpy(mask)[None, None] for mask in (one, two)]
        tolerance = (0.0, 0.9, 2.6)[seed % 3]
        options = {"include_background": True, "spacing": spacing, "use_subvoxels": True}
        expected = float(compute_surface_dice(*pair, [tolerance], **options))
        assert surface_overlap(found, tolerance=tolerance) == pytest.approx(expected, abs=1e-5), seed


@pytest.mark.skipif(importlib.util.find_spec("surface_distance") is None, reason=f"surface-distance: {WHY}")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_surfel_equals_surface_distance_on_hundreds_of_random_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "Inf", np.inf, raising=False)  # what version 0.1 needs of NumPy 2
    peer = importlib.import_module("surface_distance")
    for seed in range(300):
        one, two, spacing = random_pair(seed)
        found = distances(one, two, spacing, Convention.SURFEL)
        theirs = peer.compute_surface_distances(two, one, spacing)
        np.testing.assert_allclose(found.to_reference, theirs["distances_pred_to_gt"], rtol=1e-9)
        np.testing.assert_allclose(found.to_prediction, theirs["distances_gt_to_pred"], rtol=1e-9)
        back, forth = peer.compute_average_surface_distance(theirs)
        assert average_distances(found) == pytest.approx((forth, back), rel=1e-9), seed
        for percentile in (50, 95, 100):
            assert between(found, percentile, peer.compute_robust_hausdorff(theirs, percentile)), seed
        for tolerance in (0.05, 0.95, 2.6):
            expected = peer.compute_surface_dice_at_tolerance(theirs, tolerance)
            assert surface_overlap(found, tolerance=tolerance) == pytest.approx(expected, rel=1e-9), seed


# --- several labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("convention", list(Convention))
def test_all_labels_at_once_equal_each_on_its_own(convention: Convention) -> None:
    rng = np.random.default_rng(1)
    reference = np.zeros((12, 13, 14), np.uint8)
    for label in (1, 2, 4):
        low = rng.integers(0, 7, 3)
        reference[tuple(slice(int(n), int(n + rng.integers(2, 7))) for n in low)] = label
    prediction = np.roll(reference, (1, -1, 2), (0, 1, 2))
    prediction[prediction == 4] = 0
    spacings = [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (3.0, 1.0, 0.5)]
    found = label_distances(
        prediction, reference, labels=[1, 2, 3, 4], spacings=spacings, convention=convention
    )
    for spacing, of_labels in zip(spacings, found, strict=True):
        assert set(of_labels) == {1, 2}
        for label, ours in of_labels.items():
            alone = distances(prediction == label, reference == label, spacing, convention)
            np.testing.assert_allclose(ours.to_reference, alone.to_reference, rtol=1e-12)
            np.testing.assert_allclose(ours.to_prediction, alone.to_prediction, rtol=1e-12)
            assert average_distance(ours) == pytest.approx(average_distance(alone), rel=1e-12)
            assert surface_overlap(ours, tolerance=1.0) == surface_overlap(alone, tolerance=1.0)
            assert hausdorff(ours) == pytest.approx(hausdorff(alone), rel=1e-12)
