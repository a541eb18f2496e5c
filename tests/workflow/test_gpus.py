"""Trainings on two fake GPUs: one a device, whatever the user forgets, and a killed one frees its device."""

import re
import time
from pathlib import Path

import pytest
from jobs_on_gpus import Watcher
from workflow_helpers import Project, jobs, kill, make_project

from segtrace import gpus, leases

pytestmark = pytest.mark.workflow
BUSY_SECONDS = 300.0


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with nothing but fake devices, whose leases lie in a folder of their own."""
    made = make_project(tmp_path / "project")
    made.environment |= {gpus.FAKE: "2", leases.FOLDER: str(tmp_path / "leases")}
    return made


def watched(project: Project, *arguments: str, kill_one: bool = False) -> tuple[str, Watcher, int]:
    """Output of a run, what was seen of its trainings, and the process that was killed (0: none)."""
    process = project.start(*arguments)
    watcher = Watcher(project.path, process.pid)
    killed = 0
    deadline = time.monotonic() + BUSY_SECONDS
    while kill_one and not killed and process.poll() is None and time.monotonic() < deadline:
        if watcher.samples and len(now := watcher.samples[-1][1]) == 2:
            killed = min(now["fake-1"])
            kill(killed)
        time.sleep(0.01)
    output, _ = process.communicate(timeout=600)
    watcher.stop()
    assert process.returncode == 0, output[-6000:]
    return output, watcher, killed


def logs(project: Project) -> dict[str, str]:
    """Run → the log of its last attempt."""
    return {path.stem: path.read_text() for path in project.path.glob("logs/train/**/*.log")}


def test_eight_trainings_on_two_devices(project: Project, tmp_path: Path) -> None:
    # The flag is forgotten, and no profile gives one: one training at a time, though there are two cores.
    forgotten = ("--workflow-profile", "none", "--config", "seeds=8,9")
    output, watcher, _ = watched(project, "train_all", *forgotten)
    assert "segtrace: 2 GPUs are visible, and jobs use 1 of them; --resources gpu=2 uses all" in output
    assert (watcher.most, jobs(output).count("train")) == (1, 2)
    assert all("(CUDA_VISIBLE_DEVICES=0)" in text for text in logs(project).values())

    # Snakemake lowers what a job asks for to the cap, and says nothing; the job does.
    project.snakemake("predict_all", "--resources", "gpu=0", "--config", "seeds=8")
    said = [path.read_text() for path in project.path.glob("logs/predict/**/*.log")]
    assert len(said) == 1
    assert "predicting: scaled down: asked for 1 GPU, given 0" in said[0]

    eight = ("--resources", "gpu=2", "--config", "seeds=0,1,2,3,4,5,6,7")
    output, watcher, killed = watched(project, "train_all", *eight, kill_one=True)
    assert killed
    assert watcher.most_per_device() == {"fake-0": 1, "fake-1": 1}
    after = {pid for _, now in watcher.samples for pid in now.get("fake-1", ())} - {killed}
    assert after  # the killed one's device was leased again
    assert leases.held(tmp_path / "leases") == []
    words = [re.findall(r"CUDA_VISIBLE_DEVICES=(\d)", text) for text in logs(project).values()]
    assert {word for found in words for word in found} == {"0", "1"}
    assert len(list(project.path.glob("checkpoints/**/run.json"))) == 10
