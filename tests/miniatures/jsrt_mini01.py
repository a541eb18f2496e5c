"""Segmentation01 of miniJSRT: train numbers start at 1 and test numbers at 0."""

from pathlib import Path

from miniatures import Expected, box, noise, picture, write_zip


def build(folder: Path) -> dict[str, Expected]:
    """Two training images and two test images; number 1 is on both sides."""
    lungs = box((32, 32), (4, 28), (3, 14), value=255) + box((32, 32), (4, 28), (18, 29), value=255)
    files = {"Segmentation01/Thumbs.db": b"\xd0\xcf\x11\xe0"}
    expected = {}
    for side, numbers in (("train", (1, 50)), ("test", (0, 1))):
        for number in numbers:
            files[f"Segmentation01/{side}/org/{number}.png"] = picture(noise(32, 32, seed=number), "PNG")
            files[f"Segmentation01/{side}/label/{number}.png"] = picture(lungs, "PNG")
            expected[f"{side}_{number:03d}"] = Expected((32, 32), {1: 2 * 24 * 11}, side=side)
    write_zip(folder / "Segmentation01.zip", files)
    return expected
