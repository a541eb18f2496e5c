"""Folders of pictures and masks, as users have them."""

from pathlib import Path

import numpy as np
from PIL import Image as Picture


def shot(number: int, shape: tuple[int, int] = (40, 48)) -> np.ndarray:
    """A grey picture with noise of its own."""
    return np.random.default_rng(number).integers(1, 250, shape, dtype=np.uint8)


def disc(number: int, shape: tuple[int, int] = (40, 48), value: int = 255) -> np.ndarray:
    """A mask that differs from case to case."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.where((y - 20) ** 2 + (x - 20 - number % 9) ** 2 < 60 + number, value, 0).astype(np.uint8)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(array).save(path)


def pairs(folder: Path, names: list[str], *, image: str = "{}.png", mask: str = "{}_mask.png") -> None:
    """Pictures and masks under names made of each of ``names``."""
    for number, name in enumerate(names):
        save(folder / image.format(name), shot(number))
        save(folder / mask.format(name), disc(number))
