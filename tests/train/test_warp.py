"""Sampling under affine and elastic maps: equal to SciPy's, for cases of unequal shapes in one pool."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from segtrace.errors import SegtraceError
from segtrace.train import warp

SHAPES: dict[int, list[tuple[int, ...]]] = {
    2: [(19, 26), (33, 7), (1, 12)],
    3: [(11, 14, 9), (8, 5, 17), (6, 1, 7)],
}
SIZE: dict[int, tuple[int, ...]] = {2: (21, 16), 3: (7, 10, 9)}


def pool(axes: int, *, channels: int = 2, labels: int = 4) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Voxels of the cases of ``SHAPES`` one after another, and where each begins."""
    random = np.random.default_rng(axes)
    counts = [math.prod(shape) for shape in SHAPES[axes]]
    starts = np.cumsum([0, *counts])[:-1].tolist()
    images = random.standard_normal((channels, sum(counts))).astype(np.float32)
    return (
        torch.from_numpy(images),
        torch.from_numpy(random.integers(0, labels, sum(counts), np.uint8)),
        starts,
    )


def maps(axes: int, seed: int) -> torch.Tensor:
    """A map for each case: turned, stretched and sheared about the case's middle, reaching beyond it."""
    random = np.random.default_rng([axes, seed])
    found = []
    for shape in SHAPES[axes]:
        linear = random.normal(0, 0.5, (axes, axes)) + np.eye(axes) * random.choice([-1.0, 1.0], axes)
        middle = (np.asarray(shape) - 1) / 2 + random.normal(0, 1, axes)
        offset = middle - linear @ ((np.asarray(SIZE[axes]) - 1) / 2)
        found.append(np.column_stack([linear, offset]))
    return torch.from_numpy(np.stack(found))


