"""The chain on a real Slurm: what each job was given, and that no fault of the cluster changes a byte."""

import copy
import json
import re
import signal
from pathlib import Path

import pytest
import yaml
from slurm_helpers import Cluster, finish, quick, submit, wait_until, without
from workflow_helpers import COMPARED, Project

pytestmark = pytest.mark.slurm

RUN = "checkpoints/phantom3d/iso2/random/unet3d_tiny/smoke/fold-0_seed-0"


def seen(project: Project, command: str) -> list[dict[str, str]]:
    """What Slurm gave each process of a command, in the order of their start."""
    paths = sorted((project.path / "seen").glob(f"{command}-*.json"), key=lambda path: path.stat().st_mtime)
    return [json.loads(path.read_text()) for path in paths]


def log(project: Project) -> str:
    """What the last attempt at the training has said; nothing while there was none."""
    path = project.path / f"{RUN.replace('checkpoints', 'logs/train')}.log"
    return path.read_text() if path.exists() else ""


def trained(project: Project) -> dict[str, str]:
    return {path: sha for path, sha in project.contents().items() if path.startswith("checkpoints/")}


def test_the_chain_completes_with_the_bytes_of_one_machine(undisturbed: Project, tmp_path: Path) -> None:
    assert (undisturbed.path / "reports/tiny/index.html").is_file()
    submitted = re.findall(r"has been submitted with SLURM jobid (\d+)", undisturbed.output)  # type: ignore[attr-defined]
    assert len(submitted) >= 6
    for command in ("index", "prepare", "validate", "train", "predict", "score"):
        given = seen(undisturbed, command)
        assert given, command
        assert {job["SLURM_JOB_ID"] for job in given} <= set(submitted)
        # the GPUs of a job are those that its rule asks for, and no other job has any
        gpus = {job.get("CUDA_VISIBLE_DEVICES") for job in given}
        assert gpus <= ({"0", "1"} if command in ("train", "predict") else {None}), (command, gpus)
    batches = {job["SLURM_JOB_ID"] for job in seen(undisturbed, "prepare")}
    assert len(seen(undisturbed, "prepare")) > len(batches)  # short jobs share one of Slurm's
    for command in ("split", "compare", "report"):
        assert not seen(undisturbed, command)  # these run where Snakemake does
    assert list((undisturbed.path / "logs/slurm/rule_train").rglob("*.log"))
    local = without(
        undisturbed, tmp_path / "local", ("data", *COMPARED[3:], "reports", ".snakemake", ".segtrace")
    )
    local.snakemake(timeout=3000)
    assert local.contents() == undisturbed.contents()


def test_a_node_set_down(cluster: Cluster, undisturbed: Project, untrained: Project) -> None:
    process = submit(untrained, f"{RUN}/run.json")
    wait_until((untrained.path / "stepping").exists, "the training has begun")
    ((number, node),) = cluster.jobs("train").items()
    cluster.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        wait_until(lambda: "Restarts=1" in cluster.said_of(number), "Slurm has queued the job again")
        (untrained.path / "slow").unlink()
        finish(process)
    finally:
        cluster.call("scontrol", "update", f"nodename={node}", "state=resume")
    assert {job["SLURMD_NODENAME"] for job in seen(untrained, "train")} == {"node1", "node2"}
    assert {job["SLURM_JOB_ID"] for job in seen(untrained, "train")} == {
        number
    }  # queued again by Slurm itself
    assert trained(untrained) == trained(undisturbed)


