"""``segtrace plan``: work of a run, what is measured and what estimated, disk, memory and warnings."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import toy_config
from segtrace import benchmark, cli, files, layout
from segtrace.config import load, models, runs
from segtrace.plan import disk, estimate, recorded
from segtrace.plan.recorded import Recorded
from segtrace.plan.work import PASSES, Counter, Work, divided, of_run

RUN = layout.parse_run("toy/plain/random/unet/smoke/fold-0_seed-0")


def edit(file: str, **changes: Any) -> None:
    path = Path("config") / f"{file}.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configured data set of 100 images of 32 x 32, of which nothing is there."""
    monkeypatch.chdir(tmp_path)
    # a plan reads the configuration once: the next test's is another
    monkeypatch.setattr(load, "_settled", False)
    monkeypatch.setattr(load, "settle", lambda: None)
    toy_config.write(dimensions=2, network={"name": "unet", "options": {"widths": [2, 2, 2, 2, 2]}})
    edit("datasets/toy", recipes={"plain": {"size": [32, 32]}}, published_cases=100, download_mb=1000)
    edit("training/toy", epochs=4, validate_every=2)
    return tmp_path


def work(**changes: Any) -> Work:
    given = {
        "run": RUN,
        "network": "unet",
        "framework": "",
        "precision": "fp32",
        "gmac": 100.0,
        "parameters": 10,
        "memory_gb": 1.0,
        "test_cases": 5,
        "minutes_named": math.nan,
    }
    return Work(**given | changes)


def known(run: str = str(RUN), **changes: Any) -> Recorded:
    given = {"run": run, "network": "unet", "device": "cpu", "processor": "x", "threads": 2}
    return Recorded(**given | {"gmac": 50.0, "seconds": 10.0, "memory_gb": 2.0} | changes)


