"""The chain, end to end: what it makes, that it makes it once, and that equal runs are equal bytes."""

import json
import re
from pathlib import Path

import pytest
from workflow_helpers import CHAIN, Project, jobs

pytestmark = pytest.mark.workflow


def test_everything_from_raw_to_report(reference: Project) -> None:
    ran = jobs(reference.output)
    assert [phase for phase in CHAIN if phase not in ran] == []
    page = (reference.path / "reports/tiny/index.html").read_text()
    assert "unet3d_tiny" in page
    assert not re.search(r"""(?:src|href)=["']https?://[^"']+\.(?:js|css)""", page)
    for label in ("organ", "neighbour", "nodule"):
        assert label in page


def test_again_there_is_nothing_to_do(reference: Project) -> None:
    output = reference.snakemake()
    assert "Nothing to be done" in output
    assert jobs(output) == []


@pytest.mark.slow
def test_one_and_two_cores_give_the_same_bytes(reference: Project, fresh: Project) -> None:
    fresh.snakemake("compare_all", cores=1)
    ours, theirs = fresh.contents(), reference.contents()
    assert any(name.endswith("weights.safetensors") for name in ours)
    assert ours == theirs


def test_dry_run_and_single_target(fresh: Project) -> None:
    assert "acquire" in fresh.snakemake("-n")
    assert not (fresh.path / "data").exists()
    fresh.snakemake("data/raw/phantom3d.receipt.json")
    assert json.loads((fresh.path / "data/raw/phantom3d.receipt.json").read_text())["dataset"] == "phantom3d"
    assert not (fresh.path / "checkpoints").exists()


def test_resources_as_typed_and_snakemake_report(reference: Project, tmp_path: Path) -> None:
    output = reference.snakemake("--resources", "gpu=2", cores=8)
    assert "Nothing to be done" in output
    reference.snakemake("--report", str(tmp_path / "report.html"))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Every scored case of experiment" in text  # the caption of a figure
    assert "points-0-dice.svg" in text


def test_gpu_cap_of_the_profile_holds_unless_the_command_says_otherwise(fresh: Project) -> None:
    profile = (fresh.path / "profiles/default/profile.yaml").read_text()
    assert "gpu=1" in profile
    output = fresh.snakemake("-n")
    assert "profiles/default" in output
