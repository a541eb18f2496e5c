"""Images of which no two are alike."""

import numpy as np
from scipy import ndimage


def picture(seed: int, shape: tuple[int, int] = (90, 130)) -> np.ndarray:
    """Texture of two scales, uint8."""
    draw = np.random.default_rng(seed)
    coarse, fine = (ndimage.gaussian_filter(draw.normal(size=shape), s) * s for s in (8, 2))
    mixed = coarse + 0.5 * fine
    return np.rint((mixed - mixed.min()) / np.ptp(mixed) * 255).astype(np.uint8)
