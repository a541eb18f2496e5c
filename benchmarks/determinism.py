"""Show that a training is a function of its run: repeated or killed, it ends with the same bytes.

    python benchmarks/determinism.py [--kills 20] [--seed 0] [--run run.json] [--output FOLDER]

1. The same run is trained three times, each in a process of its own. All files are compared byte by byte.
2. It is trained again for each of 20 points in time, drawn evenly between its first step and the time that
   the whole training takes; there `kill -9`, then the same command until it is complete. Weights,
   best weights, history and run.json are compared with those of the uninterrupted training.

Without --run this is done for two small runs made from a seed, in 2-D and in 3-D and bf16. With it, for that run (from the
project's root: its prepared cases must be there). On a GPU the same commands hold for `determinism: strict`.
The kill points are real time and differ from machine to machine; what they must show does not. Exits with 1 if any byte differs.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

#: The files that a training leaves.
OUTPUTS = ("weights.safetensors", "best_val.safetensors", "history.csv", "run.json")
#: What a child says when data and network are loaded and the steps begin.
READY = "begins"


def child(run: Path, folder: Path, save_seconds: float) -> None:
    """Train in this process; say when all is loaded, so that kill points fall into the training."""
    import bare

    bare.stand_in()
    from segtrace.train import loop

    bar = loop.progress

    def begin(*arguments: Any, **options: Any) -> Any:
        print(READY, flush=True)
        return bar(*arguments, **options)

    with mock.patch.object(loop, "progress", begin):
        loop.train(json.loads(run.read_text(encoding="utf-8")), folder=folder, save_seconds=save_seconds)


@dataclass(frozen=True)
class Ended:
    """How a child ended: seconds from its first word, its exit status, what it printed."""

    seconds: float
    status: int
    text: str


def train(run: Path, folder: Path, *, save_seconds: float, kill_after: float | None = None) -> Ended:
    """Train in a new process; with ``kill_after``, ``kill -9`` that many seconds after the training began."""
    command = [sys.executable, __file__, "--child", str(run), str(folder), str(save_seconds)]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            lines, seconds = _follow(process, kill_after)
            status = process.wait()
        finally:
            process.kill()  # when this one is interrupted; nothing if it has ended
        errors.seek(0)
        text = lines + errors.read()
    if status not in (0, -signal.SIGKILL):
        sys.exit(f"{' '.join(command)} ended with {status}:\n{text[-3000:]}")
    return Ended(seconds, status, text)


def _follow(process: subprocess.Popen[str], kill_after: float | None) -> tuple[str, float]:
    """What a child prints until it ends or is killed, and the seconds since it was ready."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.strip() == READY:
            break
    started = time.monotonic()
    if kill_after is not None:
        try:
            process.wait(kill_after)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
    lines.append(process.stdout.read())
    process.wait()
    return "".join(lines), time.monotonic() - started


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that a training leaves; 'missing' where it is not there."""
    found = {}
    for name in OUTPUTS:
        path = folder / name
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
    return found


def differing(a: dict[str, str], b: dict[str, str]) -> str:
    """The names of the files that differ, or 'none'."""
    return ", ".join(name for name in OUTPUTS if a[name] != b[name]) or "none"


def resumed_at(text: str) -> str:
    """Where a training went on, as its log says."""
    for line in text.splitlines():
        if line.startswith("resuming at "):
            return line.removeprefix("resuming at ")
        if "already trained" in line:
            return "nothing left to do"
    return "from the start"


def repeat(
    run: Path, folder: Path, times: int, save_seconds: float
) -> tuple[list[Ended], list[dict[str, str]]]:
    """Train ``times`` times; each training's end and the sums of its files."""
    ended = [train(run, folder / f"whole{i}", save_seconds=save_seconds) for i in range(times)]
    return ended, [sums(folder / f"whole{i}") for i in range(times)]


