"""Experiments on a borrowed GPU: data packed here, trained and judged there, tables brought back.

    # here, after prepare and split; git must ignore the folder
    python benchmarks/gpu_experiments.py pack sc_unext_table1 --methods sc_unext,unext_s,unet --epochs 60 --folds 0 --to .gpu
    # there: once a part, then training, again and again
    python benchmarks/gpu_experiments.py unpack .gpu/part-00 --work /tmp/gpu
    python benchmarks/gpu_experiments.py train .gpu/runs.json --work /tmp/gpu --seconds 540 --output OUT
    # all of it at toy size, anywhere
    python benchmarks/gpu_experiments.py dry-run

A machine is lent for minutes, takes some 60 MiB a call and has torch, numpy, scipy and a carried MONAI alone. So `pack`
resolves the runs (methods in the order given, then folds, then seeds) and writes their prepared cases as parts of at most
--part-mib: images as 8 bits between each channel's least and greatest value (an error of at most 1/510 of that range),
labels as they are, differences along rows under xz. `unpack` takes one part each call. `train` takes the runs in order, each
by segtrace's own loop, until --seconds are over; the next call goes on where it stopped, and a run that is done is not done
again. Where the machine is given back in between, the states of an unfinished training that fit (--states-mib) have come
back with the output: lay the files `state-*` beside `runs.json`, and `train` begins with them.

`experiments.md` and `experiments.json` hold a row a run: on the experiment's role and checkpoint, on the prepared grid, Dice,
IoU, precision, recall and accuracy as means over cases and pooled; what was not run is a row that says so. `cases.csv` has
the counts of each case. Trained on rounded images, none of it enters results/.
"""

import argparse
import contextlib
import csv
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
import bare

STOOD_IN = bare.stand_in()

import numpy as np  # noqa: E402
import torch  # noqa: E402

import synthetic  # noqa: E402
from gpu_setting import Late, at_most  # noqa: E402
from segtrace import checkpoint, networks, sliding, store  # noqa: E402
from segtrace.digests import digest  # noqa: E402
from segtrace.files import write_text  # noqa: E402
from segtrace.metrics import counts as counting  # noqa: E402
from segtrace.train import loop  # noqa: E402

MIB = 2**20
#: A part of a file that comes back is at most so large.
PIECE = 15 * MIB
METRICS = ("dice", "iou", "precision", "recall", "accuracy")


# --- here ------------------------------------------------------------------------------------------------


