"""Every profile plans the whole chain; each is the one place of what it says."""

from pathlib import Path

import pytest
import yaml
from workflow_helpers import ROOT, jobs, make_project

PROFILES = sorted(path.parent.name for path in (ROOT / "profiles").glob("*/profile.yaml"))


def test_there_are_four_and_each_value_has_its_reason() -> None:
    assert PROFILES == ["default", "kubernetes", "local", "slurm"]
    for name in PROFILES:
        lines = (ROOT / f"profiles/{name}/profile.yaml").read_text().splitlines()
        for at, line in enumerate(lines):
            if line and line[0] not in "# -":
                before = [
                    before for before in lines[:at] if before.startswith("#") or not before[:1].isspace()
                ]
                assert before, f"{name}: {line} has no comment before it"
        # what a killed Snakemake leaves is not trusted, whatever the machine
        assert yaml.safe_load("\n".join(lines))["rerun-incomplete"] is True


@pytest.mark.workflow
@pytest.mark.parametrize("name", ["local", "kubernetes"])
def test_a_profile_plans_the_chain(name: str, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    output = project.call("snakemake", "-n", "--workflow-profile", name)
    assert f"profiles/{name}" in output
    assert "acquire" in jobs(output)


@pytest.mark.workflow
def test_a_profile_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    said = project.call("snakemake", "-n", "--workflow-profile", "slrum", expect=1)
    assert "--workflow-profile slrum: there is no such profile" in said
    assert "did you mean 'slurm'?" in said
    assert jobs(said) == []


def test_the_pod_calls_its_profile_with_the_gpus_that_it_asks_for() -> None:
    pod = yaml.safe_load((ROOT / "envs/kubernetes.yaml").read_text())["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    command = container["command"]
    assert command[:3] == ["snakemake", "--workflow-profile", "kubernetes"]
    assert f"gpu={container['resources']['limits']['nvidia.com/gpu']}" in command
    cores = yaml.safe_load((ROOT / "profiles/kubernetes/profile.yaml").read_text())["cores"]
    assert container["resources"]["requests"]["cpu"] == str(cores)
    assert {mount["name"] for mount in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}


def test_environments_install_the_lock() -> None:
    assert "- -r requirements.lock" in (ROOT / "envs/segtrace.yaml").read_text()
    for name in ("segtrace.def", "Containerfile"):
        text = (ROOT / "envs" / name).read_text()
        assert "pip install --no-cache-dir -r /opt/segtrace/envs/requirements.lock" in text
        for word in text.replace("\\", " ").split():
            source = word.strip()
            if source in ("envs/requirements.lock", "pyproject.toml", "README.md", "LICENSE", "src"):
                assert (ROOT / source).exists()
