"""The selective scan against its definition, a step at a time: equality, seconds, memory, and bytes on a GPU.

    .venv/bin/python benchmarks/selective_scan.py [--device cpu] [--batch 1] [OPTIONS; see --help]

First the scan must equal the sequential loop, gradients too, to 1e-5 in float32 and 1e-10 in float64. Then forward and backward
are timed on the sizes of VM-UNet at 256²: each of its four resolutions has scans of four directions. Both
sides run in turns; the fastest of the rounds counts, since others use the machine too. ``--clock cpu`` counts the
process's own time on one thread, for a machine whose cores others hold: no seconds of two cores. Then lengths up to 65,536,
each in a process of its own, so that each one's peak memory is its own, less what it held before its first scan.

On a GPU a third table counts what must be read and written at the least, in both passes: u, Δ, B, C, y, and their
gradients, u, Δ, B and C twice; and what a copy of that many bytes takes on the same machine.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from segtrace.files import write_text
from segtrace.networks import _scan_reference
from segtrace.networks._selective_scan import selective_scan

Scan = Callable[..., Tensor]
#: VM-UNet at 256²: side of the map, channels of the scan, scans at that resolution (encoder and decoder).
STAGES = {"64²": (64, 192, 3), "32²": (32, 384, 4), "16²": (16, 768, 4), "8²": (8, 1536, 4)}
LENGTHS = (1024, 4096, 16384, 65536)
CHANNELS, STATES, DIRECTIONS = 96, 16, 4
BARS = {torch.float32: 1e-5, torch.float64: 1e-10}


def main() -> None:
    """Assert equality, measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: the process's own time on one thread"
    )
    parser.add_argument("--only", choices=("stages", "lengths"))
    parser.add_argument("--write", type=Path)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    device = torch.device(given.device)
    if given.clock == "cpu":
        torch.set_num_threads(1)
    if given.child:
        print(json.dumps(measured(given.child, device=device, rounds=given.rounds, clock=given.clock)))
        return
    lines = [
        "# The selective scan",
        "",
        f"`python benchmarks/selective_scan.py --device {device} --batch {given.batch} --rounds {given.rounds} "
        f"--clock {given.clock}`, "
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, PyTorch {torch.__version__}"
        + (f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""),
        "",
        equality(device),
        "",
    ]
    if given.only != "lengths":
        lines += stages(device, batch=given.batch, rounds=given.rounds, clock=given.clock)
    if given.only != "stages":
        lines += lengths(device, rounds=given.rounds, clock=given.clock)
    text = "\n".join(lines)
    print(text)
    if given.write:
        write_text(given.write, text + "\n")


def inputs(
    *, batch: int, length: int, channels: int, device: torch.device, kind: torch.dtype = torch.float32
) -> list[Tensor]:
    """u, Δ, A, B, C, D of four directions, as SS2D gives them when training starts."""
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(DIRECTIONS, *shape, generator=random, dtype=kind)

    decays = -torch.arange(1, STATES + 1, dtype=kind).expand(DIRECTIONS, channels, STATES)
    steps = functional.softplus(draw(batch, length, channels) - 4)
    mixed = [draw(batch, length, STATES) for _ in range(2)]
    parts = [
        draw(batch, length, channels),
        steps,
        decays,
        *mixed,
        torch.ones(DIRECTIONS, channels, dtype=kind),
    ]
    return [part.to(device).contiguous().requires_grad_() for part in parts]


def both_passes(scan: Scan, given: list[Tensor]) -> list[Tensor]:
    """y and all gradients of y's sum of squares."""
    y = scan(*given)
    return [y, *torch.autograd.grad(y, given, y.detach())]


def equality(device: torch.device) -> str:
    """Raise where the scan differs from the loop; the largest difference beside the largest value otherwise."""
    told = []
    for kind, bar in BARS.items():
        worst = 0.0
        for length in (1, 17, 64, 1000):
            given = inputs(batch=2, length=length, channels=24, device=device, kind=kind)
            expected = both_passes(_scan_reference.scan, given)
            for one, other in zip(both_passes(selective_scan, given), expected, strict=True):
                scale = max(1.0, float(other.detach().abs().max()))
                worst = max(worst, float((one - other).detach().abs().max()) / scale)
        if worst > bar:
            raise SystemExit(
                f"{kind}: the scan differs from the sequential loop by {worst:.1e}, more than {bar:.0e}"
            )
        told.append(f"{worst:.1e} in {str(kind).removeprefix('torch.')} (bar {bar:.0e})")
    return f"Largest difference from the sequential loop, values and gradients: {'; '.join(told)}."


