"""The masks of XLSor with its own copies of the images, and the table that names them."""

from pathlib import Path

from miniatures import Expected, box, noise, picture, write_zip


def build(folder: Path) -> dict[str, Expected]:
    """Two images of one patient; a third mask is in no row of the table."""
    shape = (24, 24)
    lungs = box(shape, (4, 20), (2, 10)) + box(shape, (4, 20), (13, 22))
    top = "data/NIH"
    files = {"data/Augmentation/images/0001.png": picture(noise(*shape), "PNG")}
    for number, name in enumerate(("NIH_0010", "NIH_0034", "NIH_0077")):
        files[f"{top}/images/{name}.png"] = picture(noise(*shape, seed=number), "PNG")
        files[f"{top}/masks/{name}_mask.png"] = picture(lungs * 255, "PNG")
    write_zip(folder / "XLSor_data.zip", files)
    rows = ["NIH,ChestX-ray14,scan,mask"]
    names = {"NIH_0010": "00009863_008", "NIH_0034": "00009863_038"}
    rows += [f"{own},{name}.png,images/{own}.png,masks/{own}_mask.png" for own, name in names.items()]
    (folder / "correspondence_with_chestXray8.csv").write_text("\r\n".join(rows) + "\r\n")
    return {name: Expected((24, 24), {1: 16 * 17}, subject="00009863") for name in names.values()}