def proof(
    title: str, run: dict[str, Any], folder: Path, *, kills: int, repeats: int, seed: int, say: Any = print
) -> bool:
    """Both proofs for one run, as a table through ``say``; True if every byte is equal and all kills landed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.json"
    path.write_text(json.dumps(run), encoding="utf-8")
    # a first training, without states, says how long one takes; then about twenty states are saved in that time
    first = train(path, folder / "first", save_seconds=1e9)
    every = first.seconds / 20
    ended, found = repeat(path, folder, repeats, every)
    expected = sums(folder / "first")
    other = [differing(expected, one) for one in found]
    say(f"\n{title}: {first.seconds:.1f} s a training\n")
    say(
        f"{repeats + 1} trainings, one of them without saved states: files that differ: {', '.join(sorted(set(other)))}"
    )
    for name, value in expected.items():
        say(f"    {value[:16]}  {name}")
    # killed after a draw between the first step and the end
    length = min(one.seconds for one in ended)
    draw = random.Random(seed)
    say(f"\n| kill -9 | after | resumed at | files that differ |\n|{'---|' * 4}")
    good, landed, drawn = all(text == "none" for text in other), 0, 0
    while (
        landed < kills and drawn < 3 * kills
    ):  # a machine may be quicker than it was when the time was taken
        drawn += 1
        target, after = folder / "killed", draw.uniform(0, length)
        shutil.rmtree(target, ignore_errors=True)
        killed = train(path, target, save_seconds=every, kill_after=after)
        again = train(path, target, save_seconds=every)
        difference = differing(expected, sums(target))
        left = sorted(p.name for p in target.iterdir() if p.name not in OUTPUTS)
        if left:
            difference += f" (and left behind: {', '.join(left)})"
        hit = killed.status == -signal.SIGKILL
        landed += hit
        where = resumed_at(again.text) if hit else "not killed: it was done before"
        say(f"| {landed if hit else '–'} | {after:.2f} s | {where} | {difference} |")
        good = good and difference == "none"
    say(f"\n{landed} of {drawn} draws killed a training; {'all bytes equal' if good else 'BYTES DIFFER'}")
    return good and landed == kills


def runs_of(given: Path | None, folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """The runs to show it with: the given one, or two small ones whose cases are written to ``folder``."""
    if given is not None:
        run = json.loads(given.read_text(encoding="utf-8"))
        return [(run["run"], {key: value for key, value in run.items() if key != "machine"})]
    import synthetic

    found = []
    for title, dims, training in (
        ("2-D, fp32, SGD", 2, {"optimiser": "sgd", "epochs": 60}),
        ("3-D, bf16, AdamW", 3, {"precision": "bf16", "epochs": 40}),
    ):
        run = synthetic.small(spatial_dims=dims, **training)
        shapes = synthetic.sizes(12, ((24,) * dims, (32,) * dims))
        synthetic.write_cases(run, folder / f"cases{dims}", shapes, validation=2)
        found.append((title, run))
    return found


def main() -> None:
    """Show both for each run and write what was printed."""
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20, help="points in time at which a training is killed")
    parser.add_argument("--repeats", type=int, default=3, help="trainings of the same run")
    parser.add_argument("--seed", type=int, default=0, help="of the points in time")
    parser.add_argument("--run", type=Path, help="the run.json of a run whose prepared cases are there")
    parser.add_argument("--output", type=Path, help="folder for determinism.md")
    arguments = parser.parse_args()
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    say(f"seed of the kill points: {arguments.seed}")
    good = True
    with tempfile.TemporaryDirectory() as made:
        for number, (title, run) in enumerate(runs_of(arguments.run, Path(made))):
            good &= proof(
                title,
                run,
                Path(made) / str(number),
                kills=arguments.kills,
                repeats=arguments.repeats,
                seed=arguments.seed + number,
                say=say,
            )
    if arguments.output is not None:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "determinism.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
