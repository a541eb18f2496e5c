"""ISIC 2017: three pairs of archives; superpixels, a table and AppleDouble files beside the images."""

from pathlib import Path

from miniatures import Expected, box, noise, picture, write_zip

SIDES = {"training": "Training", "validation": "Validation", "test": "Test_v2"}


def build(folder: Path) -> dict[str, Expected]:
    """Two images a side, of two sizes."""
    expected = {}
    for first, (side, name) in enumerate(SIDES.items()):
        data, truth = f"ISIC-2017_{name}_Data", f"ISIC-2017_{name}_Part1_GroundTruth"
        pictures: dict[str, bytes] = {f"{data}/": b"", f"{data}/{data}_metadata.csv": b"image_id,age,sex\n"}
        masks: dict[str, bytes] = {f"{truth}/": b""}
        for number in (0, 1):
            case, rows, columns = f"ISIC_00{first + 1}000{number}", 30 + number, 40 + 2 * number
            lesion = box((rows, columns), (5, 12 + first), (8, 20), value=255)
            pictures[f"{data}/{case}.jpg"] = picture(noise(rows, columns, 3, seed=number), "JPEG")
            pictures[f"{data}/{case}_superpixels.png"] = picture(noise(rows, columns, 3), "PNG")
            pictures[f"__MACOSX/{data}/._{case}.jpg"] = b"\0\5\x16\7"
            masks[f"{truth}/{case}_segmentation.png"] = picture(lesion, "PNG")
            expected[case] = Expected((columns, rows), {1: (7 + first) * 12}, side=side, channels=3)
        write_zip(folder / f"{data}.zip", pictures)
        write_zip(folder / f"{truth}.zip", masks)
    return expected
