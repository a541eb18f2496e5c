"""Run the comparisons and write ``benchmarks/RESULTS.md``: what each printed, with command, commit, machine and date.

    .venv/bin/python benchmarks/bench.py [--peers .venv-peers/bin/python] [--mirror FOLDER] [--only NAME …]

``--only`` runs some and keeps what the file says of the others. A script that fails leaves its section as it
was and ends this one with 1. Nothing else should run beside it: two cores that are shared give ratios at best.
"""

import argparse
import datetime
import os
import subprocess
import sys
from pathlib import Path

import measure
from segtrace.files import write_text

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/RESULTS.md"
#: Name → (the claim, the script with its arguments, whether it compares with peers, whether it reads the archives).
SCRIPTS: dict[str, tuple[str, list[str], bool, bool]] = {
    "metrics": ("all metrics of all labels in one pass", ["metrics.py"], True, False),
    "augment": ("samples cut out, rotated, zoomed and changed", ["augment.py"], True, False),
    "step": ("a step that is the network's time", ["step.py"], True, True),
    "prepare": ("preparation of cases", ["prepare.py"], True, True),
    "sliding": ("prediction by sliding window in half the memory", ["sliding.py"], False, False),
    "large": ("a volume of 512 x 512 x 700 within 8 GiB", ["sliding.py", "--large"], False, False),
    "determinism": ("the same bytes, also after kills", ["determinism.py"], False, False),
}
HEAD = """# Benchmarks, as printed

Written by `make bench MIRROR=<folder with archives>`; [docs/benchmarks.md](../docs/benchmarks.md) says how to read it. Each
script first asserts that both sides give the same (or says how they differ), then times them in turns. Ratios below 1.3 on a
shared machine are ties.
"""


def section(name: str, printed: str, command: str) -> str:
    """What the file says of one script."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return f"## {name}: {SCRIPTS[name][0]}\n\n`{command}`, commit {commit}, {today}\n\n```text\n{printed.strip()}\n```\n"


def earlier() -> dict[str, str]:
    """The sections that the file has, by name."""
    if not RESULTS.is_file():
        return {}
    parts = RESULTS.read_text(encoding="utf-8").split("\n## ")[1:]
    return {part.split(":")[0]: f"## {part.rstrip()}\n" for part in parts}


def run(name: str, *, peers: str, mirror: str | None) -> str | None:
    """The section of a script that ran to its end; None where it failed."""
    _, script, compares, reads = SCRIPTS[name]
    given = ["--mirror", mirror] if reads and mirror else []
    command = [peers if compares else sys.executable, f"benchmarks/{script[0]}", *script[1:], *given]
    print(f"\n=== {name}", flush=True)
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    print(done.stdout, flush=True)
    if done.returncode:
        print(f"{name} failed with {done.returncode}; what {RESULTS.name} says of it is left as it was")
        return None
    own = ".venv-peers/bin/python" if compares else ".venv/bin/python"
    shown = " ".join([own, *command[1:-1], "FOLDER"] if given else [own, *command[1:]])
    return section(name, done.stdout, shown)


def main() -> None:
    """Run what is asked for, and write the file after each, so that a stopped run keeps what it has."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", default=str(ROOT / ".venv-peers/bin/python"), help="Python of the peers")
    parser.add_argument("--mirror", help="folder with the published archives")
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS), metavar="NAME")
    given = parser.parse_args()
    sections, failed = earlier(), []
    for name in given.only:
        found = run(name, peers=given.peers, mirror=given.mirror)
        if found is None:
            failed.append(name)
            continue
        sections[name] = found
        ordered = [sections[key] for key in SCRIPTS if key in sections]
        machine = f"\n{measure.machine()}\n".replace("\n", "\n    ").rstrip()
        write_text(RESULTS, "\n".join([HEAD + machine + "\n", *ordered]))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
