"""Why: each part of what a file was made from, the jobs above it, and the one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from segtrace import cli
from segtrace.config import load
from segtrace.errors import SegtraceError
from segtrace.trace.changes import flat, keys
from segtrace.trace.why.command import why
from segtrace.trace.why.raw_files import raw

RUN = "phantom3d/iso2/random/unet3d_tiny/smoke/fold-0_seed-0"
VARIANT = "test-last-native-none"
SUMMARY = "results/made/summary.csv"
NOTHING = "nothing would make it run again"


def asked(file: str) -> dict[str, Any]:
    return why(Path(file), load.main_config())


def changed(found: dict[str, Any]) -> dict[str, list[tuple[str, str, str]]]:
    return {
        part["part"]: [(c["what"], c["recorded"], c["now"]) for c in part["changes"]]
        for part in found["parts"]
        if not part["same"]
    }


@pytest.mark.parametrize(
    "file",
    [
        SUMMARY,
        f"./{SUMMARY}.prov.json",
        "results/metrics.json",
        f"scores/{RUN}/{VARIANT}.csv",
        f"predictions/{RUN}/{VARIANT}/c0.nii.gz",
        f"checkpoints/{RUN}/weights.safetensors",
        "data/prepared/phantom3d/iso2/c0.label.npy",
        "data/prepared/phantom3d/iso2/c0.json",
        "data/prepared/phantom3d/iso2/gate.json",
        "data/splits/phantom3d/random.csv",
        "data/index/phantom3d/cases.csv",
        "data/raw/phantom3d.receipt.json",
    ],
)
def test_nothing_makes_a_finished_file_run_again(kept: Path, file: str) -> None:
    found = asked(file)
    assert found["sentence"] == NOTHING
    assert not found["again"]
    assert found["bytes"]["same"] is True
    assert all(part["same"] for part in found["parts"])
    assert {part["part"] for part in found["parts"]} >= {"configuration", "code", "environment"}


def test_configuration_is_told_by_dotted_keys_with_both_values(project: Path) -> None:
    training = Path("config/training/demo_3d.yaml")
    training.write_text(training.read_text().replace("learning_rate: 1.0e-2", "learning_rate: 0.02"))
    found = asked(f"checkpoints/{RUN}/run.json")
    assert changed(found) == {"configuration": [("training.learning_rate", "0.01", "0.02")]}
    assert found["sentence"] == "it would run again because configuration: training.learning_rate has changed"
    assert found["above"] == []


def test_environment_and_code_are_told_by_lock_and_file(project: Path) -> None:
    Path("envs/requirements.lock").write_text("torch==0.0\n")
    record = Path(f"checkpoints/{RUN}/weights.safetensors.prov.json")
    made = json.loads(record.read_text())
    made["code"]["train/loop.py"] = "0" * 16
    del made["code"]["sliding.py"]
    made["code"]["gone.py"] = "1" * 16
    record.write_text(json.dumps(made))
    found = changed(asked(f"checkpoints/{RUN}/weights.safetensors"))
    assert [what for what, _, _ in found["environment"]] == ["envs/requirements.lock"]
    assert {(what, old == "nothing", new == "nothing") for what, old, new in found["code"]} == {
        ("train/loop.py", False, False),
        ("sliding.py", True, False),
        ("gone.py", False, True),
    }


def test_a_changed_score_is_told_by_its_path(project: Path) -> None:
    table = Path(f"scores/{RUN}/{VARIANT}.csv")
    table.write_text(table.read_text().replace(",40.0,", ",41.0,", 1))
    found = asked(SUMMARY)
    assert [what for what, _, _ in changed(found)["inputs.scores"]] == [str(table)]
    assert [entry["job"] for entry in found["above"]] == [f"score {RUN}/{VARIANT}"]
    assert found["sentence"] == (
        f"it would run again because inputs.scores: {table} has changed; jobs above it would run before it"
    )
    own = asked(str(table))
    assert not own["bytes"]["same"]
    assert own["because"][0]["what"] == str(table)


def test_what_is_broken_above_is_told_with_the_first_causes(project: Path) -> None:
    method = Path("config/methods/unet3d_tiny.yaml")
    method.write_text(method.read_text().replace("base: 6", "base: 7"))
    found = asked(f"scores/{RUN}/{VARIANT}.csv")
    assert found["because"] == []
    assert {entry["job"]: entry["first"] for entry in found["above"]} == {
        f"train {RUN}": True,
        f"predict {RUN}/{VARIANT}": False,
    }
    assert found["sentence"].startswith(
        "it would run again because jobs that it builds on would: "
        f"train {RUN} (configuration: network.options.base has changed)"
    )


def test_rows_of_a_table_above_decide_by_content_and_whole_files_bring_what_follows(project: Path) -> None:
    Path("data/prepared/phantom3d/iso2/c1.image.npy").write_text("other")
    gate, split = asked("data/prepared/phantom3d/iso2/gate.json"), asked("data/splits/phantom3d/random.csv")
    for found in (gate, split):
        assert found["again"]
        assert found["sentence"].startswith(
            "it would run again because jobs that it builds on would: prepare "
        )
    trained = asked(f"checkpoints/{RUN}/run.json")
    assert not trained["again"]
    assert trained["sentence"] == (
        "it would run again only if what it reads came out different, for jobs above it would: "
        "prepare phantom3d/iso2/000 (data/prepared/phantom3d/iso2/c1.image.npy has changed)"
    )
    Path(f"predictions/{RUN}/{VARIANT}/c3.nii.gz").write_text("other")
    assert asked(SUMMARY)["again"]


def test_a_missing_file_and_a_missing_record(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(SUMMARY).unlink()
    assert cli.main(["why", SUMMARY]) == 0
    told = capsys.readouterr().out.splitlines()
    assert "  bytes: missing" in told
    assert told[-1] == f"it would run again because {SUMMARY} is missing"
    Path("data/splits/phantom3d/random.csv.prov.json").unlink()
    assert cli.main(["why", "data/splits/phantom3d/random.csv"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert "  no record of what it was made from" in told
    assert told[-1] == "it would run again because data/splits/phantom3d/random.csv.prov.json is missing"


def test_a_table_above_that_is_missing_leaves_the_rest_compared(project: Path) -> None:
    Path("data/splits/phantom3d/random.csv").unlink()
    found = asked(f"checkpoints/{RUN}/run.json")
    assert {part["part"]: part["same"] for part in found["parts"]} == {
        "inputs": False, "configuration": True, "code": True, "environment": True,
    }  # fmt: skip
    assert found["above"][0]["job"] == "split phantom3d/random"
    assert found["above"][0]["first"]


def test_other_seeds_asked_for_are_a_change_of_configuration(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["why", SUMMARY, "--seeds", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert changed(found)["configuration"] == [("asked.seeds", "[0, 1]", "[0]")]


# --- raw files and others -----------------------------------------------------------------------------


def test_a_raw_file_says_what_reads_it(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = raw(Path("data/raw/phantom3d/labels/c3.nii.gz"), load.main_config())
    assert found["cases"] == ["c3"]
    assert found["read_by"][:2] == ["index phantom3d", "prepare phantom3d/iso2/001"]
    assert f"score {RUN}/{VARIANT}" in found["read_by"]
    assert not found["local_edit"]
    trained_on = raw(Path("data/raw/phantom3d/labels/c1.nii.gz"), load.main_config())
    assert not any(job.startswith("score") for job in trained_on["read_by"])
    assert cli.main(["why", "data/raw/phantom3d/labels/c3.nii.gz"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "nothing that reads it would run again"


def test_an_edited_raw_file_is_told_with_the_index_that_would_run(project: Path) -> None:
    path = Path("data/raw/phantom3d/labels/c3.nii.gz")
    path.write_text("edited")
    found = raw(path, load.main_config())
    assert found["local_edit"]
    assert found["sentence"].startswith(
        "index phantom3d would run again because inputs.raw: digest has changed;"
    )
    path.unlink()
    assert raw(path, load.main_config())["now"] is None


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("README.md", "no job of a segtrace project makes this file"),
        ("results/made/summry.csv", "did you mean 'results/made/summary.csv'"),
        ("results/mde/summary.csv", "did you mean 'made'"),
        ("data/index/phantom3/cases.csv", "did you mean 'phantom3d'"),
        (f"predictions/{RUN}/{VARIANT}/c1.nii.gz", "does not make this file"),
    ],
)
def test_a_file_that_no_job_makes_is_an_error(kept: Path, file: str, told: str) -> None:
    with pytest.raises(SegtraceError, match=told):
        asked(file)


def test_a_raw_file_that_there_is_not_is_an_error(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["why", "data/raw/phantom3d/labels/c9.nii.gz"]) == 1
    assert "did you mean 'labels/c" in capsys.readouterr().err


# --- keys ---------------------------------------------------------------------------------------------


def test_keys_are_dotted_down_to_lists_that_hold_mappings() -> None:
    then = {"a": {"b": 1, "c": [1, 2]}, "list": [{"x": 1}, {"y": {}}], 3: "number"}
    assert flat({"a": {"b": 1, "c": [1, 2]}, "list": [{"x": 1}]}) == {"a.b": 1, "a.c": [1, 2], "list.0.x": 1}
    now = {"a": {"b": 1, "c": [1, 3]}, "list": [{"x": 2}], "3": "number"}
    assert [(c.what, c.recorded, c.now) for c in keys(then, now)] == [
        ("a.c", "[1, 2]", "[1, 3]"),
        ("list.0.x", "1", "2"),
        ("list.1.y", "{}", "nothing"),
    ]
    assert keys({1: (1, 2)}, {"1": [1, 2]}) == ()
