"""Training throughput of each 2-D network at its paper's input size, and UNeXt-S beside the published program's loop.

    .venv/bin/python benchmarks/training_throughput.py [--only unext] [--rounds 3] [--steps 4] [--threads 2]
        [--device cpu] [--size 512] [--batch 8] [--workers 2] [--peer-only] [--write docs/results/training_throughput.md]

Each network trains in segtrace's own loop: crops or whole images from prepared cases, flips and quarter turns, forward, loss
(0.5 cross-entropy + Dice), backward, Adam, the look at the loss; float32, strict. It does so in a process of its own, so that
peak memory (less what the process held before) is its own. Data are made from a seed: no time depends on their values.

The peer is the loop of UNeXt's published program, written from its description: PNG files read as BGR, a quarter turn and
a flip with probability 0.5 each, ImageNet's mean and deviation and then another division by 255, PyTorch's DataLoader, the
network of `unext.py` word by word, 0.5 cross-entropy + Dice, Adam, the loss read after each step. Files have the training's
size, so that its resizing does nothing.

Both sides take turns of --steps steps; medians of --rounds turns after one that does not count.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch

import measure as machines
import steps
import synthetic
import unext
from segtrace import networks
from segtrace.cost import measure
from segtrace.files import write_text

S = list(unext.WIDTHS)
#: Name → network, options, side of the images, and whose size that is.
SETTINGS: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "unet, 7.77 M": ("unet", {"variant": "transposed"}, 256, "VM-UNet, MALUNet"),
    "unet, milesial": ("unet", {"variant": "wide"}, 256, "VM-UNet's size; its own data differ"),
    "unet, milesial bilinear": ("unet", {"variant": "bilinear"}, 256, "as above"),
    "unet, nested repository": ("unet", {"variant": "nested"}, 256, "as above"),
    "unet, nearest": ("unet", {"variant": "nearest"}, 256, "as above"),
    "attention_unet": ("attention_unet", {}, 256, "as above"),
    "unet_plus_plus": ("unet_plus_plus", {}, 256, "as above"),
    "unet_plus_plus, deep supervision": ("unet_plus_plus", {"deep_supervision": True}, 256, "as above"),
    "resunet_plus_plus": ("resunet_plus_plus", {}, 256, "ResUNet++"),
    "unext": ("unext", {}, 512, "UNeXt, ISIC"),
    "unext, S": ("unext", {"widths": S}, 512, "UNeXt and SC-UNeXt, ISIC"),
    "sc_unext": ("sc_unext", {}, 512, "SC-UNeXt, ISIC"),
    "emis": ("emis", {}, 256, "not stated; VM-UNet's"),
    "emis, base 32": ("emis", {"base": 32}, 256, "not stated; VM-UNet's"),
    "vm_unet": ("vm_unet", {}, 256, "VM-UNet"),
    "medmamba_unet": ("medmamba_unet", {}, 256, "the skin-lesion paper"),
    "hc_mamba": ("hc_mamba", {}, 256, "the skin-lesion paper"),
    "cm_ssm_unet": ("cm_ssm_unet", {}, 256, "the skin-lesion paper"),
    "malunet": ("malunet", {}, 256, "MALUNet"),
    "lv_unet": ("lv_unet", {}, 256, "LV-UNet"),
    "utnet_v2": ("utnet_v2", {"auxiliary": True}, 256, "the skin-lesion paper"),
    "transfuse, 256 x 256": (
        "transfuse",
        {"size": [256, 256]},
        256,
        "the skin-lesion paper; its own has 192 x 256",
    ),
}
OURS, PEER = "unext, S", "peer"
IMAGES = 24
MEAN, DEVIATION = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def settings() -> dict[str, tuple[str, dict[str, Any], int, str]]:
    """Those above, and every other network that knows two dimensions alone as it is by default."""
    named = {entry[0] for entry in SETTINGS.values()}
    found = dict(SETTINGS)
    for name in networks.names():
        if name not in named and _takes(name, 2) and not _takes(name, 3):
            found[name] = (name, {}, 256, "not known here")
    return found


def _takes(name: str, spatial_dims: int) -> bool:
    """Whether the network ``name`` can be built for so many dimensions, with three channels."""
    try:
        with torch.device("meta"):
            networks.create(name, in_channels=3, out_channels=1, spatial_dims=spatial_dims)
    except (networks.SegtraceError, RuntimeError):
        return False
    return True


# --- segtrace's side -------------------------------------------------------------------------------------


def run_of(name: str, folder: Path, *, size: int, batch: int, threads: int) -> dict[str, Any]:
    """A run of the network ``name`` on whole images, made from a seed into ``folder``."""
    network, options, _, _ = settings()[name]
    run = synthetic.hippocampus() | {"run": f"throughput/2d/p/{network}/b/fold-0_seed-0", "threads": threads}
    run["network"] = {
        "name": network,
        "options": options,
        "in_channels": 3,
        "out_channels": 1,
        "background": False,
        "spatial_dims": 2,
    }
    run["training"] |= {
        "epochs": 10**6,
        "cases_per_step": batch,
        "crop": None,
        "optimiser": "adam",
        "learning_rate": 1e-4,
        "weight_decay": 1e-4,
        "loss": "bce_dice",
        "loss_options": {},
        "precision": "fp32",
        "validate_every": 10**6,
    }
    changes = dict.fromkeys(
        ("shift_p", "scale_p", "rotate_p", "zoom_p", "elastic_p", "noise_p", "gamma_p"), 0.0
    )
    run["training"]["augmentation"] |= {**changes, "flip_p": 0.3333, "rot90_p": 0.375}
    count = max(IMAGES // batch, 2) * batch
    synthetic.write_cases(run, folder, [(size, size)] * (count + 1), validation=1)
    return run


class Turns(steps.Stopwatch):
    """Reports each turn of so many steps, then waits to be asked for the next."""

    def __init__(self, device: torch.device, *, per_turn: int, batch: int) -> None:
        super().__init__(device)
        self.per_turn, self.batch, self.count = per_turn, batch, 0
        self.held = measure.begin(device)
        self.begun = time.perf_counter()

    def stamp(self) -> None:
        """A step is done."""
        self.count += 1
        if self.count % self.per_turn:
            return
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        seconds = time.perf_counter() - self.begun
        speed = self.per_turn * self.batch / seconds
        told = {"speed": speed, "memory": measure.peak(self.device) - self.held}
        print(json.dumps(told), file=sys.__stdout__, flush=True)
        if not sys.stdin.readline():
            raise steps.Enough
        self.begun = time.perf_counter()

    def timing(self, manner: str) -> steps.Timing:
        """Nothing: each turn was reported."""
        return steps.Timing(0.0, 0.0, 0.0, manner)


def ours(name: str, asked: argparse.Namespace, folder: Path) -> None:
    """Train ``name`` in segtrace's loop, a turn for each line of the input."""
    size = asked.size or settings()[name][2]
    run = run_of(name, folder / "cases", size=size, batch=asked.batch, threads=asked.threads)
    watch = Turns(torch.device(asked.device), per_turn=asked.steps, batch=asked.batch)
    steps.engine(run, folder / "training", watch)


