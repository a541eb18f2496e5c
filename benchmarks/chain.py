"""Measure the whole chain on fresh clones of this repository, and print the table that the README states.

    python benchmarks/chain.py demo hippocampus busi identical --mirror FOLDER

    demo         `make demo` on a fresh clone, installation included; then the same command again
    hippocampus  `make hippocampus` from the mirror; then again; mean foreground Dice of the test cases
    busi         `make busi` from the mirror; then again; Dice and the best constant prediction
    identical    the phantoms on two fresh clones with --cores 1 and --cores 2: compared byte by byte

Times are wall-clock seconds. The table goes to docs/results/chain.md with the machine it was made on.
Uncommitted changes are not measured: the clones hold what is committed.
"""

import argparse
import csv
import datetime
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def clone(folder: Path, name: str) -> Path:
    """A fresh clone of what is committed."""
    target = folder / name
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(target)], check=True)
    return target


def timed(command: list[str], *, cwd: Path, env: dict[str, str] | None = None) -> float:
    """Run a command, its output to a log; return seconds, or end with the log's tail on failure."""
    log = cwd / "chain.log"
    start = time.monotonic()
    with log.open("ab") as handle:
        code = subprocess.run(command, cwd=cwd, stdout=handle, stderr=handle, env=env).returncode
    seconds = time.monotonic() - start
    if code:
        sys.exit(
            f"{' '.join(command)} ended with {code} in {cwd}:\n" + log.read_text(errors="replace")[-3000:]
        )
    return seconds


def value(table: Path, **keys: str) -> dict[str, str]:
    """The one row of a CSV table that matches ``keys``."""
    with table.open(encoding="utf-8", newline="") as handle:
        found = [row for row in csv.DictReader(handle) if all(row[k] == v for k, v in keys.items())]
    if len(found) != 1:
        sys.exit(f"{table}: {len(found)} rows match {keys}")
    return found[0]


def contents(project: Path) -> dict[str, str]:
    """Digest of every file that must be equal between equal runs."""
    found = {}
    for top in (
        "data/index",
        "data/prepared",
        "data/splits",
        "checkpoints",
        "predictions",
        "scores",
        "results",
    ):
        for path in sorted((project / top).rglob("*")):
            if path.is_file():
                found[str(path.relative_to(project))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def machine() -> str:
    """Processor, cores, memory and Python, in a line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"


def main() -> None:
    """Measure what was asked for and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="+", choices=["demo", "hippocampus", "busi", "identical"])
    parser.add_argument("--mirror", type=Path, help="folder with the archives")
    arguments = parser.parse_args()
    if {"hippocampus", "busi"} & set(arguments.what) and arguments.mirror is None:
        parser.error("hippocampus and busi need --mirror")
    mirror = f"MIRROR={arguments.mirror.resolve()}" if arguments.mirror else ""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    rows: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory(prefix="segtrace-chain-") as name:
        first = clone(Path(name), "first")
        if "demo" in arguments.what:
            rows.append(
                (
                    "`make demo`, fresh clone, installation included",
                    f"{timed(['make', 'demo'], cwd=first):.0f} s",
                )
            )
            rows.append(
                ("`make demo` again: nothing to be done", f"{timed(['make', 'demo'], cwd=first):.1f} s")
            )
        timed(["make", "install"], cwd=first)
        for experiment, method in (("hippocampus", "nnunet_small"), ("busi", "unet")):
            if experiment not in arguments.what:
                continue
            command = ["make", experiment, mirror]
            rows.append(
                (
                    f"`make {experiment}` from a mirror, archive to report",
                    f"{timed(command, cwd=first):.0f} s",
                )
            )
            rows.append(
                (f"`make {experiment}` again: nothing to be done", f"{timed(command, cwd=first):.1f} s")
            )
            row = value(first / f"results/{experiment}/summary.csv", method=method, label="0", metric="dice")
            rows.append(
                (
                    f"{experiment}: mean foreground Dice of {row['cases']} test cases, budget {row['budget']}",
                    f"{float(row['mean']):.4f} ± {float(row['sd']):.4f}",
                )
            )
            rows.append((f"{experiment}: best constant prediction", f"{float(row['constant']):.4f}"))
        if "identical" in arguments.what:
            found = []
            environment = os.environ | {"PATH": f"{first}/.venv/bin:{os.environ['PATH']}"}
            for cores in ("1", "2"):
                project = clone(Path(name), f"cores{cores}")
                timed([f"{first}/.venv/bin/snakemake", "--cores", cores], cwd=project, env=environment)
                found.append(contents(project))
            different = sorted(
                k for k in found[0].keys() | found[1].keys() if found[0].get(k) != found[1].get(k)
            )
            verdict = (
                "byte-identical" if not different else f"{len(different)} differ: {', '.join(different[:5])}"
            )
            rows.append((f"two fresh clones, --cores 1 and --cores 2: {len(found[0])} files", verdict))
    shown = " ".join(
        ["python benchmarks/chain.py", *arguments.what, *(["--mirror FOLDER"] if mirror else [])]
    )
    text = [
        "# The whole chain, measured",
        "",
        f"`{shown}`, {datetime.date.today()}, at commit {commit}, on {machine()}.",
        "",
        "| what | figure |",
        "|---|---|",
        *(f"| {what} | {figure} |" for what, figure in rows),
    ]
    print("\n".join(text))
    (ROOT / "docs/results/chain.md").write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
