"""ISIC 2018, task 1: three pairs of archives with a licence and an attribution beside the images."""

from collections.abc import Sequence
from pathlib import Path

from miniatures import Expected, box, noise, picture, write_zip

SIDES = ("training", "validation", "test")


def build(folder: Path, sides: Sequence[str] = SIDES) -> dict[str, Expected]:
    """Two images a side; one mask is 1-bit."""
    expected = {}
    for side in sides:
        data, truth = f"ISIC2018_Task1-2_{side.title()}_Input", f"ISIC2018_Task1_{side.title()}_GroundTruth"
        texts = {"ATTRIBUTION.txt": b"see the challenge's page\n", "LICENSE.txt": b"CC0\n"}
        pictures = {f"{data}/{name}": text for name, text in texts.items()}
        masks = {f"{truth}/{name}": text for name, text in texts.items()}
        for number in (0, 1):
            case = f"ISIC_001{SIDES.index(side)}00{number}"
            lesion = box((36, 48), (2, 22), (10, 20 + number))
            pictures[f"{data}/{case}.jpg"] = picture(noise(36, 48, 3, seed=number), "JPEG")
            masks[f"{truth}/{case}_segmentation.png"] = picture(
                lesion.astype(bool) if number else lesion * 255, "PNG"
            )
            expected[case] = Expected((48, 36), {1: 20 * (10 + number)}, side=side, channels=3)
        write_zip(folder / f"{data}.zip", pictures)
        write_zip(folder / f"{truth}.zip", masks)
    return expected
