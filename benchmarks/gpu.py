"""The table of a GPU, in one command of under ten minutes, on a machine with torch, numpy, scipy and MONAI.

    python benchmarks/gpu.py [--output FOLDER] [--seconds 560] [--only steps,resume,…] [--dry-run]

    steps       a step of the hippocampus paper recipe (16 crops of 32³, DynUNet 16-32-64-128-256): the engine's, and
                the same on constant tensors; strict and fast; float32, TF32 and bf16; eager and CUDA graphs; how
                often the host waits
    registry    every registered network with every loss: two strict steps from one seed, equal bits
    sliding     a volume of 256³ in 8 classes by sliding window, against MONAI's, equality first
    large       the step alone at 128³ with 4 channels, and in 2-D at 512²: strict and fast, TF32 and bf16
    resume      a training that is killed by `kill -9` and resumed, and repeated: equal bits
    recipe      the hippocampus paper recipe: 300 epochs of 170 volumes, validation included, as far as time allows
    compile     the hippocampus step under torch.compile, in its three modes

Data are made from a seed, for time does not depend on their values. Times are means over 50 steps after 20, between CUDA
events; memory is `max_memory_allocated`. `gpu.md` and `gpu.json` go to --output, or to the folder that the environment variable
OUT names. Each part has its share of --seconds; what fails or is late is said in its row, and the others go on.
--dry-run does all of it at toy size, also without a GPU: its times say nothing. Exits with 1 where bits or values differ
or a part fails.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
import bare

STOOD_IN = bare.stand_in()

import torch  # noqa: E402

import gpu_rows as parts  # noqa: E402
from gpu_setting import Late, Row, Setting, at_most  # noqa: E402

#: Part → (its rows, the seconds that it may take at most; the last two take what is left).
PARTS: dict[str, tuple[Callable[[Setting], Iterator[Row]], float]] = {
    "steps": (parts.step_rows, 110),
    "registry": (parts.registry_rows, 50),
    "sliding": (parts.sliding_rows, 30),
    "large": (parts.large_rows, 50),
    "resume": (parts.resume_rows, 150),
    "recipe": (parts.recipe_rows, 1e9),
    "compile": (parts.compile_rows, 1e9),
}


def measure(at: Setting, chosen: list[str]) -> list[Row]:
    """All rows of the chosen parts; a part that fails or is late says so and ends."""
    rows: list[Row] = []

    def add(row: Row) -> None:
        if at.dry and not row.must:
            row.bar, row.met = "", None  # a toy's times meet and miss nothing
        mark = {None: "", True: " — met", False: " — MISSED"}[row.met]
        bar = f" [{row.bar}{mark}]" if row.bar else ""
        print(f"{row.part}: {row.what}: {row.value}{bar}", flush=True)
        rows.append(row)

    for part in chosen:
        make, most = PARTS[part]
        started = time.monotonic()
        try:
            with at_most(min(most, at.left)):
                for row in make(at):
                    add(row)
        except Late:
            add(Row(part, "the rest", f"not done in {time.monotonic() - started:.0f} s"))
        except Exception as error:
            reason = (str(error).strip() or "no message").splitlines()[0]
            add(Row(part, "the rest", f"failed: {type(error).__name__}: {reason}", "works", False, must=True))
    return rows


def machine(at: Setting) -> str:
    """What was measured on, in a line."""
    name = torch.cuda.get_device_name(at.device) if at.device.type == "cuda" else platform.machine()
    versions = f"torch {torch.__version__}, Python {platform.python_version()}, {os.cpu_count()} CPU cores"
    return f"{name}, {versions}{', safetensors stood in for' if STOOD_IN else ''}"


def write(rows: list[Row], at: Setting, folder: Path, title: str) -> None:
    """`gpu.json` and `gpu.md` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {"machine": machine(at), "dry_run": at.dry, "rows": [dataclasses.asdict(row) for row in rows]}
    (folder / "gpu.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    words = {None: "", True: "met", False: "missed"}
    lines = [f"# {title}", "", machine(at), "", "| part | what | measured | bar | |", "|---|---|---|---|---|"]
    lines += [f"| {row.part} | {row.what} | {row.value} | {row.bar} | {words[row.met]} |" for row in rows]
    (folder / "gpu.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; 1 where bits or values differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="folder for gpu.md and gpu.json")
    parser.add_argument("--seconds", type=float, default=560, help="for all parts together")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, joined by commas")
    parser.add_argument(
        "--dry-run", action="store_true", help="everything at toy size, with or without a GPU"
    )
    given = parser.parse_args(arguments)
    chosen = [part for part in PARTS if part in given.only.split(",")]
    unknown = sorted(set(given.only.split(",")) - set(PARTS))
    if unknown:
        parser.error(f"no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    if not torch.cuda.is_available() and not given.dry_run:
        parser.error("there is no GPU here; --dry-run does everything at toy size on the CPU")
    output = given.output or (Path(os.environ["OUT"]) if os.environ.get("OUT") else None)
    with tempfile.TemporaryDirectory() as made:
        at = Setting(dry=given.dry_run, seconds=given.seconds, folder=Path(made))
        print(machine(at), flush=True)
        with contextlib.chdir(made):  # where trainings that are watched would leave their files
            rows = measure(at, chosen)
        if output is not None:
            write(rows, at, output, "A dry run: its times say nothing" if at.dry else "On a GPU")
    must_hold = ("registry", "resume")
    wrong = [
        row for row in rows if row.met is False and (row.part in must_hold or row.bar in ("≤ 1e-5", "works"))
    ]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
