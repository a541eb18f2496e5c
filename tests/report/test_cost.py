"""Cost: parameters counted in the weights, times as Snakemake measured them, and a table that is never compared."""

import math

import pytest
import torch

from segtrace import benchmark, checkpoint, layout, tables
from segtrace.cli import main
from segtrace.report import cost

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def measure(run: layout.RunName, line: str) -> None:
    path = benchmark.path("train", run)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + line)


def resume(run: layout.RunName) -> None:
    """The log of a last attempt that went on from a state."""
    path = benchmark.TRAINING_LOGS / f"{run}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\xff one GPU\nresuming at epoch 3, step 7\nepoch 3\n")


def train(run: layout.RunName) -> None:
    """Weights of six values, as if the run had been trained."""
    checkpoint.save(layout.run(run) / "weights.safetensors", {"w": torch.zeros(2, 3)}, metadata={})


def test_measurements_are_converted_to_minutes_gigabytes_and_cores(make_project) -> None:
    project = make_project()
    run = project.run_name("alpha")
    measure(run, "90.0\t0:01:30\t1000.0\t1\t1\t1\t0\t0\t175.0\t3\n")
    found = benchmark.measured(benchmark.path("train", run))
    assert found == pytest.approx({"minutes": 1.5, "memory_gb": 1.048576, "cores_used": 1.75})


@pytest.mark.parametrize(
    "line", ["", "12.0\t0:00:12\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA\n", "-\t-\t-\t-\t-\t-\t-\t-\t-\t-\n"]
)
def test_what_snakemake_could_not_measure_is_unknown(make_project, line: str) -> None:
    run = make_project().run_name("alpha")
    measure(run, line)
    found = benchmark.measured(benchmark.path("train", run))
    assert math.isnan(found["memory_gb"])
    assert math.isnan(found["cores_used"])
    assert math.isnan(found["minutes"]) != line.startswith("12")


def test_without_a_benchmark_nothing_is_known(make_project) -> None:
    found = benchmark.measured(benchmark.path("train", make_project().run_name("alpha")))
    assert all(math.isnan(value) for value in found.values())


def test_of_a_training_that_went_on_the_time_is_unknown_and_the_memory_known(make_project) -> None:
    run = make_project().run_name("alpha")
    measure(run, "90.0\t0:01:30\t1000.0\t1\t1\t1\t0\t0\t175.0\t3\n")
    log = benchmark.TRAINING_LOGS / f"{run}.log"
    log.parent.mkdir(parents=True)
    log.write_text("a state at epoch 2; a kill, and resuming at epoch 3 is possible\n")
    assert benchmark.of_training(run)["minutes"] == 1.5
    resume(run)
    found = benchmark.of_training(run)
    assert math.isnan(found["minutes"])
    assert (found["memory_gb"], found["cores_used"]) == (1.048576, 1.75)


def test_the_page_leaves_out_the_time_of_a_training_that_went_on(make_project) -> None:
    project = make_project(seeds=(0, 1), pictures=False)
    assert main(["compare", "toy"]) == 0
    for method in ("alpha", "beta"):
        for seed in (0, 1):
            measure(project.run_name(method, seed), "60\t-\t500\t1\t1\t1\t0\t0\t100.0\t3\n")
    for run in (project.run_name("alpha", 1), project.run_name("beta", 0), project.run_name("beta", 1)):
        resume(run)
    assert main(["report", "toy"]) == 0
    found = tables.read("cost", layout.report("toy").with_name("cost.csv"))
    assert found["minutes"].isna().tolist() == [False, True, True, True]
    assert found["seconds_to_95"].isna().tolist() == [False, True, True, True]
    assert not found["memory_gb"].isna().any()
    page = layout.report("toy").read_text(encoding="utf-8")
    table = page[page.index('aria-label="Cost of each method"') :].split("</table>")[0]
    assert '<td data-order="1.0">1</td>' in table  # of one run, not the mean of two
    assert '<td data-order="">–</td>' in table
    assert "its time counts as missing" in page


def test_methods_have_the_mean_and_the_range_of_their_runs() -> None:
    known = {"parameters": 7.0, "multiply_accumulates": math.nan, "size": "", "memory_gb": math.nan}
    rows = [
        {"method": "a", "minutes": 1.0, **known},
        {"method": "a", "minutes": 3.0, **known},
        {"method": "b", "minutes": math.nan, **known},
    ]
    summary = [
        {"method": "a", "label": 0, "metric": "dice", "mean": 0.5, "low": 0.4, "high": math.nan},
        {"method": "a", "label": 1, "metric": "dice", "mean": 0.9, "low": 0.8, "high": 1.0},
    ]
    first, second = cost.by_method(rows, summary=summary, label=0, metric="dice")
    assert (first["runs"], first["minutes"], first["minutes_least"], first["minutes_most"]) == (
        2,
        2.0,
        1.0,
        3.0,
    )
    assert (first["mean"], first["low"], first["high"]) == (0.5, 0.4, None)
    assert (first["memory_gb"], second["minutes"], second["mean"]) == (None, None, None)


def test_the_page_shows_times_and_cost_csv_lies_beside_it(make_project) -> None:
    project = make_project(seeds=(0, 1), pictures=False)
    assert main(["compare", "toy"]) == 0
    for method, seconds in (("alpha", 60), ("beta", 120)):
        for seed in (0, 1):
            run = project.run_name(method, seed)
            train(run)
            measure(run, f"{seconds * (1 + seed)}\t-\t500\t1\t1\t1\t0\t0\t100.0\t3\n")
    assert main(["report", "toy"]) == 0
    page = layout.report("toy").read_text(encoding="utf-8")
    assert page.count('data-chart="cost-') == 3
    assert "cpu, toy processor, 2 threads" in page
    found = tables.read("cost", layout.report("toy").with_name("cost.csv"))
    assert list(found["minutes"]) == [1.0, 2.0, 2.0, 4.0]
    assert set(found["parameters"]) == {6.0}
    assert '<td data-order="1.5">1.5<small>1 to 2</small></td>' in page
    assert main(["report", "toy"]) == 0
    assert layout.report("toy").read_text(encoding="utf-8") == page


def test_seconds_to_95_are_a_share_of_the_measured_time(make_project) -> None:
    project = make_project(pictures=False, epochs=4)  # validated in epochs 2 and 4
    run = project.run_name("alpha")
    history = tables.read("history", layout.run(run) / "history.csv")
    assert cost.seconds_to_95(run, 2.0) == 120.0  # 0.72 of 0.845 is not enough: epoch 4 of 4
    history["val_dice"] = [math.nan, 0.83, math.nan, 0.845]
    tables.write("history", history, layout.run(run) / "history.csv")
    assert cost.seconds_to_95(run, 2.0) == 60.0
    assert math.isnan(cost.seconds_to_95(run, math.nan))
    assert math.isnan(cost.seconds_to_95(project.run_name("alpha", 7), 2.0))
    assert main(["compare", "toy"]) == 0
    measure(run, "120.0\t-\t500\t1\t1\t1\t0\t0\t100.0\t3\n")
    assert main(["report", "toy"]) == 0
    text = layout.report("toy").read_text()
    table = text[text.index('aria-label="Convergence of each method"') :].split("</table>")[0]
    assert 'data-order="60.0"' in table
    written = tables.read("cost", layout.report("toy").with_name("cost.csv"))
    assert written["seconds_to_95"].tolist()[0] == 60.0
