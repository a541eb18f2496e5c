"""Random pairs of masks of many characters: noise, ellipsoids, objects at the image's edge, 2-D and 3-D."""

import numpy as np
from scipy import ndimage


def blobs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of one of several characters: noise, ellipsoids that may touch the edge, far parts."""
    kind = rng.integers(4)
    if kind == 0:
        return rng.random(shape) < rng.choice([0.005, 0.1, 0.5])
    where = np.ogrid[tuple(slice(0, n) for n in shape)]
    mask = np.zeros(shape, bool)
    for _ in range(kind):
        centre, radius = rng.uniform(0, shape), rng.uniform(1.5, np.maximum(np.array(shape) / 3, 2))
        mask |= sum(((a - c) / r) ** 2 for a, c, r in zip(where, centre, radius, strict=True)) < 1
    return mask


def random_pair(seed: int) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Prediction, reference and spacing; neither mask is empty, and every third pair is much alike."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(3, 26, 2 + seed % 2) * (2 - seed % 2))
    one, two = blobs(rng, shape), blobs(rng, shape)
    if seed % 3 == 0:  # much alike, as a good prediction is
        two = one ^ (ndimage.binary_dilation(one) & (rng.random(shape) < 0.2))
    for mask in (one, two):
        mask[tuple(int(rng.integers(n)) for n in shape)] = True
    return one, two, tuple(float(s) for s in rng.choice([0.3, 0.7, 1.0, 1.0, 2.5, 5.5], len(shape)))
