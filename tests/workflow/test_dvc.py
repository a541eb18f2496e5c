"""DVC over Snakemake: a clean status is the truth, and only what changed is made again."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from workflow_helpers import (
    BIN,
    ROOT,
    Project,
    copy_of,
    from_scratch,
    jobs,
    make_versioned,
    members,
    raw_file,
    rewrite_label,
)

pytestmark = pytest.mark.workflow


def ran(output: str) -> list[str]:
    """Snakemake's rules that ran within ``dvc repro``, but for its targets."""
    return [name for name in jobs(output) if not name.endswith("_all")]


def clone_of(project: Project, path: Path) -> Project:
    """A clone by git, which shares the store beside the project."""
    project.git("clone", "-q", str(project.path), str(path))
    environment = project.environment | {"PYTHONPATH": str(path / "src")}
    clone = Project(path, environment=environment)
    clone.git("config", "user.email", "someone@example.org")
    clone.git("config", "user.name", "Someone")
    return clone


@pytest.mark.slow
def test_a_second_repro_makes_nothing_and_status_is_clean(versioned: Project) -> None:
    assert versioned.dirty() == []
    output = versioned.dvc("repro")
    assert ran(output) == []
    assert output.count("didn't change, skipping") == 7  # six stages and the pin
    assert versioned.git("status", "--short") == ""
    assert "Nothing to be done" in versioned.snakemake()
    tracked = versioned.git("ls-files").split()
    for name in (
        "data/index/phantom3d/cases.csv",
        "data/splits/phantom3d/random.csv",
        "results/metrics.json",
    ):
        assert name in tracked
    assert not [
        name for name in tracked if name.startswith(("checkpoints/", "data/raw/phantom3d/", "scores/"))
    ]


@pytest.mark.slow
def test_a_clone_is_brought_to_agreement_and_one_lost_checkpoint_is_one_training(
    versioned: Project, tmp_path: Path
) -> None:
    versioned.dvc("push", "-q")
    before = versioned.contents()
    clone = clone_of(versioned, tmp_path / "clone")
    refused = clone.dvc("repro", expect=255)
    assert "make demo" in refused
    assert "dvc pull" in refused
    assert "DVC is not clean" in clone.call("segtrace", "sync", expect=1)
    clone.dvc("pull", "-q")
    assert "Snakemake and DVC agree" in clone.call("segtrace", "sync")
    assert "Nothing to be done" in clone.snakemake()
    assert clone.dirty() == []
    assert clone.contents() == before
    next((clone.path / "checkpoints").rglob("weights.safetensors")).unlink()
    assert "DVC is not clean" in clone.call("segtrace", "sync", expect=1)
    assert jobs(clone.snakemake()).count("train") == 1
    assert clone.contents() == before
    assert clone.dirty() == []


