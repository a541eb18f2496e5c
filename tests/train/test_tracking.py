"""Tracking: each epoch once, however often a training was resumed or repeated; nothing where nothing is asked."""

import contextlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import train_helpers

from segtrace.config import load, models
from segtrace.errors import SegtraceError
from segtrace.train import tracking
from segtrace.train.loop import train
from segtrace.train.tracking import FOLDER, tracker

RUN = "tiny/r/p/m/smoke/fold-0_seed-0"


def needs(package: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(
        missing, reason=f"the package {package} is not installed (pip install {package})"
    )


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(tracking.VARIABLE, raising=False)
    monkeypatch.setenv("DVC_STUDIO_OFFLINE", "true")


def row(epoch: int, dice: float | None = None) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "step": 3 * epoch,
        "learning_rate": 0.25 / epoch,
        "loss": 1 / epoch,
        "val_dice": dice,
    }


ROWS = [row(1), row(2, 0.5), row(3), row(4, 0.75)]
EXPECTED = {
    "learning_rate": [(1, 0.25), (2, 0.125), (3, 0.25 / 3), (4, 0.0625)],
    "loss": [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25)],
    "val_dice": [(2, 0.5), (4, 0.75)],
}


def close_to(found: dict[str, list[tuple[int, float]]]) -> None:
    assert sorted(found) == sorted(EXPECTED)
    for name, points in EXPECTED.items():
        assert [epoch for epoch, _ in found[name]] == [epoch for epoch, _ in points]
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in points])


def of_tensorboard() -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(FOLDER / RUN / "tensorboard"))
    read.Reload()
    return {
        name: [(event.step, event.value) for event in read.Scalars(name)] for name in read.Tags()["scalars"]
    }


def of_dvclive() -> dict[str, list[tuple[int, float]]]:
    found = {}
    for path in (FOLDER / RUN / "dvclive/plots/metrics").glob("*.tsv"):
        head, *lines = [line.split("\t") for line in path.read_text().splitlines()]
        assert head == ["step", path.stem]
        found[path.stem] = [(int(step), float(value)) for step, value in lines]
    return found


KINDS = [
    pytest.param("tensorboard", of_tensorboard, marks=needs("tensorboard")),
    pytest.param("dvclive", of_dvclive, marks=needs("dvclive")),
]


@pytest.mark.parametrize(("kind", "points"), KINDS)
def test_resumed_and_repeated_trainings_show_each_epoch_once(kind: str, points: Any) -> None:
    with contextlib.suppress(KeyboardInterrupt), tracker([kind], RUN) as watched:
        for one in ROWS[:3]:  # the third was never saved: it comes again
            watched.epoch(one)
        raise KeyboardInterrupt
    with tracker([kind], RUN, history=ROWS[:2]) as watched:
        for one in ROWS[2:]:
            watched.epoch(one)
    close_to(points())
    with tracker([kind], RUN) as watched:
        for one in ROWS:
            watched.epoch(one)
    close_to(points())


@needs("tensorboard")
@needs("dvclive")
def test_both_at_once_and_what_was_left_is_removed() -> None:
    left = FOLDER / RUN / "dvclive/plots/metrics/other.tsv"
    left.parent.mkdir(parents=True)
    left.write_text("step\tother\n")
    with tracker(["dvclive", "tensorboard", "dvclive"], RUN) as watched:
        for one in ROWS:
            watched.epoch(one)
    close_to(of_tensorboard())
    close_to(of_dvclive())


