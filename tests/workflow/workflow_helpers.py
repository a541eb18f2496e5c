"""Projects to run end to end: a copy of the workflow with small phantoms and a budget of seconds."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import psutil
import SimpleITK as sitk
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
COMPARED = ("data/index", "data/prepared", "data/splits", "checkpoints", "predictions", "scores", "results")
CHAIN = ("acquire", "index", "prepare", "validate", "split", "train", "predict", "score", "compare", "report")


class Project:
    """A folder that Snakemake is run in."""

    def __init__(self, path: Path, *, environment: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.environment = dict(environment or {})

    def variables(self) -> dict[str, str]:
        """The environment of every process here: programs of this installation, no settings of the user's."""
        own = {k: v for k, v in os.environ.items() if k not in ("SEGTRACE_MIRROR", "SNAKEMAKE_PROFILE")}
        own |= {"PATH": f"{BIN}{os.pathsep}{own.get('PATH', '')}", "DVC_NO_ANALYTICS": "1"}
        return own | self.environment

    def start(self, *arguments: str, cores: int = 2) -> subprocess.Popen[str]:
        """Start Snakemake in a process group of its own."""
        return subprocess.Popen(
            [str(BIN / "snakemake"), "--cores", str(cores), *arguments],
            cwd=self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=self.variables(),
        )

    def snakemake(self, *arguments: str, cores: int = 2, expect: int = 0, timeout: float = 600) -> str:
        """Run Snakemake to its end; its output."""
        process = self.start(*arguments, cores=cores)
        output, _ = process.communicate(timeout=timeout)
        assert process.returncode == expect, output[-6000:]
        return output

    def call(self, *command: str, expect: int = 0) -> str:
        """Run any program in the project to its end; its output, both streams."""
        done = subprocess.run(
            command,
            cwd=self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.variables(),
            timeout=600,
            check=False,
        )
        assert done.returncode == expect, f"{command}: {done.returncode}\n{done.stdout[-6000:]}"
        return done.stdout

    def dvc(self, *arguments: str, expect: int = 0) -> str:
        """Run DVC."""
        return self.call("dvc", *arguments, expect=expect)

    def git(self, *arguments: str) -> str:
        """Run git."""
        return self.call("git", *arguments)

    def commit(self, message: str) -> None:
        """Commit everything that git is to hold."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def dirty(self) -> list[str]:
        """Stages and pins that DVC finds changed; that `index` is always run is none."""
        status = json.loads(self.dvc("status", "--json"))
        return sorted(name for name, changes in status.items() if changes != ["always changed"])

    def waiting(self, *arguments: str) -> list[str]:
        """Rules that Snakemake would run."""
        return jobs(self.snakemake("-n", *arguments))

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


def make_configured(path: Path) -> Project:
    """A project with the whole configuration as it stands, in which nothing has run."""
    path.mkdir(parents=True)
    shutil.copy(ROOT / "Snakefile", path)
    for folder in ("workflow", "profiles", "config", "envs"):
        shutil.copytree(ROOT / folder, path / folder)
    return Project(path)


def make_project(path: Path, *, experiments: str = "tiny") -> Project:
    """A project with one small volume experiment, trained for seconds."""
    project = make_configured(path)

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


def make_versioned(path: Path) -> Project:
    """The same project under git and DVC, its data pinned, not yet run. The store lies beside it."""
    project = make_project(path)
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, path)
    (path / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, path / ".dvc")
    shutil.copytree(ROOT / ".dvc/plots", path / ".dvc/plots")
    shutil.copytree(
        ROOT / "src/segtrace", path / "src/segtrace", ignore=shutil.ignore_patterns("__pycache__")
    )
    project.environment["PYTHONPATH"] = str(path / "src")
    project.environment["PYTHONDONTWRITEBYTECODE"] = "1"
    project.environment["HOME"] = str(path.parent)
    project.environment["XDG_CONFIG_HOME"] = str(path.parent / "settings")
    project.git("init", "-q", "-b", "main")
    project.git("config", "user.email", "someone@example.org")
    project.git("config", "user.name", "Someone")
    return project


def copy_of(project: Project, path: Path) -> Project:
    """A copy of a project, times kept, that uses its own copy of the package if it has one."""
    shutil.copytree(project.path, path, copy_function=shutil.copy2, symlinks=True)
    environment = dict(project.environment)
    if "PYTHONPATH" in environment:
        environment["PYTHONPATH"] = str(path / "src")
    return Project(path, environment=environment)


def from_scratch(project: Project, path: Path) -> dict[str, str]:
    """Contents of a run from nothing, of the project's present raw data, configuration and code."""
    fresh = copy_of(project, path)
    for name in (
        "data/index",
        "data/prepared",
        "data/splits",
        *COMPARED[3:],
        ".snakemake",
        ".segtrace",
        "reports",
    ):
        shutil.rmtree(fresh.path / name, ignore_errors=True)
    fresh.snakemake()
    return fresh.contents()


def members(project: Project, role: str) -> list[str]:
    """The cases of a role in fold 0 of the volume project."""
    lines = (project.path / "data/splits/phantom3d/random.csv").read_text().splitlines()[1:]
    return [line.split(",")[0] for line in lines if line.split(",")[-1] == role]


def raw_file(project: Project, case: str, kind: str) -> Path:
    """The raw file of a case: of `image` or `label`."""
    found = [
        p for p in (project.path / "data/raw/phantom3d").rglob(f"{case}.nii.gz") if kind in str(p.parent)
    ]
    assert len(found) == 1
    return found[0]


def rewrite_label(path: Path) -> None:
    """Take one voxel out of a label file in such a way that its size and its times stay."""
    status = path.stat()
    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    for place in np.argwhere(array == 1):
        changed = array.copy()
        changed[tuple(place)] = 0
        written = sitk.GetImageFromArray(changed)
        written.CopyInformation(image)
        sitk.WriteImage(written, str(path), useCompression=True, compressionLevel=9)
        if path.stat().st_size <= status.st_size:
            break
    with path.open("r+b") as handle:  # zeros behind a gzip stream are ignored
        handle.truncate(status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