@pytest.mark.parametrize(("whose", "kind"), [("project", "symlink"), ("user", "hardlink")])
def test_links_into_the_cache_are_refused(tmp_path: Path, whose: str, kind: str) -> None:
    project = make_versioned(tmp_path / "project")
    project.snakemake("data/raw/phantom3d.receipt.json")
    project.call("segtrace", "pin", "phantom3d")
    if whose == "user":
        project.dvc("config", "--unset", "cache.type")
    project.dvc("config", *(["--global"] if whose == "user" else []), "cache.type", f"reflink,{kind}")
    output = project.dvc("repro", expect=255)
    assert f"cache.type is reflink, {kind}" in output
    assert "dvc config cache.type copy" in output
    (project.path / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    assert "cache.type" in project.call("segtrace", "sync", expect=1)


@pytest.mark.slow
def test_data_that_changed_without_dvc_seeing_it_is_seen(versioned: Project, tmp_path: Path) -> None:
    pin = versioned.path / "data/raw/phantom3d.dvc"
    before = pin.read_text()
    versioned.dvc("repro")
    assert versioned.dirty() == []
    rewrite_label(raw_file(versioned, members(versioned, "test")[0], "label"))  # size and times as before
    assert versioned.dirty() == []  # DVC cannot see it
    output = versioned.dvc("repro")
    assert [name for name in ran(output) if name not in ("overview",)] == [
        *("index", "prepare", "validate", "split", "predict", "score", "compare")
    ]
    assert pin.read_text() != before
    assert versioned.dirty() == []
    assert "put aside, and 'snakemake' builds it anew" in output
    assert not (versioned.path / "reports/tiny/index.html").exists()
    versioned.commit("a label mended")
    replaced = raw_file(versioned, members(versioned, "val")[0], "label")
    rewrite_label(replaced)
    os.utime(replaced, (1_500_000_000, 1_500_000_000))  # as tar and rsync leave it
    assert "train" in ran(versioned.dvc("repro"))
    assert versioned.dirty() == []
    versioned.snakemake()
    assert versioned.contents() == from_scratch(versioned, tmp_path / "scratch")


@pytest.mark.slow
def test_snakemake_first_and_dvc_afterwards_make_nothing_twice(versioned: Project) -> None:
    rewrite_label(raw_file(versioned, members(versioned, "test")[0], "label"))
    assert "score" in jobs(versioned.snakemake())
    assert ran(versioned.dvc("repro")) == []
    assert versioned.dirty() == []
    assert "data/raw/phantom3d.dvc" in versioned.git("status", "--short")
    # DVC verifies the pin of a data set that nobody asked for, too: an embedded one is generated
    shutil.copy(ROOT / "data/raw/phantom2d.dvc", versioned.path / "data/raw")
    assert ran(versioned.dvc("repro")) == []
    assert (versioned.path / "data/raw/phantom2d").is_dir()
    assert versioned.dirty() == []


@pytest.mark.slow
def test_two_branches_switched_back_and_forth(versioned: Project) -> None:
    contents = {"main": versioned.contents()}
    versioned.git("checkout", "-q", "-b", "longer")
    versioned.edit("config/budgets/smoke.yaml", lambda v: v["training"].update(epochs=4))
    assert "train" in ran(versioned.dvc("repro"))
    versioned.commit("four epochs")
    contents["longer"] = versioned.contents()
    assert contents["longer"] != contents["main"]
    for branch in ("main", "longer", "main"):
        versioned.git("checkout", "-q", branch)
        versioned.dvc("checkout", "-q")
        versioned.call("segtrace", "sync")
        assert versioned.contents() == contents[branch]
        assert "Nothing to be done" in versioned.snakemake()
        assert versioned.dirty() == []
    # without `segtrace sync`, and with the files of the other branch half brought
    versioned.git("checkout", "-q", "longer")
    versioned.dvc("checkout", "-q", "checkpoints")
    versioned.snakemake()
    assert versioned.contents() == contents["longer"]
    assert ran(versioned.dvc("repro")) == []
    assert versioned.dirty() == []


@pytest.mark.slow
def test_removed_methods_and_cases_leave_nothing_behind(versioned: Project, tmp_path: Path) -> None:
    before = versioned.contents()
    experiment = "config/experiments/tiny.yaml"
    versioned.edit(experiment, lambda v: v["methods"].append("dynunet_tiny_3d"))
    output = versioned.dvc("repro")
    assert [name for name in ran(output) if name in ("prepare", "train", "predict", "score")] == [
        *("train", "predict", "score")
    ]
    assert any("dynunet_tiny_3d" in name for name in versioned.contents())
    versioned.edit(experiment, lambda v: v["methods"].remove("dynunet_tiny_3d"))
    output = versioned.dvc("repro")
    assert "put aside in .segtrace/aside" in output
    assert "train" not in ran(output)
    assert versioned.contents() == before
    assert versioned.dirty() == []
    assert list((versioned.path / ".segtrace/aside/checkpoints").rglob("weights.safetensors"))
    case = members(versioned, "test")[0]
    versioned.edit("config/datasets/phantom3d.yaml", lambda v: v.update(exclude={case: "for a test"}))
    versioned.dvc("repro")
    named = [name for name in versioned.contents() if case in name]
    assert named == []
    versioned.snakemake()
    assert versioned.contents() == from_scratch(versioned, tmp_path / "scratch")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_repro_killed_at_a_random_moment_is_made_up_for(
    recorded: Project, tmp_path: Path, seed: int
) -> None:
    project = copy_of(recorded, tmp_path / "project")
    for name in (
        "data/index",
        "data/prepared",
        "data/splits",
        "checkpoints",
        "predictions",
        "scores",
        "results",
        "reports",
        ".snakemake",
    ):
        shutil.rmtree(project.path / name)
    process = subprocess.Popen(
        [str(BIN / "dvc"), "repro"],
        cwd=project.path,
        env=project.variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    seconds = random.Random(seed).uniform(2, 25)
    time.sleep(seconds)
    whole_group = seed != 1
    if process.poll() is None:
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 240
    while True:  # killed alone, DVC leaves a Snakemake that goes on: refused until it has ended
        done = subprocess.run(
            [str(BIN / "dvc"), "repro"],
            cwd=project.path,
            env=project.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode == 0 or whole_group or time.monotonic() > deadline:
            break
        assert "lock" in done.stdout.lower()
        time.sleep(1)
    assert done.returncode == 0, f"killed after {seconds} s\n{done.stdout[-4000:]}"
    assert project.contents() == recorded.contents()
    assert project.dirty() == []


@pytest.mark.slow
def test_metrics_plots_and_experiments(versioned: Project) -> None:
    assert "No changes" in versioned.dvc("metrics", "diff") or versioned.dvc("metrics", "diff").strip() == ""
    output = versioned.dvc("exp", "run", "-S", "config/training/demo_3d.yaml:learning_rate=0.003")
    assert "train" in ran(output)
    assert "prepare" not in ran(output)
    diff = versioned.dvc("metrics", "diff", "--md")
    assert "tiny.unet3d_tiny.mean.dice" in diff
    versioned.dvc("plots", "diff", "-q", "--out", "dvc_plots")
    page = (versioned.path / "dvc_plots/index.html").read_text()
    assert "unet3d_tiny/smoke/fold-0_seed-0" in page
    assert "workspace" in page
    shown = versioned.dvc("exp", "show", "--csv")
    assert "learning_rate" in shown or "tiny" in shown


def test_the_file_is_few_coarse_stages() -> None:
    stages = yaml.safe_load((Path(__file__).parents[2] / "dvc.yaml").read_text())["stages"]
    assert list(stages) == ["index", "prepare", "split", "train", "predict", "score", "compare"]
    tops = [next(iter(stage["outs"][0])) for stage in stages.values()]
    assert len(set(tops)) == len(tops)
    for name, stage in stages.items():
        assert stage["cmd"] == f"sh workflow/stage.sh {name}"
        (options,) = (next(iter(out.values())) for out in stage["outs"])
        assert options["persist"] is True