@needs("dvclive")
def test_dvclive_writes_its_tables_and_nothing_of_the_project() -> None:
    commit = [
        "git",
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b.c",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "first",
    ]
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, check=True)
    with (
        pytest.raises(SegtraceError, match=r"dvclive cannot start in .* Empty git repo"),
        tracker(["dvclive"], RUN),
    ):
        pass
    subprocess.run(commit, check=True)
    before = sorted(path for path in Path().rglob("*") if ".git/" not in f"{path}/")
    with tracker(["dvclive"], RUN, history=ROWS[:3]) as watched:
        watched.epoch(ROWS[3])
        seen = json.loads((FOLDER / RUN / "dvclive/metrics.json").read_text())
        assert seen == {"learning_rate": 0.0625, "loss": 0.25, "val_dice": 0.75, "step": 4}
    made = {path for path in Path().rglob("*") if ".git/" not in f"{path}/"} - set(before)
    assert {path.parts[0] for path in made} == {FOLDER.parts[0]}
    status = subprocess.run(
        ["git", "status", "--porcelain", "logs"], capture_output=True, text=True, check=True
    )
    assert status.stdout == "?? logs/\n"


def test_without_kinds_nothing_is_written_and_what_is_there_stays(tmp_path: Path) -> None:
    kept = FOLDER / RUN / "tensorboard/events"
    kept.parent.mkdir(parents=True)
    kept.write_text("earlier")
    with tracker([], RUN, history=ROWS[:1]) as watched:
        watched.epoch(ROWS[1])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / kept]


def test_writers_are_closed_however_the_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Writer:
        def __init__(self, folder: Path) -> None:
            self.name = folder.name

        def add(self, epoch: int, values: dict[str, float]) -> None:
            said.append(f"{self.name} {epoch} {sorted(values)}")

        def show(self) -> None:
            said.append("shown")

        def close(self) -> None:
            said.append(f"closed {self.name}")

    monkeypatch.setattr(tracking, "KINDS", {"one": (Writer, "json"), "two": (Writer, "json")})
    with contextlib.suppress(ZeroDivisionError), tracker(["one", "two"], RUN, history=ROWS[:1]) as watched:
        watched.epoch(ROWS[1])
        1 / 0  # noqa: B018
    both, first = "['learning_rate', 'loss', 'val_dice']", "['learning_rate', 'loss']"
    assert said == [
        *(f"one 1 {first}", f"two 1 {first}", "shown", "shown"),
        *(f"one 2 {both}", f"two 2 {both}", "shown", "shown"),
        *("closed two", "closed one"),
    ]


def test_a_tracked_training_ends_with_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[int] = []

    class Writer:
        def __init__(self, folder: Path) -> None:
            folder.mkdir(parents=True)

        def add(self, epoch: int, values: dict[str, float]) -> None:
            said.append(epoch)

        def show(self) -> None: ...

        def close(self) -> None: ...

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    train_helpers.write_cases(Path("prepared"))
    train(train_helpers.RUN, folder=Path("plain"))
    monkeypatch.setattr(tracking, "KINDS", {"one": (Writer, "json")})
    monkeypatch.setenv(tracking.VARIABLE, "one")
    train(train_helpers.RUN, folder=Path("tracked"))
    assert said == [1, 2, 3]
    assert train_helpers.contents("tracked") == train_helpers.contents("plain")


def test_missing_packages_are_one_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SegtraceError) as caught, tracker(["tensorboard", "dvclive"], RUN):
        pass
    text = str(caught.value)
    assert "tracking: 2 problems" in text
    assert "pip install tensorboard dvclive" in text
    assert not FOLDER.exists()


def test_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking.asked() == []
    assert tracking.asked(default=["dvclive"]) == ["dvclive"]
    monkeypatch.setenv(tracking.VARIABLE, "tensorboard")
    assert tracking.asked(default=["dvclive"]) == ["tensorboard"]
    assert tracking.asked("dvclive, tensorboard,dvclive") == ["dvclive", "tensorboard"]
    assert tracking.asked("") == []
    monkeypatch.setenv(tracking.VARIABLE, "")
    assert tracking.asked(default=["dvclive"]) == []
    with pytest.raises(SegtraceError, match="no kind 'tensorbord'; did you mean 'tensorboard'"):
        tracking.asked("tensorbord")


def test_the_configuration_knows_the_same_kinds() -> None:
    (kinds,) = get_args(models.Config.model_fields["tracking"].annotation)
    assert set(get_args(kinds)) == set(tracking.KINDS)
    assert load.KINDS  # the file's own keys are tested with the configuration
