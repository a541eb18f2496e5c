"""Experiments on a borrowed GPU: data packed here, trained and judged there, tables brought back.

    # here, after prepare and split (snakemake split_all); git must ignore the folder
    python benchmarks/gpu_experiments.py pack sc_unext_table1:sc_unext,unext_s,unet --epochs 60 --folds 0 --to .gpu
    # there: once a part, then training, again and again
    python benchmarks/gpu_experiments.py unpack .gpu/part-00 --work /tmp/gpu
    python benchmarks/gpu_experiments.py train .gpu/runs.json --work /tmp/gpu --seconds 540 --output OUT
    # here: one page of what came back
    python benchmarks/gpu_experiments.py table OUT --write FILE
    # all of it at toy size, anywhere
    python benchmarks/gpu_experiments.py dry-run

A machine is lent for minutes, takes some 60 MiB a call and has torch, numpy and scipy alone. So `pack` resolves the runs
(experiments and methods in the order given, then folds, then seeds) and writes their prepared cases as parts of at most
--part-mib: images as 8 bits between each channel's least and greatest value (an error of at most 1/510 of that range), or
with --exact as they are, labels as they are, all under xz. The first part also holds the wheels of MONAI and einops. `unpack`
takes one part each call. `train` takes the runs in order, each by segtrace's own loop, until --seconds are over; the next call
goes on where it stopped, and a run that is done is not done again. Where the machine is given back in between, what the
finished runs say, the state of the unfinished one and as many weights as fit (--states-mib) have come back with the output:
lay the files `state-*` beside `runs.json`, and `train` begins with them.

`experiments.md` and `experiments.json` hold a row a run and label: on the experiment's role and checkpoint, on the prepared
grid, segtrace's measures as means over cases, averaged as in its tables, and Dice and IoU of all cases' counts together; what
was not run is a row that says so. `cases.csv` has the measures of each case. `table` joins the rows of several outputs, of
whatever machines, on one page. Trained on another machine from packed images, none of it enters results/.
"""

import argparse
import contextlib
import csv
import datetime
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np

import gpu_packing as packing
from segtrace import store
from segtrace.errors import SegtraceError
from segtrace.files import write_text

#: Column of a page → metric of a row, and digits behind the point.
COLUMNS = {
    "Dice": ("dice", 4),
    "IoU": ("iou", 4),
    "precision": ("precision", 4),
    "recall": ("recall", 4),
    "accuracy": ("accuracy", 4),
    "HD95 (mm)": ("hd95_mm", 2),
    "HD95 (voxels)": ("hd95_voxel", 2),
    "pooled Dice": ("pooled_dice", 4),
    "pooled IoU": ("pooled_iou", 4),
}


