"""Find planted duplicates: recall of each kind of change, false groups, and the time that grouping takes.

    .venv/bin/python benchmarks/duplicates.py --mirror FOLDER [--images 500] [--seed 0] [--write docs/results/duplicates.md]
    .venv/bin/python benchmarks/duplicates.py --mirror FOLDER --times [--write docs/results/duplicates.md]

FOLDER holds the published archives of ISIC 2018 (training images), BUSI, the nerve competition and the lung
radiographs. Of each, images are drawn and copied with one change each (the whole of a set where it is smaller);
a copy counts as found if it forms a pair with its original. A false group joins two originals that are not one
scene. Which of the originals truly are was judged by looking at every pair found: ``SAME`` lists them, and two
frames of one subject of the nerve competition, which come from one video. Thumbnails are made as ``index`` makes
them; the time is that of grouping alone, for the whole of ISIC 2018.
"""

import argparse
import datetime
import io
import os
import platform
import re
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from segtrace import duplicates, fingerprints
from segtrace.files import write_text

ROOT = Path(__file__).parents[1]
#: Set → (its archive, what the names of its images match).
SETS = {
    "ISIC 2018": ("ISIC2018_Task1-2_Training_Input.zip", r".*/(ISIC_\d+)\.jpg"),
    "BUSI": ("Dataset_BUSI.zip", r".*/(\w+ \(\d+\))\.png"),
    "lungs": ("Lung_Segmentation.zip", r".*/CXR_png/(\w+)\.png"),
    "nerve": ("ultrasound-nerve-segmentation.zip", r"(?:.*/)?train/(\d+_\d+)\.tif"),
}
#: Images of one scene, looked at one by one.
SAME = {
    "ISIC 2018": (
        "0000157 0014946, 0000162 0014826, 0000164 0014795, 0000165 0014788, 0000177 0014657, 0000179 0014765, "
        "0000182 0015395, 0000183 0015311, 0000184 0015310, 0000185 0015155, 0000186 0014698, 0000189 0015161, "
        "0000193 0015436, 0000201 0015023, 0000204 0014748, 0000205 0014742, 0000206 0014739, 0000209 0015016, "
        "0000215 0015313, 0000217 0014973, 0000218 0015241, 0000220 0015202, 0000222 0014846, 0000223 0014818, "
        "0000224 0014791, 0000226 0014949, 0000228 0014964, 0000229 0014771, 0000230 0014763, 0000231 0015146, "
        "0000519 0011295, 0012222 0016003, 0012290 0013594, 0012672 0012673, 0012756 0013184, 0012887 0012989, "
        "0013109 0013163, 0015102 0015353, 0015986 0015987"
    ),
    "BUSI": (
        "malignant (4) malignant (5) malignant (7) malignant (8) malignant (9), malignant (39) malignant (42), "
        "normal (5) normal (13), normal (38) normal (43) normal (50), normal (39) normal (48), "
        "normal (40) normal (46), normal (41) normal (44) normal (47), normal (42) normal (45) normal (49)"
    ),
    "lungs": "",
    "nerve": "",
}


def cropped(left: float, top: float, right: float, bottom: float) -> Callable[[Image.Image], Image.Image]:
    """A crop by these parts of width and height."""

    def crop(image: Image.Image) -> Image.Image:
        w, h = image.size
        return image.crop((round(w * left), round(h * top), w - round(w * right), h - round(h * bottom)))

    return crop


