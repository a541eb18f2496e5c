"""Time sliding-window prediction and measure its memory against MONAI's, on equal windows, in one run.

    python benchmarks/sliding.py [--repeats 3] [--threads 2] [--side 256]
    python benchmarks/sliding.py --large

Two claims, each for a volume of 256³ and 8 classes: ``labels``, segtrace's plane by plane form against
MONAI's ``sliding_window_inference(...).argmax(1)``, and ``logits``, both giving the float32 logits of the whole
volume (which alone are 512 MiB: half of MONAI's memory cannot be reached there). Before anything is timed,
logits of both forms are compared with MONAI's (1e-5), and no class may be further ahead of the chosen one by
MONAI's logits than that.

Networks: ``one convolution`` (1³, so that nearly all the time is the loop's) and ``unet3d, base 1``, a small
registered one. Each time is taken in a process of its own, the two sides in turn. Memory is the process's
greatest resident size (VmHWM): ``added`` is what prediction adds to what the process holds before it, with
libraries, network and image in memory; ``process`` is all of it. Times are medians in seconds, with the
fastest and the slowest. Ratios below 1.3 on a shared machine are ties.

``--large`` segments one volume of 512×512×700 voxels, 8 classes, end to end, with ``segtrace predict --run``:
reading, preparation (onto another grid), prediction, restoration, writing. Bar: 8 GiB.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# As in segtrace's commands, for both sides: threads sleep rather than spin where other jobs use the cores.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import torch
from torch import Tensor, nn

from segtrace import networks
from segtrace.geometry import Grid
from segtrace.predict import restore
from segtrace.sliding import predict_logits, predict_planes

CLASSES = 8
#: Name → (network, sides of the window, overlap, weighting, windows at once).
SETTINGS: dict[str, tuple[str, int, float, str, int]] = {
    "one convolution, window 96, overlap 0.25": ("convolution", 96, 0.25, "constant", 1),
    "one convolution, window 128, overlap 0.5, gaussian": ("convolution", 128, 0.5, "gaussian", 1),
    "unet3d base 1, window 96, no overlap, gaussian": ("unet3d", 96, 0.0, "gaussian", 1),
}
FORMS = ("labels", "logits")
MIB = 1 << 20


def network_of(kind: str) -> nn.Module:
    """A network of 8 classes with fixed weights."""
    torch.manual_seed(0)
    if kind == "unet3d":
        return networks.create("unet3d", in_channels=1, out_channels=CLASSES, spatial_dims=3, base=1).eval()
    network = nn.Conv3d(1, CLASSES, 1)
    network.divisor = 1  # type: ignore[assignment]
    return network.eval()


def volume(side: int) -> Tensor:
    """An image (1, D, H, W) of noise."""
    return torch.randn(1, side, side, side, generator=torch.Generator().manual_seed(0))


def options_of(setting: str) -> dict[str, Any]:
    """Arguments of segtrace's functions."""
    _, window, overlap, weighting, batch = SETTINGS[setting]
    return {"window": [window] * 3, "overlap": overlap, "weighting": weighting, "batch": batch}


def monai_logits(network: nn.Module, image: Tensor, setting: str) -> Tensor:
    """MONAI's logits (1, K, D, H, W)."""
    from monai.inferers import sliding_window_inference

    _, window, overlap, weighting, batch = SETTINGS[setting]
    with torch.inference_mode():
        found: Tensor = sliding_window_inference(
            image[None], [window] * 3, batch, network, overlap=overlap, mode=weighting
        )
    return found


def our_labels(network: nn.Module, image: Tensor, setting: str) -> np.ndarray:
    """Labels (D, H, W), as ``segtrace predict`` makes them where nothing was resampled."""
    grid = Grid(tuple(image.shape[:0:-1]), (1.0,) * 3, (0.0,) * 3, tuple(np.eye(3).ravel()))
    blocks = (
        (first, torch.softmax(logits[0], dim=0))
        for first, logits in predict_planes([network], image, **options_of(setting))
    )
    return restore.labels_on(blocks, prepared=grid, target=grid)


