"""What dual self-distillation adds to a training step and to inference: time and memory, beside the plain network.

    .venv/bin/python benchmarks/distillation.py [--rounds 5] [--device cpu] [--only 'NAME;NAME'] [--write FILE]

Each setting runs in processes of its own, plain and with the framework, so that each one's peak memory is its own; the
two are timed in turns, a round each, and the medians are compared. Before anything is timed, the network with the
framework attached must predict bit for bit what the plain one predicts.
"""

import argparse
import datetime
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from chain import machine
from segtrace import distill, losses, networks
from segtrace.files import write_text
from segtrace.train import step

#: Name → network, options, classes, crops, side, whether heads are shared: the paper's settings.
SETTINGS: dict[str, tuple[str, dict[str, Any], int, int, int, bool]] = {
    "dynunet, hippocampus": ("dynunet", {}, 3, 16, 32, True),
    "dynunet, whole heart": ("dynunet", {"filters": (32, 64, 128, 256, 320)}, 8, 2, 96, True),
    "unetr, hippocampus": ("unetr", {"size": (32, 32, 32), "feature_size": 16}, 3, 16, 32, False),
    "unetr, whole heart": ("unetr", {}, 8, 2, 96, False),
}
TRAINING = {
    "optimiser": "adamw",
    "learning_rate": 1e-4,
    "weight_decay": 1e-5,
    "betas": [0.9, 0.999],
    "amsgrad": False,
    "ema_decay": None,
    "clip_norm": None,
    "precision": "fp32",
}


def main() -> None:
    """Measure all settings and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child, device=torch.device(arguments.device))
        return
    print(table(arguments))


def table(arguments: argparse.Namespace) -> str:
    """The table of all settings, with command, machine and date."""
    lines = [
        "# What dual self-distillation costs",
        "",
        f"`python benchmarks/distillation.py {' '.join(sys.argv[1:])}`, {datetime.date.today()}, on {machine()}, "
        f"PyTorch {torch.__version__}. "
        "Median of the rounds, plain and distilled in turns; memory is each process's peak less what it held before "
        "the first step.",
        "",
        "| setting | crops | step (s) | with DSD (s) | time | memory | inference |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in SETTINGS:
        if any(part in name for part in arguments.only.split(";")):
            lines.append(row(name, rounds=arguments.rounds, device=arguments.device))
            print(lines[-1], file=sys.stderr, flush=True)
            if arguments.write:  # row by row: the large ones take minutes
                write_text(arguments.write, "\n".join(lines) + "\n")
    return "\n".join(lines)


def row(name: str, *, rounds: int, device: str) -> str:
    """One line of the table."""
    children = {}
    for kind in ("plain", "dsd"):
        command = [sys.executable, __file__, "--device", device, "--child", name, kind]
        children[kind] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    told: dict[str, list[dict[str, float]]] = {"plain": [], "dsd": []}
    for _ in range(rounds + 1):
        for kind, process in children.items():
            if process.stdin is None or process.stdout is None:
                raise RuntimeError("a measuring process has no pipes")
            process.stdin.write("go\n")
            process.stdin.flush()
            told[kind].append(json.loads(process.stdout.readline()))
    for process in children.values():
        process.communicate()
    if told["plain"][0]["checksum"] != told["dsd"][0]["checksum"]:
        raise SystemExit(f"{name}: the network predicts otherwise with the framework attached")
    middle = {
        kind: {key: statistics.median(entry[key] for entry in entries[1:]) for key in entries[0]}
        for kind, entries in told.items()
    }
    plain, dsd = middle["plain"], middle["dsd"]
    _, _, _, crops, side, _ = SETTINGS[name]
    ratios = " | ".join(f"{dsd[key] / plain[key]:.2f}" for key in ("step", "memory", "inference"))
    return f"| {name} | {crops} × {side}³ | {plain['step']:.2f} | {dsd['step']:.2f} | {ratios} |"


def child(name: str, kind: str, *, device: torch.device) -> None:
    """Take a step and a prediction for each line of the input, and print what they took."""
    network_name, options, classes, crops, side, shared = SETTINGS[name]
    torch.manual_seed(0)
    network = networks.create(network_name, in_channels=1, out_channels=classes, spatial_dims=3, **options)
    loss_of = losses.create("dice_ce")
    network.to(device)
    objective = None
    if kind == "dsd":
        objective = distill.attach(
            "dsd", network, out_channels=classes, spatial_dims=3, loss_of=loss_of, share_heads=shared
        ).to(device)
    learner = step.learner(network, loss_of, training=TRAINING, parts=1, objective=objective)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(crops, 1, side, side, side, generator=generator).to(device)
    labels = torch.randint(0, classes, (crops, side, side, side), generator=generator).to(device)
    with torch.no_grad():
        checksum = float(network.eval()(images[:1]).double().sum())
    before = now(device)
    for _ in sys.stdin:
        network.train()
        took = {
            "checksum": checksum,
            "step": timed(device, lambda: step.take(learner, images, labels, rate=1e-4)),
        }
        took["memory"] = held(device) - before
        network.eval()
        with torch.no_grad():
            took["inference"] = timed(device, lambda: network(images))
        print(json.dumps(took), flush=True)


def timed(device: torch.device, work: Any) -> float:
    """Seconds that ``work`` takes, the device's part included."""
    begin = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def now(device: torch.device) -> float:
    """Bytes that this process holds at this moment."""
    if device.type == "cuda":
        return float(torch.cuda.memory_allocated())
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return float(pages * resource.getpagesize())


def held(device: torch.device) -> float:
    """Peak bytes that this process has held so far."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


if __name__ == "__main__":
    main()