def jpeg(image: Image.Image) -> Image.Image:
    """The image through JPEG of quality 60."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(buffer).convert("RGB")


def _resized(image: Image.Image) -> Image.Image:
    return image.resize((image.width * 5 // 8, image.height * 5 // 8), Image.Resampling.BICUBIC)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "flipped left-right": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "flipped up-down": lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "turned by 90 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "resized to 5/8": _resized,
    "cropped by 5 %, 2.5 % at each border": cropped(0.025, 0.025, 0.025, 0.025),
    "cropped by 5 % at one border": cropped(0.05, 0, 0, 0),
    "cropped by 5 % at two borders": cropped(0, 0, 0.05, 0.05),
    "cropped by 5 % at every border": cropped(0.05, 0.05, 0.05, 0.05),
    "JPEG, quality 60": jpeg,
    "10 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "10 % darker": lambda image: ImageEnhance.Brightness(image).enhance(0.9),
    "flipped, cropped by 5 %, JPEG": lambda image: jpeg(
        cropped(0.025, 0.025, 0.025, 0.025)(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    ),
}


def thumbnail(image: Image.Image) -> np.ndarray:
    """The thumbnail (SIDE, SIDE) of an image, as ``index`` makes it."""
    pixels = np.moveaxis(np.asarray(image), -1, 0)
    return fingerprints.thumbnails(pixels, np.zeros(pixels.shape[1:], np.uint8))[0]


def names_of(archive: zipfile.ZipFile, pattern: str) -> dict[str, str]:
    """Name of an image → its place in the archive, sorted."""
    found = ((re.fullmatch(pattern, name), name) for name in archive.namelist())
    return {match[1]: name for match, name in sorted(found, key=lambda item: item[1]) if match}


def scenes(name: str, images: list[str]) -> list[str]:
    """For each image the scene that it shows, as far as anybody knows: itself, where nothing else is known."""
    if name == "nerve":  # SUBJECT_FRAME
        return [image.split("_")[0] for image in images]
    known: dict[str, str] = {}
    for group in SAME[name].split(", "):
        members = re.findall(r"\w+ \(\d+\)|\d{7}", group)
        known |= dict.fromkeys(members, members[0]) if members else {}
    return [known.get(image.removeprefix("ISIC_"), image) for image in images]


def false_groups(pairs: list[tuple[int, int]], scene: list[str]) -> int:
    """Connected groups that join images of different scenes."""
    places = [str(place) for place in range(len(scene))]
    groups = duplicates.groups(places, [(str(one), str(other)) for one, other in pairs])
    found: dict[str, set[str]] = {}
    for group, shown in zip(groups, scene, strict=True):
        found.setdefault(group, set()).add(shown)
    return sum(len(shown) > 1 for shown in found.values())


def pairs_of(greys: list[np.ndarray]) -> list[tuple[int, int]]:
    """All pairs of near-duplicates."""
    return [(row["first"], row["second"]) for row in duplicates.near(np.stack(greys))]


def measured(name: str, mirror: Path, *, images: int, seed: int) -> Iterator[str]:
    """Lines of the table of one set."""
    file, pattern = SETS[name]
    with zipfile.ZipFile(mirror / file) as archive:
        places = names_of(archive, pattern)
        drawn = sorted(np.random.default_rng(seed).permutation(sorted(places))[:images].tolist())
        scene = scenes(name, drawn)
        pictures = [Image.open(io.BytesIO(archive.read(places[one]))).convert("RGB") for one in drawn]
    originals = [thumbnail(picture) for picture in pictures]
    found = pairs_of(originals)
    yield f"\n**{name}**: {len(drawn)} of {len(places)} images, {len(found)} pairs among them, "
    same = sum(scene[one] == scene[other] for one, other in found)
    yield f"{same} of these of one scene; false groups: {false_groups(found, scene)}.\n\n"
    yield "| change of the copies | recall | false groups among originals and copies |\n|---|---|---|\n"
    for change, make in CHANGES.items():
        pairs = pairs_of([*originals, *(thumbnail(make(picture)) for picture in pictures)])
        recall = len({one for one, other in pairs if other == one + len(drawn)}) / len(drawn)
        yield f"| {change} | {recall:.3f} | {false_groups(pairs, [*scene, *scene])} |\n"


def timed(mirror: Path) -> str:
    """The time that grouping ISIC 2018 takes, its thumbnails given."""
    file, pattern = SETS["ISIC 2018"]
    with zipfile.ZipFile(mirror / file) as archive:
        places = names_of(archive, pattern)
        scene = scenes("ISIC 2018", [*places])
        greys = [thumbnail(Image.open(io.BytesIO(archive.read(p))).convert("RGB")) for p in places.values()]
    start, own = time.perf_counter(), time.process_time()
    pairs = pairs_of(greys)
    seconds, spent = time.perf_counter() - start, time.process_time() - own
    return (
        f"\n**All {len(greys)} images of ISIC 2018**, thumbnails given: grouped in {seconds:.0f} s ({spent:.0f} s of "
        f"processor time; load of the machine {os.getloadavg()[0]:.1f}); {len(pairs)} pairs, "
        f"{false_groups(pairs, scene)} false groups.\n"
    )


def large(count: int) -> str:
    """The time in which so many fingerprints, drawn at random, are compared in pairs and in all placements."""
    codes = np.random.default_rng(0).integers(0, 2**63, count, dtype=np.uint64) * np.uint64(2)
    start, own = time.perf_counter(), time.process_time()
    found = len(duplicates.candidates(codes)[0])
    seconds, spent = time.perf_counter() - start, time.process_time() - own
    return (
        f"\n**{count} fingerprints drawn at random**: compared in {seconds:.0f} s ({spent:.0f} s of processor time; load of "
        f"the machine {os.getloadavg()[0]:.1f}); {found} candidates at up to {duplicates.distance_limit(codes)} bits.\n"
    )


def main() -> None:
    """Measure, print, and write the page where it is asked for."""
    parser = argparse.ArgumentParser(description="Find planted duplicates.")
    parser.add_argument("--mirror", type=Path, required=True)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS), default=list(SETS))
    parser.add_argument("--times", action="store_true", help="measure times alone, and add them to the page")
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    today = datetime.datetime.now(tz=datetime.UTC).date()
    shown = (
        "--times --mirror FOLDER"
        if given.times
        else f"--mirror FOLDER --images {given.images} --seed {given.seed}"
    )
    where = (
        f"`python benchmarks/duplicates.py {shown}`, {today}, at commit {commit}, {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, NumPy {np.__version__}.\n"
    )
    parts = [f"\n## Times\n\n{where}" if given.times else f"# Duplicates, planted and found\n\n{where}"]
    print(parts[0], end="", flush=True)
    if given.times:
        parts += [timed(given.mirror), large(112_120)]
    else:
        for name in given.sets:
            for line in measured(name, given.mirror, images=given.images, seed=given.seed):
                parts.append(line)
                print(line, end="", flush=True)
    if given.times:
        print("".join(parts[1:]), end="")
    if given.write:
        before = given.write.read_text(encoding="utf-8") if given.times and given.write.is_file() else ""
        write_text(given.write, before.partition("\n## Times\n")[0] + "".join(parts))


if __name__ == "__main__":
    main()