def test_a_time_limit(cluster: Cluster, undisturbed: Project, untrained: Project) -> None:
    def short(profile: dict) -> None:
        assert profile["set-resources"]["train"]["slurm_extra"] == "'--signal=TERM@180'"
        profile["set-resources"]["train"] |= {"runtime": "6 * attempt", "slurm_extra": "'--signal=TERM@100'"}

    untrained.edit("profiles/slurm/profile.yaml", short)
    process = submit(untrained, f"{RUN}/run.json")
    wait_until(lambda: "asked to end (SIGTERM)" in log(untrained), "the training was told of its time limit")
    (untrained.path / "slow").unlink()
    output = finish(process)
    assert "Trying to restart job" in output
    numbers = [job["SLURM_JOB_ID"] for job in seen(untrained, "train")]
    # submitted again, with more time; not begun again within the job that was told to end
    assert len(set(numbers)) == len(numbers) > 1
    assert "resuming at epoch" in log(untrained)
    assert trained(untrained) == trained(undisturbed)


def test_scancel(cluster: Cluster, undisturbed: Project, untrained: Project) -> None:
    process = submit(untrained, f"{RUN}/run.json")
    wait_until((untrained.path / "stepping").exists, "the training has begun")
    (number,) = cluster.jobs("train")
    cluster.call("scancel", number)
    wait_until(lambda: "asked to end (SIGTERM)" in log(untrained), "the training was told to end", seconds=60)
    (untrained.path / "slow").unlink()
    finish(process)
    assert len({job["SLURM_JOB_ID"] for job in seen(untrained, "train")}) == 2
    assert "resuming at epoch" in log(untrained)
    assert trained(untrained) == trained(undisturbed)


def test_daemons_that_are_killed_and_start_again(
    cluster: Cluster, undisturbed: Project, untrained: Project
) -> None:
    process = submit(untrained, f"{RUN}/run.json")
    wait_until((untrained.path / "stepping").exists, "the training has begun")
    ((number, node),) = cluster.jobs("train").items()
    cluster.end("slurmctld", signal.SIGKILL)
    cluster.end(node, signal.SIGKILL)
    # longer than the plugin's own five looks take
    with pytest.raises(AssertionError, match="not within"):
        wait_until(lambda: process.poll() is not None, "Snakemake gives up", seconds=45)
    cluster.start_controller()
    cluster.start_node(node)
    wait_until(lambda: cluster.jobs("train") == {number: node}, "the job is known again")
    (untrained.path / "slow").unlink()
    finish(process)
    assert len(seen(untrained, "train")) == 1  # it was never disturbed
    assert trained(untrained) == trained(undisturbed)


def test_a_job_that_slurm_has_forgotten(cluster: Cluster, undisturbed: Project, untrained: Project) -> None:
    process = submit(untrained, f"{RUN}/run.json")
    wait_until((untrained.path / "stepping").exists, "the training has begun")
    cluster.end("slurmctld", signal.SIGKILL)
    cluster.start_controller("-c")  # without the jobs that it knew
    wait_until(lambda: set(cluster.states().values()) == {"idle"}, "the cluster is back")
    assert not cluster.jobs("train")
    assert process.poll() is None  # no executor plugin's setting would end this: it waits for ever
    process.kill()
    process.communicate()
    (untrained.path / "slow").unlink()
    finish(submit(untrained, f"{RUN}/run.json"))
    assert trained(untrained) == trained(undisturbed)


def test_the_profile_of_the_project_is_what_was_tested(undisturbed: Project) -> None:
    shipped = yaml.safe_load((Path(__file__).parents[2] / "profiles/slurm/profile.yaml").read_text())
    used = yaml.safe_load((undisturbed.path / "profiles/slurm/profile.yaml").read_text())
    named = {
        "latency-wait",
        "seconds-between-status-checks",
        "slurm-init-seconds-before-status-checks",
        "max-status-checks-per-second",
        "jobs",
    }
    expected = copy.deepcopy(shipped)
    quick(expected)
    # as text: 1 and true are equal in Python, and not for Snakemake
    assert yaml.safe_dump(used) == yaml.safe_dump(expected)
    left = ({key: value for key, value in profile.items() if key not in named} for profile in (shipped, used))
    assert len({yaml.safe_dump(profile) for profile in left}) == 1
