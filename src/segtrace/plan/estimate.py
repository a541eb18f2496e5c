"""What experiments take: seconds and memory of each run, measured or estimated, and all of them on N devices."""

import heapq
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segtrace import layout
from segtrace.plan import recorded
from segtrace.plan.recorded import Recorded
from segtrace.plan.work import Work
from segtrace.trace import jobs

#: Python, torch and a training's data, before a network is built: GB of 10⁹ bytes.
START_GB = 0.6
#: 10⁹ multiply-accumulates a second of a GPU of which nothing was measured.
GPU_RATE = 1000.0
#: The same of a CPU.
CPU_RATE = 20.0


@dataclass(frozen=True)
class Taken:
    """What one run takes, and where that is known from."""

    work: Work
    seconds: float
    """Of the training and its predictions, by the clock; NaN where unknown."""
    memory_gb: float
    """Peak, on the device; NaN where unknown."""
    how: str
    """``measured``, or what the estimate is from: ``method and data set``, ..., ``assumed rate``."""
    memory_how: str
    done: bool
    """Whether its weights are there."""


def taken(work: Work, known: Sequence[Recorded], *, device: str, rate: float | None = None) -> Taken:
    """What a run takes on a ``cpu`` or ``gpu``: as measured for other folds or seeds, else by the rate of the nearest
    measured training.

    ``rate`` (10⁹ multiply-accumulates a second) is taken in place of any measurement where it is given.
    """
    equal = [] if rate else recorded.same(work, known, device=device)
    seconds, how = _seconds(work, known, equal, device=device, rate=rate)
    named = 60 * work.minutes_named
    if not equal and device == "cpu" and seconds > named:
        seconds, how = named, "budget's name"
    memory, memory_how = START_GB * (device == "cpu") + work.memory_gb, "counted"
    if equal:
        memory, memory_how = max(one.memory_gb for one in equal), "measured"
    there = (layout.run(work.run) / layout.WEIGHTS["last"]).is_file()
    return Taken(work, seconds, memory, how, memory_how, there)


def _seconds(
    work: Work, known: Sequence[Recorded], equal: Sequence[Recorded], *, device: str, rate: float | None
) -> tuple[float, str]:
    if equal:
        return statistics.median(one.seconds for one in equal), "measured"
    words, near = recorded.nearest(work, known, device=device)
    if rate is None and near:
        return work.gmac / (statistics.median(one.rate for one in near) * work.devices), words
    assumed = rate or (GPU_RATE if device == "gpu" else CPU_RATE)
    return work.gmac / (assumed * work.devices), "given rate" if rate else "assumed rate"


def wall_seconds(jobs_left: Iterable[tuple[float, int]], devices: int) -> float:
    """How long jobs of so many seconds, each on so many at once of the ``devices``, take: the longest first.

    What becomes free takes the longest job that it suffices for; unknown times (NaN) are left out, and a job that asks
    for more than there are takes all. No order ends earlier than at three quarters of this where each job takes one device
    (Graham, Bounds on multiprocessing timing anomalies, 1969), and than at half of it else (Garey and Graham, Bounds for
    multiprocessor scheduling with resource constraints, 1975).
    """
    waiting = sorted(
        ((seconds, min(count, devices)) for seconds, count in jobs_left if seconds == seconds), reverse=True
    )
    running: list[tuple[float, int]] = []
    now, free = 0.0, devices
    while waiting or running:
        kept = []
        for seconds, count in waiting:
            if count <= free:
                heapq.heappush(running, (now + seconds, count))
                free -= count
            else:
                kept.append((seconds, count))
        waiting = kept
        now, count = heapq.heappop(running)
        free += count
    return now


def short_of_devices(found: Iterable[Taken], *, devices: int) -> list[str]:
    """A line where trainings that are left ask for more devices at once than are planned; none else."""
    short = [one.work for one in found if not one.done and one.work.devices > devices]
    if not short:
        return []
    most = max(short, key=lambda work: work.devices)
    return [
        f"devices: {len(short)} trainings ask for more at once than the {devices} planned ({most.run}: {most.devices}); "
        f"wall time counts them as if all {devices} were enough: give --devices {most.devices}, or lower 'devices' of the "
        "training recipe or budget"
    ]


def row(name: str, found: Sequence[Taken], *, devices: int) -> dict[str, Any]:
    """The table's row of an experiment or of all: only trainings whose weights are not there take anything."""
    left = [one for one in found if not one.done]
    known = [(one.seconds, one.work.devices) for one in left if one.seconds == one.seconds]
    memory = [one.memory_gb for one in left if one.memory_gb == one.memory_gb]
    return {
        "experiment": name,
        "trainings": len(found),
        "done": len(found) - len(left),
        "measured": sum(one.how == "measured" for one in left),
        "estimated": sum(one.how != "measured" and one.seconds == one.seconds for one in left),
        "unknown": len(left) - len(known),
        "device_hours": math.fsum(seconds * count for seconds, count in known) / 3600,
        "wall_hours": wall_seconds(known, devices) / 3600,
        "memory_gb": max(memory, default=0.0),
    }


def distinct(by_experiment: Mapping[str, Sequence[Taken]]) -> list[Taken]:
    """Every run once: experiments share runs."""
    return list({str(one.work.run): one for found in by_experiment.values() for one in found}.values())


def variants_of(experiment: str) -> int:
    """In how many ways the test cases of an experiment's runs are predicted."""
    from segtrace.config import load, runs

    return 1 + len(runs.corrupted_variants(load.experiment(experiment)))


def reasons(found: Iterable[Taken]) -> dict[str, int]:
    """Where the times of what is left come from → how many runs."""
    counted: dict[str, int] = {}
    for one in found:
        if not one.done:
            how = one.how if one.seconds == one.seconds else "unknown"
            counted[how] = counted.get(how, 0) + 1
    return dict(sorted(counted.items(), key=lambda item: -item[1]))


def planned_jobs(config: Any) -> int:
    """Jobs of the workflow that the configuration asks for."""
    return len(jobs.configured(config))