def functions(network: nn.Module, image: Tensor, setting: str) -> Mapping[tuple[str, str], Callable[[], Any]]:
    """(side, form) → what is measured."""
    return {
        ("segtrace", "labels"): lambda: our_labels(network, image, setting),
        ("segtrace", "logits"): lambda: predict_logits(network, image, **options_of(setting)),
        ("MONAI", "labels"): lambda: monai_logits(network, image, setting).argmax(dim=1),
        ("MONAI", "logits"): lambda: monai_logits(network, image, setting),
    }


def check(setting: str, side: int) -> None:
    """Stop unless logits and labels are equal."""
    network, image = network_of(SETTINGS[setting][0]), volume(side)
    theirs = monai_logits(network, image, setting)[0]
    apart = 0.0
    ours = predict_logits(network, image, **options_of(setting))
    for low in range(0, side, 16):  # in parts: whole differences would need as much again
        apart = max(apart, float((ours[:, low : low + 16] - theirs[:, low : low + 16]).abs().max()))
    del ours
    for first, planes in predict_planes([network], image, **options_of(setting)):
        part = theirs[:, first : first + planes.shape[2]]
        apart = max(apart, float((planes[0] - part).abs().max()))
    assert apart < 1e-5, f"{setting}: logits differ by {apart}"
    labels, wrong = torch.from_numpy(our_labels(network, image, setting)), 0
    for low in range(0, side, 16):
        part, chosen = theirs[:, low : low + 16], labels[low : low + 16]
        taken = part.gather(0, chosen[None].long())[0]
        wrong += int((part.amax(0) - taken > 1e-5).sum())  # a class is clearly ahead of the chosen one
    assert wrong == 0, f"{setting}: {wrong} labels differ"
    print(f"{setting}: logits equal to {apart:.1e}, labels the same", flush=True)


