"""Projects to run end to end: a copy of the workflow with small phantoms and a budget of seconds."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
COMPARED = ("data/index", "data/prepared", "data/splits", "checkpoints", "predictions", "scores", "results")
CHAIN = ("acquire", "index", "prepare", "validate", "split", "train", "predict", "score", "compare", "report")


class Project:
    """A folder that Snakemake is run in."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, *arguments: str, cores: int = 2) -> subprocess.Popen[str]:
        """Start Snakemake in a process group of its own."""
        return subprocess.Popen(
            [str(BIN / "snakemake"), "--cores", str(cores), *arguments],
            cwd=self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if k not in ("SEGTRACE_MIRROR", "SNAKEMAKE_PROFILE")},
        )

    def snakemake(self, *arguments: str, cores: int = 2, expect: int = 0) -> str:
        """Run Snakemake to its end; its output."""
        process = self.start(*arguments, cores=cores)
        output, _ = process.communicate(timeout=600)
        assert process.returncode == expect, output[-6000:]
        return output

    def edit(self, file: str, change: Callable[[dict], None]) -> None:
        """Change a YAML file of the project."""
        path = self.path / file
        value = yaml.safe_load(path.read_text())
        change(value)
        path.write_text(yaml.safe_dump(value, sort_keys=False))

    def contents(self) -> dict[str, str]:
        """Digest of every file that equal runs must have equal."""
        found = {}
        for top in COMPARED:
            for path in sorted((self.path / top).rglob("*")):
                if path.is_file():
                    found[str(path.relative_to(self.path))] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def wait_for(
        self, word: str, process: subprocess.Popen[str], *, ready: Callable[[], bool] | None = None
    ) -> int:
        """Wait for the process of a job (`segtrace WORD …`) and return its id; ``ready`` must hold as well."""
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            assert process.poll() is None, (
                f"Snakemake ended before {word}: {(process.stdout and process.stdout.read())}"
            )
            for child in psutil.Process(process.pid).children(recursive=True):
                try:
                    line = child.cmdline()
                except psutil.Error:
                    continue
                if (
                    len(line) > 2
                    and line[1].endswith("/segtrace")
                    and line[2] == word
                    and (ready is None or ready())
                ):
                    return child.pid
            time.sleep(0.01)
        raise AssertionError(f"no job {word} within 180 s")


def jobs(output: str) -> list[str]:
    """Names of the rules that ran, in order, from Snakemake's output."""
    return re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):", output, flags=re.M)


def kill(pid: int) -> None:
    """Kill a process for good, as the kernel does when memory runs out."""
    os.kill(pid, signal.SIGKILL)


def make_project(path: Path, *, experiments: str = "tiny") -> Project:
    """A project with one small volume experiment, trained for seconds."""
    path.mkdir(parents=True)
    shutil.copy(ROOT / "Snakefile", path)
    for folder in ("workflow", "profiles", "config", "envs"):
        shutil.copytree(ROOT / folder, path / folder)
    project = Project(path)

    def small(value: dict) -> None:
        value["options"] |= {"subjects": 8, "scans": 1}
        value["gate"].pop("prevalence", None)

    def few_frames(value: dict) -> None:
        value["options"] |= {"subjects": 10, "frames": 1}
        value["gate"].pop("prevalence", None)
        value["gate"]["empty_masks"] = [0.0, 0.6]

    project.edit("config/datasets/phantom3d.yaml", small)
    project.edit("config/datasets/phantom2d.yaml", few_frames)
    project.edit("config/budgets/smoke.yaml", lambda v: v.update(training={"epochs": 3}, by_training={}))
    project.edit("config/config.yaml", lambda v: v.update(experiments=[experiments], training_threads=1))
    tiny = {
        "title": "Tiny",
        "dataset": "phantom3d",
        "recipe": "iso2",
        "protocol": "random",
        "training": "demo_3d",
        "methods": ["unet3d_tiny"],
    }
    flat = tiny | {
        "dataset": "phantom2d",
        "recipe": "size96",
        "training": "demo_2d",
        "methods": ["unet_tiny"],
    }
    for name, value in (("tiny", tiny), ("flat", flat)):
        (path / f"config/experiments/{name}.yaml").write_text(yaml.safe_dump(value))
    for name in ("demo_2d", "demo_3d"):
        (path / f"config/experiments/{name}.yaml").unlink()
    return project
