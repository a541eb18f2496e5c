"""New images without labels: the same label maps as for prepared cases, ensembles, records, and what is refused."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import yaml

from segtrace import cli, files, images, layout, preparation, store, tables
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid, format_numbers
from segtrace.predict import command, ensemble, new_images, sources

RECIPE = {
    "orientation": "RAS",
    "spacing_mm": [1.0, 1.2, 2.0],
    "intensity": [{"kind": "zscore"}],
}
FULL = RECIPE | {
    "size": None,
    "image_interpolation": "linear",
    "antialias": False,
    "label_interpolation": "nearest",
}
GRID = Grid((14, 17, 11), (1.0, 1.5, 2.5), (3.0, -2.0, 1.0), tuple(np.eye(3).ravel()))
OUTPUT = Path("segmented")


def configure(**changes: Any) -> None:
    """Change the data set ``toy``."""
    path = Path("config/datasets/toy.yaml")
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def write_volume(path: Path, *, seed: int, grid: Grid = GRID) -> Path:
    """A volume of noise with a bright part."""
    array = np.random.default_rng(seed).normal(100, 20, grid.array_shape).astype(np.float32)
    array[:, 4:9, 3:9] += 90
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(images.nifti_bytes(array, grid))
    return path


def add_run(project, *, seed: int, **changes: Any) -> str:
    """Another run of the same data set; its name."""
    name = replace(project.run, seed=seed)
    project.write_run(name=name, **changes)
    project.write_weights("weights.safetensors", seed=seed, name=name)
    return str(name)


def segment(project, *texts: object, runs: list[str] | None = None, **options: Any) -> Path:
    command.segment_files([str(t) for t in texts], runs=runs or [str(project.run)], output=OUTPUT, **options)
    return OUTPUT


def refused(project, *texts: object, match: str, **options: Any) -> None:
    with pytest.raises(SegtraceError, match=match):
        segment(project, *texts, **options)


@pytest.fixture
def project(volumes):
    """A run of volumes whose data set is read as published NIfTI volumes are."""
    configure(reader="msd_hippocampus", recipes={"plain": RECIPE})
    volumes.write_run()
    return volumes


def test_a_new_image_is_segmented_as_a_prepared_case(project, monkeypatch):
    raw = write_volume(Path("new/a.nii.gz"), seed=1)
    done = preparation.prepare_arrays(images.read_volume(raw), None, FULL, labels=())
    grids = {"native_grid": done.native, "oriented_grid": done.oriented, "prepared_grid": done.grid}
    record = {"case": "a", "batch": 0, "digest": "0" * 16, "volumes_before_mm3": {}, "volumes_after_mm3": {}}
    record |= {"intensity": [], **{key: grid.to_json() for key, grid in grids.items()}}
    row = store.write_case(project.prepared, "a", image=done.image, label=None, record=record)
    table = {key: row[key] for key in ("case", "batch", "digest", "image_sha256")} | {
        "label_sha256": "",
        "size": format_numbers(done.grid.size),
        "spacing_mm": format_numbers(done.grid.spacing_mm),
        "volumes_before_mm3": "{}",
        "volumes_after_mm3": "{}",
    }
    tables.write("prepared", [table], project.prepared / "prepared.csv")
    project.split([("a", "test")])
    known = project.predict() / "a.nii.gz"
    folder = segment(project, raw)
    assert (folder / "a.nii.gz").read_bytes() == known.read_bytes()
    label = images.read_volume(folder / "a.nii.gz")
    assert images.grid_of(label).differences(GRID) == []
    assert len(np.unique(sitk.GetArrayViewFromImage(label))) > 1


def test_the_record_says_what_the_label_map_was_made_from(project):
    raw = write_volume(Path("new/a.nii.gz"), seed=1)
    folder = segment(project, raw)
    record = files.read_json(folder / "a.nii.gz.prov.json")
    weights = layout.run(project.run) / "weights.safetensors"
    assert record["image"] == [{"file": "a.nii.gz", "sha256": files.sha256_file(raw)}]
    assert record["label_map"]["sha256"] == files.sha256_file(folder / "a.nii.gz")
    assert record["runs"] == [
        {"run": str(project.run), "checkpoint": "last", "weights_sha256": files.sha256_file(weights)}
    ]
    assert record["recipe"]["spacing_mm"] == RECIPE["spacing_mm"]
    assert {"code", "environment", "labels", "inference", "threads", "machine", "options"} <= set(record)
    assert str(Path.cwd()) not in (folder / "a.nii.gz.prov.json").read_text()


def test_side_by_side_gives_the_bytes_of_one_after_the_other(project, monkeypatch):
    raws = [write_volume(Path(f"new/{n}.nii.gz"), seed=n) for n in range(4)]
    segment(project, *raws)
    together = {path.name: path.read_bytes() for path in OUTPUT.iterdir()}
    assert len(together) == 8
    for path in OUTPUT.iterdir():
        path.unlink()
    settings = new_images.settings_of(ensemble.load([str(project.run)]))
    chosen, _ = sources.sources_of([str(raw) for raw in raws], output=OUTPUT, data=settings.data)
    assert new_images.segment(chosen, settings, threaded=False) == []
    assert {path.name: path.read_bytes() for path in OUTPUT.iterdir()} == together


def test_an_ensemble_averages_class_probabilities(project, monkeypatch):
    raw = write_volume(Path("new/a.nii.gz"), seed=1)
    runs = [str(project.run), add_run(project, seed=7)]
    seen = []
    inner = new_images.inference._probabilities

    def watched(nets, image, **options):
        for first, shares in inner(nets, image, **options):
            alone = [
                torch.cat([part.clone() for _, part in inner([net], image, **options)], dim=1) for net in nets
            ]
            expected = torch.stack(alone).mean(0)[:, first : first + shares.shape[1]]
            seen.append((len(nets), float((shares - expected).abs().max())))
            yield first, shares

    monkeypatch.setattr(new_images.inference, "_probabilities", watched)
    folder = segment(project, raw, runs=runs)
    assert seen
    assert all(count == 2 and apart < 1e-6 for count, apart in seen)
    record = files.read_json(folder / "a.nii.gz.prov.json")
    assert [entry["run"] for entry in record["runs"]] == sorted(runs)
    both = (folder / "a.nii.gz").read_bytes()
    segment(project, raw, runs=runs[::-1])  # the order does not matter: it is there already
    assert (folder / "a.nii.gz").read_bytes() == both


def test_an_ensemble_of_equal_runs_is_one_of_them(project):
    raw = write_volume(Path("new/a.nii.gz"), seed=1)
    single = (segment(project, raw) / "a.nii.gz").read_bytes()
    twin = replace(project.run, seed=9)
    project.write_run(name=twin)
    project.write_weights("weights.safetensors", seed=1, name=twin)
    for path in OUTPUT.iterdir():
        path.unlink()
    folder = segment(project, raw, runs=[str(project.run), str(twin)])
    assert (folder / "a.nii.gz").read_bytes() == single


def test_mirroring_and_the_checkpoint_are_chosen_on_the_command_line(project):
    raw = write_volume(Path("new/a.nii.gz"), seed=1)
    found = set()
    for options in ({}, {"mirror": [0, 2]}, {"checkpoint": "best_val"}):
        folder = segment(project, raw, **options)
        record = files.read_json(folder / "a.nii.gz.prov.json")
        assert record["inference"]["mirror"] == options.get("mirror", [])
        assert record["runs"][0]["checkpoint"] == options.get("checkpoint", "last")
        found.add((folder / "a.nii.gz").read_bytes())
        for path in folder.iterdir():
            path.unlink()
    assert len(found) == 3
    refused(project, raw, match=r"mirror \[3\]: the axes of these images are 0 to 2", mirror=[3])


def test_mirroring_of_the_recipe_is_used_for_cases_too(project):
    before = project.predict() / "a.nii.gz"
    data = before.read_bytes()
    inference = {"window": None, "overlap": 0.25, "weighting": "constant", "batch": 2}
    project.write_run(inference=inference | {"mirror": [1]})
    assert (project.predict() / "a.nii.gz").read_bytes() != data


def test_one_file_a_channel_or_all_in_one(project):
    configure(channels=["t1", "t2"])
    project.write_run(channels=2)
    project.write_weights("weights.safetensors", seed=1, channels=2)
    one, two = (write_volume(Path(f"new/{n}.nii.gz"), seed=n) for n in (1, 2))
    both = Path("new/1 and 2.mha")
    parts = [images.read_volume(path) for path in (one, two)]
    sitk.WriteImage(sitk.Compose(parts), str(both))
    folder = segment(project, f"{one},{two}", both)
    assert (folder / "1.nii.gz").read_bytes() == (folder / "1 and 2.nii.gz").read_bytes()
    assert [e["file"] for e in files.read_json(folder / "1.nii.gz.prov.json")["image"]] == [
        "1.nii.gz",
        "2.nii.gz",
    ]
    shifted = write_volume(Path("new/far.nii.gz"), seed=3, grid=replace(GRID, origin_mm=(9.0, 9.0, 9.0)))
    refused(project, f"{two},{shifted}", match=r"2.nii.gz and new/far.nii.gz differ: origin")
    refused(project, two, match="the image has 1 channels, those of the data set have 2 \\(t1, t2\\)")
    refused(
        project, f"{two},{two},{two}", match="3 files; the data set has 2 channels \\(t1, t2\\): give one"
    )


def test_what_cannot_be_segmented_is_named_and_stops_no_other(project):
    good = [write_volume(Path(f"new/good{n}.nii.gz"), seed=n) for n in (1, 2)]
    flat = Path("new/flat.mha")
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((9, 9), np.float32)), str(flat))
    label = Path("new/label.nii.gz")
    label.write_bytes(images.nifti_bytes((np.indices(GRID.array_shape).sum(0) % 3).astype(np.uint8), GRID))
    holed = np.full(GRID.array_shape, 7.5, np.float32)
    holed[1, 2, 3] = np.nan
    nan = Path("new/nan.nii.gz")
    nan.write_bytes(images.nifti_bytes(holed, GRID))
    sheared = Path("new/sheared.nrrd")
    sheared.write_bytes(
        b"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 4 4 4\n"
        b"space directions: (1,0,0) (0.5,1,0) (0,0,1)\nkinds: domain domain domain\nendian: little\n"
        b"encoding: raw\nspace origin: (0,0,0)\n\n" + bytes(128)
    )
    colours = Path("new/colours.mha")
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((5, 9, 9, 3), np.float32), isVector=True), str(colours))
    twin = write_volume(Path("other/good1.nii.gz"), seed=4)
    taken = write_volume(Path("new/taken.nii.gz"), seed=5)
    OUTPUT.mkdir()
    (OUTPUT / "taken.nii.gz").write_bytes(b"mine")
    bad = [flat, label, nan, sheared, colours, twin, taken, Path("new/absent.nii.gz")]
    with pytest.raises(SegtraceError) as caught:
        segment(project, good[0], *bad, good[1])
    text = str(caught.value)
    for expected in (
        "predict into segmented: 8 problems",
        "new/flat.mha: the image has 2 dimensions, those of the data set have 3",
        "new/label.nii.gz: it holds only whole numbers from 0 to 2, as a label map does; give the image",
        "  - new/nan.nii.gz: 1 voxels are NaN",
        "  - new/sheared.nrrd: ",
        "new/colours.mha: the image has 3 channels, those of the data set have 1 (grey)",
        "other/good1.nii.gz: its label map would be segmented/good1.nii.gz, as that of new/good1.nii.gz",
        "new/taken.nii.gz: segmented/taken.nii.gz exists already, and is not what these runs make",
        "  - new/absent.nii.gz: no such file",
        "The other 2 of 10 images are segmented.",
    ):
        assert expected in text
    assert (OUTPUT / "taken.nii.gz").read_bytes() == b"mine"
    assert sorted(path.name for path in OUTPUT.iterdir()) == [
        "good1.nii.gz",
        "good1.nii.gz.prov.json",
        "good2.nii.gz",
        "good2.nii.gz.prov.json",
        "taken.nii.gz",
    ]


def test_again_does_nothing_and_another_image_of_that_name_is_refused(project, monkeypatch, capsys):
    raw = write_volume(Path("new/a.nii.gz"), seed=1)
    folder = segment(project, raw)
    before = (folder / "a.nii.gz").stat().st_ino
    with monkeypatch.context() as patch:
        patch.setattr(new_images, "_run", lambda *_, **__: pytest.fail("segmented again"))
        segment(project, raw)
    assert "segmented/a.nii.gz: is there already" in capsys.readouterr().out
    write_volume(raw, seed=2)
    refused(project, raw, match="exists already, and is not what these runs make of this image")
    assert (folder / "a.nii.gz").stat().st_ino == before
    (folder / "a.nii.gz").unlink()
    refused(project, raw, match=r"a.nii.gz.prov.json exists already")


KILLED = """
import os, signal, sys
from segtrace import files
from segtrace.predict import command