def memory(key: str) -> int:
    """A figure of this process's memory in bytes: VmRSS (now) or VmHWM (the greatest so far)."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split(f"{key}:")[1].split()[0]) * 1024


def child(arguments: argparse.Namespace) -> None:
    """One measurement, as JSON."""
    side, form = arguments.child
    network, image = network_of(SETTINGS[arguments.setting][0]), volume(arguments.side)
    functions(network, image[:, :128, :128, :128], arguments.setting)[side, form]()  # warm
    before, high = memory("VmRSS"), memory("VmHWM")
    start = time.perf_counter()
    found = functions(network, image, arguments.setting)[side, form]()
    seconds = time.perf_counter() - start
    peak = memory("VmHWM")
    assert peak > high, "an earlier moment needed more memory"
    assert len(found)
    print(json.dumps({"seconds": seconds, "added": peak - before, "process": peak}))


def compare(arguments: argparse.Namespace) -> None:
    """All comparisons, as tables."""
    for setting in SETTINGS:
        check(setting, arguments.side)
    shape = f"{arguments.side}³"
    for form in FORMS:
        print(f"\n{form} of {shape}, {CLASSES} classes\n{'':24s} {'segtrace':>26s} {'MONAI':>26s}    ratio")
        for setting in SETTINGS:
            found: dict[str, list[dict[str, float]]] = {"segtrace": [], "MONAI": []}
            for _ in range(arguments.repeats):
                for side, values in found.items():
                    command = [sys.executable, __file__, "--child", side, form, "--setting", setting]
                    command += ["--side", str(arguments.side), "--threads", str(arguments.threads)]
                    done = subprocess.run(command, check=True, capture_output=True, text=True)
                    values.append(json.loads(done.stdout.splitlines()[-1]))
            print(setting)
            row("  time, s", found, "seconds", 1)
            row("  memory added, MiB", found, "added", MIB)
            row("  memory of process, MiB", found, "process", MIB)


def row(name: str, found: Mapping[str, list[dict[str, float]]], key: str, unit: float) -> None:
    """Print one comparison."""

    def shown(side: str) -> str:
        values = [entry[key] / unit for entry in found[side]]
        digits = 2 if unit == 1 else 0
        low, middle, high = (f"{f(values):.{digits}f}" for f in (min, statistics.median, max))
        return f"{middle} ({low} to {high})"

    ratio = statistics.median(e[key] for e in found["MONAI"]) / statistics.median(
        e[key] for e in found["segtrace"]
    )
    print(f"{name:24s} {shown('segtrace'):>26s} {shown('MONAI'):>26s} {ratio:7.2f}x", flush=True)


# --- one large volume, end to end --------------------------------------------------------------------

RUN = "large/plain/random/tiny/smoke/fold-0_seed-0"
SIZE = (512, 512, 700)


def write_volume(path: Path) -> None:
    """A CT-like volume, int16, on a grid of 0.8 × 0.8 × 1 mm: a body with eight layers and noise, in air."""
    from segtrace import images

    rng = np.random.default_rng(0)
    x, y = np.meshgrid(*(np.linspace(-1, 1, n) for n in SIZE[:2]), indexing="xy")
    distance = x**2 / 0.6 + y**2 / 0.5
    plane = np.where(distance < 1, np.floor(distance * 8) * 40 - 100, -1000)
    array = np.empty(SIZE[::-1], np.int16)
    noise = rng.normal(0, 15, plane.shape)
    for number in range(len(array)):
        array[number] = plane + np.roll(noise, number * 7, 0)
    grid = Grid(SIZE, (0.8, 0.8, 1.0), (-204.4, -204.4, -350.0), tuple(np.eye(3).ravel()))
    path.write_bytes(images.nifti_bytes(array, grid, level=1))


def write_project(root: Path) -> None:
    """A data set, and a run of a small network whose weights are random."""
    import yaml

    from segtrace import checkpoint, files, layout

    spec = {"in_channels": 1, "out_channels": CLASSES, "spatial_dims": 3}
    network = {"name": "unet3d", "options": {"base": 1}}
    labels = {str(n): f"layer {n}" for n in range(1, CLASSES)}
    dataset = {
        "title": "one large volume",
        "reader": "msd_hippocampus",
        "dimensions": 3,
        "modality": "CT-like",
        "licence": "none",
        "labels": {int(n): name for n, name in labels.items()},
        "channels": ["CT"],
        "recipes": {
            "plain": {
                "orientation": "RAS",
                "spacing_mm": [0.78, 0.78, 1.0],
                "intensity": [{"kind": "window", "low": -200, "high": 300}],
            }
        },
        "protocols": {"random": {"kind": "grouped_random", "test_fraction": 0.5, "validation_fraction": 0.1}},
    }
    inference = {"window": [128, 128, 128], "overlap": 0.1, "weighting": "gaussian", "batch": 1}
    run = {
        "run": RUN,
        "dataset": "large",
        "recipe": "plain",
        "labels": labels,
        "threads": os.cpu_count(),
        "network": network | spec,
        "training_name": "none",
        "training": {"precision": "fp32", "crop": None, "inference": inference},
    }
    folder = root / layout.run(RUN)
    files.write_text(root / "config/datasets/large.yaml", yaml.safe_dump(dataset))
    files.write_json(folder / "run.json", run)
    torch.manual_seed(0)
    weights = networks.create("unet3d", **spec, base=1).state_dict()
    checkpoint.save(folder / layout.WEIGHTS["last"], weights, metadata={"run": RUN})


def large() -> None:
    """Segment one large volume and say what it took."""
    from segtrace import images

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_project(root)
        write_volume(root / "volume.nii.gz")
        command = [
            sys.executable,
            "-m",
            "segtrace",
            "predict",
            "--run",
            RUN,
            "--output",
            "out",
            "volume.nii.gz",
        ]
        start = time.perf_counter()
        subprocess.run(command, check=True, cwd=root)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / (1 << 30)
        size = images.read_volume(root / "out/volume.nii.gz").GetSize()
    assert size == SIZE
    print(
        f"\n{'x'.join(map(str, SIZE))} voxels, {CLASSES} classes, end to end: {seconds:.0f} s, {peak:.2f} GiB"
    )
    assert peak < 8, "more than 8 GiB"


def main() -> None:
    """Run the comparisons, or the large volume, and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="processes of each side (default 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of torch (all cores)")
    parser.add_argument("--side", type=int, default=256, help="side of the volume (default 256)")
    parser.add_argument("--large", action="store_true", help="one volume of 512x512x700, end to end")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--setting", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.child:
        child(arguments)
        return
    print(f"{platform.machine()}, {arguments.threads} threads, torch {torch.__version__}", flush=True)
    if arguments.large:
        large()
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
