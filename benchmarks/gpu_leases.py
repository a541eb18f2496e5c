"""Eight trainings on two fake GPUs: never more than one a device, how busy both are, and a killed one.

    python benchmarks/gpu_leases.py [--epochs 60] [--gpu 2] [--kill]

A project with a small volume experiment is prepared; then `snakemake train_all --resources gpu=2` trains one run for each
of eight seeds, while processes and their logs are watched from outside. A device is busy while a training that said that
it is on it lives. With --gpu 3 a third job loads its program while it waits for a device. With --kill one training is killed
with SIGKILL; the workflow starts it again. The networks run on the CPU: what is measured is the hand-over of devices.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests/workflow"), str(ROOT / "benchmarks")]

from jobs_on_gpus import Watcher  # noqa: E402
from workflow_helpers import kill, make_project  # noqa: E402

from chain import machine  # noqa: E402
from segtrace import gpus, leases  # noqa: E402


def main() -> None:
    """Train, watch and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--gpu", type=int, default=2)
    parser.add_argument("--kill", action="store_true")
    arguments = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="segtrace-leases-") as name:
        project = make_project(Path(name) / "project")
        project.edit(
            "config/budgets/smoke.yaml", lambda value: value.update(training={"epochs": arguments.epochs})
        )
        project.environment |= {gpus.FAKE: "2", leases.FOLDER: f"{name}/leases"}
        project.snakemake("split_all")
        started = time.monotonic()
        process = project.start(
            "train_all", "--resources", f"gpu={arguments.gpu}", "--config", "seeds=0,1,2,3,4,5,6,7", cores=3
        )
        watcher, killed = Watcher(project.path, process.pid), 0
        while arguments.kill and not killed and process.poll() is None:
            time.sleep(0.05)
            if watcher.samples and len(now := watcher.samples[-1][1]) == 2:
                killed = min(now["fake-1"])
                kill(killed)
        output, _ = process.communicate()
        watcher.stop()
        if process.returncode:
            sys.exit(output[-3000:])
        seconds = time.monotonic() - started
        left = leases.held(Path(name) / "leases")
        trained = len(list(project.path.glob("checkpoints/**/run.json")))
    print(
        f"{trained} trainings of {arguments.epochs} epochs with gpu={arguments.gpu} in {seconds:.0f} s; at most "
        f"{watcher.most_per_device()} at once on a device; busy "
        + ", ".join(f"{device} {part:.1%}" for device, part in watcher.busy().items())
        + (f"; process {killed} was killed, and its device was leased again" if killed else "")
        + f"; leases left: {len(left)}; load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