write = files.atomic
def atomic(path, *given):
    if path.name == "2.nii.gz":
        path.with_name("." + path.name + ".half.tmp").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    return write(path, *given)

files.atomic = atomic
command.segment_files(sys.argv[2:], runs=[sys.argv[1]], output=command.Path("segmented"))
"""


def test_a_killed_job_leaves_whole_files_and_is_gone_on_with(project):
    raws = [str(write_volume(Path(f"new/{n}.nii.gz"), seed=n)) for n in (1, 2, 3)]
    whole = {path.name: path.read_bytes() for path in segment(project, *raws).iterdir()}
    for path in OUTPUT.iterdir():
        path.unlink()
    result = subprocess.run([sys.executable, "-c", KILLED, str(project.run), *raws], capture_output=True)
    assert result.returncode == -signal.SIGKILL, result.stderr.decode()
    left = {path.name: path.read_bytes() for path in OUTPUT.iterdir() if not path.name.startswith(".")}
    assert sorted(left) == ["1.nii.gz", "1.nii.gz.prov.json", "2.nii.gz.prov.json"]
    assert all(whole[name] == data for name, data in left.items())
    segment(project, *raws)
    assert {p.name: p.read_bytes() for p in OUTPUT.iterdir() if not p.name.startswith(".")} == whole


def test_runs_that_cannot_segment_together_are_refused_with_all_reasons(project):
    raw = write_volume(Path("new/a.nii.gz"), seed=1)
    good, other = str(project.run), add_run(project, seed=3, precision="bf16")
    absent = str(replace(project.run, fold=4))
    with pytest.raises(SegtraceError) as caught:
        segment(project, raw, runs=[good, other, absent, "nonsense", good])
    text = str(caught.value)
    for expected in (
        "these runs cannot segment together: 4 problems",
        f"train the run first: segtrace train {absent}",
        "'nonsense' is no run",
        f"{good}: given twice",
        f"inference.precision: fp32 in {good}, bf16 in {other}",
    ):
        assert expected in text
    path = layout.run(other) / "run.json"
    changed = files.read_json(layout.run(project.run) / "run.json") | {"run": other, "recipe": "another"}
    files.write_json(path, changed | {"labels": {"1": "one", "2": "II"}})
    refused(project, raw, runs=[good, other], match=r"(?s)2 problems.*recipe: plain in .*labels: ")
    assert not OUTPUT.exists()


def test_a_data_set_that_was_changed_since_is_refused(project):
    raw = write_volume(Path("new/a.nii.gz"), seed=1)
    configure(labels={1: "one", 2: "deux"})
    refused(project, raw, match=r"toy.yaml is not what .* was trained with: 1 problem\n  - labels: ")


def test_a_recipe_or_reader_that_was_changed_since_the_training_is_refused(project):
    raw = write_volume(Path("new/a.nii.gz"), seed=1)
    segment(project, raw)
    configure(recipes={"plain": RECIPE | {"source": "a better word for the same"}})
    segment(project, raw)
    configure(recipes={"plain": RECIPE | {"spacing_mm": [2.0, 2.0, 2.0]}}, options={"strict": True})
    refused(
        project,
        raw,
        match=r"2 problems\n  - preparation, options: .*\n  - preparation, spacing_mm: .*2.0, 2.0, 2.0.* when it was trained",
    )


def test_pictures_are_read_as_those_of_the_data_set(pictures):
    configure(reader="busi", recipes={"plain": {"size": [16, 16], "intensity": [{"kind": "minmax"}]}})
    pictures.write_run()
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (3, 40, 30)).astype(np.uint8)
    for name, array in {"grey (1)": colours[0], "mask": (colours[0] > 99).astype(np.uint8) * 255}.items():
        Path(f"{name}.png").write_bytes(images.png_bytes(array))
    with pytest.raises(
        SegtraceError, match=r"1 problem\n  - mask.png: it holds only 0 and 255, as a label map"
    ):
        segment(pictures, "mask.png", "grey (1).png")
    assert images.read_picture(OUTPUT / "grey (1).png").shape == (40, 30)
    volume = write_volume(Path("volume.nii.gz"), seed=0)
    refused(pictures, volume, match="volume.nii.gz: cannot be read as a picture")


def test_the_output_is_a_folder_of_the_users(project):
    raw = write_volume(Path("new/a.nii.gz"), seed=1)
    for output, match in (
        ("predictions/mine", "its own files"),
        ("data/raw/toy/images", "its own files"),
        (".segtrace/mine", "its own files"),
        (".", "its own files"),
        (str(raw), "a file, not a folder"),
    ):
        with pytest.raises(SegtraceError, match=match):
            command.segment_files([str(raw)], runs=[str(project.run)], output=Path(output))


def test_the_command_line_has_two_forms(project, capsys, monkeypatch):
    monkeypatch.setattr(cli.upkeep, "require_own_source", lambda: None)
    raw = str(write_volume(Path("new/a.nii.gz"), seed=1))
    run = str(project.run)
    assert cli.main(["predict", "--run", run, raw, "--output", "segmented", "--mirror", "0,1"]) == 0
    assert (OUTPUT / "a.nii.gz").is_file()
    assert cli.main(["predict", run, "test-last-native-none", "--threads", "1"]) == 0
    assert cli.main(["predict", "--run", run, "absent.nii.gz", "--output", "segmented"]) == 1
    assert "absent.nii.gz: no such file" in capsys.readouterr().err
    for words, message in (
        ([run], "the following arguments are required: VARIANT"),
        ([run, "test-last-native-none", "more"], "unrecognized arguments: more"),
        ([run, "test-last-native-none", "--output", "x"], "argument --output: only with --run"),
        (["--run", run, raw], "the following arguments are required: --output"),
        (["--run", run, raw, "--output", "x", "--threads", "2"], "argument --threads: not with --run"),
        (["--run", run, raw, "--output", "x", "--mirror", "z"], "'z' is neither 'none' nor whole numbers"),
        ([], "the following arguments are required"),
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main(["predict", *words])
        assert caught.value.code == 2
        assert message in capsys.readouterr().err
