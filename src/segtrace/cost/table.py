"""The cost of methods as rows, and as text: counted once a method, measured once a method and batch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from segtrace.cost import operations
from segtrace.cost.asked import Asked
from segtrace.cost.measure import measure
from segtrace.errors import SegtraceError, within

NUMBERS = ("latency_ms", "fastest_ms", "slowest_ms", "memory_mb")


def rows(
    wanted: Sequence[Asked],
    *,
    batches: Sequence[int],
    device: str,
    threads: int,
    precision: str,
    seconds: float,
) -> Iterator[dict[str, Any]]:
    """Rows of the ``network_cost`` table, one a method and batch as soon as it is measured.

    Without batches nothing is measured: one row a method, with batch 0.
    """
    for one in wanted:
        with within(f"config/methods/{one.method}.yaml"):
            network = operations.build(one.network)
        size = operations.fitting(network, one.size)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        shape = (one.network["in_channels"], *size)
        entry = {
            "method": one.method,
            "network": one.network["name"],
            "size": "x".join(map(str, size)),
            "channels": one.network["in_channels"],
            "classes": one.network["out_channels"],
            "parameters": parameters,
            **_counted(network, shape),
            "threads": threads,
            "precision": precision,
        }
        for batch in batches or (0,):
            found: dict[str, Any] = {}
            if batch:
                found = measure(
                    one.network,
                    shape=(batch, *shape),
                    device=device,
                    threads=threads,
                    precision=precision,
                    seconds=seconds,
                )
            yield {
                **entry,
                "batch": batch,
                "passes": found.get("passes", 0),
                **{key: found.get(key) for key in NUMBERS},
                "device": found.get("device", device if batch else ""),
                "processor": found.get("processor", ""),
                "reason": "; ".join(filter(None, (entry["reason"], found.get("reason", "")))),
            }


def _counted(network: Any, shape: Sequence[int]) -> dict[str, Any]:
    try:
        return {"multiply_accumulates": operations.of_network(network, (1, *shape)), "reason": ""}
    except SegtraceError as error:
        return {"multiply_accumulates": None, "reason": str(error)}


COLUMNS = {
    "method": "method",
    "size": "size",
    "parameters": "parameters",
    "multiply_accumulates": "GMAC",
    "batch": "batch",
    "latency_ms": "ms (fastest to slowest)",
    "images": "images/s",
    "memory_mb": "peak MB",
}


def text_of(made: Iterable[Mapping[str, Any]]) -> list[str]:
    """The rows as lines for reading; reasons stand below."""
    kept = list(made)
    columns = [key for key in COLUMNS if key in ("method", "size", "parameters", "multiply_accumulates")]
    if any(row["batch"] for row in kept):
        columns = list(COLUMNS)
    shown = [{key: _cell(row, key) for key in columns} for row in kept]
    widths = {key: max(len(COLUMNS[key]), *(len(row[key]) for row in shown)) for key in columns}
    lines = [
        "  ".join(row[key].ljust(widths[key]) for key in columns).rstrip()
        for row in [{key: COLUMNS[key] for key in columns}, *shown]
    ]
    reasons = [f"{row['method']}, batch {row['batch']}: {row['reason']}" for row in kept if row["reason"]]
    return [*lines, *dict.fromkeys(reasons)]


def _cell(row: Mapping[str, Any], key: str) -> str:
    if key == "images":
        return f"{1000 * row['batch'] / row['latency_ms']:.3g}" if row["latency_ms"] else "–"
    value = row[key]
    if value is None:
        return "–"
    if key == "latency_ms":
        return f"{value:.4g} ({row['fastest_ms']:.4g} to {row['slowest_ms']:.4g})"
    if key == "multiply_accumulates":
        return f"{value / 1e9:.3f}"
    if key == "memory_mb":
        return f"{value:.0f}"
    return f"{value:,}" if key == "parameters" else str(value)