def plan(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert cli.main(["plan", "toy", "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_work_of_a_run_is_that_of_its_samples_and_windows(toy: Path) -> None:
    counter = Counter()
    found = of_run(RUN, threads=1, counter=counter, variants=3)
    resolved = runs.resolve(RUN, threads=1)
    one = counter.counted(json.loads(json.dumps(resolved["network"])), (32, 32))
    assert one.macs > 0
    # of 100 cases 50 test and 5 validate; four epochs, two validations, three ways to predict
    assert found.gmac == pytest.approx(one.macs * (PASSES * 45 * 4 + 5 * 2 + 50 * 3) / 1e9)
    assert found.memory_gb > one.features_gb > 0


def test_counts_of_networks_are_kept(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Counter()
    before = of_run(RUN, threads=1, counter=first, variants=1)
    first.save()
    monkeypatch.setattr("segtrace.plan.work._count", lambda *_: pytest.fail("counted again"))
    assert of_run(RUN, threads=1, counter=Counter(), variants=1) == before


@given(st.integers(0, 5000), st.floats(0.01, 0.99), st.floats(0, 0.9))
def test_a_divided_data_set_has_no_more_cases_than_there_are(cases: int, test: float, val: float) -> None:
    protocol = models.Protocol(kind="grouped_random", test_fraction=test, validation_fraction=val)
    found = divided(protocol, cases)
    assert sum(found.values()) == cases
    assert min(found.values()) >= 0


@given(st.lists(st.floats(0, 1e5), max_size=30), st.integers(1, 8))
def test_wall_time_lies_between_its_bounds(seconds: list[float], devices: int) -> None:
    found = estimate.wall_seconds([(value, 1) for value in (*seconds, math.nan)], devices)
    assert found >= max([*seconds, sum(seconds) / devices]) - 1e-6
    assert found <= sum(seconds) / devices + max([*seconds, 0.0]) + 1e-6


@given(st.lists(st.tuples(st.floats(0, 1e5), st.integers(1, 8)), max_size=30), st.integers(1, 8))
def test_wall_time_of_jobs_on_several_devices_lies_between_its_bounds(
    jobs: list[tuple[float, int]], devices: int
) -> None:
    area = sum(seconds * min(count, devices) for seconds, count in jobs) / devices
    least = max([area, *(seconds for seconds, _ in jobs)])
    assert least - 1e-6 <= estimate.wall_seconds(jobs, devices) <= 2 * least + 1e-6


def test_a_job_on_two_devices_takes_both_at_once() -> None:
    assert estimate.wall_seconds([(3.0, 2), (2.0, 1), (2.0, 1)], 2) == 5.0
    assert estimate.wall_seconds([(3.0, 2), (2.0, 1), (2.0, 1)], 3) == 4.0
    assert estimate.wall_seconds([(3.0, 2), (2.0, 1), (2.0, 1)], 4) == 3.0
    # what is too wide for the free one is passed by what is not
    assert estimate.wall_seconds([(4.0, 2), (3.0, 2), (1.0, 1)], 3) == 7.0


def test_a_run_on_two_devices_counts_twice_its_hours(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit("training/toy", devices=2)
    made = {"threads": 1, "devices": 2, "machine": {"device": "cpu"}}
    files.write_json(layout.run(RUN) / "run.json", made)
    files.write_text(benchmark.path("train", RUN), "s\tmax_rss\tmean_load\n30\t1000\t50\n")
    seeds = ("--seeds", "0,1", "--device", "cpu")
    for devices, wall in ((2, 60), (3, 60), (4, 30)):
        found = plan(capsys, *seeds, "--devices", str(devices))
        assert found["sources"] == {"measured": 2}
        assert found["total"]["device_hours"] == pytest.approx(2 * 2 * 30 / 3600)
        assert found["total"]["wall_hours"] == pytest.approx(wall / 3600)
        assert found["warnings"] == []
    found = plan(capsys, *seeds)
    assert found["total"]["device_hours"] == pytest.approx(2 * 2 * 30 / 3600)
    (said,) = found["warnings"]
    assert said.startswith(f"devices: 2 trainings ask for more at once than the 1 planned ({RUN}: 2); ")
    assert "give --devices 2" in said
    assert cli.main(["plan", "--record", "made.csv"]) == 0
    assert [one.devices for one in recorded.of_table(Path("made.csv"))] == [2]


def test_a_time_on_another_number_of_devices_gives_the_rate_of_one(toy: Path) -> None:
    found = estimate.taken(work(devices=2), [known()], device="cpu")
    assert (found.seconds, found.how) == (10.0, "method and data set")  # 5 a second on each, of 100
    assert known(devices=2).rate == 2.5


def test_a_table_without_devices_is_of_one_each(toy: Path) -> None:
    Path("old.csv").write_text(
        f"run,network,device,processor,threads,gmac,seconds,memory_gb\n{RUN},unet,cpu,x,2,50,10,2\n"
    )
    assert recorded.of_table(Path("old.csv")) == [known()]


def test_what_was_measured_wins_and_the_nearest_rate_is_taken_else(toy: Path) -> None:
    other = "toy/plain/random/unet/long/fold-0_seed-0"
    strange = "other/plain/random/unet/long/fold-0_seed-0"
    fold = "toy/plain/random/unet/smoke/fold-1_seed-3"
    found = estimate.taken(work(), [known(fold), known(other, seconds=1.0)], device="cpu")
    assert (found.seconds, found.how, found.memory_gb, found.memory_how) == (
        10.0,
        "measured",
        2.0,
        "measured",
    )
    near = [known(other), known(strange, seconds=1.0)]
    found = estimate.taken(work(), near, device="cpu")
    assert (found.seconds, found.how, found.memory_how) == (20.0, "method and data set", "counted")
    assert estimate.taken(work(), near[1:], device="cpu").how == "method"
    assert estimate.taken(work(), near, device="gpu").seconds == 100.0 / estimate.GPU_RATE
    assert estimate.taken(work(), near, device="cpu", rate=4.0).seconds == 25.0


def test_a_budget_in_minutes_bounds_what_was_not_measured(toy: Path) -> None:
    slow = known("toy/plain/random/unet/long/fold-0_seed-0", gmac=0.01)
    found = estimate.taken(work(minutes_named=3.0), [slow], device="cpu")
    assert (found.seconds, found.how) == (180.0, "budget's name")
    assert estimate.taken(work(minutes_named=3.0), [slow], device="gpu").how == "assumed rate"


def test_a_budget_that_leaves_the_recipe_as_it_is_promises_no_minutes(toy: Path) -> None:
    Path("config/budgets/cpu_3min.yaml").write_text(yaml.safe_dump({"title": "three"}))
    run = layout.parse_run("toy/plain/random/unet/cpu_3min/fold-0_seed-0")
    assert math.isnan(of_run(run, threads=1, counter=Counter(), variants=1).minutes_named)
    edit("budgets/cpu_3min", by_training={"toy": {"epochs": 1}})
    assert of_run(run, threads=1, counter=Counter(), variants=1).minutes_named == 3.0


def test_a_plan_of_nothing_done_and_of_all_done(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = plan(capsys, "--seeds", "0,1", "--devices", "2", "--device", "cpu", "--rate", "2")
    total = found["total"]
    assert (total["trainings"], total["done"], total["estimated"]) == (2, 0, 2)
    assert total["wall_hours"] == pytest.approx(total["device_hours"] / 2)
    assert found["disk_gb"]["raw data"] == disk.UNPACKED * 1.0
    assert found["disk_gb"]["prepared arrays"] == pytest.approx(100 * 32 * 32 * 5 / 1e9)
    for seed in (0, 1):
        files.write_text(
            layout.run(f"toy/plain/random/unet/smoke/fold-0_seed-{seed}") / "weights.safetensors", "x"
        )
    found = plan(capsys, "--seeds", "0,1", "--device", "cpu")
    assert (found["total"]["done"], found["total"]["device_hours"]) == (2, 0.0)
    assert sum(found["disk_gb"].values()) == 0.0


def test_a_full_disk_and_a_small_memory_are_warned_of(
    toy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plan(capsys, "--device", "cpu")["warnings"] == []
    monkeypatch.setattr(disk, "free", lambda: 1.0)
    assert cli.main(["plan", "toy", "--device", "gpu", "--memory", "0.00001"]) == 0
    printed = capsys.readouterr().out
    assert "WARNING: disk: 2 GB are to be written, 1 GB are free" in printed
    assert f"WARNING: memory: 0.0 GB at once ({RUN}), 0.0 GB in one GPU" in printed
    assert "1 trainings: estimated by an assumed rate" in printed


def test_measured_trainings_are_written_and_read(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--record", "made.csv"]) == 1
    assert "no training was measured" in capsys.readouterr().err
    machine = {"device": "cpu", "processor": "some"}
    files.write_json(layout.run(RUN) / "run.json", {"threads": 1, "machine": machine})
    files.write_text(benchmark.path("train", RUN), "s\tmax_rss\tmean_load\n30\t1000\t50\n")
    assert cli.main(["plan", "--record", "made.csv"]) == 0
    (found,) = recorded.of_table(Path("made.csv"))
    assert (found.run, found.seconds, found.threads) == (str(RUN), 30.0, 1)
    assert (found.device, found.processor) == ("cpu", "some")
    assert found.memory_gb == pytest.approx(1.04858, abs=1e-5)
    capsys.readouterr()
    made = plan(capsys, "--device", "cpu")
    assert made["sources"] == {"measured": 1}
    assert made["total"]["device_hours"] == pytest.approx(30 / 3600)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("/proc/x.csv", "No such file or directory"),
        (".", "it is a folder"),
        ("config", "it is a folder"),
        ("config/config.yaml/x.csv", "Not a directory|File exists"),
        ("x" * 300, "File name too long"),
    ],
    ids=["proc", "here", "folder", "below a file", "long"],
)
def test_a_place_that_holds_no_file_is_named_in_one_line(
    toy: Path, capsys: pytest.CaptureFixture[str], place: str, why: str
) -> None:
    files.write_json(layout.run(RUN) / "run.json", {"threads": 1})
    files.write_text(benchmark.path("train", RUN), "s\tmax_rss\tmean_load\n30\t1000\t50\n")
    assert cli.main(["plan", "--record", place]) == 1
    said = capsys.readouterr().err
    begins = f"segtrace plan: {re.escape(place)}: cannot write measured trainings there: "
    assert re.fullmatch(f"{begins}({why}); give --record a file in a folder that can be written to.*\n", said)
    assert not list(Path().glob(".*.tmp"))


def test_the_last_piece_of_a_training_that_went_on_measures_nothing(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write_json(layout.run(RUN) / "run.json", {"threads": 1, "machine": {"device": "cpu"}})
    files.write_text(benchmark.path("train", RUN), "s\tmax_rss\tmean_load\n30\t1000\t50\n")
    log = benchmark.TRAINING_LOGS / f"{RUN}.log"
    files.write_text(log, "training on one GPU\n")
    assert plan(capsys, "--device", "cpu")["sources"] == {"measured": 1}
    files.write_text(log, "training on one GPU\nresuming at epoch 3, step 7\n")
    assert plan(capsys, "--device", "cpu")["sources"] == {"assumed rate": 1}
    assert cli.main(["plan", "--record", "made.csv"]) == 1
    said = capsys.readouterr().err
    assert "no training was measured as a whole in this folder yet" in said


@pytest.mark.parametrize(
    ("measured", "made"),
    [
        (b"\xff\xfe\x00s\tmax_rss\n30\t1000\n", "{}"),
        (b"s\tmax_rss\n30\t1000\n", "[]"),
        (b"s\tmax_rss\n30\t1000\n", '{"threads": "x"}'),
        (b"s\tmax_rss\n30\t1000\n", '{"threads": 1, "machine": 3}'),
    ],
    ids=["bytes", "no run", "no threads", "no machine"],
)
def test_a_damaged_measurement_is_none(
    toy: Path, capsys: pytest.CaptureFixture[str], measured: bytes, made: str
) -> None:
    files.write_text(layout.run(RUN) / "run.json", made)
    files.write_text(benchmark.path("train", RUN), "")
    benchmark.path("train", RUN).write_bytes(measured)
    assert plan(capsys, "--device", "cpu")["sources"] == {"assumed rate": 1}


@pytest.mark.parametrize("option", ["--memory", "--rate"])
@pytest.mark.parametrize("value", ["0", "-3", "nan", "inf", "much"])
def test_a_memory_or_a_rate_that_is_none_is_refused(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["plan", option, value])
    assert ended.value.code == 2
    assert f"argument {option}: '{value}' is no number above 0" in capsys.readouterr().err


def test_all_unknown_experiments_are_named_at_once(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "toy", "no1", "no2"]) == 1
    said = capsys.readouterr().err
    assert "no1.yaml: no such file" in said
    assert "no2.yaml: no such file" in said


def test_a_damaged_table_is_an_error_that_names_it(toy: Path) -> None:
    Path("bad.csv").write_text("run,network\na,b\n")
    with pytest.raises(recorded.SegtraceError, match=r"bad\.csv: not what"):
        recorded.of_table(Path("bad.csv"))
