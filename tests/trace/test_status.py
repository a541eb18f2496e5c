"""Status: how many outputs hold, do not hold and are missing, by phase."""

import json
from pathlib import Path

import pytest

from segtrace import cli, files, layout
from segtrace.config import load
from segtrace.trace import failures, jobs, record
from segtrace.trace.jobs import Job
from segtrace.trace.status import STATES, status

#: How many trainings, predictions and scorings the project has.
RUNS = (("train", 4), ("predict", 4), ("score", 4))
RUN = "phantom3d/iso2/random/unet3d_tiny/smoke/fold-0_seed-0"


@pytest.fixture
def complete(project: Path) -> Path:
    """The project with its page, so that nothing is missing."""
    Path("reports/made").mkdir(parents=True, exist_ok=True)
    Path("reports/made/index.html").write_text("<h2>page</h2>")
    record.write(Job("report", "made"), record.begin(Job("report", "made")))
    return project


def counts(phase: str) -> tuple[int, ...]:
    found = status(load.main_config())["phases"][phase]
    return tuple(found[state] for state in STATES)


def test_everything_there_and_holding_is_status_0(complete: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["acquire", "1", "0", "0"],
        ["index", "3", "0", "0"],
        ["prepare", "2", "0", "0"],
        ["validate", "3", "0", "0"],
        ["split", "2", "0", "0"],
        ["train", "16", "0", "0"],
        ["predict", "4", "0", "0"],
        ["score", "4", "0", "0"],
        ["compare", "11", "0", "0"],
        ["overview", "3", "0", "0"],
        ["report", "1", "0", "0"],
        ["all", "50", "0", "0"],
        *(f"{phase}: {count} done, 0 running, 0 failed, 0 remaining".split() for phase, count in RUNS),
    ]


def test_a_missing_output_is_status_1(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 1
    told = capsys.readouterr()
    assert "report made: reports/made/index.html: recorded there, now missing" in told.out
    assert "of 50 configured outputs, 0 do not hold and 1 are missing" in told.err


def test_a_problem_of_one_outputs_bytes_is_its_own_and_any_other_is_every_outputs(complete: Path) -> None:
    with Path(f"checkpoints/{RUN}/history.csv").open("a") as handle:
        handle.write("3,3,0.01,0.1,\n")
    assert counts("train") == (15, 1, 0)
    Path(f"checkpoints/{RUN}/run.json").unlink()
    assert counts("train") == (14, 1, 1)
    method = Path("config/methods/unet3d_tiny.yaml")
    method.write_text(method.read_text().replace("base: 6", "base: 7"))
    assert counts("train") == (8, 7, 1)
    assert counts("score") == (4, 0, 0)


def test_a_label_map_that_changed_is_a_problem_of_its_table(complete: Path) -> None:
    path = next(Path(f"predictions/{RUN}").glob("*/c3.nii.gz"))
    path.write_bytes(b"other")
    assert counts("predict") == (3, 1, 0)
    found = status(load.main_config())
    assert [problem["what"] for problem in found["problems"]] == [str(path)]


def test_the_first_twenty_problems_are_printed_or_all_and_json_has_all(
    complete: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("envs/requirements.lock").write_text("torch==0.0\n")
    assert cli.main(["status"]) == 1
    few = capsys.readouterr().out.splitlines()
    assert few[-1] == "and 1 more: segtrace status --all"
    assert cli.main(["status", "--all"]) == 1
    every = [line for line in capsys.readouterr().out.splitlines() if "environment: recorded" in line]
    assert len(every) == 21
    assert cli.main(["status", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert len(found["problems"]) == 21
    assert not found["holds"]


def test_what_is_asked_for_can_be_given(complete: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--seeds", "0", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["phases"]["train"] == {"hold": 8, "do not hold": 0, "missing": 0}
    assert {problem["job"] for problem in found["problems"]} == {
        "compare made",
        "overview all",
        "report made",
    }
    assert cli.main(["status", "--experiments", "mde"]) == 1
    assert "did you mean 'made'" in capsys.readouterr().err


def test_a_failed_training_is_told_with_its_reason_a_held_one_runs_and_one_without_a_trace_remains(
    complete: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = layout.run(RUN)
    (folder / "run.json").unlink()
    train = jobs.train(RUN)
    assert failures.state(train).state == "remaining"
    files.write_text(failures.log(train), "epoch 1\nsegtrace train: loss is nan\n  at step 3\n")
    assert failures.state(train) == failures.State(train, "failed", "loss is nan at step 3")
    files.write_json(folder / "resume/attempt.json", {"identity": "x", "failed": "out of memory"})
    assert failures.state(train).reason == "out of memory"
    with files.hold(folder, what="test"):
        assert failures.state(train).state == "running"
    assert cli.main(["status"]) == 1
    told = capsys.readouterr().out
    assert "train: 3 done, 0 running, 1 failed, 0 remaining" in told
    assert f"failed: train {RUN}: out of memory" in told


def test_a_job_that_left_no_message_is_told_by_its_last_line(complete: Path) -> None:
    scored = next(job for job in jobs.configured(load.main_config()) if job.phase == "score")
    jobs.outputs(scored)[0].unlink()
    files.write_text(failures.log(scored), "Killed\n")
    assert (
        failures.state(scored).reason
        == f"ended without a message ({failures.log(scored)}); its last line: Killed"
    )
