"""What travels to a borrowed machine and back: cases and packages there, states and weights back.

`gpu_experiments.py` says how it is used. Nothing here needs more than numpy, but :func:`resolved`, which reads the
project's configuration.
"""

import argparse
import contextlib
import importlib.metadata
import io
import json
import lzma
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segtrace import store
from segtrace.errors import SegtraceError
from segtrace.files import write_text

MIB = 2**20
#: A part of a file that comes back is at most so large.
PIECE = 15 * MIB
#: Packages of plain Python that the borrowed machine lacks.
WHEELS = ("monai", "einops")
#: What a finished training says in little room.
SMALL = ("row.json", "run.json", "history.csv")


# --- to the machine --------------------------------------------------------------------------------------


def resolved(asked: argparse.Namespace) -> dict[str, Any]:
    """The content of ``runs.json``: the runs that are asked for, each once, with the cases that each is judged on.

    An experiment is ``NAME``, for all of its methods, or ``NAME:METHOD,METHOD``, for these in this order.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in asked.experiments:
        name, _, methods = text.partition(":")
        for entry in _of_experiment(name, methods.split(",") if methods else None, asked):
            found.setdefault(entry["run"]["run"], entry)  # of several experiments the first
    return {
        "budget": asked.budget,
        "images": "exact" if asked.exact else "rounded to 8 bits",
        "short": bool(asked.cases),
        "entries": list(found.values()),
    }


def _of_experiment(
    name: str, methods: Sequence[str] | None, asked: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """The runs of one experiment: methods, then folds, then seeds."""
    from segtrace import layout, tables
    from segtrace.config import load, runs
    from segtrace.train.command import resolve

    experiment = load.experiment(name)
    data = load.dataset(experiment.dataset)
    split = tables.read("split", layout.split(experiment.dataset, experiment.protocol))
    folds = [int(fold) for fold in asked.folds.split(",")] if asked.folds else runs.folds(experiment)
    among = (experiment.dataset, experiment.recipe, experiment.protocol)
    for method in methods or experiment.methods:
        for fold in folds:
            judged = split[(split["fold"] == fold) & (split["role"] == experiment.role)]["case"]
            for seed in map(int, asked.seeds.split(",")):
                run = layout.RunName(*among, method, asked.budget, fold, seed)
                made = resolve(run, threads=8, determinism=asked.determinism)
                if asked.epochs:
                    made["training"]["epochs"] = asked.epochs
                made["cases"] = {role: names[: asked.cases] for role, names in made["cases"].items()}
                yield {
                    "experiment": name,
                    "run": made,
                    "judged": sorted(judged)[: asked.cases],
                    "checkpoint": experiment.checkpoint,
                    "spacing_known": data.spacing_known,
                    "tolerances": data.nsd_tolerances,
                    "regions": data.unions,
                    "names": data.scored,
                }


def pack(content: Mapping[str, Any], folder: Path, *, part_mib: float) -> list[Path]:
    """Write ``runs.json`` and the parts of all cases that the runs read; the parts' folders."""
    folder.mkdir(parents=True, exist_ok=True)
    exact = content["images"] == "exact"
    needed = {
        (entry["run"]["prepared"], case)
        for entry in content["entries"]
        for case in (*entry["run"]["cases"]["train"], *entry["run"]["cases"]["val"], *entry["judged"])
    }
    parts: list[Path] = []
    room = 0.0
    for prepared, case in sorted(needed):
        data = packed(store.open_case(Path(prepared), case), exact=exact)
        if not parts or room < len(data):
            parts.append(folder / f"part-{len(parts):02d}")
            parts[-1].mkdir(exist_ok=True)
            room = part_mib * MIB
        room -= len(data)
        place = parts[-1] / flat(prepared)
        place.mkdir(exist_ok=True)
        (place / f"{case}.xz").write_bytes(data)
    write_text(folder / "runs.json", json.dumps(content, indent=1) + "\n")
    return parts


def flat(folder: str) -> str:
    """The name under which the cases of a folder travel."""
    return folder.replace("/", "+")