def resolved(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """The runs that are asked for, as ``run.json`` has them, with the cases that each is judged on."""
    from segtrace import layout, tables
    from segtrace.config import load, runs
    from segtrace.train.command import resolve

    found = []
    for name in asked.experiments:
        experiment = load.experiment(name)
        methods = asked.methods.split(",") if asked.methods else experiment.methods
        folds = [int(fold) for fold in asked.folds.split(",")] if asked.folds else runs.folds(experiment)
        for method in methods:
            for fold in folds:
                for seed in map(int, asked.seeds.split(",")):
                    run = layout.RunName(
                        experiment.dataset,
                        experiment.recipe,
                        experiment.protocol,
                        method,
                        asked.budget,
                        fold,
                        seed,
                    )
                    made = resolve(run, threads=8, determinism=asked.determinism)
                    if asked.epochs:
                        made["training"]["epochs"] = asked.epochs
                    split = tables.read("split", layout.split(run.dataset, run.protocol))
                    judged = split[(split["fold"] == fold) & (split["role"] == experiment.role)]["case"]
                    found.append(
                        {
                            "experiment": name,
                            "run": made,
                            "judged": sorted(judged),
                            "checkpoint": experiment.checkpoint,
                        }
                    )
    return found


def pack(wanted: Sequence[dict[str, Any]], folder: Path, *, part_mib: float) -> list[Path]:
    """Write ``runs.json`` and the parts of all cases that the runs read; the parts' folders."""
    folder.mkdir(parents=True, exist_ok=True)
    needed = {
        (entry["run"]["prepared"], case)
        for entry in wanted
        for case in (*entry["run"]["cases"]["train"], *entry["run"]["cases"]["val"], *entry["judged"])
    }
    parts: list[Path] = []
    room = 0.0
    for prepared, case in sorted(needed):
        data = packed(store.open_case(Path(prepared), case))
        if not parts or room < len(data):
            parts.append(folder / f"part-{len(parts):02d}")
            parts[-1].mkdir(exist_ok=True)
            room = part_mib * MIB
        room -= len(data)
        place = parts[-1] / prepared.replace("/", "+")
        place.mkdir(exist_ok=True)
        (place / f"{case}.xz").write_bytes(data)
    write_text(folder / "runs.json", json.dumps(wanted, indent=1) + "\n")
    return parts


def packed(case: store.PreparedCase) -> bytes:
    """A case as bytes: image of 8 bits a value between each channel's least and greatest, label, both under xz."""
    flat = case.image.reshape(len(case.image), -1)
    low, high = flat.min(1), flat.max(1)
    span = np.maximum(high - low, 1e-12)
    axes = (-1,) + (1,) * (case.image.ndim - 1)
    levels = np.rint((case.image - low.reshape(axes)) / span.reshape(axes) * 255).astype(np.uint8)
    steps = np.diff(levels, axis=-1, prepend=np.uint8(0))  # differences modulo 256
    buffer = io.BytesIO()
    assert case.label is not None
    np.savez(
        buffer, low=low, span=span, steps=steps, label=np.packbits(case.label[..., None] >> np.arange(8) & 1)
    )
    return lzma.compress(buffer.getvalue(), preset=6)


# --- there -----------------------------------------------------------------------------------------------


def unpack(part: Path, work: Path) -> int:
    """Write the cases of a part into stores under ``work``; their number."""
    files = sorted(part.glob("*/*.xz"))
    for file in files:
        with np.load(io.BytesIO(lzma.decompress(file.read_bytes()))) as held:
            levels = np.cumsum(held["steps"], axis=-1, dtype=np.uint8)
            axes = (-1,) + (1,) * (levels.ndim - 1)
            image = levels.astype(np.float32) / 255 * held["span"].reshape(axes) + held["low"].reshape(axes)
            bits = np.unpackbits(held["label"], count=levels[0].size * 8).reshape(*levels.shape[1:], 8)
        label = (bits << np.arange(8, dtype=np.uint8)).sum(-1, dtype=np.uint8)
        place = work / "data" / file.parent.name
        store.write_case(
            place, file.stem, image=image.astype(np.float32), label=label, record={"digest": "0" * 16}
        )
    return len(files)


def train(
    wanted: Sequence[dict[str, Any]], *, work: Path, seconds: float, save_seconds: float
) -> Iterator[dict[str, Any]]:
    """Train and judge the runs in order until ``seconds`` are over; a row each, also of those not reached."""
    end = time.monotonic() + seconds
    for entry in wanted:
        run = entry["run"] | {"prepared": str(work / "data" / entry["run"]["prepared"].replace("/", "+"))}
        folder = work / "runs" / digest(entry)  # whatever else the file of runs holds
        row = {"experiment": entry["experiment"], "run": run["run"], "epochs": run["training"]["epochs"]}
        done = folder / "row.json"
        if done.is_file():
            yield json.loads(done.read_text(encoding="utf-8"))
            continue
        if end - time.monotonic() < 1:
            yield row | {"state": "not run"}
            continue
        began = time.monotonic()
        try:
            with at_most(end - began):
                loop.train(run, folder=folder, save_seconds=save_seconds)
                cases = list(judged(entry | {"run": run}, folder))
        except Late:
            yield row | {"state": "not finished", "folder": str(folder)}
            continue
        taken = time.monotonic() - began
        row |= {"state": "done", "seconds_in_this_call": taken, **summary(cases), "cases": cases}
        write_text(done, json.dumps(row) + "\n")
        yield row


def judged(entry: dict[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    """The counts of each case that the experiment is scored on and each label, on the prepared grid."""
    run = entry["run"]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = networks.of_run(run)
    names = {"last": "weights.safetensors", "best_val": "best_val.safetensors"}
    checkpoint.load_weights(folder / names[entry["checkpoint"]], network)
    network.to(device)
    options = sliding.inference_of(run)
    for name in entry["judged"]:
        case = store.open_case(Path(run["prepared"]), name)
        assert case.label is not None
        logits = sliding.predict_logits(network, np.array(case.image), device=device, **options)
        found = logits.argmax(0).to(torch.uint8).cpu().numpy()
        for label in map(int, run["labels"]):
            tp, fp, fn = (
                int(part.sum())
                for part in (
                    (found == label) & (case.label == label),
                    (found == label) & (case.label != label),
                    (found != label) & (case.label == label),
                )
            )
            yield {
                "case": name,
                "label": label,
                "tp": tp,
                "fp": fp,
                "fn": fn,
                "tn": found.size - tp - fp - fn,
            }


def summary(cases: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means over cases and labels, and values of the pooled counts, of each metric."""

    def values(row: dict[str, Any]) -> dict[str, float | None]:
        held = counting.Counts(**{key: row[key] for key in ("tp", "fp", "fn", "tn")})
        return {metric: getattr(counting, metric)(held) for metric in METRICS}

    each = [values(row) for row in cases]
    pooled = values({key: sum(row[key] for row in cases) for key in ("tp", "fp", "fn", "tn")})
    found = {}
    for metric in METRICS:
        known = [value for row in each if (value := row[metric]) is not None]
        found[metric] = sum(known) / len(known) if known else float("nan")
        found[f"pooled_{metric}"] = float("nan") if pooled[metric] is None else float(pooled[metric] or 0)
    return found


def write(rows: Sequence[dict[str, Any]], output: Path, *, states_mib: float) -> None:
    """The tables, and the states of the first unfinished training where they fit."""
    output.mkdir(parents=True, exist_ok=True)
    named = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    lines = [
        "# Experiments on a borrowed machine",
        "",
        f"{named}, torch {torch.__version__}. Images rounded to 8 bits; prepared grid.",
        "",
        f"| run | epochs | state | {' | '.join(METRICS)} | pooled dice | pooled iou |",
        "|---" * (5 + len(METRICS)) + "|",
    ]
    shown = (*METRICS, "pooled_dice", "pooled_iou")
    for row in rows:
        cells = [f"{row[key]:.4f}" if key in row else "" for key in shown]
        lines.append(f"| {row['run']} | {row['epochs']} | {row['state']} | {' | '.join(cells)} |")
    write_text(output / "experiments.md", "\n".join(lines) + "\n")
    slim = [{key: value for key, value in row.items() if key != "cases"} for row in rows]
    write_text(output / "experiments.json", json.dumps(slim, indent=1) + "\n")
    buffer = io.StringIO()
    table = csv.DictWriter(buffer, ["run", "case", "label", "tp", "fp", "fn", "tn"], lineterminator="\n")
    table.writeheader()
    for row in rows:
        table.writerows({"run": row["run"], **case} for case in row.get("cases", ()))
    write_text(output / "cases.csv", buffer.getvalue())
    unfinished = next((row for row in rows if "folder" in row), None)
    if unfinished is not None:
        send_back(Path(unfinished["folder"]), output, most=states_mib * MIB)
    print("\n".join(lines), flush=True)


def send_back(folder: Path, output: Path, *, most: float) -> None:
    """The folder of an unfinished training as pieces of a tar file, if it is no larger than ``most`` bytes."""
    if not folder.is_dir():
        return
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, folder.name)
    data = buffer.getvalue()
    if len(data) > most:
        print(f"{folder.name}: states of {len(data) / MIB:.0f} MiB stay on this machine", flush=True)
        return
    for number, first in enumerate(range(0, len(data), PIECE)):
        (output / f"state-{number}").write_bytes(data[first : first + PIECE])


def bring_in(folder: Path, work: Path) -> None:
    """Unpack ``state-*`` files beside ``runs.json`` that an earlier machine sent back, unless there are states already."""
    pieces = sorted(folder.glob("state-*"))
    if not pieces:
        return
    with tarfile.open(fileobj=io.BytesIO(b"".join(piece.read_bytes() for piece in pieces))) as archive:
        name = archive.getnames()[0]
        if not (work / "runs" / name).exists():
            archive.extractall(work / "runs", filter="data")


# --- all of it at toy size -------------------------------------------------------------------------------


def dry_run() -> None:
    """Pack, unpack, stop, send back, go on, judge: with made cases; raises where something is lost."""
    with tempfile.TemporaryDirectory() as made, contextlib.chdir(made):
        here, there = Path("here"), Path("there")
        run = synthetic.small(spatial_dims=2, epochs=150, cases_per_step=2, validate_every=50)
        run["network"] |= {"in_channels": 1, "out_channels": 3, "spatial_dims": 2}
        synthetic.write_cases(run, here / "data", [(32, 32)] * 7, validation=1)
        run["prepared"] = str(here / "data")
        entry = {"experiment": "toy", "run": run, "judged": run["cases"]["val"], "checkpoint": "last"}
        wanted = [entry, entry | {"run": run | {"seed": 1}}]
        parts = pack(wanted, here / "packed", part_mib=0.002)
        assert len(parts) > 1
        for part in parts:
            unpack(part, there)
        before, after = (
            store.open_case(place, run["cases"]["val"][0])
            for place in (here / "data", there / "data" / run["prepared"].replace("/", "+"))
        )
        assert np.array_equal(before.label, after.label)
        assert np.abs(before.image - after.image).max() <= 1.01 * np.ptp(before.image) / 510
        seconds = 4.0
        while not list(Path("out").glob("state-*")):  # a call may end before the first step
            seconds *= 2
            found = call(seconds, Path("out"))
            if found[-1] == "done":
                raise SystemExit("done before it could be stopped: nothing was shown")
        print(f"—— stopped after {seconds:.0f} s: {found}; a fresh machine ——", flush=True)
        for piece in Path("out").glob("state-*"):
            shutil.copy(piece, here / "packed")
        shutil.rmtree(there)
        for part in parts:
            unpack(part, there)
        assert call(600, Path("out2")) == ["done", "done"]
        assert call(600, Path("out2")) == ["done", "done"]  # and nothing twice


def call(seconds: float, output: Path) -> list[str]:
    """One call of `train` on the toy's runs; the state of each."""
    words = ["train", "here/packed/runs.json", "--work", "there", "--output", str(output)]
    words += ["--seconds", str(seconds), "--save-seconds", "0.2"]
    subprocess.run([sys.executable, str(Path(__file__).resolve()), *words], check=True)
    return [row["state"] for row in json.loads((output / "experiments.json").read_text(encoding="utf-8"))]


def main() -> None:
    """What the first word says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("experiments", nargs="+")
    packing.add_argument(
        "--methods", help="joined by commas, in the order to train (default: the experiment's)"
    )
    packing.add_argument("--folds", help="joined by commas (default: the experiment's)")
    packing.add_argument("--seeds", default="0")
    packing.add_argument("--budget", default="paper")
    packing.add_argument(
        "--epochs", type=int, help="in place of the recipe's; a smaller budget, and called so"
    )
    packing.add_argument("--determinism", choices=("strict", "fast"), default="strict")
    packing.add_argument("--part-mib", type=float, default=44)
    packing.add_argument("--to", type=Path, default=Path(".gpu"))
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("parts", type=Path, nargs="+")
    training = commands.add_parser("train")
    training.add_argument("runs", type=Path)
    training.add_argument("--seconds", type=float, default=540)
    training.add_argument("--save-seconds", type=float, default=20, help="between states of a training")
    training.add_argument("--states-mib", type=float, default=45)
    training.add_argument("--output", type=Path, default=Path(os.environ.get("OUT", "out")))
    for one in (unpacking, training):
        one.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "segtrace-gpu")
    commands.add_parser("dry-run")
    given = parser.parse_args()
    if given.command == "pack":
        wanted = resolved(given)
        parts = pack(wanted, given.to, part_mib=given.part_mib)
        for part in parts:
            print(f"{part}: {sum(f.stat().st_size for f in part.glob('*/*')) / MIB:.1f} MiB")
        print(
            f"{given.to}/runs.json: {len(wanted)} runs; git must ignore {given.to}, and each call carry what it needs"
        )
    elif given.command == "unpack":
        for part in given.parts:
            print(f"{part}: {unpack(part, given.work)} cases")
    elif given.command == "train":
        wanted = json.loads(given.runs.read_text(encoding="utf-8"))
        bring_in(given.runs.parent, given.work)
        write(
            list(train(wanted, work=given.work, seconds=given.seconds, save_seconds=given.save_seconds)),
            given.output,
            states_mib=given.states_mib,
        )
    else:
        dry_run()


if __name__ == "__main__":
    main()
