"""Experiments on a borrowed machine: what is packed, a training in pieces over two machines, and the page."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segtrace import store

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(sys, "path", list(sys.path))  # to which `train` adds what was carried


def packed(folder: Path, *, exact: bool = False, **options: Any) -> tuple[dict[str, Any], list[Path]]:
    """What ``pack`` writes, of made cases, and the parts."""
    import gpu_packing
    import synthetic

    content = synthetic.packed(folder / "data", **options)
    if exact:
        content["images"] = "exact"
    return content, gpu_packing.pack(content, folder / "packed", part_mib=0.01)


@pytest.mark.parametrize("exact", [False, True])
def test_cases_arrive_as_they_were_but_for_rounding(tmp_path: Path, exact: bool) -> None:
    import gpu_packing

    content, parts = packed(tmp_path, exact=exact, spatial_dims=3)
    assert len(parts) > 1
    assert sum(gpu_packing.unpack(part, tmp_path / "work") for part in parts) == 7
    run = content["entries"][0]["run"]
    for case in (*run["cases"]["train"], *run["cases"]["val"]):
        before = store.open_case(tmp_path / "data", case)
        after = store.open_case(tmp_path / "work/data" / gpu_packing.flat(run["prepared"]), case)
        np.testing.assert_array_equal(before.label, after.label)
        assert after.record["prepared_grid"] == before.record["prepared_grid"]
        most = 0 if exact else 1.01 * np.ptp(before.image) / 510
        assert np.abs(before.image - after.image).max() <= most


def interrupting(monkeypatch: pytest.MonkeyPatch, *, after: int) -> Callable[[], None]:
    """Make trainings run out of time after so many steps, until what is returned is called."""
    import gpu_training

    taken, take = [0], gpu_training.loop.step.take

    def late(*given: Any, **options: Any) -> Any:
        taken[0] += 1
        if taken[0] > after:
            raise gpu_training.Late
        return take(*given, **options)

    monkeypatch.setattr(gpu_training.loop.step, "take", late)
    return lambda: monkeypatch.setattr(gpu_training.loop.step, "take", take)


def test_a_training_is_stopped_taken_to_another_machine_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import gpu_experiments
    import gpu_packing

    def states(machine: str, *words: str) -> list[str]:
        """The states after a call on a machine, whose output is the folder of its name with ``-out``."""
        output = tmp_path / f"{machine}-out"
        given = ["train", str(runs), "--work", str(tmp_path / machine), "--output", str(output)]
        gpu_experiments.main([*given, "--save-seconds", "0", *words])
        rows = json.loads((output / "experiments.json").read_text(encoding="utf-8"))["rows"]
        return [row["state"] for row in rows]

    runs = tmp_path / "packed/runs.json"
    with pytest.raises(SystemExit, match="nothing is packed there"):
        states("one")
    _, parts = packed(tmp_path, epochs=2, validate_every=2)
    for machine in ("one", "two", "whole"):
        for part in parts:
            gpu_packing.unpack(part, tmp_path / machine)
    assert states("one", "--seconds", "0") == ["not run", "not run"]
    assert states("whole") == ["done", "done"]
    through = interrupting(monkeypatch, after=2 * 3 + 2)  # the first run, and a part of the second
    assert states("one") == ["done", "not finished"]
    through()
    for piece in (tmp_path / "one-out").glob("state-*"):
        shutil.copy(piece, runs.parent)
    capsys.readouterr()
    assert states("two") == ["done", "done"]
    assert capsys.readouterr().out.count("resuming at epoch 1, step 3") == 1
    assert states("two") == ["done", "done"]
    assert "epoch" not in capsys.readouterr().out.replace("| epochs |", "")  # nothing is trained twice
    for folder in (tmp_path / "whole/runs").iterdir():
        for file in ("weights.safetensors", "history.csv"):
            assert (tmp_path / "two/runs" / folder.name / file).read_bytes() == (folder / file).read_bytes()

    gpu_experiments.main(
        ["table", str(tmp_path / "one-out"), str(tmp_path / "two-out"), "--write", str(tmp_path / "page.md")]
    )
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "2 of 2 runs are finished" in page
    assert "Fewer cases" in page
    assert "HD95 (pixels)" in page
    lines = [line for line in page.splitlines() if line.startswith("| small/2d/")]
    assert [line.split(" | ")[2] for line in lines] == ["mean", "one", "two"] * 2
    rows = (tmp_path / "two-out/cases.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 2 * 2  # a case and two labels a run
    with pytest.raises(SystemExit, match="no such file"):
        gpu_experiments.main(["table", str(tmp_path / "nowhere")])


def test_a_run_that_fails_is_said_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gpu_packing
    import gpu_training

    content, parts = packed(tmp_path, epochs=1)
    for part in parts:
        gpu_packing.unpack(part, tmp_path / "work")
    run = content["entries"][0]["run"]
    content["entries"][0]["run"] = run | {"training": run["training"] | {"loss": "none of that name"}}
    monkeypatch.chdir(tmp_path / "work")
    first, second = gpu_training.train(content["entries"], seconds=100, save_seconds=60)
    assert first["state"].startswith("failed: SegtraceError: ")
    assert second["state"] == "done"


def test_what_does_not_fit_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import gpu_packing

    rows = [{"folder": name, "state": state} for name, state in (("a", "done"), ("b", "not finished"))]
    for name in (*gpu_packing.SMALL, "weights.safetensors"):
        (tmp_path / "runs/a").mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs/a" / name).write_bytes(bytes(100_000 if name.startswith("w") else 10))
    (tmp_path / "runs/b/resume").mkdir(parents=True)
    (tmp_path / "runs/b/resume/state").write_bytes(bytes(50_000))
    (tmp_path / "out").mkdir()
    gpu_packing.send_back(rows, tmp_path / "runs", tmp_path / "out", most=90_000)
    assert "a: 0 MiB stay on this machine" in capsys.readouterr().out
    assert sum(piece.stat().st_size for piece in (tmp_path / "out").iterdir()) <= 90_000
    gpu_packing.bring_in(tmp_path / "out", tmp_path / "other")
    came = {path.relative_to(tmp_path / "other").as_posix() for path in (tmp_path / "other").rglob("*.*")}
    assert came == {f"a/{name}" for name in gpu_packing.SMALL}
    assert (tmp_path / "other/b/resume/state").stat().st_size == 50_000
