"""After a change exactly the right jobs run, and after a fault nothing half-written is left."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from workflow_helpers import Project, jobs, members

pytestmark = pytest.mark.workflow


def raw_label(project: Project, number: int = 0) -> Path:
    return sorted((project.path / "data/raw/phantom3d").rglob("*label*/*.nii.gz"))[number]


def case_of(path: Path) -> str:
    return path.name.removesuffix(".nii.gz")


def test_touched_files_cost_nothing(finished: Project) -> None:
    os.utime(raw_label(finished))
    assert "Nothing to be done" in finished.snakemake()


def test_an_edited_test_label_with_an_old_time_is_scored_anew_and_trains_nothing(finished: Project) -> None:
    labels = sorted((finished.path / "data/raw/phantom3d").rglob("*label*/*.nii.gz"))
    chosen = next(path for path in labels if case_of(path) in members(finished, "test"))
    before = finished.contents()
    image = sitk.ReadImage(str(chosen))
    array = sitk.GetArrayFromImage(image)
    z, y, x = np.argwhere(array == 1)[0]
    array[z, y, x] = 0
    changed = sitk.GetImageFromArray(array)
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(chosen))
    os.utime(chosen, (1_500_000_000, 1_500_000_000))  # as tar and rsync leave it
    ran = jobs(finished.snakemake())
    assert ran.count("prepare") == 1
    assert "train" not in ran
    assert ran.count("score") == 1
    after = finished.contents()
    assert {n for n in before if n.startswith("checkpoints")} == {
        n for n in after if n.startswith("checkpoints")
    }
    assert all(after[name] == before[name] for name in before if name.startswith("checkpoints"))
    arrays = {n for n in before if n.endswith(".npy") and after[n] != before[n]}
    assert {name.rsplit("/", 1)[1].split(".")[0] for name in arrays} <= {case_of(chosen)}
    assert any(after[name] != before[name] for name in before if name.startswith("scores"))
    assert "Nothing to be done" in finished.snakemake()


@pytest.mark.slow
def test_a_deleted_array_prediction_or_checkpoint_is_made_again_once(finished: Project) -> None:
    before = finished.contents()
    array = sorted((finished.path / "data/prepared/phantom3d/iso2").glob("*.image.npy"))[0]
    array.unlink()
    ran = jobs(finished.snakemake())
    assert "prepare" in ran
    assert "train" not in ran
    prediction = sorted((finished.path / "predictions").rglob("*.nii.gz"))[0]
    prediction.unlink()
    ran = jobs(finished.snakemake())
    assert ran.count("predict") == 1
    assert "train" not in ran
    weights = next((finished.path / "checkpoints").rglob("weights.safetensors"))
    weights.unlink()
    assert jobs(finished.snakemake()).count("train") == 1
    assert finished.contents() == before
    assert "Nothing to be done" in finished.snakemake()


def test_a_failing_gate_stops_the_run_and_leaves_no_table(fresh: Project) -> None:
    fresh.edit("config/datasets/phantom3d.yaml", lambda v: v["gate"].update(cases=[100, 200]))
    output = fresh.snakemake(expect=1)
    assert "gate" in output.lower()
    assert "100" in output
    assert not (fresh.path / "data/index/phantom3d/cases.csv").exists()
    assert not (fresh.path / "data/prepared").exists()
    fresh.edit("config/datasets/phantom3d.yaml", lambda v: v["gate"].update(cases=[1, 200]))
    fresh.snakemake("data/index/phantom3d/cases.csv")


def test_all_damaged_masks_are_listed_at_once(fresh: Project) -> None:
    fresh.snakemake("data/raw/phantom3d.receipt.json")
    for number in (0, 2):
        path = raw_label(fresh, number)
        path.write_bytes(path.read_bytes()[:-20])
    output = fresh.snakemake(expect=1)
    assert raw_label(fresh, 0).name in output
    assert raw_label(fresh, 2).name in output
    assert not (fresh.path / "data/index/phantom3d/cases.csv").exists()


def test_an_unknown_key_and_an_unknown_name_say_what_is_near(fresh: Project) -> None:
    assert "did you mean 'experiments'" in fresh.snakemake("--config", "expriments=tiny", expect=1)
    assert "did you mean 'tiny'" in fresh.snakemake("--config", "experiments=tyni", expect=1)
    fresh.edit("config/datasets/phantom3d.yaml", lambda v: v["recipes"]["iso2"].update(spacing=[1, 1, 1]))
    assert "did you mean 'spacing_mm'" in fresh.snakemake(expect=1)


def test_an_archive_that_is_nowhere_is_one_clear_error(fresh: Project, tmp_path: Path) -> None:
    shutil.copy(
        Path(__file__).parents[2] / "config/experiments/hippocampus.yaml", fresh.path / "config/experiments"
    )
    empty = tmp_path / "empty"
    empty.mkdir()

    def no_address(value: dict) -> None:
        value["sources"][0]["urls"] = ["http://127.0.0.1:9/Task04_Hippocampus.tar"]

    fresh.edit("config/datasets/msd_hippocampus.yaml", no_address)
    output = fresh.snakemake(
        "--config", "experiments=hippocampus", f"mirror={empty}", "--retries", "0", expect=1
    )
    assert "Task04_Hippocampus.tar" in output
    assert str(empty) in output
    assert "127.0.0.1" in output
    assert not (fresh.path / "data/raw/msd_hippocampus").exists()
