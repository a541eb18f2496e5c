"""What experiments write: raw data, prepared arrays, checkpoints and label maps, where they are not there yet."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segtrace import layout
from segtrace.config import load, models
from segtrace.plan.estimate import Taken
from segtrace.plan.work import cases_of
from segtrace.trace.identity import rows

#: Archives and what is unpacked from them take as much each.
UNPACKED = 2.0
#: Prepared bytes of a data set of which no size is known: float32 of 16-bit values that were packed to a half.
OF_DOWNLOAD = 4.0
#: A label map is written packed: bytes a voxel.
PACKED = 0.05
#: Two sets of weights of a run, and of one that is training two states of weights, average, moments and best weights.
WEIGHTS, STATES = 2, 2 * 5
GB = 1e9


def needed(found: Sequence[Taken], *, devices: int) -> dict[str, float]:
    """GB of 10⁹ bytes to be written, by kind; what is there takes nothing more. NaN parts count as nothing."""
    left = [one for one in found if not one.done]
    datasets = sorted({one.work.run.dataset for one in left})
    recipes = sorted({(one.work.run.dataset, one.work.run.recipe) for one in left})
    sizes = sorted((4 * one.work.parameters / GB for one in left), reverse=True)
    return {
        "raw data": math.fsum(_raw(load.dataset(name), name) for name in datasets),
        "prepared arrays": math.fsum(_prepared(*pair) for pair in recipes),
        "checkpoints": WEIGHTS * math.fsum(sizes),
        "states to resume from": STATES * math.fsum(sizes[:devices]),
        "predictions": math.fsum(_predictions(one) for one in left),
    }


def _raw(data: models.Dataset, name: str) -> float:
    there = layout.receipt(name).is_file() or layout.raw(name).is_dir()
    return 0.0 if there else UNPACKED * (data.download_mb or 0) / 1000


def _prepared(dataset: str, recipe: str) -> float:
    if (layout.prepared(dataset, recipe) / "prepared.csv").is_file():
        return 0.0
    data = load.dataset(dataset)
    chosen: models.Recipe = load.part(dataset, "recipe", data.recipes, recipe)
    channels = chosen.channel_count(len(data.channels))
    if not chosen.size:
        return OF_DOWNLOAD * (data.download_mb or 0) / 1000
    return cases_of(data) * math.prod(chosen.size) * (4 * channels + 1) / GB


def _predictions(one: Taken) -> float:
    """GB of the label maps of a run: of prepared size where that is one for all, else of the raw voxels that are known."""
    run = one.work.run
    data = load.dataset(run.dataset)
    chosen: models.Recipe = load.part(run.dataset, "recipe", data.recipes, run.recipe)
    table = layout.cases(run.dataset)
    if table.is_file():
        sizes = [math.prod(map(int, row["size"].split("x"))) for row in rows(table) if row.get("size")]
        voxels = math.fsum(sizes) / len(sizes) if sizes else 0.0
    elif chosen.size:
        voxels = float(math.prod(chosen.size))
    else:
        voxels = 1e6 * (data.download_mb or 0) / max(1, cases_of(data))
    return one.work.test_cases * voxels * PACKED / GB


def free(folder: Path = Path()) -> float:
    """GB that are free where the project lies."""
    import shutil

    return shutil.disk_usage(folder).free / GB


def warnings(disk: dict[str, float], *, free_gb: float, memory: dict[str, Any]) -> list[str]:
    """What will not do, one line each. ``memory`` has ``needed_gb``, ``there_gb`` (None where unknown), ``of`` and ``run``."""
    found = []
    total = math.fsum(disk.values())
    if total > free_gb:
        found.append(
            f"disk: {total:.0f} GB are to be written, {free_gb:.0f} GB are free here; with DVC's cache on this disk, which "
            "holds copies of prepared arrays and checkpoints, still more is needed"
        )
    there = memory["there_gb"]
    if there is not None and memory["needed_gb"] > there:
        found.append(
            f"memory: {memory['needed_gb']:.1f} GB at once ({memory['run']}), {there:.1f} GB in {memory['of']}; "
            "raise accumulate of its training recipe, or ask for fewer devices at once"
        )
    return found
