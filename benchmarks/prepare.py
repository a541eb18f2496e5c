"""Prepare cases beside nnU-Net v2, on equal target grids and at equal interpolation orders.

    .venv-peers/bin/python benchmarks/prepare.py --mirror FOLDER [--repeats 3] [--cases 260] [--images 200]

Both sides read the same files from disk, scale intensities by mean and deviation (pictures to [0, 1]),
resample where the grid changes, and write what a training reads; both in this process, which keeps to one
core. Images are interpolated by cubic splines, label maps by linear vote. The work is
not the same in all: nnU-Net crops to what is not zero, lists foreground voxels, writes blosc2-compressed
arrays and flushes nothing; segtrace compares both raw files with the index's checksums, judges headers
before and voxels after reading, writes plain arrays, their checksums and a record, each atomically and
flushed to the disk. nnU-Net plans 1 mm for the hippocampus, where no voxel is interpolated; the second
comparison asks both for 0.75 mm. FOLDER holds the published archives (Task04_Hippocampus.tar,
ISIC2018_Task1-2_Training_Input.zip and ISIC2018_Task1_Training_GroundTruth.zip); pictures are rewritten
as PNG first, since nnU-Net reads no JPEG.
"""

import copy
import io
import os
import shutil
import statistics
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import measure
import nnunet_peer
from segtrace import files, store
from segtrace.datasets import Case
from segtrace.prepare import cases as ours

Files = tuple[str, Path, Path]
#: Cases that a side prepares before it is the other's turn.
BLOCK = 10
PLAIN: Mapping[str, Any] = {
    "orientation": None,
    "spacing_mm": None,
    "size": None,
    "antialias": False,
    "image_interpolation": "bspline",
    "label_interpolation": "vote",
    "intensity": [{"kind": "zscore"}],
}


class Peer:
    """nnU-Net's preprocessor for one planned data set; keeps its plan and configuration."""

    def __init__(self, planned: nnunet_peer.Planned, name: str, spacing: Sequence[float] | None) -> None:
        from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        plans = copy.deepcopy(planned.plans)
        if spacing is not None:
            plans["configurations"][name]["spacing"] = list(spacing)
        self.planned, self.plans = planned, PlansManager(plans)
        self.configuration = self.plans.get_configuration(name)
        self.preprocessor = DefaultPreprocessor(verbose=False)

    def arrays(self, case: str) -> tuple[np.ndarray, np.ndarray]:
        """Image (C, D, H, W) and label (1, D, H, W), in memory."""
        images, label = self.planned.files[case]
        data, seg, _ = self.preprocessor.run_case(
            images, label, self.plans, self.configuration, self.planned.dataset
        )
        return data, seg

    def prepare(self, case: str, folder: Path) -> None:
        """Prepare and write one case."""
        images, label = self.planned.files[case]
        self.preprocessor.run_case_save(
            str(folder / case), images, label, self.plans, self.configuration, self.planned.dataset
        )


def job(
    entry: Files, folder: Path, recipe: Mapping[str, Any], *, reader: str, labels: Sequence[int]
) -> ours.Job:
    """segtrace's job for a case, with the checksums that its index would hold."""
    case, image, label = entry
    root = image.parent.parent
    names = [path.relative_to(root).as_posix() for path in (image, label)]
    sums = [files.sha256_file(path) for path in (image, label)]
    return ours.Job(
        root=root,
        reader=reader,
        options={},
        case=Case(case=case, subject=case, images=(names[0],), labels=(names[1],)),
        image_sha256=sums[0],
        label_sha256=sums[1],
        labels=tuple(labels),
        recipe=recipe,
        folder=folder,
        batch=0,
        digest="",
    )


