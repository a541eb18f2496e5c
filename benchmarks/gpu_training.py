"""Trainings on a borrowed machine, each by segtrace's own loop, and what they are worth on the prepared grid.

`gpu_experiments.py` says how it is used; it finds the packages that were carried along before this is imported.
"""

import dataclasses
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import gpu_packing as packing
from gpu_setting import Late, at_most
from segtrace import aggregation, sliding, store
from segtrace.digests import digest
from segtrace.errors import SegtraceError
from segtrace.files import write_text
from segtrace.geometry import Grid
from segtrace.metrics import counts as counting
from segtrace.metrics import measures
from segtrace.predict.inference import load_network
from segtrace.regions import without
from segtrace.train import loop

#: Columns of a row: means over cases, and values of the counts of all cases together.
METRICS = (*aggregation.OVERLAPS, "hd95_mm", "hd95_voxel")
POOLED = ("dice", "iou")
WEIGHTS = {"last": "weights.safetensors", "best_val": "best_val.safetensors"}


def device() -> torch.device:
    """The GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def machine() -> str:
    """What is trained on, in a few words."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return f"{name}, torch {torch.__version__}"


def train(
    entries: Sequence[dict[str, Any]], *, seconds: float, save_seconds: float
) -> Iterator[dict[str, Any]]:
    """Train and judge the runs in order until ``seconds`` are over; a row each, also of those not reached.

    Cases and trainings lie in ``data`` and ``runs`` of the current folder: a state is of its run's paths too, and those
    must be the same on every machine.
    """
    end = time.monotonic() + seconds
    for entry in entries:
        run = entry["run"] | {"prepared": f"data/{packing.flat(entry['run']['prepared'])}"}
        folder = Path("runs") / digest(entry)  # whatever else the file of runs holds
        row = {
            "experiment": entry["experiment"],
            "run": run["run"],
            "epochs": run["training"]["epochs"],
            "axes": run["network"]["spatial_dims"],
            "folder": folder.name,
        }
        done = folder / "row.json"
        if done.is_file():
            yield json.loads(done.read_text(encoding="utf-8"))
            continue
        if end - time.monotonic() < 1:
            yield row | {"state": "not finished" if folder.is_dir() else "not run"}
            continue
        began = time.monotonic()
        try:
            with at_most(end - began):
                loop.train(run, folder=folder, save_seconds=save_seconds)
                cases = list(judged(entry | {"run": run}, folder))
        except Late:
            yield row | {"state": "not finished"}
            continue
        except Exception as error:  # the other runs go on
            reason = (str(error).strip() or "no message").splitlines()[0]
            print(f"{run['run']}: {type(error).__name__}: {error}", flush=True)
            yield row | {"state": f"failed: {type(error).__name__}: {reason}"}
            continue
        row |= {"state": "done", "seconds": time.monotonic() - began}
        row |= {"machine": machine(), "labels": summary(cases, entry["names"]), "cases": cases}
        write_text(done, json.dumps(row) + "\n")
        yield row


def judged(entry: Mapping[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    """The measures of each case that the experiment is scored on, of each label and region, on the prepared grid."""
    run = entry["run"]
    on = device()
    network = load_network(run, folder / WEIGHTS[entry["checkpoint"]], on=on)
    for name in entry["judged"]:
        case = store.open_case(Path(run["prepared"]), name)
        if case.label is None:
            raise SegtraceError(
                f"{run['prepared']}/{name}: the prepared case has no label; it cannot be judged"
            )
        with torch.inference_mode():
            blocks = sliding.predict_planes([network], case.image, device=on, **sliding.inference_of(run))
            planes = [logits[0].argmax(0).to(torch.uint8).cpu() for _, logits in blocks]
        found = measures.measure(
            torch.cat(planes).numpy(),
            case.label,
            labels=[int(label) for label in run["labels"]],
            spacing_mm=spacing(case) if entry["spacing_known"] else None,
            tolerances={int(key): value for key, value in entry["tolerances"].items()},
            regions={int(key): value for key, value in entry["regions"].items()},
        )
        yield from ({"case": name, **dataclasses.asdict(row)} for row in found)


def spacing(case: store.PreparedCase) -> tuple[float, ...]:
    """The prepared grid's spacing in array order."""
    return Grid.from_json(case.record["prepared_grid"]).array_spacing_mm


def summary(
    cases: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> dict[str, dict[str, float | None]]:
    """Name of a label or region → its metrics and number of cases, averaged as segtrace's tables are.

    Where there are several labels, the mean of them comes first; pooled are the counts of all cases, and of all labels.
    """
    numbers = {int(number): name for number, name in names.items()}
    rows = [row | {"method": "", "fold": 0, "seed": 0} for row in map(dict, cases)]
    cells = aggregation.values_of_cells(rows, methods=[""], labels=list(numbers))
    plain = without(list(numbers))
    found: dict[str, dict[str, float | None]] = {}
    for label, name in (({} if len(plain) == 1 else {0: "mean"}) | numbers).items():
        pooled = [row for row in cases if row["label"] in (plain if label == 0 else [label])]
        held = counting.Counts(**{key: sum(row[key] for row in pooled) for key in ("tp", "fp", "fn", "tn")})
        means = {metric: aggregation.statistics(cells["", label, metric])["mean"] for metric in METRICS}
        counted = {f"pooled_{metric}": getattr(counting, metric)(held) for metric in POOLED}
        found[name] = {"cases": len({row["case"] for row in pooled}), **means, **counted}
    return found
