"""A plan for reading: a table by experiment, its total, what it was reckoned from, and what will not do."""

from collections.abc import Iterator, Mapping
from typing import Any

from segtrace.plan import disk, estimate, work

HEADINGS = (
    "experiment",
    "trainings",
    "done",
    "measured",
    "estimated",
    "unknown",
    "device h",
    "wall h",
    "GB a training",
)
#: Where a time comes from → the same in words.
SOURCES = {
    "measured": "measured for the same method, data, budget: median over its folds and seeds",
    "method and data set": "estimated by the rate at which the same method trained on the same data set under another budget",
    "method": "estimated by the rate at which the same method trained on another data set",
    "network": "estimated by the rate of other methods with the same network",
    "data set": "estimated by the rate of other networks on the same data set",
    "device": "estimated by the median rate of all measured trainings",
    "budget's name": "at most the minutes that the budget is named for",
    "given rate": "estimated by --rate",
    "assumed rate": "estimated by an assumed rate, for nothing was measured on such a device: give --rate",
    "unknown": "unknown: the network's multiply-accumulates cannot be counted, or its images differ in size",
}


def text_of(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a plan."""
    rows = [HEADINGS, *(_cells(row) for row in (*found["experiments"], found["total"]))]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADINGS))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "  ".join(cells)
    total = found["total"]
    kind = "GPU" if found["device"] == "gpu" else "CPU"
    yield ""
    yield (
        f"{found['jobs']} jobs, budget {found['budget']}, seeds {', '.join(map(str, found['seeds']))}: "
        f"{total['device_hours']:.1f} {kind} hours; {total['wall_hours']:.1f} hours on {found['devices']} at once"
    )
    parts = ", ".join(f"{name} {size:.1f}" for name, size in found["disk_gb"].items())
    yield f"disk: {sum(found['disk_gb'].values()):.1f} GB to write ({parts}); {found['disk_free_gb']:.1f} GB are free here"
    there = found["memory"]["there_gb"]
    told = "not known here: give --memory" if there is None else f"{there:.1f} GB in {found['memory']['of']}"
    yield f"memory: {found['memory']['needed_gb']:.1f} GB at once at most; {told}"
    yield ""
    yield from (f"{count} trainings: {SOURCES[source]}" for source, count in found["sources"].items())
    yield from assumptions(found)
    yield from (f"WARNING: {line}" for line in found["warnings"])


def assumptions(found: Mapping[str, Any]) -> Iterator[str]:
    """What the figures rest on, one line each."""
    machines = "; ".join(found["measured_on"]) or "nothing on such a device"
    rate = estimate.GPU_RATE if found["device"] == "gpu" else estimate.CPU_RATE
    yield f"measured on: {machines}"
    yield (
        f"work: {work.PASSES} x the multiply-accumulates of 'segtrace cost' for each training sample, 1 x for each window "
        f"that is validated or predicted; an image of unknown size has {work.WINDOWS_AXIS} windows along each axis; the "
        "devices of one training share its work without loss"
    )
    yield f"assumed where nothing was measured: {rate:g} · 10⁹ multiply-accumulates a second"
    yield "cases: those of the split where it is made, else the published number divided as the protocol says"
    yield (
        "memory: as measured, else weights, gradients, two moments, best weights and fp32 features of one part of a step"
        + (f", and {estimate.START_GB} GB of Python and torch" if found["device"] == "cpu" else "")
    )
    yield (
        f"disk: archives and what is unpacked from them are {disk.UNPACKED:g} x the download; arrays are float32, "
        f"{disk.OF_DOWNLOAD:g} x the download where images differ in size; label maps {disk.PACKED:g} bytes a voxel; "
        "DVC's cache is not in it"
    )
    yield (
        "wall time: trainings alone, the longest first, each on its number of devices; preparing, scoring and tables run "
        "beside them"
    )


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    counts = [str(row[key]) for key in ("trainings", "done", "measured", "estimated", "unknown")]
    return (
        row["experiment"],
        *counts,
        *(f"{row[key]:.1f}" for key in ("device_hours", "wall_hours", "memory_gb")),
    )
