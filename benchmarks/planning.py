"""How long the workflow takes to plan: the experiments of the four papers, and a matrix of 1,000 and of 10,000 jobs.

    python benchmarks/planning.py [--write docs/results/scale.md]

papers   `snakemake -n` of every experiment of the four papers whose methods can be trained, budget `paper`, in a fresh clone,
         under one seed and under two
matrix   `snakemake -n` of two methods under so many seeds; data are indexed, split and prepared, so that every digest of a
         job is computed

Each command runs in a process of its own. Shown are jobs, trainings, CPU seconds, wall seconds and peak memory: on a machine
that does other work besides, CPU seconds alone tell of the program. Uncommitted changes are not measured: the clone holds
what is committed.
"""

import argparse
import datetime
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from chain import ROOT, clone, machine
from trust import Project

PAPERS = ("dsd_", "emis_", "sc_unext_", "skin_")
#: Seeds of the two methods of `demo_2d`: three jobs a run, so about 1,000 and 10,000 jobs.
SEEDS = (166, 1666)
#: Most that the CPU time of a job may grow from the small matrix to the large one.
RATIO = 1.5


@dataclass(frozen=True)
class Planned:
    """One dry run."""

    jobs: int
    trainings: int
    cpu: float
    wall: float
    mib: float


def planned(project: Project, *options: str) -> Planned:
    """Dry-run Snakemake with ``--config options``."""
    command = [
        sys.executable,
        str(Path(__file__)),
        "--measure",
        "snakemake",
        "-n",
        "--quiet",
        "rules",
        "--config",
    ]
    output, _ = project.run(*command, *options)
    counted = dict(re.findall(r"^(\w+) +(\d+)$", output, flags=re.M))
    cpu, wall, mib = (float(value) for value in output.splitlines()[-1].split())
    return Planned(int(counted["total"]), int(counted.get("train", 0)), cpu, wall, mib)


def measure(command: list[str]) -> None:
    """Run a command; print what it prints, and on the last line its CPU seconds, wall seconds and peak MiB."""
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    wall = time.monotonic() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{done.returncode}\n{done.stdout[-4000:]}")
    print(done.stdout)
    print(f"{used.ru_utime + used.ru_stime:.2f} {wall:.2f} {used.ru_maxrss / 1024:.0f}")


def papers(project: Project) -> list[Planned]:
    """Every experiment of the four papers that trains something."""
    named = (
        "import sys; from segtrace.config import load; print(','.join(n for n in load.names('experiments') "
        + (f"if n.startswith({PAPERS!r}) and load.experiment(n).methods))")
    )
    names, _ = project.run(sys.executable, "-c", named)
    return [
        planned(project, f"experiments={names.strip()}", "budget=paper", f"seeds={s}") for s in ("0", "0,1")
    ]


def matrix(project: Project) -> list[Planned]:
    """Two methods under many seeds, with data that are there."""
    options = {"seed": 0, "subjects": 12, "frames": 3}
    project.edit("config/datasets/phantom2d.yaml", options=options)
    project.edit("config/config.yaml", experiments=["demo_2d"])
    project.run("snakemake", "--cores", "1", "prepare_all", "split_all")
    return [planned(project, f"seeds={','.join(map(str, range(count)))}") for count in SEEDS]


def lines_of(four: list[Planned], small: Planned, large: Planned) -> list[str]:
    """The rows of the table."""
    ratio = (large.cpu / large.jobs) / (small.cpu / small.jobs)
    rows = [*(("experiments of the four papers", one) for one in four), ("matrix", small), ("matrix", large)]
    made = [
        "| what | trainings | jobs | CPU s | wall s | MiB | ms a job (CPU) |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    made += [
        f"| {name} | {one.trainings} | {one.jobs} | {one.cpu:.1f} | {one.wall:.1f} | {one.mib:.0f} "
        f"| {1000 * one.cpu / one.jobs:.1f} |"
        for name, one in rows
    ]
    told = f"CPU time a job at {large.jobs} jobs is {ratio:.2f} of that at {small.jobs} (bar: {RATIO})."
    return [*made, "", told]


def main() -> None:
    """Measure, print, and write where asked."""
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        four = papers(Project(clone(Path(folder), "papers")))
        small, large = matrix(Project(clone(Path(folder), "matrix")))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    head = f"`python benchmarks/planning.py`, {datetime.date.today()}, at commit {commit}, on {machine()}."
    text = "\n".join(["# Planning at scale, measured", "", head, "", *lines_of(four, small, large), ""])
    print(text)
    if arguments.write:
        arguments.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
