"""Train an experiment on a machine with a GPU that is lent for minutes at a time and has no data, no network, no MONAI.

    python benchmarks/gpu_experiment.py pack EXPERIMENT[:METHOD,METHOD] … [--seeds 0] [--budget paper] [--to .gpu]
    python benchmarks/gpu_experiment.py train [--packed .gpu] [--state .gpu-state] [--seconds 540] [--output FOLDER]
    python benchmarks/gpu_experiment.py table FOLDER [--write FILE]

``pack``, here, once the data set is prepared and split (`snakemake split_all`): resolved runs in the order given,
prepared cases, and the wheels of MONAI and of einops, which its UNETR needs, in a folder to carry along. ``train``,
there, with torch, numpy and scipy: trains run after run until the time is up, and each finished run segments and
scores its test cases on the prepared grid. An unfinished run goes on from its state at the next call. What comes back
is small: `scores.csv`, `runs.json` with every history, and the last weights, cut into pieces of 15 MiB, of as many
runs as fit into six files. ``table``, here: the page. With ``--epochs N`` and ``--cases N`` pack shortens it all, for
trying it out on a CPU; the page says so.
"""

import argparse
import csv
import datetime
import importlib.metadata
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from segtrace.errors import SegtraceError  # noqa: E402  found by the line above

#: Bytes of a piece of weights, and how many pieces come back in all.
PIECE, PIECES = 15 * 2**20, 6
#: Packages of plain Python that go along.
WHEELS = ("monai", "einops")
#: Bytes that may be carried.
CARRIED = 60 * 2**20


