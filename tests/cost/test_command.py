"""``segtrace cost``: what is asked for, a measurement in a process of its own, the table."""

from pathlib import Path

import pytest

from segtrace import tables
from segtrace.cli import main
from segtrace.config import load, models
from segtrace.cost import measure, table
from segtrace.cost.asked import asked
from segtrace.cost.operations import image_size
from segtrace.errors import SegtraceError

NETWORK = {
    "name": "unet",
    "options": {"widths": [2, 2, 2, 2, 2]},
    "in_channels": 1,
    "out_channels": 2,
    "spatial_dims": 2,
}
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_an_experiment_gives_channels_classes_and_the_size_that_its_networks_see() -> None:
    (found,) = asked("busi")
    assert (found.method, found.size, found.of) == ("unet", (128, 128), "experiment busi")
    assert (found.network["in_channels"], found.network["out_channels"]) == (1, 2)
    sizes = {one.method: one.size for one in asked("dsd_table1")}
    assert set(sizes.values()) == {(96, 96, 96)}


def test_what_is_given_wins() -> None:
    (found,) = asked("unet", size=[64, 32], channels=4, classes=5)
    assert (found.size, found.network["in_channels"], found.network["out_channels"]) == ((64, 32), 4, 5)


def test_a_recipes_size_is_x_y_and_a_networks_h_w() -> None:
    training = models.Training.model_validate({"epochs": 1, "learning_rate": 1.0}).model_dump()
    recipe = models.Recipe(size=[256, 192]).model_dump()
    assert image_size(training, recipe) == (192, 256)
    assert image_size(training, models.Recipe().model_dump()) == ()
    cropped = training | {"crop": {"size": [32, 48]}}
    assert image_size(cropped, recipe) == (32, 48)
    assert image_size(cropped | {"inference": {"window": [64, 64]}}, recipe) == (64, 64)


def test_unknown_names_and_sizes_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SegtraceError, match="no experiment and no method 'unett'; did you mean"):
        asked("unett")
    with pytest.raises(SegtraceError, match=r"its images have 2 sides, not 3[\s\S]*--size 256 256"):
        asked("unet", size=[8, 8, 8])
    untrained = next(
        name
        for name in load.names("methods")
        if not any(name in load.experiment(e).methods for e in load.names("experiments"))
    )
    with pytest.raises(SegtraceError, match=r"its images have no one size .*no experiment trains it"):
        asked(untrained)


def test_latency_and_memory_are_measured_in_a_process_of_its_own() -> None:
    how = {"device": "cpu", "threads": 1, "precision": "fp32", "seconds": 0.0}
    found = measure.measure(NETWORK, shape=(1, 1, 512, 512), **how)
    assert found["passes"] >= measure.AT_LEAST
    assert 0 < found["fastest_ms"] <= found["latency_ms"] <= found["slowest_ms"]
    # two channels of 512² floats are 2 MB, and several live at once; torch itself is more than 200 MB
    assert 4 < found["memory_mb"] < 200
    failed = measure.measure(NETWORK, shape=(1, 3, 16, 16), **how)
    assert set(failed) == {"reason"}
    assert "channels" in failed["reason"]


def test_the_table_is_printed_and_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"latency_ms": 20.0, "fastest_ms": 19.0, "slowest_ms": 30.0, "passes": 5, "memory_mb": 7.6}
    kind = {"device": "cpu", "processor": "toy"}

    def fake(network: dict, *, shape: tuple[int, ...], **_: object) -> dict:
        assert shape[1:] == (3, 64, 48)  # padded to what the network divides
        return {"reason": "killed, probably for lack of memory"} if shape[0] == 8 else known | kind

    monkeypatch.setattr(table, "measure", fake)
    words = ["cost", "unet", "--channels", "3", "--classes", "2", "--size", "60", "48", "--device", "cpu"]
    assert main([*words, "--output", str(tmp_path / "c.csv")]) == 0
    printed = capsys.readouterr().out
    assert "unet    64x48  7,766,018   0.566  1      20 (19 to 30)            50        8" in printed
    assert "unet, batch 8: killed, probably for lack of memory" in printed
    found = tables.read("network_cost", tmp_path / "c.csv")
    assert list(found["batch"]) == [1, 8]
    assert set(found["multiply_accumulates"]) == {565_936_128.0}
    assert main([*words, "--counts"]) == 0
    assert "images/s" not in capsys.readouterr().out


@pytest.mark.parametrize("given", ["inf", "nan", "-3", "x"])
def test_seconds_that_would_never_be_over_are_refused(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["cost", "unext_s", "--seconds", given])
    assert f"{given!r} is no number of seconds from 0 on" in capsys.readouterr().err
