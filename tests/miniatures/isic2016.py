"""ISIC 2016: training and test archives, masks that end in ``_Segmentation.png`` with a capital."""

from pathlib import Path

from miniatures import Expected, box, noise, picture, write_zip


def build(folder: Path) -> dict[str, Expected]:
    """Two training images and one of the test; the test's mask is written in small letters."""
    files: dict[str, dict[str, bytes]] = {}
    expected = {}
    for case, name, ending in (
        ("ISIC_0000000", "Training", "Segmentation"),
        ("ISIC_0000001", "Training", "Segmentation"),
        ("ISIC_0000003", "Test", "segmentation"),
    ):
        data, truth = f"ISBI2016_ISIC_Part1_{name}_Data", f"ISBI2016_ISIC_Part1_{name}_GroundTruth"
        image, mask = picture(noise(32, 44, 3, seed=len(files)), "JPEG"), box((32, 44), (4, 14), (6, 26))
        files.setdefault(data, {})[f"{data}/{case}.jpg"] = image
        files.setdefault(truth, {})[f"{truth}/{case}_{ending}.png"] = picture(mask * 255, "PNG")
        expected[case] = Expected((44, 32), {1: 200}, side=name.lower(), channels=3)
    for name, content in files.items():
        write_zip(folder / f"{name}.zip", content)
    return expected
