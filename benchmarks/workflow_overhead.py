"""Measure what Snakemake adds: the chain of 200 phantom images as a workflow, and its commands called by hand.

    python benchmarks/workflow_overhead.py [--cases 200] [--cores 2] [--repeats 1] [--epochs 2]

Two fresh clones of what is committed. In one Snakemake runs everything up to the report; in the other the very commands
that it ran are called one after the other, and their wall times are added up. The tables that both make are compared byte
by byte before a time is printed. Wall times hold on an idle machine, and the load is printed beside them; processor time, which
other work disturbs less, is compared as well.
"""

import argparse
import os
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from chain import clone, contents, machine

BIN = Path(sys.executable).parent


def make_small(project: Path, *, cases: int, epochs: int | None) -> None:
    """Give the clone one experiment: ``cases`` images of one frame each, and one method."""
    path = project / "config/datasets/phantom2d.yaml"
    dataset = yaml.safe_load(path.read_text())
    dataset["options"] |= {"subjects": cases, "frames": 1}
    dataset["gate"].pop("prevalence", None)
    path.write_text(yaml.safe_dump(dataset, sort_keys=False))
    path = project / "config/experiments/demo_2d.yaml"
    experiment = yaml.safe_load(path.read_text())
    experiment["methods"] = experiment["methods"][:1]
    path.write_text(yaml.safe_dump(experiment, sort_keys=False))
    if epochs is not None:
        budget = {"title": "short", "training": {"epochs": epochs}}
        (project / "config/budgets/smoke.yaml").write_text(yaml.safe_dump(budget))


def environment(project: Path) -> dict[str, str]:
    """Variables under which the clone runs its own code."""
    return os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project / "src"),
        "CUDA_VISIBLE_DEVICES": "",
    }


def processor_seconds() -> float:
    """Processor time of all processes that were started from here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def workflow(project: Path, *, cores: int) -> tuple[float, list[str]]:
    """Seconds of the workflow, and the commands that it ran, in order."""
    command = [str(BIN / "snakemake"), "--cores", str(cores), "--printshellcmds"]
    command += ["--config", "experiments=demo_2d"]
    start = time.monotonic()
    done = subprocess.run(
        command,
        cwd=project,
        env=environment(project),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    seconds = time.monotonic() - start
    if done.returncode:
        sys.exit(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return seconds, re.findall(
        r"^\s*(?:Shell command: *)?(?:exec )?(segtrace \w+ .*)$", done.stdout, flags=re.M
    )


def by_hand(project: Path, commands: list[str]) -> list[tuple[float, str]]:
    """Seconds and phase of each command, run alone in a shell."""
    found = []
    for command in commands:
        log = re.search(r"> (\S+)", command)
        if log:
            (project / log.group(1)).parent.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        if subprocess.run(command, cwd=project, env=environment(project), shell=True).returncode:
            sys.exit(
                f"{command} failed:\n{(project / log.group(1)).read_text()[-3000:] if log else 'see above'}"
            )
        found.append((time.monotonic() - start, command.split()[1]))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument(
        "--epochs", type=int, help="of the training: the shorter, the larger is the workflow's part"
    )
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    print(machine())
    for number in range(arguments.repeats):
        with tempfile.TemporaryDirectory(prefix="segtrace-overhead-") as name:
            projects = [clone(Path(name), kind) for kind in ("workflow", "hand")]
            for project in projects:
                make_small(project, cases=arguments.cases, epochs=arguments.epochs)
            before = processor_seconds()
            whole, commands = workflow(projects[0], cores=arguments.cores)
            between = processor_seconds()
            parts = by_hand(projects[1], commands)
            used = between - before, processor_seconds() - between
            one, other = map(contents, projects)
            if not one or one != other:
                sys.exit(
                    f"not the same files: {sorted(k for k in one.keys() | other.keys() if one.get(k) != other.get(k))[:5]}"
                )
        total = sum(seconds for seconds, _ in parts)
        print("  ".join(f"{phase} {seconds:.1f} s" for seconds, phase in parts))
        print(
            f"{number + 1}: workflow {whole:.1f} s, its {len(parts)} commands by hand {total:.1f} s: "
            f"{whole / total:.2f} x; processor time {used[0]:.1f} s and {used[1]:.1f} s: {used[0] / used[1]:.2f} x "
            f"(load {os.getloadavg()[0]:.1f}; {len(one)} equal files)",
            flush=True,
        )


if __name__ == "__main__":
    main()
