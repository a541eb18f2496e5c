"""Killed anywhere, the same command finishes with the bytes of the uninterrupted run."""

import time

import psutil
import pytest
from workflow_helpers import Project, kill

pytestmark = pytest.mark.workflow


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["prepare", "train", "predict"])
def test_a_killed_job_is_made_up_for(reference: Project, fresh: Project, phase: str) -> None:
    process = fresh.start("compare_all")

    def at_work() -> bool:
        """Training says its device when Python has started and the first step is near."""
        return phase != "train" or any(
            "training on" in log.read_text() for log in fresh.path.glob("logs/train/**/*.log")
        )

    pid = fresh.wait_for(phase, process, ready=at_work)
    if phase != "train":
        time.sleep(0.4)  # past the start of Python, into the work
    kill(pid)
    output, _ = process.communicate(timeout=300)
    # a training is started again within the run
    assert process.returncode == (0 if phase == "train" else 1), output[-3000:]
    fresh.snakemake("compare_all")
    assert fresh.contents() == reference.contents()


def test_after_a_killed_snakemake_the_same_command_goes_on_and_waits_for_the_orphan(
    reference: Project, fresh: Project
) -> None:
    process = fresh.start("compare_all")
    orphan = fresh.wait_for("train", process)
    kill(process.pid)
    process.wait()
    output = fresh.snakemake("compare_all")
    assert "a run was killed in this folder" in output
    assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE
    assert fresh.contents() == reference.contents()
    assert "Nothing to be done" in fresh.snakemake("compare_all")