def positions(matrix: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij")).reshape(len(size), -1)
    return (matrix[:, :-1] @ index + matrix[:, -1:]).reshape(-1, *size)


def reference(case: np.ndarray, where: np.ndarray) -> np.ndarray:
    """SciPy's linear interpolation, in double precision."""
    return np.asarray(ndimage.map_coordinates(case.astype(float), where, order=1, mode="nearest"))


def cases(axes: int, values: torch.Tensor, starts: list[int]) -> list[np.ndarray]:
    parts = [values[..., s : s + math.prod(n)] for s, n in zip(starts, SHAPES[axes], strict=True)]
    return [part.reshape(*part.shape[:-1], *n).numpy() for part, n in zip(parts, SHAPES[axes], strict=True)]


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one piece"])
@pytest.mark.parametrize("elastic", [False, True], ids=["affine", "elastic"])
@pytest.mark.parametrize("axes", [2, 3])
def test_equals_scipy(axes: int, elastic: bool, together: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images to rounding; labels wherever the nearest or the largest is not undecided by rounding."""
    images, labels, starts = pool(axes)
    size, matrices = SIZE[axes], maps(axes, seed=1)
    random = np.random.default_rng(3)
    moved = random.normal(0, 1.5, (len(starts), axes, *size)).astype(np.float32) if elastic else None
    monkeypatch.setattr(warp, "PIECE_VOXELS", 3 * math.prod(size[1:]))
    if together:  # as on a GPU
        monkeypatch.setattr(warp, "_in_pieces", lambda device: False)
    found = {
        mode: warp.sample_affine(
            images,
            labels,
            matrices,
            size,
            starts=starts,
            shapes=SHAPES[axes],
            label_mode=mode,
            displacement=None if moved is None else torch.from_numpy(moved),
        )
        for mode in ("nearest", "linear")
    }
    assert torch.equal(found["nearest"][0], found["linear"][0])
    for n, (image, label) in enumerate(
        zip(cases(axes, images, starts), cases(axes, labels, starts), strict=True)
    ):
        where = positions(matrices[n].numpy(), size) + (0 if moved is None else moved[n])
        for channel in range(len(image)):
            np.testing.assert_allclose(
                found["nearest"][0][n, channel], reference(image[channel], where), atol=2e-5
            )
        limited = np.stack([np.clip(w, 0, s - 1) for w, s in zip(where, label.shape, strict=True)])
        clear = (np.abs(limited - np.floor(limited) - 0.5) > 1e-4).all(0)
        nearest = label[tuple(np.floor(limited + 0.5).astype(int))]
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(found["nearest"][1][n].numpy()[clear], nearest[clear])
        shares = np.stack([reference(label == value, where) for value in range(4)])
        ranked = np.sort(shares, 0)
        clear = ranked[-1] - ranked[-2] > 1e-4
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(found["linear"][1][n].numpy()[clear], shares.argmax(0)[clear])


@given(
    st.lists(st.sampled_from([-1, 1]), min_size=3, max_size=3),
    st.permutations([0, 1, 2]),
    st.lists(st.integers(-4, 9), min_size=3, max_size=3),
)
@settings(max_examples=25, deadline=None)
def test_flips_turns_and_moves_are_exact(signs: list[int], order: list[int], start: list[int]) -> None:
    """Whole positions give the case's own values, bit for bit, and its edge beyond it."""
    images, labels, starts = pool(3)
    linear = np.eye(3)[order] * signs
    matrix = np.column_stack([linear, start])
    shape, size = SHAPES[3][0], SIZE[3]
    where = np.clip(positions(matrix, size).astype(int), 0, np.reshape(shape, (3, 1, 1, 1)) - 1)
    for mode in ("nearest", "linear"):
        image, label = warp.sample_affine(
            images, labels, torch.from_numpy(matrix)[None], size, starts=[0], shapes=[shape], label_mode=mode
        )
        np.testing.assert_array_equal(image[0], cases(3, images, starts)[0][:, *where])
        np.testing.assert_array_equal(label[0], cases(3, labels, starts)[0][*where])


@pytest.mark.parametrize("axes", [2, 3])
def test_of_equal_shares_the_lowest_label_and_of_equally_near_voxels_the_higher(axes: int) -> None:
    """Half-way between two voxels, along each axis in turn."""
    shape = (2,) * axes
    for axis in range(axes):
        label = np.full(shape, 5, np.uint8)
        label[(slice(None),) * axis + (1,)] = 3
        matrix = np.column_stack([np.eye(axes), np.eye(axes)[axis] / 2])
        found = {}
        for mode in ("nearest", "linear"):
            _, found[mode] = warp.sample_affine(
                torch.zeros(1, label.size),
                torch.from_numpy(label).view(-1),
                torch.from_numpy(matrix)[None],
                (1,) * axes,
                starts=[0],
                shapes=[shape],
                label_mode=mode,
            )
        assert found["linear"].item() == 3
        assert found["nearest"].item() == 3
        _, flipped = warp.sample_affine(
            torch.zeros(1, label.size),
            torch.from_numpy(8 - label).view(-1),
            torch.from_numpy(matrix)[None],
            (1,) * axes,
            starts=[0],
            shapes=[shape],
            label_mode="linear",
        )
        assert flipped.item() == 3


def test_same_bytes_on_any_number_of_threads() -> None:
    images, labels, starts = pool(3)
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(
                warp.sample_affine(
                    images,
                    labels,
                    maps(3, 5),
                    (40, 40, 40),
                    starts=starts,
                    shapes=SHAPES[3],
                    label_mode="linear",
                )
            )
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_arguments_that_do_not_fit_are_named_together() -> None:
    images, labels, starts = pool(3)
    with pytest.raises(SegtraceError) as error:
        warp.sample_affine(
            images.double(),
            labels,
            maps(2, 0),
            SIZE[3],
            starts=[*starts[:2], len(labels)],
            shapes=SHAPES[3],
            displacement=torch.zeros(1),
        )
    for part in ("float64", r"(3, 2, 3)", "displacement (1,)", f"from voxel {len(labels)} on"):
        assert part in str(error.value)


def test_a_label_map_of_one_label_needs_no_vote() -> None:
    images, labels, starts = pool(3)
    _, found = warp.sample_affine(
        images,
        torch.full_like(labels, 7),
        maps(3, 4),
        SIZE[3],
        starts=starts,
        shapes=SHAPES[3],
        label_mode="linear",
    )
    assert found.unique().tolist() == [7]
