"""Shapes and noise that the embedded data sets are drawn with; everything is a function of a key."""

import hashlib
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter


def generator(*key: object) -> np.random.Generator:
    """A random generator that depends on ``key`` alone, so that a new case leaves all others as they are."""
    text = "/".join(map(str, key)).encode()
    return np.random.Generator(
        np.random.Philox(key=int.from_bytes(hashlib.sha256(text).digest()[:16], "little"))
    )


def blob(
    points: np.ndarray,
    *,
    centre: Sequence[float] | np.ndarray,
    radii: Sequence[float] | np.ndarray,
    waves: np.ndarray,
    angle: float = 0.0,
) -> np.ndarray:
    """Inside of a waved ellipsoid, bool (...): ``points`` (..., n) and ``centre`` in mm, ``radii`` in mm.

    ``angle`` turns it in the plane of the first two coordinates; ``waves`` (k, 2) are amplitude and phase
    of the k-th harmonic of the radius around that plane's angle.
    """
    offset = points - np.asarray(centre)
    cos, sin = np.cos(angle), np.sin(angle)
    u = cos * offset[..., 0] + sin * offset[..., 1]
    v = -sin * offset[..., 0] + cos * offset[..., 1]
    scaled = [u / radii[0], v / radii[1]] + [offset[..., i] / radii[i] for i in range(2, offset.shape[-1])]
    around = np.arctan2(scaled[1], scaled[0])
    limit = 1 + sum(a * np.cos((k + 2) * around + p) for k, (a, p) in enumerate(waves))
    return np.sqrt(sum(s * s for s in scaled)) < limit


def waves(random: np.random.Generator, *, count: int = 3, size: float = 0.08) -> np.ndarray:
    """Amplitudes and phases (count, 2) of an outline's harmonics."""
    return np.stack([random.uniform(-size, size, count), random.uniform(0, 2 * np.pi, count)], axis=1)


def smooth_noise(
    random: np.random.Generator, shape: Sequence[int], *, sigma: Sequence[float] | float
) -> np.ndarray:
    """Noise of unit deviation with a correlation length ``sigma`` in voxels, float64 of ``shape``."""
    noise = gaussian_filter(random.standard_normal(shape), sigma, mode="wrap")
    return noise / max(noise.std(), 1e-12)
