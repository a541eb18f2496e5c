"""What a method costs: parameters, multiply-accumulates, and what its trainings took where that was measured.

Parameters are counted in the trained weights, without heads that exist in training only; multiply-accumulates are
of one image of the size that the network sees at once in prediction. Times and memory come
from the files that Snakemake writes beside a training (``logs/benchmark/train/RUN.tsv``); they differ from run to run,
so ``cost.csv`` lies beside the page and not among the tables that are compared.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from segtrace import aggregation, benchmark, convergence, layout, parameters, tables
from segtrace.cost import operations
from segtrace.errors import SegtraceError
from segtrace.files import read_json
from segtrace.report.subject import Subject

#: What is counted: field → heading.
COUNTED = {"parameters": "Parameters", "multiply_accumulates": "Multiply-accumulates an image"}
#: What is measured of a training: field → heading.
MEASURED = {"minutes": "Training time (minutes)", "memory_gb": "Peak memory (GB)"}


def rows(subject: Subject) -> list[dict[str, Any]]:
    """One row a run, as in ``cost.csv``; what is not known on this machine is NaN, or empty text."""
    counted: dict[str, float] = {}
    operated: dict[str, tuple[float, str]] = {}
    made = []
    for run in subject.runs:
        path = layout.run(run) / "run.json"
        resolved = dict(read_json(path)) if path.is_file() else {}
        weights = layout.run(run) / layout.WEIGHTS[subject.variant.checkpoint]
        if run.method not in counted and weights.is_file():
            counted[run.method] = float(parameters.of_weights(weights).network)
        if run.method not in operated and "network" in resolved:
            operated[run.method] = multiply_accumulates(resolved)
        macs, size = operated.get(run.method, (math.nan, ""))
        machine = resolved.get("machine") or {}
        taken = benchmark.of_training(run)
        made.append(
            {
                "method": run.method,
                "fold": run.fold,
                "seed": run.seed,
                "parameters": counted.get(run.method, math.nan),
                "multiply_accumulates": macs,
                "size": size,
                **taken,
                "seconds_to_95": seconds_to_95(run, taken["minutes"]),
                "epochs": float(resolved.get("training", {}).get("epochs", math.nan)),
                "threads": float(resolved.get("threads", math.nan)),
                "device": str(machine.get("device", "")),
                "processor": str(machine.get("processor", "")),
            }
        )
    return made


def multiply_accumulates(resolved: Mapping[str, Any]) -> tuple[float, str]:
    """Multiply-accumulates of one image by the network of a ``run.json``, and the image's size: '256x256'.

    NaN and empty where images differ in size, or the network cannot be counted.
    """
    size = operations.image_size(resolved["training"], resolved["preparation"])
    try:
        return (
            (float(operations.of_spec(resolved["network"], size)), "x".join(map(str, size)))
            if size
            else (math.nan, "")
        )
    except SegtraceError:
        return math.nan, ""


def seconds_to_95(run: layout.RunName, minutes: float) -> float:
    """Seconds until a training of so many ``minutes`` reached 95 % of its final validation Dice; NaN where unknown.

    Epochs take the same time in this reckoning, and what a training does before its first one is shared among them.
    """
    path = layout.run(run) / "history.csv"
    if not path.is_file():
        return math.nan
    found = convergence.of_history(
        cast("list[dict[str, Any]]", tables.read("history", path).to_dict("records"))
    )
    return math.nan if found.epoch is None else 60 * minutes * found.epoch / found.epochs


def by_method(
    costs: Sequence[Mapping[str, Any]], *, summary: Sequence[Mapping[str, Any]], label: int, metric: str
) -> list[dict[str, Any]]:
    """One row a method: its mean cost over runs, the range of each measurement, and its mean score.

    Keys are method, runs, those of :data:`COUNTED`, size, mean, low and high (of ``metric``), and of each of :data:`MEASURED` its
    mean, ``_least`` and ``_most``. Unknown values are None.
    """
    scored = {row["method"]: row for row in summary if (row["label"], row["metric"]) == (label, metric)}
    made = []
    for method in dict.fromkeys(row["method"] for row in costs):
        own = [row for row in costs if row["method"] == method]
        entry: dict[str, Any] = {"method": method, "runs": len(own)}
        for field in COUNTED:
            entry[field] = _mean([row[field] for row in own])
        entry["size"] = next((row["size"] for row in own if row["size"]), "")
        for field in MEASURED:
            known = [row[field] for row in own if row[field] == row[field]]
            entry |= {
                field: _mean(known),
                f"{field}_least": min(known, default=None),
                f"{field}_most": max(known, default=None),
            }
        for key in ("mean", "low", "high"):
            entry[key] = _mean([scored[method][key]] if method in scored else [])
        made.append(entry)
    return made


def machines(costs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where the measured runs were computed, as their run.json says: 'cpu, x86_64 AVX512, 2 threads'."""
    return sorted(
        {
            ", ".join(part for part in (row["device"], row["processor"], _threads(row["threads"])) if part)
            for row in costs
            if any(row[field] == row[field] for field in MEASURED)
        }
        - {""}
    )


def _threads(count: float) -> str:
    return "" if count != count else f"{count:.0f} thread{'' if count == 1 else 's'}"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and value == value]
    return aggregation.mean(known) if known else None
