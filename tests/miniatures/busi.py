"""BUSI: three folders, spaces and parentheses in names, further masks, masks in 1 bit, RGB and RGBA."""

from pathlib import Path

import numpy as np

from miniatures import Expected, box, noise, picture, write_zip


def build(folder: Path) -> dict[str, Expected]:
    """Five images: one with two masks, one with a second mask of another size and RGBA, one normal."""
    top = "Dataset_BUSI_with_GT"
    first, second = box((40, 50), (5, 15), (5, 15)), box((40, 50), (20, 24), (30, 35))
    small = box((20, 25), (10, 12), (15, 20))
    rgba = np.dstack([small * 255] * 3 + [np.full_like(small, 255)])
    files = {
        f"{top}/benign/benign (1).png": picture(noise(40, 50, 3), "PNG"),
        f"{top}/benign/benign (1)_mask.png": picture(first.astype(bool), "PNG"),
        f"{top}/benign/benign (4).png": picture(noise(40, 50, seed=1), "PNG"),
        f"{top}/benign/benign (4)_mask.png": picture(first * 255, "PNG"),
        f"{top}/benign/benign (4)_mask_1.png": picture(rgba, "PNG"),
        f"{top}/benign/benign (195).png": picture(noise(40, 50, seed=2), "PNG"),
        f"{top}/benign/benign (195)_mask.png": picture(first.astype(bool), "PNG"),
        f"{top}/benign/benign (195)_mask_1.png": picture(np.dstack([second * 255] * 3), "PNG"),
        f"{top}/malignant/malignant (53).png": picture(noise(40, 50, seed=3), "PNG"),
        f"{top}/malignant/malignant (53)_mask.png": picture(second.astype(bool), "PNG"),
        f"{top}/normal/normal (1).png": picture(noise(40, 50, seed=4), "PNG"),
        f"{top}/normal/normal (1)_mask.png": picture(np.zeros((40, 50), bool), "PNG"),
        "__MACOSX/Dataset_BUSI_with_GT/benign/._benign (1).png": b"\0\5\x16\7",
    }
    write_zip(folder / "Dataset_BUSI.zip", files)
    size = (50, 40)
    return {
        "benign_0001": Expected(size, {1: 100}, group="benign"),
        "benign_0004": Expected(size, {1: 140}, group="benign", notes="resized by nearest neighbour"),
        "benign_0195": Expected(size, {1: 120}, group="benign"),
        "malignant_0053": Expected(size, {1: 20}, group="malignant"),
        "normal_0001": Expected(size, {1: 0}, group="normal"),
    }
