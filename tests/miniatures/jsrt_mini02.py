"""segmentation02 of miniJSRT: BMP images, labels of four grey values, copies in further folders."""

from pathlib import Path

from miniatures import Expected, box, noise, picture, write_zip


def build(folder: Path) -> dict[str, Expected]:
    """Three images; each also lies in ``org`` and ``label``, as published."""
    shape, top = (32, 32), "segmentation02/segmentation"
    body, lung = box(shape, (1, 31), (1, 31)), box(shape, (4, 28), (3, 13)) + box(shape, (4, 28), (20, 29))
    heart = box(shape, (16, 26), (13, 20))
    label = body * 170 + lung * (255 - 170) - heart * (170 - 85)
    files, expected = {f"{top}/result/readme.txt": b""}, {}
    for side, numbers in (("train", (1, 109)), ("test", (227,))):
        for number in numbers:
            image, mask = picture(noise(*shape, seed=number), "BMP"), picture(label, "PNG")
            for place in (side, f"{side}_s") if side == "train" else (side,):
                files[f"{top}/org_{place}/case{number:03d}.bmp"] = image
                files[f"{top}/label_{place}/case{number:03d}_label.png"] = mask
            files[f"{top}/org/case{number:03d}.bmp"] = image
            files[f"{top}/label/case{number:03d}_label.png"] = mask
            expected[f"{side}_{number:03d}"] = Expected(shape, {1: 24 * 19, 2: 70}, side=side)
    write_zip(folder / "segmentation02.zip", files)
    return expected
