"""What Snakemake measured of a job: the files ``logs/benchmark/PHASE/NAME.tsv`` that it writes beside its work."""

import csv
import math
from contextlib import suppress
from pathlib import Path

from segtrace import aggregation

#: Where they lie: one folder a phase.
FOLDER = Path("logs/benchmark")
#: Where the output of each training lies, that of its last attempt alone, as it is of that one that Snakemake measures.
TRAINING_LOGS = Path("logs/train")
#: How a line of that output begins where the attempt went on from a state.
RESUMED = "resuming at epoch"


def path(phase: str, name: object) -> Path:
    """Where Snakemake writes what a job took; ``name`` is the run's, for a training."""
    return FOLDER / phase / f"{name}.tsv"


def measured(file: Path) -> dict[str, float]:
    """Minutes, peak resident memory (GB of 10⁹ bytes) and mean load of a benchmark file; NaN where unknown or damaged.

    Snakemake counts memory in MiB and load in per cent of one core. Of a repeated benchmark the mean is taken.
    """
    found: dict[str, list[float]] = {"s": [], "max_rss": [], "mean_load": []}
    if file.is_file():
        with file.open(encoding="utf-8", errors="replace", newline="") as handle, suppress(csv.Error):
            for line in csv.DictReader(handle, delimiter="\t"):
                for key, values in found.items():
                    value = _number(line.get(key))
                    if value is not None:
                        values.append(value)
    seconds, rss, load = (aggregation.mean(found[key]) if found[key] else math.nan for key in found)
    return {"minutes": seconds / 60, "memory_gb": rss * 2**20 / 1e9, "cores_used": load / 100}


def of_training(run: object) -> dict[str, float]:
    """What was measured of a run's whole training, as :func:`measured` has it.

    Of one that was ended and went on, Snakemake measured the last piece: its minutes are none of the training's, NaN.
    Memory and load of the piece stay.
    """
    found = measured(path("train", run))
    return found | {"minutes": math.nan} if _is_last_piece(run) else found


def _is_last_piece(run: object) -> bool:
    """Whether the last attempt at a training went on from a state; where no output of it is kept, it is held to be whole."""
    log = TRAINING_LOGS / f"{run}.log"
    if not log.is_file():
        return False
    with log.open(encoding="utf-8", errors="replace") as lines:
        return any(line.startswith(RESUMED) for line in lines)


def _number(text: str | None) -> float | None:
    """A number of a benchmark file, which has NA or '-' where nothing was measured."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
