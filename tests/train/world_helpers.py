"""Trainings of the tiny run by several processes."""

import csv
import json
import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

from train_helpers import run_with

#: Processes that begin with all modules read, and without the threads of the tests' own.
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["segtrace.train.loop", "segtrace.networks.unet", "segtrace.networks.dynunet"])


def run_of(devices=1, **changes):
    """The tiny run in full precision on so many devices: five cases a step, so that an epoch is a step."""
    run = run_with(**({"precision": "fp32", "cases_per_step": 5, "validate_every": 50} | changes))
    return run | ({"devices": devices} if devices > 1 else {})


def _train(run, folder, options, variables):
    from segtrace.train.loop import train

    os.environ.update(variables)
    train(run, folder=Path(folder), **options)


def trained(run, folder, **options):
    """Train ``run`` into ``folder`` in as many processes as it has devices, all on this machine: their statuses."""
    size = run.get("devices", 1)
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    processes = []
    for rank in range(size):
        variables = {"CUDA_VISIBLE_DEVICES": ""}
        if size > 1:
            numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
            where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
            variables |= {name: str(value) for name, value in (numbers | where).items()}
        processes.append(FORKED.Process(target=_train, args=(run, str(folder), options, variables)))
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    return [process.exitcode for process in processes]


def start(run, folder, *options, environment=None):
    """Start ``python -m segtrace.train`` of ``run`` into ``folder``, which starts the processes."""
    path = Path(f"{folder}.json")
    path.write_text(json.dumps(run))
    return subprocess.Popen(
        [sys.executable, "-m", "segtrace.train", str(path), str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | (environment or {}),
    )


def finish(process):
    """Wait for it: (status, what it printed)."""
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


def curve(folder):
    """The loss of each epoch."""
    with Path(folder, "history.csv").open() as handle:
        return [float(row["loss"]) for row in csv.DictReader(handle)]
