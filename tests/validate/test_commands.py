"""index, prepare, validate and split as commands, one after another, on generated volumes.

They stand in one file because each reads what the one before it wrote; the data set is made once.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import yaml

from segtrace import cli, datasets, layout, store, tables
from segtrace.config import load
from segtrace.images import from_array, grid_of, read_volume

CONFIG = Path(__file__).parents[2] / "config"
NAME, RECIPE = "phantom3d", "iso2"


def run(*words: str) -> int:
    return cli.main(list(words))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A project in which all four commands have run on the volumes of 6 subjects."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(CONFIG, root / "config")
    path = root / "config/datasets" / f"{NAME}.yaml"
    value = yaml.safe_load(path.read_text())
    value["options"] |= {"subjects": 6, "scans": 2}
    value["protocols"] = {
        "random": {"kind": "grouped_random", "test_fraction": 0.4, "validation_fraction": 0.3, "seed": 8},
        "last": {"kind": "last_n", "test_cases": 3, "validation_cases": 2, "shuffle_seed": 0},
    }
    path.write_text(yaml.safe_dump(value))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        datasets.reader(NAME).generate(layout.raw(NAME), value["options"])
        for words in (["index", NAME], ["prepare", NAME, RECIPE], ["validate", NAME, RECIPE]):
            assert run(*words, "--workers", "2") == 0
        assert run("split", NAME, "random") == 0
    return root


@pytest.fixture
def project(finished, tmp_path, monkeypatch) -> Path:
    """A copy of the finished project, as the working directory."""
    root = tmp_path / "project"
    shutil.copytree(finished, root)
    monkeypatch.chdir(root)
    return root


def outputs(root: Path) -> dict[str, bytes]:
    """Every file below ``data/`` but the raw ones."""
    paths = [path for path in (root / "data").rglob("*") if path.is_file() and "raw" not in path.parts]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def change_label(case: str, function) -> None:
    path = layout.raw(NAME) / "labels" / f"{case}.nii.gz"
    image = read_volume(path)
    sitk.WriteImage(from_array(function(sitk.GetArrayFromImage(image)), grid_of(image)), str(path))


def test_what_the_commands_leave(finished):
    found = outputs(finished)
    assert {name for name in found if name.endswith("gate.json")} == {
        "data/index/phantom3d/gate.json",
        "data/prepared/phantom3d/iso2/gate.json",
        f"data/splits/{NAME}/random.gate.json",
    }
    assert (finished / "reports/gates/phantom3d/index/index.html").is_file()
    assert (finished / "reports/gates/phantom3d/validate-iso2/index.html").is_file()
    for name in ("cases.csv", "prepared.csv", "random.csv"):
        assert any(path.endswith(f"/{name}.prov.json") for path in found)
    assert not any(str(finished).encode() in content for content in found.values())
    checks = tables.read("mask_checks", finished / "data/prepared/phantom3d/iso2/mask_checks.csv")
    assert len(checks) == 36
    assert (checks["problem"] == "").all()
    split = tables.read("split", finished / "data/splits/phantom3d/random.csv")
    assert split.groupby("subject")["role"].nunique().max() == 1


def test_again_with_another_number_of_workers_gives_the_same_bytes(project):
    before = outputs(project)
    for folder in ("data/index", "data/prepared", "data/splits", ".segtrace"):
        shutil.rmtree(project / folder)
    for words in (["index", NAME], ["prepare", NAME, RECIPE], ["validate", NAME, RECIPE]):
        assert run(*words, "--workers", "1") == 0
    assert run("split", NAME, "random") == 0
    assert outputs(project) == before


def test_an_edited_case_costs_that_case(project, capfd):
    folder = layout.prepared(NAME, RECIPE)
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npy")}
    change_label("v0001_s0", lambda label: np.where(label == 3, 0, label))
    assert run("index", NAME, "--workers", "1") == 0
    assert run("validate", NAME, RECIPE) == 1
    assert "1 of 12 cases were prepared from other data, recipe or code: v0001_s0" in capfd.readouterr().err
    assert run("prepare", NAME, RECIPE, "--workers", "1") == 0
    changed = {path.name for path in folder.glob("*.npy") if path.stat().st_mtime_ns != times[path.name]}
    assert changed == {"v0001_s0.image.npy", "v0001_s0.label.npy"}
    assert run("validate", NAME, RECIPE, "--workers", "1") == 0


def test_a_removed_case_leaves_no_files(project):
    for folder in ("images", "labels"):
        (layout.raw(NAME) / folder / "v0002_s1.nii.gz").unlink()
    assert run("index", NAME, "--workers", "1") == 0
    assert run("prepare", NAME, RECIPE, "--workers", "1") == 0
    assert run("validate", NAME, RECIPE, "--workers", "1") == 0
    assert not list(layout.prepared(NAME, RECIPE).glob("v0002_s1*"))
    assert len(tables.read("prepared", layout.prepared(NAME, RECIPE) / "prepared.csv")) == 11


def test_all_faulty_masks_are_listed_and_nothing_is_written(project, capfd):
    before = outputs(project)
    change_label("v0000_s0", lambda label: np.where(label == 1, 9, label).astype(np.uint8))
    change_label("v0003_s1", lambda label: label * 0)
    assert run("index", NAME, "--workers", "2") == 1
    text = capfd.readouterr().err
    assert "2 problems" in text
    assert "labels/v0000_s0.nii.gz): the label holds 9; expected 0 (background) and 1, 2, 3 only" in text
    assert "labels/v0003_s1.nii.gz): the label is empty" in text
    assert outputs(project) == before


def test_a_failing_gate_keeps_the_old_files_and_writes_the_pages(project, capfd):
    path = Path("config/datasets") / f"{NAME}.yaml"
    path.write_text(path.read_text().replace("max_components: 3", "max_components: 0"))
    before = outputs(project)
    shutil.rmtree("reports")
    assert run("index", NAME, "--workers", "1") == 1
    text = capfd.readouterr().err
    assert "connected components of label 1 (organ): expected any to 0, 12 of 12 fail: v0000_s0 (1)" in text
    assert f"reports/gates/{NAME}/index/index.html" in text
    assert Path(f"reports/gates/{NAME}/index/index.html").is_file()
    assert outputs(project) == before


def test_a_lost_structure_stops_validation(project, capfd):
    """The stored mask is altered behind the tables' back and everything is signed again: only the count is wrong."""
    folder = layout.prepared(NAME, RECIPE)
    case = store.open_case(folder, "v0000_s0")
    label = np.array(case.label)
    lost = int(label[label > 0].max())
    label[label == lost] = 0
    label = np.ascontiguousarray(label[:, ::-1])
    record = store.write_case(
        folder, "v0000_s0", image=np.array(case.image), label=label, record=dict(case.record)
    )
    table = layout.batch_table(NAME, RECIPE, layout.batch_of("v0000_s0", load.dataset(NAME).batches))
    rows = tables.read("prepared", table)
    rows.loc[rows["case"] == "v0000_s0", "label_sha256"] = record["label_sha256"]
    tables.write("prepared", rows, table)
    before = outputs(project)
    assert run("validate", NAME, RECIPE, "--workers", "1") == 1
    text = capfd.readouterr().err
    assert f"no structure is lost: expected 0 to 0, 1 of 36 fail: v0000_s0 label {lost} (1)" in text
    assert "shift of a label's centroid in the patient, voxels" in text  # the flip
    assert outputs(project) == before


