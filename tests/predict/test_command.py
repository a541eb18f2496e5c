"""The command: what it writes, what it leaves alone, what it refuses, and what a kill costs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from segtrace import files, images, layout, tables
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid
from segtrace.predict import cases, command, export, inference

TEST = "test-last-native-none"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def no_network(*_: object, **__: object) -> None:
    raise AssertionError("the network was loaded")


def test_each_case_of_the_role_is_written_on_its_native_grid(volumes) -> None:
    folder = volumes.predict()
    assert sorted(contents(folder)) == [
        "a.nii.gz",
        "b.nii.gz",
        "c.nii.gz",
        "predictions.csv",
        "predictions.csv.prov.json",
    ]
    table = tables.read("predictions", folder / "predictions.csv")
    assert table["case"].tolist() == ["a", "b", "c"]
    assert table["sha256"].tolist() == [files.sha256_file(folder / name) for name in table["file"]]
    native = Grid.from_json(files.read_json(volumes.prepared / "a.json")["native_grid"])
    image = images.read_volume(folder / "a.nii.gz")
    assert images.grid_of(image).differences(native) == []
    assert set(np.unique(images.label_array(image, where="a"))) <= {0, 1, 2}
    assert len({(folder / name).read_bytes() for name in table["file"]}) > 1


def test_pictures_are_written_as_png_and_the_prepared_grid_on_request(pictures) -> None:
    assert images.read_picture(pictures.predict() / "a.png").shape == (9, 10)
    folder = pictures.predict("test-last-prepared-none")
    assert images.read_picture(folder / "a.png").shape == (14, 10)


def test_in_bfloat16_nearly_every_voxel_is_the_same(pictures) -> None:
    exact = images.read_picture(pictures.predict() / "a.png")
    pictures.write_run(precision="bf16")
    rounded = images.read_picture(pictures.predict() / "a.png")
    assert np.mean(exact == rounded) > 0.9
    assert len(np.unique(exact)) > 1


def test_role_and_checkpoint_are_those_of_the_variant(pictures) -> None:
    last, best = pictures.predict("val-last-native-none"), pictures.predict("val-best_val-native-none")
    assert tables.read("predictions", last / "predictions.csv")["case"].tolist() == ["v"]
    assert (last / "v.png").read_bytes() != (best / "v.png").read_bytes()


def test_again_does_nothing_and_only_what_changed_is_made_again(pictures, monkeypatch) -> None:
    folder = pictures.predict()
    before = contents(folder)
    with monkeypatch.context() as patch:
        patch.setattr(cases, "load_network", no_network)
        pictures.predict()
    assert contents(folder) == before
    (folder / "a.png").unlink()
    (folder / "b.png").write_bytes(b"edited")
    made: list[str] = []

    def watched(path: Path, probabilities: np.ndarray, record: dict) -> None:
        made.append(path.name)
        export.write_native(path, probabilities, record)

    with monkeypatch.context() as patch:
        patch.setitem(export.WRITERS, "native", watched)
        pictures.predict()
    assert made == ["a.png", "b.png"]
    assert contents(folder) == before


def test_side_by_side_gives_the_bytes_of_one_after_the_other(volumes, monkeypatch) -> None:
    together = contents(volumes.predict())
    for path in volumes.folder().iterdir():
        path.unlink()
    whole = cases.predict_cases
    with monkeypatch.context() as patch:
        patch.setattr(cases, "predict_cases", lambda *given, **named: whole(*given, **named, threaded=False))
        volumes.predict()
    assert contents(volumes.folder()) == together


def test_other_weights_make_every_case_again(pictures) -> None:
    before = contents(pictures.predict())
    pictures.write_weights("weights.safetensors", seed=3)
    after = contents(pictures.predict())
    assert all(before[name] != after[name] for name in ("a.png", "predictions.csv"))


def test_a_case_that_left_the_split_leaves_the_folder(pictures, capsys) -> None:
    folder = pictures.predict()
    (folder / ".b.png.x1.png").write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    pictures.split([("b", "test"), ("c", "test"), ("v", "val")])
    pictures.predict()
    assert sorted(contents(folder)) == [
        "b.png",
        "c.png",
        "notes.txt",
        "predictions.csv",
        "predictions.csv.prov.json",
    ]
    assert "removed 1 label maps of other cases: a.png" in capsys.readouterr().out


def test_a_damaged_table_is_said_and_made_again(pictures, capsys) -> None:
    folder = pictures.predict()
    before = contents(folder)
    (folder / "predictions.csv").write_text("case,fi")
    pictures.predict()
    assert "every case is segmented again" in capsys.readouterr().out
    assert contents(folder) == before


KILLED = """
import os, signal, sys
from types import SimpleNamespace
from segtrace.predict import command, export