def main() -> None:
    """Pack, train or print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = parser.add_subparsers(dest="step", required=True)
    made = steps.add_parser("pack")
    made.add_argument("experiments", nargs="+", metavar="EXPERIMENT[:METHOD,METHOD]")
    made.add_argument("--seeds", default="0")
    made.add_argument("--budget", default="paper")
    made.add_argument("--epochs", type=int)
    made.add_argument("--cases", type=int, help="only so many of each role")
    made.add_argument("--to", type=Path, default=Path(".gpu"))
    trained = steps.add_parser("train")
    trained.add_argument("--packed", type=Path, default=Path(".gpu"))
    trained.add_argument("--state", type=Path, default=Path(".gpu-state"))
    trained.add_argument("--seconds", type=float, default=540.0)
    trained.add_argument("--output", type=Path, default=Path(os.environ.get("OUT", "gpu-output")))
    shown = steps.add_parser("table")
    shown.add_argument("folder", type=Path)
    shown.add_argument("--write", type=Path)
    given = parser.parse_args()
    try:
        {"pack": pack, "train": train, "table": table}[given.step](given)
    except SegtraceError as error:
        sys.exit(str(error))


def pack(given: argparse.Namespace) -> None:
    """Write runs, cases and wheels into a folder."""
    from segtrace import tables
    from segtrace.config import load, runs
    from segtrace.files import write_json
    from segtrace.layout import split
    from segtrace.train.command import resolve

    given.to.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, Any]] = []
    files, known = set[Path](), set[str]()
    for text in given.experiments:
        name, _, chosen = text.partition(":")
        experiment = load.experiment(name)
        data = load.dataset(experiment.dataset)
        for run in runs.runs_of(name, budget=given.budget, seeds=[int(s) for s in given.seeds.split(",")]):
            if str(run) in known or (chosen and run.method not in chosen.split(",")):
                continue
            known.add(str(run))
            resolved = resolve(run, threads=load.main_config({}).training_threads)
            if given.epochs:
                resolved["training"]["epochs"] = given.epochs
            rows = tables.read("split", split(run.dataset, run.protocol))
            there = (rows["fold"] == run.fold) & (rows["role"] == experiment.role)
            cases = sorted(rows.loc[there, "case"])[: given.cases]
            for role, names in resolved["cases"].items():
                resolved["cases"][role] = names[: given.cases]
            folder = Path(resolved["prepared"])
            used = {*cases, *resolved["cases"]["train"], *resolved["cases"]["val"]}
            files |= {path for case in used for path in folder.glob(f"{case}.*")}
            tolerances = data.nsd_tolerances
            entries.append(
                {"run": resolved, "role": experiment.role, "cases": cases, "tolerances": tolerances}
            )
    write_json(
        given.to / "runs.json",
        {"budget": given.budget, "short": bool(given.epochs or given.cases), "entries": entries},
    )
    with tarfile.open(given.to / "cases.tar.gz", "w:gz", compresslevel=6) as archive:
        for path in sorted(files):
            archive.add(path)
    wanted = [f"{name}=={importlib.metadata.version(name)}" for name in WHEELS]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", given.to, *wanted],
        check=True,
    )
    size = sum(path.stat().st_size for path in given.to.iterdir())
    print(f"{given.to}: {len(entries)} runs, {len(files)} files of cases, {size / 2**20:.1f} MiB")
    if size > CARRIED:
        sys.exit(
            f"{size / 2**20:.0f} MiB are too many to carry ({CARRIED / 2**20:.0f}): name fewer experiments"
        )


def train(given: argparse.Namespace) -> None:
    """Train what is packed until the time is up; give what is finished."""
    end = time.monotonic() + given.seconds
    if not (given.packed / "runs.json").is_file():
        sys.exit(f"{given.packed}: no runs.json, so nothing is packed there; 'pack' makes it")
    given.state.mkdir(parents=True, exist_ok=True)
    unpack(given.packed, given.state)
    packed = json.loads((given.packed / "runs.json").read_text(encoding="utf-8"))
    given.output.mkdir(parents=True, exist_ok=True)
    done = []
    for number, entry in enumerate(packed["entries"]):
        folder = given.state / f"run-{number}"
        finished = folder / "scores.json"
        if not finished.is_file():
            left = end - time.monotonic()
            if left < 5 or not ended(number, given, seconds=left):
                break
        done.append({"number": number, "entry": entry, "scores": json.loads(finished.read_text())})
        give(done, given, packed=packed)
    print(f"{len(done)} of {len(packed['entries'])} runs are finished", flush=True)


def unpack(packed: Path, state: Path) -> None:
    """Cases and packages into the state's folder, once."""
    if (state / "unpacked").is_file():
        return
    with tarfile.open(packed / "cases.tar.gz") as archive:
        archive.extractall(state, filter="data")
    for wheel in packed.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive_of_code:
            archive_of_code.extractall(state / "lib")
    (state / "unpacked").touch()


def ended(number: int, given: argparse.Namespace, *, seconds: float) -> bool:
    """Train one run in a process of its own, which is ended when the time is up; whether it finished."""
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); import gpu_experiment as g; g.one({number})"
    search = f"{ROOT / 'src'}{os.pathsep}{ROOT / 'benchmarks'}{os.pathsep}{given.state.resolve() / 'lib'}"
    environment = os.environ | {"PYTHONPATH": search, "PACKED": str(given.packed.resolve())}
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=given.state, env=environment, start_new_session=True
    )
    try:
        status = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its state is at most a minute old
        process.wait()
        return False
    if status:
        sys.exit(f"run {number} failed with {status}")
    return True


def one(number: int) -> None:
    """In the state's folder: train a run and score its test cases on the prepared grid."""
    import bare

    bare.stand_in()
    import torch

    from segtrace.predict.inference import load_network
    from segtrace.train.loop import train as train_run

    entry = json.loads((Path(os.environ["PACKED"]) / "runs.json").read_text(encoding="utf-8"))["entries"][
        number
    ]
    run, folder = entry["run"], Path(f"run-{number}")
    begin = time.monotonic()
    train_run(run, folder=folder, save_seconds=30.0)
    seconds = time.monotonic() - begin
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = load_network(run, folder / "weights.safetensors", on=device)
    rows = [row for case in entry["cases"] for row in scored(case, network, entry, device=device)]
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or "CPU"
    found = {"rows": rows, "seconds": seconds, "device": name, "torch": torch.__version__}
    (folder / "scores.json").write_text(json.dumps(found), encoding="utf-8")