def same_grid(entries: Sequence[Files], peer: Peer, *, pictures: bool) -> dict[str, Mapping[str, Any]]:
    """By case, the recipe that gives nnU-Net's own grid; a size, since nnU-Net stretches the image to one."""
    from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape

    found = {}
    for case, image, _ in entries:
        data, properties = peer.plans.image_reader_writer_class().read_images([str(image)])
        spacing = [1.0] * 2 if pictures else list(properties["spacing"])
        wanted = list(peer.configuration.spacing)
        shape = compute_new_shape(data.shape[-len(wanted) :], spacing, wanted)
        recipe = dict(PLAIN) | {"size": [int(n) for n in shape[::-1]]}
        if pictures:
            recipe["intensity"] = [{"kind": "window", "low": 0, "high": 255}]
        found[case] = recipe
    return found


def standard(values: np.ndarray) -> np.ndarray:
    """By channel, mean 0 and deviation 1: nnU-Net scales before, segtrace after resampling."""
    axes = tuple(range(1, values.ndim))
    values = values.astype(np.float64)
    found: np.ndarray = (values - values.mean(axes, keepdims=True)) / values.std(axes, keepdims=True)
    return found


def compare(peer: Peer, jobs: Mapping[str, ours.Job]) -> None:
    """Say how far the sides' outputs lie apart; stop where they are not of one image."""
    apart, tails, dice, left_out = [], [], [], 0
    for case, entry in jobs.items():
        ours.prepare_case(entry)
        mine = store.open_case(entry.folder, case)
        data, seg = peer.arrays(case)
        assert mine.label is not None
        image, label = np.asarray(mine.image), np.asarray(mine.label)
        if image.ndim < data.ndim:
            image, label = image[:, None], label[None]
        if image.shape != data.shape:  # cropped by nnU-Net: a grid of its own
            left_out += 1
            continue
        inner = tuple(slice(4, -4) if n > 16 else slice(None) for n in label.shape)
        difference = np.abs(standard(data) - standard(image))[(slice(None), *inner)]
        apart.append(float(difference.max()))
        tails.append(float(np.quantile(difference, 0.999)))
        theirs = np.maximum(seg[0], 0)
        pair = [(label == value, theirs == value) for value in np.unique(label) if value]
        dice += [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pair]
        assert np.corrcoef(data.ravel(), image.ravel())[0, 1] > 0.999, f"{case}: not the same image"
    assert min(dice) > 0.95, f"label maps differ: Dice {min(dice):.3f}"
    measure.say(
        f"outputs of {len(apart)} cases on one grid ({left_out} more were cropped by nnU-Net), 4 voxels and more "
        f"from the edge, in deviations:\n  greatest difference {max(apart):.2g}, its median over cases "
        f"{statistics.median(apart):.2g}; 99.9 % of a case's voxels below {max(tails):.2g};\n"
        f"  Dice of the label maps {min(dice):.4f} to {max(dice):.4f}"
    )


def time_sides(peer: Peer, jobs: Mapping[str, ours.Job], repeats: int) -> None:
    """Time both sides on blocks of cases in turns; rows of milliseconds a case, by the clock and by the processor."""
    clock: dict[str, list[float]] = {"ours": [], "theirs": []}
    processor: dict[str, list[float]] = {"ours": [], "theirs": []}
    names = list(jobs)
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            sums = dict.fromkeys(("ours", "theirs"), np.zeros(2))
            for start in range(0, len(names), BLOCK):
                block = names[start : start + BLOCK]
                for case in block:
                    store.remove_case(jobs[case].folder, case)
                sides = {
                    "ours": lambda block=block: [ours.prepare_case(jobs[case]) for case in block],
                    "theirs": lambda block=block: [peer.prepare(case, Path(folder)) for case in block],
                }
                for side, work in sides.items():
                    begun = np.array([time.perf_counter(), time.process_time()])
                    work()
                    sums[side] = sums[side] + [time.perf_counter(), time.process_time()] - begun
        for side, total in sums.items():
            clock[side].append(1e3 * total[0] / len(names))
            processor[side].append(1e3 * total[1] / len(names))
    measure.row(f"{len(names)} cases", clock, bar=3)
    measure.row("  of the processor's time", processor)
    rates = {side: 1e3 / statistics.median(values) for side, values in clock.items()}
    measure.say(f"  {rates['ours']:.1f} cases/s a core, nnU-Net {rates['theirs']:.1f}")


