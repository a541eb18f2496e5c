"""Time the rankings of compare: three schemes, each bootstrapped 10,000 times over the cases.

    python benchmarks/ranking.py [--repeats 5] [--large]

The bar is one label and metric of 10 methods and 200 cases: the draws, the ranks of all cases, and the bootstrap of
every scheme, together. Each repetition starts from nothing, after one that is not counted, in which libraries are
imported. ``--large`` also times the tables of averages and ranks of 12 methods × 600 cases × 3 labels, from scores on.

Values are drawn at random: cases differ more than methods, as they do. Times are of the wall clock, and of the
processor (of all threads together), which other work on a shared machine moves less.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from segtrace import ranks
from segtrace.aggregation import DISTANCES, OVERLAPS, cells_of, run_values
from segtrace.compare import aggregates, ranking

#: Part → seconds of the wall clock, and of the processor.
Times = dict[str, tuple[float, float]]
METHODS, CASES = 10, 200
LARGE = {"methods": 12, "cases": 600, "labels": 3}


def drawn(methods: int, cases: int, *, seed: int) -> np.ndarray:
    """Dice-like values (cases, methods): a difficulty of each case, and a small lead of one method over the next."""
    rng = np.random.default_rng(seed)
    values = 0.8 + rng.normal(0, 0.1, (cases, 1)) + rng.normal(0, 0.05, (cases, methods))
    return np.clip(values + np.linspace(0.05, 0, methods), 0, 1)


@contextmanager
def clock(found: Times, part: str) -> Iterator[None]:
    """Add the seconds of the wall clock and of the processor that the block takes."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    found[part] = time.perf_counter() - wall, time.process_time() - processor


def bar(values: np.ndarray) -> Times:
    """Seconds of the draws and of each scheme, for one label and metric."""
    found: Times = {}
    with clock(found, "all together"):
        with clock(found, "draws, shared by all"):
            resampled = ranking.Resampled(len(values))
            assert resampled.columns.shape == resampled.counts.T.shape
        for scheme in ranks.SCHEMES:
            with clock(found, scheme):
                rows = ranking.ranked(scheme, values, "dice", resampled)
            assert {row["samples"] for row in rows} == {ranking.SAMPLES}
    return found


def scores(*, methods: int, cases: int, labels: int) -> list[dict[str, Any]]:
    """Rows of a per_case table, of one seed; the metrics follow no counts, which does not matter for time."""
    rng = np.random.default_rng(0)
    found = []
    for label in range(1, labels + 1):
        values = drawn(methods, cases, seed=label)
        for case in range(cases):
            for method in range(methods):
                tp = int(1000 * values[case, method])
                row = dict.fromkeys(OVERLAPS, float(values[case, method]))
                row |= {name: float(20 * (1 - values[case, method]) + rng.uniform()) for name in DISTANCES}
                found.append(
                    row
                    | {"method": f"m{method:02}", "fold": 0, "seed": 0, "case": f"c{case:04}", "label": label}
                    | {"tp": tp, "fp": 1000 - tp, "fn": 1000 - tp, "tn": 10_000, "reason": ""}
                    | {"worst_mm": 100.0, "worst_voxel": 100.0}
                )
    return found


def large() -> Times:
    """Seconds of both tables of many methods, cases and labels."""
    names = {0: "mean"} | {label: f"label {label}" for label in range(1, LARGE["labels"] + 1)}
    methods = [f"m{method:02}" for method in range(LARGE["methods"])]
    rows = scores(**LARGE)
    values = run_values(rows, methods=methods, labels=[label for label in names if label])
    cells = cells_of(values)
    found: Times = {}
    with clock(found, "table of ranks"):
        made = ranking.rows(cells, methods=methods, labels=names)
    assert len(made) == len(ranks.SCHEMES) * len(names) * len(ranking.RANKED) * len(methods)
    with clock(found, "table of averages"):
        assert aggregates.rows(rows, values=values, labels=names, batch=8)
    return found


def timed(what: str, call: Callable[[], Times], *, repeats: int) -> None:
    """Print the median, the fastest and the slowest of each part, as a table."""
    print(
        f"\n**{what}**\n\n| part | median s | fastest | slowest | of the processor |\n|---|---|---|---|---|"
    )
    found = [call() for _ in range(repeats + 1)][1:]
    for part in found[0]:
        times, processor = zip(*(one[part] for one in found), strict=True)
        middle, of_processor = statistics.median(times), statistics.median(processor)
        print(f"| {part} | {middle:.2f} | {min(times):.2f} | {max(times):.2f} | {of_processor:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--large", action="store_true", help="also the tables of 12 methods, 600 cases, 3 labels"
    )
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, "
        f"Python {platform.python_version()}, NumPy {np.__version__}; {arguments.repeats} repetitions"
    )
    values = drawn(METHODS, CASES, seed=0)
    what = f"{METHODS} methods × {CASES} cases × {ranking.SAMPLES:,} bootstrap samples, one label and metric"
    timed(what, lambda: bar(values), repeats=arguments.repeats)
    if arguments.large:
        many = " × ".join(f"{count} {name}" for name, count in LARGE.items())
        timed(
            f"{many}: label 0 too, {len(ranking.RANKED)} metrics ranked",
            large,
            repeats=min(arguments.repeats, 2),
        )


if __name__ == "__main__":
    main()
