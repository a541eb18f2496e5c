"""Latency and peak memory of one network at one batch, measured together in a process that does nothing else.

Memory on a CPU is what the process holds at most, less what it held before the network was built: weights, features and
what the libraries keep, without Python and torch. On a GPU it is the most that tensors took. Times are of a pass in
evaluation mode, from images that lie ready on the device to logits that lie there.
"""

import contextlib
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Passes before those that count, and how many of these there are at least.
WARM_UP, AT_LEAST = 2, 5


def measure(
    network: Mapping[str, Any],
    *,
    shape: tuple[int, ...],
    device: str,
    threads: int,
    precision: str,
    seconds: float,
) -> dict[str, Any]:
    """Measure in a process of its own; gives the keys of :func:`in_this_process`, or ``reason`` alone where it failed.

    ``network`` is an entry of ``run.json``; ``shape`` is (N, C, D, H, W) or (N, C, H, W). Of at least :data:`AT_LEAST`
    passes and ``seconds`` seconds; a pass that takes longer than ``seconds`` is repeated :data:`AT_LEAST` times all the same.
    """
    asked = {
        "network": dict(network),
        "shape": list(shape),
        "device": device,
        "threads": threads,
        "precision": precision,
        "seconds": seconds,
    }
    made = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps(asked)], capture_output=True, text=True, check=False
    )
    if made.returncode == 0:
        found: dict[str, Any] = json.loads(made.stdout.splitlines()[-1])
        return found
    if made.returncode == -9:
        return {"reason": "killed, probably for lack of memory"}
    said = [line for line in made.stderr.splitlines() if line.strip()]
    return {"reason": said[-1].strip() if said else f"ended with {made.returncode}"}


def in_this_process(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`measure` asks for: milliseconds (median, fastest, slowest), passes, megabytes, device and processor."""
    import torch

    from segtrace import device as devices
    from segtrace import networks

    devices.set_determinism("strict", threads=asked["threads"])
    device = torch.device(asked["device"])
    x = torch.randn(tuple(asked["shape"]), generator=torch.Generator().manual_seed(0))
    before = begin(device)
    network = networks.of_run(asked).eval()
    layout = devices.memory_format(device, precision=asked["precision"], axes=x.dim() - 2)
    network, x = network.to(device, memory_format=layout), x.to(device).contiguous(memory_format=layout)
    taken: list[float] = []
    with (
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=asked["precision"] == "bf16"),
    ):
        began = time.perf_counter()
        while len(taken) < WARM_UP + AT_LEAST or time.perf_counter() - began < asked["seconds"]:
            start = time.perf_counter()
            network(x)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken.append(1000 * (time.perf_counter() - start))
    counted = taken[WARM_UP:]
    kind = devices.kind(device)
    return {
        "latency_ms": statistics.median(counted),
        "fastest_ms": min(counted),
        "slowest_ms": max(counted),
        "passes": len(counted),
        "memory_mb": (peak(device) - before) / 1e6,
        "device": kind["device"],
        "processor": kind["processor"],
    }


def begin(device: Any) -> int:
    """Forget the greatest memory so far; bytes that do not count."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return 0
    with contextlib.suppress(OSError):  # Linux alone: elsewhere the peak is that since the start
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _of_status("VmRSS")
    return peak(device)


def peak(device: Any) -> int:
    """Bytes at most since :func:`begin`."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    with contextlib.suppress(OSError):
        # not getrusage, which on Linux knows also of the process that this one was forked from
        return _of_status("VmHWM")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _of_status(key: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {key}")


if __name__ == "__main__":
    print(json.dumps(in_this_process(json.loads(sys.argv[1]))))
