"""segtrace reproduce: numbers come out again bit by bit, and what differs is named first."""

import csv
import json
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from workflow_helpers import BIN, Project

from segtrace import layout, tables
from segtrace.cli import main
from segtrace.config import load
from segtrace.errors import SegtraceError
from segtrace.trace import cells, check, jobs
from segtrace.trace.reproduce import command, differences, recompute

pytestmark = pytest.mark.workflow
RUN = "phantom3d/iso2/random/unet3d_tiny/smoke/fold-0_seed-0"
SCORES = f"scores/{RUN}/test-last-native-none.csv"
PREDICTIONS = f"predictions/{RUN}/test-last-native-none"
SUMMARY = "results/tiny/summary.csv"
KEYS = {
    SUMMARY: ("method", "label", "metric"),
    "results/tiny/per_case.csv": ("method", "case", "label", "fold", "seed"),
    SCORES: ("case", "label"),
}


@pytest.fixture
def project(finished: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the finished project, as the working directory."""
    monkeypatch.chdir(finished.path)
    return finished


def chosen(path: Path, table: str, chance: random.Random) -> tuple[str, str, str]:
    """(row, column, value) of a cell with a number between its bounds, taken by chance."""
    with (path / table).open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    columns = ("mean", "sd", "median", "minimum", "maximum") if table == SUMMARY else tables.METRICS
    there = [(row, column) for row in rows for column in columns if row[column] not in ("", "0.0", "1.0")]
    row, column = chance.choice(there)
    return ",".join(f"{key}={row[key]}" for key in KEYS[table]), column, row[column]


@pytest.mark.slow
def test_cells_taken_by_chance_come_out_again(project: Project, tmp_path: Path) -> None:
    chance = random.Random(20)
    wanted = {table: chosen(project.path, table, chance) for table in KEYS}
    for table, (row, column, value) in wanted.items():
        print(f"{table} --row {row} --column {column}: {value}")
    row, column, value = wanted[SUMMARY]
    folder = tmp_path / "clean"
    command = [
        "reproduce",
        SUMMARY,
        "--row",
        row,
        "--column",
        column,
        "--folder",
        str(folder),
        "--cores",
        "2",
    ]
    done = subprocess.run([str(BIN / "segtrace"), *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == f"identical: {value}"
    assert [line for line in lines if line.startswith("differs")] == []
    names = [line.split(": ")[0].removeprefix("same     ") for line in lines if line.startswith("same ")]
    assert ", ".join(names) == (
        "raw files, index rows, prepared rows, prepared arrays, split, weights, predicted rows, label maps, "
        "score rows, cell"
    )
    assert (folder / "data/raw/phantom3d").resolve() == (project.path / "data/raw/phantom3d").resolve()
    assert not (folder / "data/prepared/phantom3d").is_symlink()
    for table, (row, column, value) in wanted.items():  # all three stand in tables that were made there
        plan = recompute.plan(Path(table), row=row, column=column)
        assert plan.cell.text == value
        assert [step for step in differences.steps(plan, folder) if not step.same] == []
        assert differences.again(plan.cell, folder) == value
    plan = recompute.plan(Path("results/tiny/metrics.json"), row=None, column="tiny.unet3d_tiny.nodule.dice")
    assert differences.steps(plan, folder)[-1].same


# --- what differs ----------------------------------------------------------------------------------------


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change_cell(column: str, value: str) -> Callable[[Path], None]:
    """Change a cell of the second row."""

    def change(path: Path) -> None:
        with path.open(newline="") as handle:
            rows = list(csv.DictReader(handle))
        rows[1][column] = value
        with path.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    return change


def drop_row(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("file", "change", "name", "where"),
    [
        (
            "data/index/phantom3d/cases.csv",
            change_cell("intensity_max", "1.0"),
            "index rows",
            "case v0001_s0, column intensity_max",
        ),
        ("data/prepared/phantom3d/iso2/prepared.csv", drop_row, "prepared rows", "case v0007_s0"),
        (
            "data/prepared/phantom3d/iso2/v0003_s0.image.npy",
            flip_byte,
            "prepared arrays",
            "v0003_s0.image.npy",
        ),
        (
            "data/splits/phantom3d/random.csv",
            change_cell("role", "test"),
            "split",
            "case v0001_s0, fold 0, column role",
        ),
        (f"checkpoints/{RUN}/weights.safetensors", flip_byte, "weights", "weights.safetensors"),
        (f"{PREDICTIONS}/v0004_s0.nii.gz", flip_byte, "label maps", "v0004_s0.nii.gz"),
        (SCORES, change_cell("dice", "0.5"), "score rows", "case v0000_s0, label 2, column dice"),
        (SUMMARY, change_cell("mean", "0.9"), "cell", "label 0, metric iou, mean"),
    ],
)
def test_the_first_difference_is_named(
    project: Project, reference: Project, file: str, change: Callable[[Path], None], name: str, where: str
) -> None:
    """The reference is what a clean folder would hold."""
    change(project.path / file)
    plan = recompute.plan(Path(SUMMARY), row="label=0,metric=iou", column="mean")
    first = next(step for step in differences.steps(plan, reference.path) if not step.same)
    assert first.name == name
    assert where in first.where
    assert first.recorded != first.recomputed
    assert str(first).startswith(f"differs  {name}: ")


def test_a_changed_prediction_is_told_of_from_beginning_to_end(
    project: Project, reference: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flip_byte(project.path / PREDICTIONS / "v0000_s0.nii.gz")
    change_cell("dice", "0.5")(project.path / SCORES)

    def link(plan: recompute.Plan, folder: Path, *, cores: int, say: object) -> None:
        (folder / "data").rename(folder / "data.empty")
        for name in ("data", "checkpoints", "predictions", "scores", "results"):
            (folder / name).symlink_to(reference.path / name)

    monkeypatch.setattr(recompute, "run", link)  # what would be made is there already
    with pytest.raises(SystemExit) as end:
        main(["reproduce", SCORES, "--row", "case=v0000_s0,label=organ", "--column", "hd95_mm", "--json"])
    assert end.value.code == 1
    output, said = capsys.readouterr()
    result = json.loads(output)
    assert result["first_difference"] == "label maps"
    assert result["recorded"] == result["recomputed"]  # the number itself is right
    assert [step["name"] for step in result["steps"] if not step["same"]] == ["label maps", "score rows"]
    assert any("v0000_s0.nii.gz" in reason for reason in result["expected"])
    assert said.splitlines()[-1].startswith(
        f"first differs at label maps: {PREDICTIONS}/v0000_s0.nii.gz: recorded sha256 "
    )


def test_changed_raw_data_end_it_before_anything_runs(
    project: Project, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flip_byte(project.path / "data/raw/phantom3d/images/v0002_s0.nii.gz")
    folder = tmp_path / "clean"
    with pytest.raises(SystemExit) as end:
        main(["reproduce", SUMMARY, "--row", "2", "--column", "mean", "--folder", str(folder)])
    assert end.value.code == 1
    assert list(folder.iterdir()) == []
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(
        "first differs at raw files: data/raw/phantom3d/images/v0002_s0.nii.gz: recorded "
    )
    assert "  not as they were unpacked: images/v0002_s0.nii.gz" in lines


# --- why a difference is to be expected -----------------------------------------------------------------


def test_nothing_is_expected_of_a_project_that_holds(project: Project) -> None:
    for table, row in ((SUMMARY, "2"), (SCORES, "2"), ("results/tiny/per_case.csv", "2")):
        plan = recompute.plan(Path(table), row=row, column="label")
        assert differences.expected(plan) == []


def test_what_is_not_as_it_was_is_named(project: Project) -> None:
    run = project.path / "checkpoints" / RUN / "run.json"
    made = json.loads(run.read_text())
    made["machine"]["processor"] = "another"
    run.write_text(json.dumps(made))
    with (project.path / "envs/requirements.lock").open("a") as lock:
        lock.write("another==1.0\n")
    project.edit("config/training/demo_3d.yaml", lambda value: value.update(learning_rate=0.02, threads=2))
    said = "\n".join(differences.expected(recompute.plan(Path(SUMMARY), row="2", column="mean")))
    assert f"{RUN} was trained with processor another; here it is " in said
    assert f"{RUN} was trained with threads 1; here it is 2" in said
    assert "configuration (threads, training) of train" in said
    assert "environment of acquire, index, prepare, validate, split, train, predict, score, compare" in said
    assert f"{run.relative_to(project.path)}: recorded sha256" in said
    assert "code" not in said


# --- the clean folder -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "clean"
    path.mkdir()
    yield path
    assert not (path / "results").exists()


def test_the_configuration_is_reduced_to_what_the_cell_needs(project: Project, folder: Path) -> None:
    project.edit(
        "config/config.yaml", lambda value: value.update(experiments=["tiny", "flat"], mirror="archives")
    )
    project.edit(
        "config/experiments/tiny.yaml", lambda value: value.update(methods=["dynunet_tiny_3d", "unet3d_tiny"])
    )
    plan = recompute.plan(Path(SUMMARY), row="2", column="mean")
    recompute.prepare(plan, folder)
    made = load.read_yaml(folder / "config/config.yaml")
    assert made == {
        "experiments": ["tiny"],
        "budget": "smoke",
        "seeds": [0],
        "training_threads": 1,
        "determinism": "strict",
        "mirror": str(project.path / "archives"),
    }
    experiment = load.read_yaml(folder / "config/experiments/tiny.yaml")
    assert experiment["methods"] == ["unet3d_tiny"]
    assert experiment["folds"] == [0]
    assert (folder / "config/experiments/flat.yaml").is_file()
    assert (folder / "data/raw/phantom3d").is_symlink()


def test_runs_that_a_cell_needs() -> None:
    every = [
        layout.RunName("d", "r", "p", method, "b", fold, seed)
        for method in ("unet", "unet.2")
        for fold in (0, 1)
        for seed in (0, 3)
    ]
    job = jobs.Job("compare", "e")

    def of_row(**row: str) -> cells.Subject:
        return cells.Subject(Path("t"), job, "summary", ((2, row),), one=True, column="mean", value="0")

    def of_json(*path: str) -> cells.Subject:
        return cells.Subject(Path("t"), job, "metrics", one=True, path=path, value=0)

    found = recompute._needed(of_row(method="unet", label="1", metric="dice"), every, "e")
    assert {(run.method, run.fold, run.seed) for run in found} == {
        ("unet", 0, 0), ("unet", 0, 3), ("unet", 1, 0), ("unet", 1, 3),
    }  # fmt: skip
    assert recompute._needed(of_row(method="unet.2", fold="1", seed="3", case="c"), every, "e") == [every[-1]]
    found = recompute._needed(of_json("e", "unet.2", "organ", "dice"), every, "e")
    assert {run.method for run in found} == {"unet.2"}
    scores = f"scores/{every[2]}/test-last-native-none.csv"
    assert recompute._needed(of_json("scores_sha256", scores), every, "e") == [every[2]]
    with pytest.raises(SegtraceError, match="no run of the experiment e"):
        recompute._needed(of_row(method="gone"), every, "e")


def test_a_generator_that_changed_is_run_again(project: Project, folder: Path) -> None:
    project.edit("config/datasets/phantom3d.yaml", lambda value: value["options"].update(subjects=9))
    recompute.prepare(recompute.plan(Path(SUMMARY), row="2", column="mean"), folder)
    assert list((folder / "data/raw").iterdir()) == []


def test_raw_data_of_another_environment_are_linked_and_their_record_is_renewed(
    project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (project.path / "data/raw").rglob("*")}
    with (project.path / "envs/requirements.lock").open("a") as lock:
        lock.write("another==1.0\n")
    plan = recompute.plan(Path(SUMMARY), row="2", column="mean")
    recompute.prepare(plan, folder)
    assert (folder / "data/raw/phantom3d").is_symlink()
    assert {path: path.stat().st_mtime_ns for path in (project.path / "data/raw").rglob("*")} == before
    monkeypatch.chdir(folder)
    assert check.holds(jobs.acquire("phantom3d"), load.main_config())  # or Snakemake would refuse to start


# --- what cannot be done ----------------------------------------------------------------------------------


def test_a_snakemake_that_fails_shows_its_log_and_leaves_nothing(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(command.tempfile, "tempdir", str(temporary))
    snakefile = project.path / "Snakefile"
    snakefile.write_text("raise ValueError('no workflow today')\n" + snakefile.read_text())
    assert main(["reproduce", SUMMARY, "--row", "2", "--column", "mean", "--cores", "1"]) == 1
    errors = capsys.readouterr().err
    assert "no workflow today" in errors
    assert "The number was not recomputed" in errors
    assert list(temporary.iterdir()) == []
    assert main(["reproduce", SUMMARY, "--row", "2", "--column", "mean", "--cores", "1", "--keep"]) == 1
    (kept,) = temporary.iterdir()
    assert f"kept: {kept}" in capsys.readouterr().out
    assert "no workflow today" in (kept / "reproduce.log").read_text()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("results/metrics.json", "holds no number that can be recomputed"),
        ("data/index/phantom3d/cases.csv", "holds no number that can be recomputed"),
        ("results/tiny/other.csv", "holds no number that can be recomputed"),
        ("results/tinny/summary.csv", "no record"),
        ("elsewhere.csv", "no job of a segtrace project makes this file"),
    ],
)
def test_other_files_are_refused(project: Project, table: str, words: str) -> None:
    with pytest.raises(SegtraceError, match=words):
        recompute.plan(Path(table), row="2", column="mean")


def test_a_row_is_needed(project: Project) -> None:
    with pytest.raises(SegtraceError, match=r"say which row: .* of method, label, metric"):
        recompute.plan(Path(SUMMARY), row=None, column="mean")


def test_a_folder_that_is_not_empty_is_refused(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", SUMMARY, "--row", "2", "--column", "mean", "--folder", "results"]) == 1
    assert "must be empty" in capsys.readouterr().err