def seconds(scan: Scan, given: list[Tensor], device: torch.device, clock: str) -> float:
    """Of one forward and backward pass."""
    now = time.process_time if clock == "cpu" else time.perf_counter
    _wait(device)
    begun = now()
    both_passes(scan, given)
    _wait(device)
    return now() - begun


def stages(device: torch.device, *, batch: int, rounds: int, clock: str) -> list[str]:
    """A line a resolution of VM-UNet, and their sum over its 15 scans."""
    lines = [
        "| map | B·L·D·N | scans | loop (s) | scan (s) | ratio | ns a state |"
        + (GPU_HEAD if device.type == "cuda" else ""),
        "|---|---|---|---|---|---|---|" + ("---|---|---|" if device.type == "cuda" else ""),
    ]
    totals = [0.0, 0.0]
    for name, (side, channels, scans) in STAGES.items():
        given = inputs(batch=batch, length=side * side, channels=channels, device=device)
        both_passes(selective_scan, given)  # kernels are compiled
        times = [
            (
                seconds(_scan_reference.scan, given, device, clock),
                seconds(selective_scan, given, device, clock),
            )
            for _ in range(rounds)
        ]
        loop, quick = (min(turn[side] for turn in times) for side in (0, 1))
        states = given[0].numel() * STATES
        totals = [totals[0] + scans * loop, totals[1] + scans * quick]
        lines.append(
            f"| {name} | {states / 1e6:.1f} M | {scans} | {loop:.3f} | {quick:.3f} | {loop / quick:.1f} "
            f"| {quick / states * 1e9:.2f} |" + (floor(given, quick, device) if device.type == "cuda" else "")
        )
    lines.append(f"| all 15 | | | {totals[0]:.2f} | {totals[1]:.2f} | {totals[0] / totals[1]:.1f} | |")
    return [*lines, ""]


GPU_HEAD = " bytes | copy (s) | scan / copy |"


def floor(given: list[Tensor], found: float, device: torch.device) -> str:
    """Bytes that both passes must move, seconds of a copy that moves as many, and the ratio."""
    u, _, _, b, _, _ = given
    wide, narrow = u.numel(), b.numel()
    # forward reads u, Δ, B, C and writes y; backward reads dy, u, Δ, B, C and writes their gradients
    moved = u.element_size() * (3 * wide + 2 * narrow + 5 * wide + 4 * narrow)
    source = torch.empty(moved // 2, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(5):
        _wait(device)
        begun = time.perf_counter()
        target.copy_(source)
        _wait(device)
        best = min(best, time.perf_counter() - begun)
    return f" {moved / 1e6:.0f} MB | {best:.6f} | {found / best:.1f} |"


def lengths(device: torch.device, *, rounds: int, clock: str) -> list[str]:
    """A line a length: seconds and peak memory, and both for a thousand steps."""
    lines = [
        f"{CHANNELS} channels, {DIRECTIONS} directions, one image; forward and backward.",
        "",
        "| L | scan (s) | ms for 1000 steps | peak memory (MiB) | KiB a step |",
        "|---|---|---|---|---|",
    ]
    for length in LENGTHS:
        command = [
            sys.executable,
            __file__,
            "--device",
            str(device),
            "--rounds",
            str(rounds),
            "--clock",
            clock,
            "--child",
            str(length),
        ]
        told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        lines.append(
            f"| {length} | {told['seconds']:.3f} | {told['seconds'] / length * 1e6:.1f} | {told['memory'] / 2**20:.0f} "
            f"| {told['memory'] / length / 2**10:.1f} |"
        )
    return [*lines, ""]


def measured(length: int, *, device: torch.device, rounds: int, clock: str) -> dict[str, float]:
    """Seconds and peak memory in bytes of both passes at one length, beside the inputs."""
    # long enough for the compiled form: its compilation takes seconds and memory, once
    both_passes(selective_scan, inputs(batch=1, length=256, channels=CHANNELS, device=device))
    given = inputs(batch=1, length=length, channels=CHANNELS, device=device)
    _forget_peak(device)
    before = _held(device, peak=False)
    best = min(seconds(selective_scan, given, device, clock) for _ in range(rounds))
    return {"seconds": best, "memory": float(_held(device, peak=True) - before)}


def _held(device: torch.device, *, peak: bool) -> int:
    """Bytes that the process holds, or held at most since :func:`_forget_peak`; on a GPU, there."""
    if device.type == "cuda":
        asked = torch.cuda.max_memory_allocated if peak else torch.cuda.memory_allocated
        return int(asked(device))
    name = "VmHWM:" if peak else "VmRSS:"
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # Linux: the peak starts anew


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