def test_a_subject_on_two_sides_is_refused_unless_published(project, capfd):
    assert run("split", NAME, "last") == 1
    text = capfd.readouterr().err
    assert "the same patient or image lies on two sides" in text
    assert "subject v0004 lies in" in text
    assert not layout.split(NAME, "last").exists()
    path = Path("config/datasets") / f"{NAME}.yaml"
    path.write_text(
        path.read_text().replace("kind: last_n", "kind: last_n\n    published: true\n    source: here")
    )
    assert run("split", NAME, "last") == 0
    assert "warning: " in capfd.readouterr().out
    record = json.loads(Path(f"{layout.split(NAME, 'last')}.prov.json").read_text())
    assert any("subject v0004" in leak for leak in record["notes"]["leaks"])


def test_what_is_missing_or_misnamed_is_told(project, capfd):
    assert run("prepare", NAME, "iso3") == 1
    assert "no recipe 'iso3'; did you mean 'iso2'?" in capfd.readouterr().err
    assert run("prepare", NAME, RECIPE, "--batch", "2") == 1
    assert "phantom3d has batches 0 to 1, got --batch 2" in capfd.readouterr().err
    shutil.rmtree(layout.raw(NAME))
    assert run("index", NAME) == 1
    assert (
        "data/raw/phantom3d: no such folder; run 'segtrace acquire phantom3d' first" in capfd.readouterr().err
    )
    layout.cases(NAME).unlink()
    assert run("prepare", NAME, RECIPE) == 1
    assert "cases.csv: no such file" in capfd.readouterr().err