def write(content: Mapping[str, Any], rows: Sequence[dict[str, Any]], output: Path) -> None:
    """The tables of a call; ``content`` is that of ``runs.json``."""
    output.mkdir(parents=True, exist_ok=True)
    slim = [{key: value for key, value in row.items() if key != "cases"} for row in rows]
    told = {key: content[key] for key in ("budget", "images", "short")} | {"rows": slim}
    write_text(output / "experiments.json", json.dumps(told, indent=1) + "\n")
    text = page([told])
    write_text(output / "experiments.md", text)
    cases = [{"run": row["run"], **case} for row in rows for case in row.get("cases", ())]
    buffer = io.StringIO()
    if cases:
        table = csv.DictWriter(buffer, list(cases[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(cases)
    write_text(output / "cases.csv", buffer.getvalue())
    print(text, flush=True)


def page(outputs: Sequence[Mapping[str, Any]]) -> str:
    """The page of what came back: of a run that several outputs name, the finished row."""
    rows: dict[tuple[str, int, str], Mapping[str, Any]] = {}
    for told in outputs:
        for row in told["rows"]:
            key = (row["run"], row["epochs"], told["images"])
            if key not in rows or row["state"] == "done":
                rows[key] = row
    machines = sorted({row["machine"] for row in rows.values() if "machine" in row})
    images = " and ".join(sorted({told["images"] for told in outputs}))
    short = " Fewer cases than the experiment has: a trial." if any(told["short"] for told in outputs) else ""
    done = sum(row["state"] == "done" for row in rows.values())
    flat = bool(rows) and all(row["axes"] == 2 for row in rows.values())
    heads = [column.replace("voxels", "pixels") if flat else column for column in COLUMNS]
    first = ("run", "epochs", "label", "cases")
    lines = [
        "# Experiments on a borrowed machine",
        "",
        f"`benchmarks/gpu_experiments.py`, {'; '.join(machines) or 'no machine yet'}. Images {images}; prepared grid. "
        f"{done} of {len(rows)} runs are finished.{short} Minutes are those of the call that finished a run.",
        "",
        f"| {' | '.join((*first, *heads, 'minutes'))} |",
        "|---" * (len(first) + len(heads) + 1) + "|",
    ]
    for (name, epochs, _), row in rows.items():
        for label, found in row.get("labels", {}).items():
            cells = [number(found[metric], digits) for metric, digits in COLUMNS.values()]
            told = [name, str(epochs), label, str(found["cases"]), *cells, f"{row['seconds'] / 60:.1f}"]
            lines.append(f"| {' | '.join(told)} |")
        if "labels" not in row:
            lines.append(f"| {name} | {epochs} | {row['state']} |" + " |" * (len(heads) + 2))
    return "\n".join(lines) + "\n"


def number(value: float | None, digits: int) -> str:
    """A number for reading; an unknown one is a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


# --- the commands ----------------------------------------------------------------------------------------


def pack(given: argparse.Namespace) -> None:
    """Write runs, cases and wheels into a folder."""
    content = packing.resolved(given)
    parts = packing.pack(content, given.to, part_mib=given.part_mib)
    if parts:
        packing.wheels(parts[0])
    for part in parts:
        size = sum(file.stat().st_size for file in part.rglob("*") if file.is_file())
        print(f"{part}: {size / packing.MIB:.1f} MiB")
    print(
        f"{given.to}/runs.json: {len(content['entries'])} runs; git must ignore {given.to}, and each call carry what it needs"
    )


def unpack(given: argparse.Namespace) -> None:
    """Write cases and packages into the working folder."""
    for part in given.parts:
        print(f"{part}: {packing.unpack(part, given.work)} cases")


def train(given: argparse.Namespace) -> None:
    """Train what is packed until the time is up, and write what is known."""
    if not given.runs.is_file():
        raise SegtraceError(f"{given.runs}: no such file, so nothing is packed there; 'pack' makes it")
    sys.path.append(str((given.work / "lib").resolve()))  # after what is installed
    import bare

    bare.stand_in()
    import gpu_training

    content = json.loads(given.runs.read_text(encoding="utf-8"))
    runs = given.work / "runs"
    packing.bring_in(given.runs.parent, runs)
    given.work.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(given.work):
        options = {"seconds": given.seconds, "save_seconds": given.save_seconds}
        rows = list(gpu_training.train(content["entries"], **options))
    write(content, rows, given.output)
    packing.send_back(rows, runs, given.output, most=given.states_mib * packing.MIB)


def table(given: argparse.Namespace) -> None:
    """Print, and write where that is asked for, the page of what came back."""
    files = [folder / "experiments.json" for folder in given.outputs]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise SegtraceError(f"{', '.join(missing)}: no such file; 'train' writes it into its --output")
    text = page([json.loads(file.read_text(encoding="utf-8")) for file in files])
    text = text.replace("`,", f"`, {datetime.date.today()},", 1)
    print(text)
    if given.write:
        write_text(given.write, text)


def dry_run(given: argparse.Namespace) -> None:
    """Pack, unpack, stop, send back, go on, judge: with made cases; raises where something is lost."""
    import synthetic

    del given
    with tempfile.TemporaryDirectory() as made, contextlib.chdir(made):
        here, there = Path("here"), Path("there")
        content = synthetic.packed(here / "data", epochs=150, validate_every=50)
        run = content["entries"][0]["run"]
        parts = packing.pack(content, here / "packed", part_mib=0.002)
        assert len(parts) > 1
        for part in parts:
            packing.unpack(part, there)
        before, after = (
            store.open_case(place, run["cases"]["val"][0])
            for place in (here / "data", there / "data" / packing.flat(run["prepared"]))
        )
        assert np.array_equal(before.label, after.label)  # type: ignore[arg-type]
        assert np.abs(before.image - after.image).max() <= 1.01 * np.ptp(before.image) / 510
        seconds = 4.0
        while not any(
            "/resume/" in name for name in brought(Path("out"))
        ):  # a call may end before the first step
            seconds *= 2
            if call(seconds, Path("out"))[-1] == "done":
                raise SystemExit("done before it could be stopped: nothing was shown")
        print(f"—— stopped after {seconds:.0f} s; a fresh machine ——", flush=True)
        for piece in Path("out").glob("state-*"):
            shutil.copy(piece, here / "packed")
        shutil.rmtree(there)
        for part in parts:
            packing.unpack(part, there)
        assert call(600, Path("out2")) == ["done", "done"]
        assert call(600, Path("out2")) == ["done", "done"]  # and nothing twice
        table(argparse.Namespace(outputs=[Path("out"), Path("out2")], write=Path("page.md")))


def brought(output: Path) -> list[str]:
    """Names of the files in the pieces that a call has sent back."""
    with tempfile.TemporaryDirectory() as made:
        packing.bring_in(output, Path(made))
        return [path.as_posix() for path in Path(made).rglob("*") if path.is_file()]


def call(seconds: float, output: Path) -> list[str]:
    """One call of `train` on the toy's runs; the state of each."""
    words = ["train", "here/packed/runs.json", "--work", "there", "--output", str(output)]
    words += ["--seconds", str(seconds), "--save-seconds", "0.2"]
    subprocess.run([sys.executable, str(Path(__file__).resolve()), *words], check=True)
    told = json.loads((output / "experiments.json").read_text(encoding="utf-8"))
    return [row["state"] for row in told["rows"]]


def main(arguments: Sequence[str] | None = None) -> None:
    """What the first word says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    packing_ = commands.add_parser("pack")
    packing_.add_argument("experiments", nargs="+", metavar="EXPERIMENT[:METHOD,METHOD]")
    packing_.add_argument("--folds", help="joined by commas (default: the experiment's)")
    packing_.add_argument("--seeds", default="0")
    packing_.add_argument("--budget", default="paper")
    packing_.add_argument("--epochs", type=int, help="in place of the recipe's; the page names them")
    packing_.add_argument("--cases", type=int, help="only so many of each role; the page says so")
    packing_.add_argument("--exact", action="store_true", help="images as they are: several times the size")
    packing_.add_argument("--determinism", choices=("strict", "fast"), default="strict")
    packing_.add_argument("--part-mib", type=float, default=44)
    packing_.add_argument("--to", type=Path, default=Path(".gpu"))
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("parts", type=Path, nargs="+")
    training = commands.add_parser("train")
    training.add_argument("runs", type=Path)
    training.add_argument("--seconds", type=float, default=540)
    training.add_argument("--save-seconds", type=float, default=20, help="between states of a training")
    training.add_argument("--states-mib", type=float, default=45)
    training.add_argument("--output", type=Path, default=Path(os.environ.get("OUT", "gpu-output")))
    for one in (unpacking, training):
        one.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "segtrace-gpu")
    showing = commands.add_parser("table")
    showing.add_argument("outputs", type=Path, nargs="+")
    showing.add_argument("--write", type=Path)
    commands.add_parser("dry-run")
    given = parser.parse_args(arguments)
    steps = {"pack": pack, "unpack": unpack, "train": train, "table": table, "dry-run": dry_run}
    try:
        steps[given.command](given)
    except SegtraceError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
