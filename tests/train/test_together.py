"""Two processes train as one does: the same losses, whatever couples samples; a killed one ends all, and all go on."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from train_helpers import INSTANCE, contents
from world_helpers import curve, finish, run_of, start, trained

from segtrace.train import interruption

#: What the losses of several devices may differ by from those of one.
TOLERANCE = 1e-4


def both(devices=2, **changes):
    assert trained(run_of(1, **changes), "one") == [0]
    assert trained(run_of(devices, **changes), "several") == [0] * devices
    one, several = curve("one"), curve("several")
    assert one[0] != one[-1]
    assert several == pytest.approx(one, abs=TOLERANCE)


def test_fifty_steps_have_the_losses_of_one_device(project):
    both(epochs=50)  # a network with batch normalisation, five samples a step


@pytest.mark.parametrize(
    "changes",
    [
        # an epoch's last step has one case: two of three processes stand in
        {"devices": 3, "cases_per_step": 2, "crop": {"per_case": 1, "size": [32, 32]}},
        {
            "loss": "bce_dice",
            "loss_options": {"per": "batch"},
            "framework": "dsd",
            "framework_options": {"share_heads": True},
            "network": INSTANCE | {"out_channels": 1, "background": False},
        },
        {"framework": "missu", "accumulate": 3, "ema_decay": 0.9, "validate_every": 2},
    ],
    ids=["uneven", "dice of the whole batch", "batch normalisation in a framework"],
)
def test_what_couples_samples_has_the_losses_of_one_device(project, changes):
    both(epochs=4, **changes)


LONG = {"epochs": 40, "network": INSTANCE, "validate_every": 20}


def test_a_killed_process_ends_all_in_one_line_and_they_go_on_to_the_same_bytes(project):
    run = run_of(2, **LONG)
    assert trained(run, "whole") == [0, 0]
    process = start(run, "pieces", "--save-steps", "2")
    deadline = time.monotonic() + 240
    while not list(Path("pieces/resume").glob("state-*")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(_process_of(process, rank=1), signal.SIGKILL)
    status, said = finish(process)
    assert status == 1
    lines = [line for line in said.splitlines() if "segtrace train:" in line]
    assert len(lines) == 1
    assert "process 1 of 2 was killed (SIGKILL)" in lines[0]
    assert "Traceback" not in said
    assert not Path("pieces/run.json").exists()
    assert trained(run, "pieces", attempt=2, save_steps=3) == [0, 0]
    assert contents("pieces") == contents("whole")


def _process_of(launcher, *, rank):
    """The process of a rank, by its environment."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    for child in children:
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if f"RANK={rank}".encode() in variables:
            return int(child)
    raise AssertionError(f"no process of rank {rank} among {children}")


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.slow)],
    ids=["SIGTERM", "SIGUSR1"],
)
def test_asked_to_end_all_write_one_state_and_go_on_from_it_but_not_on_another_number_of_devices(
    project, number
):
    run = run_of(2, **LONG)
    process = start(run, "asked", "--save-steps", "2")
    while not list(Path("asked/resume").glob("state-*")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(number)
    status, said = finish(process)
    assert status == interruption.STATUS
    assert said.count(f"asked to end ({number.name})") == 1
    assert "Traceback" not in said
    status, said = finish(start(run_of(1, **LONG), "asked"))
    assert status == 0
    assert "of another configuration, data, code or machine; dropped" in said


def _slurm(number):
    return {
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NODEID": number,
    }


def _torchrun(number):
    where = {"PET_RDZV_ENDPOINT": f"localhost:{20000 + os.getpid() % 10000}", "PET_RDZV_ID": "test"}
    return where | {"PET_NNODES": "2", "PET_RDZV_BACKEND": "c10d"}


@pytest.mark.parametrize("variables", [_slurm, _torchrun])
def test_two_machines_train_one_run(project, variables):
    run = run_of(2, **(LONG | {"epochs": 3}))
    machines = [start(run, "out", environment=variables(number)) for number in "01"]
    said = [finish(machine) for machine in machines]
    assert [status for status, _ in said] == [0, 0], said
    assert json.loads(Path("out/run.json").read_text())["machine"]["machines"] == 2


def test_a_fault_of_all_is_said_once(project):
    run = run_of(2, **LONG)
    run["cases"] = {"train": ["a", "missing"], "val": []}
    status, said = finish(start(run, "out"))
    assert status == 1
    assert said.count("cannot train: 1 problem") == 1
