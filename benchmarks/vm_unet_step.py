"""Seconds of a training step of VM-UNet: forward, loss, backward and AdamW, at 256² and batch 4.

    .venv/bin/python benchmarks/vm_unet_step.py [--batch 4] [--side 256] [--rounds 3] [--clock wall] [--form compiled]

A step before those that count warms up (and compiles). ``--clock cpu`` counts the process's own time on one thread, for a
machine whose cores others hold: no seconds of two cores. ``--form torch`` takes the scan in chunks, which
machines without numba use.
"""

import argparse
import os
import platform
import statistics
import time
from pathlib import Path

import torch
from torch.nn import functional

from segtrace.files import write_text
from segtrace.networks import _selective_scan, vm_unet


def main() -> None:
    """Measure, and print a line a step."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: the process's own time on one thread"
    )
    parser.add_argument("--form", choices=("compiled", "torch"), default="compiled")
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    if given.clock == "cpu":
        torch.set_num_threads(1)
    if given.form == "torch":
        _selective_scan.FUSED_FROM = 2**62
    elif not _selective_scan._installed("numba"):
        raise SystemExit("numba is not installed; install it or give --form torch")
    times = steps(batch=given.batch, side=given.side, rounds=given.rounds, clock=given.clock)
    text = "\n".join(
        [
            "# A training step of VM-UNet",
            "",
            f"`python benchmarks/vm_unet_step.py --batch {given.batch} --side {given.side} --rounds {given.rounds} "
            f"--clock {given.clock} --form {given.form}`, {platform.machine()}, {os.cpu_count()} cores, "
            f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}",
            "",
            f"Seconds a step: {', '.join(f'{found:.2f}' for found in times)}; median {statistics.median(times):.2f}.",
        ]
    )
    print(text)
    if given.write:
        write_text(given.write, text + "\n")


def steps(*, batch: int, side: int, rounds: int, clock: str) -> list[float]:
    """Seconds of each step after the first."""
    torch.manual_seed(0)
    network = vm_unet.build(in_channels=3, out_channels=1).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    images = torch.randn(batch, 3, side, side)
    targets = (torch.rand(batch, 1, side, side) > 0.5).float()
    now = time.process_time if clock == "cpu" else time.perf_counter
    found = []
    for _ in range(rounds + 1):
        begun = now()
        optimizer.zero_grad(set_to_none=True)
        functional.binary_cross_entropy_with_logits(network(images), targets).backward()
        optimizer.step()
        found.append(now() - begun)
    return found[1:]


if __name__ == "__main__":
    main()