def scored(case: str, network: Any, entry: Mapping[str, Any], *, device: Any) -> list[dict[str, Any]]:
    """The measures of one case, a row a label."""
    import dataclasses

    import torch

    from segtrace import store
    from segtrace.metrics import measures
    from segtrace.sliding import inference_of, predict_planes

    run = entry["run"]
    prepared = store.open_case(Path(run["prepared"]), case)
    with torch.inference_mode():
        blocks = predict_planes([network], prepared.image, device=device, **inference_of(run))
        planes = [logits[0].argmax(0).to(torch.uint8).cpu() for _, logits in blocks]
    labels = [int(label) for label in run["labels"]]
    measured = measures.measure(
        torch.cat(planes).numpy(),
        prepared.label,
        labels=labels,
        spacing_mm=prepared.record["prepared_grid"]["spacing_mm"][::-1],
        tolerances={int(key): value for key, value in entry["tolerances"].items()},
    )
    return [{"run": run["run"], "case": case, **dataclasses.asdict(row)} for row in measured]


def give(done: Sequence[Mapping[str, Any]], given: argparse.Namespace, *, packed: Mapping[str, Any]) -> None:
    """Write what comes back: scores, runs with histories, weights in pieces."""
    rows = [row for one_done in done for row in one_done["scores"]["rows"]]
    with (given.output / "scores.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    told, pieces = [], 0
    for one_done in done:
        folder = given.state / f"run-{one_done['number']}"
        data = (folder / "weights.safetensors").read_bytes()
        parts = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
        if pieces + len(parts) <= PIECES:
            for index, part in enumerate(parts):
                (given.output / f"weights-{one_done['number']}.{index}").write_bytes(part)
            pieces += len(parts)
        told.append(
            {
                "run": json.loads((folder / "run.json").read_text(encoding="utf-8")),
                "history": (folder / "history.csv").read_text(encoding="utf-8"),
                **{key: one_done["scores"][key] for key in ("seconds", "device", "torch")},
            }
        )
    content = {
        "budget": packed["budget"],
        "short": packed["short"],
        "of": len(packed["entries"]),
        "runs": told,
    }
    (given.output / "runs.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def table(given: argparse.Namespace) -> None:
    """The page of what came back."""
    if not (given.folder / "runs.json").is_file():
        sys.exit(f"{given.folder}: no runs.json, so no run was finished")
    content = json.loads((given.folder / "runs.json").read_text(encoding="utf-8"))
    with (given.folder / "scores.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    first = content["runs"][0]
    shortened = ", shortened for a trial: its figures say nothing" if content["short"] else ""
    lines = [
        "# Trained on a GPU",
        "",
        f"`benchmarks/gpu_experiment.py`, {datetime.date.today()}, on {first['device']}, torch {first['torch']}; budget "
        f"`{content['budget']}`{shortened}; {len(content['runs'])} of {content['of']} runs finished. Scores of the last "
        "weights on the prepared grid, means over cases; seconds of the call that finished a training.",
        "",
        "| run | label | cases | Dice | HD95 (voxels) | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for told in content["runs"]:
        name = told["run"]["run"]
        for label, words in told["run"]["labels"].items():
            of_label = [row for row in rows if row["run"] == name and row["label"] == label]
            dice = statistics.fmean(float(row["dice"]) for row in of_label)
            known = [float(row["hd95_voxel"]) for row in of_label if row["hd95_voxel"]]
            distance = (
                f"{statistics.fmean(known):.2f}" if len(known) == len(of_label) else f"{len(known)} known"
            )
            seconds = f"{told['seconds']:.0f}"
            lines.append(f"| {name} | {words} | {len(of_label)} | {dice:.4f} | {distance} | {seconds} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if given.write:
        given.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