# --- the published program's loop ------------------------------------------------------------------------


def write_pictures(folder: Path, *, size: int) -> list[tuple[Path, Path]]:
    """Colour pictures and masks as PNG files."""
    from PIL import Image

    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    rows, columns = np.ogrid[0:size, 0:size]
    found = []
    for number in range(IMAGES):
        middle = random.uniform(0.3, 0.7, 2) * size
        mask = ((rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < (size / 5) ** 2).astype(np.uint8)
        picture = np.clip(160 - 80 * mask[..., None] + random.normal(0, 20, (size, size, 3)), 0, 255)
        files = folder / f"{number:03d}.png", folder / f"{number:03d}_mask.png"
        Image.fromarray(picture.astype(np.uint8)).save(files[0])
        Image.fromarray(255 * mask).save(files[1])
        found.append(files)
    return found


class Pictures(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Files as the published program reads and changes them: image (3, H, W), mask (1, H, W), both float32."""

    def __init__(self, files: list[tuple[Path, Path]]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        from PIL import Image

        image = np.asarray(Image.open(self.files[index][0]).convert("RGB"))[..., ::-1]  # as BGR
        mask = np.asarray(Image.open(self.files[index][1]).convert("L"))[..., None]
        if np.random.rand() < 0.5:
            turns = np.random.randint(4)
            image, mask = np.rot90(image, turns), np.rot90(mask, turns)
        if np.random.rand() < 0.5:
            axes: Any = [0, 1, (0, 1)][np.random.randint(3)]
            image, mask = np.flip(image, axes), np.flip(mask, axes)
        scaled = (image.astype(np.float32) / 255 - MEAN) / DEVIATION / 255  # divided once more, as there
        target = mask.astype(np.float32) / 255
        return tuple(torch.from_numpy(a.transpose(2, 0, 1).copy()) for a in (scaled, target))  # type: ignore[return-value]


def peer(asked: argparse.Namespace, folder: Path) -> None:
    """The published program's loop, a turn for each line of the input."""
    torch.set_num_threads(asked.threads)
    device = torch.device(asked.device)
    files = write_pictures(folder / "pictures", size=asked.size or SETTINGS[OURS][2])
    count = len(files) // asked.batch * asked.batch or asked.batch
    watch = Turns(device, per_turn=asked.steps, batch=asked.batch)
    network = unext.Plain().to(device).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=1e-4)
    loader = torch.utils.data.DataLoader(
        Pictures((files * asked.batch)[:count]),
        batch_size=asked.batch,
        shuffle=True,
        num_workers=asked.workers,
        drop_last=True,
    )
    try:
        while True:
            for image, target in loader:
                loss = unext.loss_of(network(image.to(device)), target.to(device))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                loss.item()
                watch.stamp()
    except steps.Enough:
        pass


# --- both, in turns --------------------------------------------------------------------------------------


def in_turns(names: list[str], asked: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """What each of ``names`` reports of each turn after its first, one after the other."""
    words = [f"--{key}={getattr(asked, key)}" for key in ("steps", "threads", "device", "batch", "workers")]
    words += [f"--size={asked.size}"] if asked.size else []
    children = {
        name: subprocess.Popen(
            [sys.executable, __file__, *words, "--child", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    }
    told: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for process in children.values():
        assert process.stdout is not None
        process.stdout.readline()  # the first turn, with all that is set up
    for _ in range(asked.rounds):
        for name, process in children.items():
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"{name}: ended early, see above")
            told[name].append(json.loads(line))
    for process in children.values():
        process.communicate()
    return told


def lines_of(asked: argparse.Namespace) -> Iterator[str]:
    """The table, line by line as it is measured."""
    yield "| network | size × batch | images/s (least to most) | peak memory | size of |"
    yield "|---|---|---|---|---|"
    for name, (_, _, size, whose) in settings().items():
        if (asked.only and asked.only not in name) or (asked.peer_only and name != OURS):
            continue
        names = [name, PEER] if name == OURS else [name]
        found = in_turns(names, asked)
        for shown in names:
            speeds = [entry["speed"] for entry in found[shown]]
            memory = max(entry["memory"] for entry in found[shown]) / 1e6
            what = shown if shown != PEER else "UNeXt-S in the published program's loop"
            size = asked.size or size
            yield (
                f"| {what} | {size}² × {asked.batch} | {statistics.median(speeds):.3g} ({min(speeds):.3g} to "
                f"{max(speeds):.3g}) | {memory:.0f} MB | {whose if not asked.size else 'as asked'} |"
            )
        if name == OURS:
            own, theirs = (statistics.median(entry["speed"] for entry in found[key]) for key in names)
            yield f"| **segtrace / published loop** | | **{own / theirs:.2f}** (bar: ≥ 1) | | |"


def main() -> None:
    """Print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option, default in (("rounds", 3), ("steps", 4), ("threads", 2), ("batch", 8), ("workers", 2)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--size", type=int, help="side of the images, in place of each network's own")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", default="", help="networks whose name has this in it")
    parser.add_argument("--peer-only", action="store_true", help="UNeXt-S and the published loop alone")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        with tempfile.TemporaryDirectory() as made:
            if asked.child == PEER:
                peer(asked, Path(made))
            else:
                ours(asked.child, asked, Path(made))
        return
    words = [word for word in sys.argv[1:] if not word.startswith("--write") and word != str(asked.write)]
    lines = [
        "# Training throughput of 2-D networks",
        "",
        f"`python benchmarks/training_throughput.py {' '.join(words)}`, {datetime.date.today()}, device {asked.device}, "
        f"{asked.threads} threads, {os.cpu_count()} cores.",
        "",
        *(f"    {line}" for line in machines.machine().splitlines()),
        "",
    ]
    print("\n".join(lines), flush=True)
    for line in lines_of(asked):
        lines.append(line)
        print(line, flush=True)
        if asked.write:  # line by line: the larger networks take minutes each
            write_text(asked.write, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