def write(path, probabilities, record):
    if path.name == "b.nii.gz":
        path.with_name("." + path.name + ".half.nii.gz").write_bytes(b"half a label map")
        os.kill(os.getpid(), signal.SIGKILL)
    export.write_native(path, probabilities, record)

export.WRITERS["native"] = write
command.segment_role(sys.argv[1], sys.argv[2], threads=1)
"""


def test_a_killed_job_goes_on_case_by_case_to_the_same_bytes(volumes, monkeypatch) -> None:
    whole = contents(volumes.predict())
    for name in whole:
        (volumes.folder() / name).unlink()
    result = subprocess.run([sys.executable, "-c", KILLED, str(volumes.run), TEST], capture_output=True)
    assert result.returncode == -signal.SIGKILL, result.stderr.decode()
    assert sorted(contents(volumes.folder())) == [".b.nii.gz.half.nii.gz", ".records/a.json", "a.nii.gz"]
    done = (volumes.folder() / "a.nii.gz").stat().st_ino
    volumes.predict()
    assert contents(volumes.folder()) == whole
    assert (volumes.folder() / "a.nii.gz").stat().st_ino == done  # not written again
    assert not os.path.exists(volumes.folder() / ".records")


def test_a_case_that_cannot_be_segmented_does_not_stop_the_others(volumes) -> None:
    image = volumes.prepared / "b.image.npy"
    data = bytearray(image.read_bytes())
    data[-1] ^= 1
    image.write_bytes(data)
    with pytest.raises(
        SegtraceError, match=r"(?s)1 problem.*case b: .*b\.\*: not the bytes that were prepared"
    ):
        volumes.predict()
    assert {"a.nii.gz", "c.nii.gz"} <= set(contents(volumes.folder()))
    assert not (volumes.folder() / "predictions.csv").exists()


def test_an_output_that_is_not_finite_is_named(pictures, monkeypatch) -> None:
    import torch

    monkeypatch.setattr(
        inference, "predict_planes", lambda *_, **__: [(0, torch.full((1, 3, 14, 10), torch.nan))]
    )
    with pytest.raises(SegtraceError, match="case a: the network's output is not finite"):
        pictures.predict()


def test_a_run_for_other_data_is_refused(pictures) -> None:
    run = files.read_json(layout.run(pictures.run) / "run.json")
    run["network"]["in_channels"] = 1
    run["network"]["spatial_dims"] = 3
    job = cases.Job("a", "a.png", "0" * 16, files.read_json(pictures.prepared / "a.json")["digest"])
    with pytest.raises(SegtraceError, match=r"shape \(1, 14, 10\), the run expects 1 channels in 3-D"):
        cases._open(job, run)


def refuse(pictures, variant: str, match: str) -> None:
    with pytest.raises(SegtraceError, match=match):
        command.segment_role(str(pictures.run), variant, threads=1)


def test_what_there_is_not_is_refused(pictures) -> None:
    refuse(
        pictures, "test-last-native-smear_2", r"no corruption 'smear_2'; there is 'none', and KIND_STRENGTH"
    )
    refuse(pictures, "train-last-native-none", "fold 0 has no case of role 'train'")
    pictures.split([("a", "test"), ("missing", "test")])
    refuse(pictures, TEST, r"case missing is in .*random.csv and not in .*prepared.csv")
    (pictures.prepared / "a.label.npy").unlink()
    refuse(pictures, TEST, r"(?s)2 problems.*a\.\*: the prepared case is missing or incomplete")
    path = layout.run(pictures.run) / "run.json"
    files.write_json(path, files.read_json(path) | {"run": "another"})
    refuse(pictures, TEST, r"run.json: describes the run 'another'")
    path.unlink()
    refuse(pictures, TEST, r"run.json: no such file; train the run first: segtrace train toy/")


def test_the_digest_covers_grid_weights_and_settings(pictures) -> None:
    record = files.read_json(pictures.prepared / "a.json")
    run = files.read_json(layout.run(pictures.run) / "run.json")
    given = {"run": run, "weights_sha256": "w", "grid": "native", "corruption": "none", "code": "c"}
    base = cases.job_of("a", record, **given).digest
    moved = record | {"native_grid": record["prepared_grid"]}
    overlap = run | {"training": run["training"] | {"precision": "bf16"}}
    others = [
        cases.job_of("a", moved, **given),
        cases.job_of("a", record | {"image_sha256": "0"}, **given),
        *(
            cases.job_of("a", record, **(given | change))
            for change in (
                {"weights_sha256": "x"},
                {"grid": "prepared"},
                {"corruption": "blur"},
                {"code": "d"},
                {"run": overlap},
            )
        ),
    ]
    assert len({base, *(job.digest for job in others)}) == 8
    assert cases.job_of("b", record, **given).digest == base
