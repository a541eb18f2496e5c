"""What the charts of ranks, tests, volumes and costs on a page are drawn from."""

from pathlib import Path
from typing import Any

import pytest

from segtrace.trace.explain import charts
from segtrace.trace.jobs import Job

RUNS = [f"toy/r/p/{method}/smoke/fold-0_seed-0" for method in ("alpha", "beta")]
RESULTS = "results/made"
TABLES: dict[str, list[dict[str, str]]] = {
    "ranks": [
        {"scheme": scheme, "label": "0", "metric": "hd95_mm", "method": "alpha", "rank": "1.0", "tau": "0.8"}
        for scheme in ("aggregate_then_rank", "test_then_rank")
    ],
    "tests": [
        {
            "label": label,
            "metric": "dice",
            "first": "alpha",
            "second": "beta",
            "difference": "0.1",
            "permutation_holm": "",
        }
        for label in ("0", "1")
    ],
    "per_case": [
        {
            "method": method,
            "fold": "0",
            "seed": "0",
            "case": "c",
            "label": "1",
            "tp": "5",
            "fp": "2",
            "fn": "1",
        }
        for method in ("alpha", "beta")
    ],
    "summary": [
        {"method": "alpha", "label": label, "metric": "dice", "mean": f"0.{label}5"} for label in ("0", "1")
    ],
}


class Facts:
    """The tables of the experiment, from memory."""

    def rows(self, path: Path) -> list[dict[str, str]]:
        return TABLES[path.stem]


def sources(name: str, *, grid: str = "native") -> list[tuple[str, Any, Any, str]]:
    found: list[tuple[str, Any, Any, str]] = []
    scored = [Job("score", f"{run}/test-last-{grid}-none") for run in RUNS]
    known = charts.add_sources(
        lambda file, keys, column, *, what: found.append((str(file), dict(keys), column, what)),
        name,
        "made",
        scored,
        Facts(),  # type: ignore[arg-type]
    )
    assert known == bool(found)
    return found


def test_ranks_of_one_scheme_or_of_all() -> None:
    keys = {"scheme": "test_then_rank", "label": "0", "metric": "hd95_mm", "method": "alpha"}
    expected = (f"{RESULTS}/ranks.csv", keys, "rank", "rank of alpha: 1.0")
    assert sources("blobs-0-hd95_mm-test_then_rank") == [expected]
    assert len(sources("schemes-0-hd95_mm")) == 2
    assert [column for _, _, column, _ in sources("tau-0-hd95_mm")] == ["tau", "tau"]


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [("differences-1-dice", "difference", "0.1"), ("significance-1-dice", "permutation_holm", "unknown")],
)
def test_pairs_of_the_label_alone(name: str, column: str, value: str) -> None:
    keys = {"label": "1", "metric": "dice", "first": "alpha", "second": "beta"}
    assert sources(name) == [(f"{RESULTS}/tests.csv", keys, column, f"{column} of alpha, beta: {value}")]


@pytest.mark.parametrize(
    ("grid", "spacing"),
    [("native", "data/index/toy/cases.csv"), ("prepared", "data/prepared/toy/r/prepared.csv")],
)
def test_volumes_are_counts_and_the_spacing_of_their_grid(grid: str, spacing: str) -> None:
    one, every = sources("agreement-1-beta", grid=grid), sources("agreement-1", grid=grid)
    assert [keys.get("method") for _, keys, _, _ in one] == ["beta", None]
    assert len(every) == 3
    assert "5 + 2 voxels predicted, 5 + 1 in the reference" in one[0][3]
    assert every[-1][0] == spacing


def test_cost_is_of_the_runs_and_of_the_main_label() -> None:
    runs = [f"checkpoints/{run}/run.json" for run in RUNS]
    assert [file for file, *_ in sources("cost-of-each-method")] == runs
    found = sources("cost-parameters")
    assert [file for file, *_ in found] == [*runs, f"{RESULTS}/summary.csv"]
    assert found[-1][3] == "mean of alpha: 0.05"


def test_others_are_not_known_here() -> None:
    assert sources("points-0-dice") == []