def packed(case: store.PreparedCase, *, exact: bool) -> bytes:
    """A case as bytes: image, label and grid under xz.

    The image is as it is where ``exact``, else of 8 bits a value between each channel's least and greatest.
    """
    assert case.label is not None
    kept: dict[str, np.ndarray] = {"label": np.packbits(case.label[..., None] >> np.arange(8) & 1)}
    kept["grid"] = np.array(json.dumps(case.record.get("prepared_grid")))
    if exact:
        kept["image"] = np.asarray(case.image)
    else:
        flat = case.image.reshape(len(case.image), -1)
        low, high = flat.min(1), flat.max(1)
        span = np.maximum(high - low, 1e-12)
        axes = (-1,) + (1,) * (case.image.ndim - 1)
        levels = np.rint((case.image - low.reshape(axes)) / span.reshape(axes) * 255).astype(np.uint8)
        steps = np.diff(levels, axis=-1, prepend=np.uint8(0))  # differences modulo 256
        kept |= {"low": low, "span": span, "steps": steps}
    buffer = io.BytesIO()
    np.savez(buffer, **kept)  # type: ignore[arg-type]
    return lzma.compress(buffer.getvalue(), preset=6)


def wheels(folder: Path) -> None:
    """Lay the packages that the borrowed machine lacks into a part, of the versions that are installed here."""
    wanted = [f"{name}=={importlib.metadata.version(name)}" for name in WHEELS]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    if subprocess.run([*command, *wanted], check=False).returncode:
        raise SegtraceError(f"pip could not download {', '.join(wanted)}: see its message above")


def unpack(part: Path, work: Path) -> int:
    """Write the cases of a part into stores under ``work``, and its packages into ``work/lib``; the number of cases."""
    if not part.is_dir():
        raise SegtraceError(f"{part}: no such folder, so nothing is packed there; 'pack' makes it")
    for wheel in sorted(part.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(work / "lib")
    files = sorted(part.glob("*/*.xz"))
    for file in files:
        with np.load(io.BytesIO(lzma.decompress(file.read_bytes()))) as held:
            if "image" in held:
                image = held["image"]
            else:
                levels = np.cumsum(held["steps"], axis=-1, dtype=np.uint8)
                axes = (-1,) + (1,) * (levels.ndim - 1)
                image = levels.astype(np.float32) / 255 * held["span"].reshape(axes)
                image = (image + held["low"].reshape(axes)).astype(np.float32)
            bits = np.unpackbits(held["label"], count=image[0].size * 8).reshape(*image.shape[1:], 8)
            grid = json.loads(str(held["grid"]))
        label = (bits << np.arange(8, dtype=np.uint8)).sum(-1, dtype=np.uint8)
        record = {"digest": "0" * 16, "prepared_grid": grid}
        store.write_case(work / "data" / file.parent.name, file.stem, image=image, label=label, record=record)
    return len(files)


# --- and back -------------------------------------------------------------------------------------------


def send_back(rows: Sequence[Mapping[str, Any]], runs: Path, output: Path, *, most: float) -> None:
    """Trainings as pieces ``state-*`` of a tar file of at most ``most`` bytes.

    What finished ones say comes first, then all of the first unfinished one, then the weights of the finished ones; what
    does not fit is left out whole.
    """
    folders = {
        state: [runs / row["folder"] for row in rows if row["state"] == state]
        for state in ("done", "not finished")
    }
    groups = [[folder / name for folder in folders["done"] for name in SMALL]]
    groups += [_files(folder) for folder in folders["not finished"][:1]]
    groups += [[path for path in _files(folder) if path.name not in SMALL] for folder in folders["done"]]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for group in filter(None, groups):
            sizes = sum(path.stat().st_size + 1024 for path in group)
            if buffer.tell() + sizes + 10240 > most:  # tar ends in up to 20 blocks of 512
                print(f"{group[0].parent.name}: {sizes / MIB:.0f} MiB stay on this machine", flush=True)
                continue
            for path in group:
                archive.add(path, path.relative_to(runs))
    for piece in output.glob("state-*"):
        piece.unlink()  # of an earlier call
    if any(groups):
        data = buffer.getvalue()
        for number, first in enumerate(range(0, len(data), PIECE)):
            (output / f"state-{number}").write_bytes(data[first : first + PIECE])


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def bring_in(folder: Path, runs: Path) -> None:
    """Unpack ``state-*`` files beside ``runs.json`` that an earlier machine sent back, but for trainings that are here."""
    pieces = sorted(folder.glob("state-*"))
    if not pieces:
        return
    there = {path.name for path in runs.glob("*")}
    data = io.BytesIO(b"".join(piece.read_bytes() for piece in pieces))
    with contextlib.closing(tarfile.open(fileobj=data)) as archive:
        wanted = [member for member in archive.getmembers() if Path(member.name).parts[0] not in there]
        archive.extractall(runs, members=wanted, filter="data")