def pictures(mirror: Path, work: Path, number: int) -> list[Files]:
    """The first ``number`` images and masks of ISIC 2018 task 1 as PNG, the masks of 0 and 1."""
    folder = work / "isic"
    found = []
    inputs = zipfile.ZipFile(mirror / "ISIC2018_Task1-2_Training_Input.zip")
    masks = zipfile.ZipFile(mirror / "ISIC2018_Task1_Training_GroundTruth.zip")
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    with inputs, masks:
        names = sorted(name for name in inputs.namelist() if name.endswith(".jpg"))[:number]
        for name in names:
            case = Path(name).stem
            image, label = folder / "images" / f"{case}.png", folder / "labels" / f"{case}.png"
            if not label.is_file():
                mask = f"ISIC2018_Task1_Training_GroundTruth/{case}_segmentation.png"
                Image.open(io.BytesIO(inputs.read(name))).convert("RGB").save(image)
                values = np.asarray(Image.open(io.BytesIO(masks.read(mask))).convert("L"))
                Image.fromarray((values > 127).astype(np.uint8)).save(label)
            found.append((case, image, label))
    return found


def one(
    title: str,
    planned: nnunet_peer.Planned,
    configuration: str,
    spacing: Sequence[float] | None,
    entries: Sequence[Files],
    *,
    reader: str,
    labels: Sequence[int],
    repeats: int,
    work: Path,
) -> None:
    """One comparison: how far the outputs are apart, then the times."""
    peer = Peer(planned, configuration, spacing)
    recipes = same_grid(entries, peer, pictures=len(labels) == 1)
    folder = work / "ours" / title.split(",")[0].replace(" ", "_")
    shutil.rmtree(folder, ignore_errors=True)
    jobs = {
        entry[0]: job(entry, folder, recipes[entry[0]], reader=reader, labels=labels) for entry in entries
    }
    measure.head(title, ["segtrace, ms a case", "nnU-Net, ms a case"])
    compare(peer, {case: jobs[case] for case in list(jobs)[:: max(1, len(jobs) // 40)]})
    time_sides(peer, jobs, repeats)


def main() -> None:
    """Run the comparisons and print them."""
    parser = measure.arguments(__doc__, repeats=3)
    parser.add_argument("--mirror", type=Path, help="folder with the published archives")
    parser.add_argument("--cases", type=int, default=260, help="hippocampus cases (260)")
    parser.add_argument("--images", type=int, default=200, help="ISIC images (200)")
    parser.add_argument("--work", type=Path, default=Path("/tmp/segtrace-bench"), help="scratch folder")
    chosen = parser.parse_args()
    if chosen.mirror is None:
        measure.say("prepare: left out, for want of --mirror (a folder with the published archives)")
        return
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    work: Path = chosen.work.resolve()
    nnunet_peer.set_folders(work)
    measure.say(measure.machine())
    volumes = nnunet_peer.hippocampus(chosen.mirror, work)
    planned = nnunet_peer.plan_hippocampus("Dataset004_Hippocampus", volumes, work)
    some = {"reader": "msd_hippocampus", "labels": (1, 2), "repeats": chosen.repeats, "work": work}
    volumes = volumes[: chosen.cases]
    one("hippocampus at 1 mm, as nnU-Net plans it", planned, "3d_fullres", None, volumes, **some)
    one("hippocampus at 0.75 mm, cubic spline", planned, "3d_fullres", (0.75,) * 3, volumes[::4], **some)
    images = pictures(chosen.mirror, work, chosen.images)
    planned = nnunet_peer.plan(
        "Dataset018_ISIC",
        images,
        work,
        channels=["rgb_to_0_1"] * 3,
        labels={"lesion": 1},
        ending=".png",
    )
    some = {"reader": "phantom2d", "labels": (1,), "repeats": chosen.repeats, "work": work}
    one("ISIC 512x512 to 256x256, cubic spline", planned, "2d", (2.0, 2.0), images, **some)


if __name__ == "__main__":
    main()
