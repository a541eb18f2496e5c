"""What Snakemake measured of a job: the files ``logs/benchmark/PHASE/NAME.tsv`` that it writes beside its work."""

import csv
import math
from contextlib import suppress
from pathlib import Path

from segtrace import aggregation

#: Where they lie: one folder a phase.
FOLDER = Path("logs/benchmark")


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


def _number(text: str | None) -> float | None:
    """A number of a benchmark file, which has NA or '-' where nothing was measured."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
