"""Index and prepare whole data sets: seconds, cases a second, and the peak memory of all processes together.

    python benchmarks/throughput.py isic hippocampus growth --mirror FOLDER [--workers 2]

    isic         ISIC 2018, all training cases of the mirror's archives, every recipe named below
    hippocampus  MSD Task04, all labelled cases
    growth       500 and 5,000 embedded images: what ten times the cases cost in memory

Each set is acquired, indexed, prepared and validated by the project's own commands in an empty project, so start-up,
checksums, gates and their pages are in the times. Memory is the greatest sum of the proportional set sizes of a
command's processes, looked at five times a second. The table goes to docs/results/throughput.md with the machine.
"""

import argparse
import contextlib
import datetime
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import yaml

import measure

ROOT = Path(__file__).resolve().parents[1]
#: Name on the command line → data set, recipe and, for embedded data, the options of each run.
RUNS: dict[str, tuple[str, str, list[dict[str, int]]]] = {
    "isic": ("isic2018", "rgb256", [{}]),
    "hippocampus": ("msd_hippocampus", "dsd", [{}]),
    "growth": (
        "phantom2d",
        "size96",
        [{"seed": 0, "subjects": 250, "frames": 2}, {"seed": 0, "subjects": 2500, "frames": 2}],
    ),
}


def memory_mb(process: psutil.Process) -> float:
    """Proportional set size of a process and its children: shared pages are counted once."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += one.memory_full_info().pss
    return total / 2**20


def timed(words: list[str], project: Path) -> tuple[float, float]:
    """Seconds and peak megabytes of ``segtrace WORDS`` in a project; ends with the log's tail on failure."""
    log, peak, start = project / "benchmark.log", 0.0, time.monotonic()
    with log.open("ab") as handle:
        process = subprocess.Popen(
            [sys.executable, "-m", "segtrace", *words],
            cwd=project,
            stdout=handle,
            stderr=handle,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        )
        watched, ended = psutil.Process(process.pid), threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(0.2):
                peak = max(peak, memory_mb(watched))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        code = process.wait()
        seconds = time.monotonic() - start
        ended.set()
        watcher.join()
    if code:
        sys.exit(f"segtrace {' '.join(words)} ended with {code}:\n{log.read_text(errors='replace')[-3000:]}")
    return seconds, peak


def project_in(folder: Path, dataset: str, options: dict[str, int]) -> Path:
    """An empty project with the committed configuration; ``options`` replace those of an embedded data set."""
    shutil.copytree(ROOT / "config", folder / "config")
    if options:
        path = folder / f"config/datasets/{dataset}.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump(content | {"options": options}), encoding="utf-8")
    return folder


def rows_of(name: str, *, mirror: str | None, workers: int) -> list[str]:
    """Lines of the table for one name of :data:`RUNS`."""
    dataset, recipe, variants = RUNS[name]
    found = []
    for options in variants:
        with tempfile.TemporaryDirectory(prefix="segtrace-throughput-") as temporary:
            project = project_in(Path(temporary) / "project", dataset, options)
            timed(["acquire", dataset, *(["--mirror", mirror] if mirror else [])], project)
            table = project / f"data/index/{dataset}/cases.csv"
            for phase, words in (
                ("index", [dataset]),
                ("prepare", [dataset, recipe]),
                ("validate", [dataset, recipe]),
            ):
                seconds, peak = timed([phase, *words, "--workers", str(workers)], project)
                cases = sum(1 for _ in table.open(encoding="utf-8")) - 1
                line = (
                    f"| {dataset} | {phase} | {cases} | {seconds:.1f} | {cases / seconds:.0f} | {peak:.0f} |"
                )
                print(line, flush=True)
                found.append(line)
    return found


def main() -> None:
    """Run what the command line names, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="+", choices=sorted(RUNS))
    parser.add_argument("--mirror", help="folder with archives under their published names")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--page", type=Path, help="write the table to this file too")
    given = parser.parse_args()
    head = [
        "| data set | phase | cases | seconds | cases/s | peak memory, MB |",
        "|---|---|---:|---:|---:|---:|",
    ]
    print("\n".join(head))
    lines = [
        line for name in given.names for line in rows_of(name, mirror=given.mirror, workers=given.workers)
    ]
    if given.page:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
        words = f"python benchmarks/throughput.py {' '.join(given.names)} --workers {given.workers}"
        given.page.write_text(
            "\n".join(
                [
                    "# Throughput: index, prepare, validate",
                    "",
                    f"    {words} --mirror <folder>",
                    "",
                    f"Commit {commit}, {datetime.date.today().isoformat()}.",
                    "",
                    *(f"    {line}" for line in measure.machine().splitlines()),
                    "",
                    *head,
                    *lines,
                    "",
                    "Start-up, checksums, gates and their pages are in the times; memory is that of all processes of a command.",
                    "",
                ]
            ),
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
