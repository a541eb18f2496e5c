"""NIH ChestX-ray14: archives of one folder, grey and RGBA images, several of one patient, lists, tables with age and sex."""

from pathlib import Path

import numpy as np

from miniatures import Expected, box, noise, picture, write_tar, write_zip

#: Columns as published; the values are what must not be found again.
TABLE = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,"
    "Height],OriginalImagePixelSpacing[x,y],\n00000001_000.png,Cardiomegaly,0,1,58Y,Malefactor,PA,2682,2749,0.143,0.143,\n"
)
TEST = ("00000003_000.png", "00000003_001.png")


def image(shape: tuple[int, int], number: int, *, colours: bool) -> bytes:
    """Greys, or RGBA of equal colours as some images are stored."""
    grey = noise(*shape, seed=number)
    return picture(np.dstack([grey, grey, grey, np.full_like(grey, 255)]) if colours else grey, "PNG")


def build(folder: Path) -> dict[str, Expected]:
    """Twelve archives with an image each, of four of which a mask is there; one mask of half size, one without an image."""
    shape = (32, 32)
    names = ["00000001_000", "00000001_001", "00000002_000", "00000003_000", "00000003_001"]
    names += [f"000000{number:02d}_000" for number in range(4, 11)]
    for number, name in enumerate(names):
        files = {
            "images": None,
            f"images/._{name}.png": b"\0\5\x16\7",
            f"images/{name}.png": image(shape, number, colours=number == 1),
        }
        write_tar(
            folder / f"images_{number + 1:03d}.tar.gz",
            {name: data for name, data in files.items() if data is not None},
            compression="gz",
        )
    (folder / "train_val_list.txt").write_text(
        "\n".join(f"{name}.png" for name in names if f"{name}.png" not in TEST)
    )
    (folder / "test_list.txt").write_text("\n".join(TEST))
    lungs = box(shape, (4, 28), (2, 14)) + box(shape, (4, 28), (18, 30))
    write_zip(
        folder / "nih_chestxray14_masks.zip",
        {
            "Data_Entry_2017.csv": TABLE.encode(),
            "masks/00000001_000.png": picture(lungs * 255, "PNG"),
            "masks/00000001_001_mask.png": picture(lungs.astype(bool), "PNG"),
            "masks/00000003_000.png": picture(lungs[::2, ::2] * 255, "PNG"),
            "masks/00000003_001.png": picture(np.dstack([lungs * 255] * 3), "PNG"),
            "masks/00099999_000.png": picture(lungs, "PNG"),
        },
    )
    return {
        name: Expected(
            (32, 32),
            {1: 2 * 24 * 12},
            subject=name[:8],
            side="test" if f"{name}.png" in TEST else "train_val",
            notes="has 16x16 and its image 32x32" if name == "00000003_000" else "",
        )
        for name in (names[0], names[1], names[3], names[4])
    }
