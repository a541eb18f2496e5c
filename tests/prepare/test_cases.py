"""Preparing whole cases: exactness, records, skipping, and files of cases that are gone."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from segtrace import datasets, files, layout, preparation, store, tables
from segtrace.datasets import Case
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid
from segtrace.images import from_array, grid_of, read_volume
from segtrace.prepare import cases

RECIPE = {
    "orientation": "RAS",
    "spacing_mm": None,
    "size": None,
    "image_interpolation": "linear",
    "antialias": False,
    "label_interpolation": "nearest",
    "intensity": [{"kind": "minmax"}],
}
GRID = Grid((6, 5, 4), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))


def volume() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2000, (4, 5, 6)).astype(np.int16)


def mask() -> np.ndarray:
    label = np.zeros((4, 5, 6), np.uint8)
    label[1:3, 0:3, 1:3] = 1
    label[3, 4, 5] = 2
    return label


def prepare(image, label, grid=GRID, **changes) -> preparation.Prepared:
    pair = from_array(image, grid), None if label is None else from_array(label, grid)
    return preparation.prepare_arrays(*pair, RECIPE | changes, labels=(1, 2))


def test_without_a_target_nothing_is_interpolated():
    found = prepare(volume(), mask(), intensity=[])
    assert np.array_equal(found.image[0], volume()[:, ::-1, ::-1])
    assert np.array_equal(found.label, mask()[:, ::-1, ::-1])
    assert found.native == GRID
    assert found.grid == found.oriented
    assert found.volumes_before_mm3 == found.volumes_after_mm3 == {"1": 72.0, "2": 6.0}


def test_image_and_label_come_onto_one_grid():
    found = prepare(volume(), mask(), spacing_mm=[1.5, 1.5, 1.5], label_interpolation="vote")
    assert found.grid.spacing_mm == (1.5, 1.5, 1.5)
    assert found.image.shape == (1, *found.grid.array_shape) == (1, *found.label.shape)
    assert (found.image.dtype, found.label.dtype) == (np.float32, np.uint8)
    assert (float(found.image.min()), float(found.image.max())) == (0.0, 1.0)
    back = sitk.Resample(
        from_array(found.label, found.grid),
        from_array(mask(), GRID),
        sitk.Transform(),
        sitk.sitkNearestNeighbor,
    )
    assert (sitk.GetArrayFromImage(back) == mask()).mean() >= 0.9


def test_pictures_of_one_and_three_channels():
    grid = Grid((8, 6), (1.0, 1.0), (0.0, 0.0), (1.0, 0, 0, 1.0))
    picture = np.random.default_rng(1).integers(0, 255, (3, 6, 8)).astype(np.uint8)
    label = (picture[0] > 100).astype(np.uint8)
    found = prepare(picture, label, grid, orientation=None, size=[16, 12])
    assert found.image.shape == (3, 12, 16)
    assert found.label.shape == (12, 16)
    assert found.grid.spacing_mm == (0.5, 0.5)
    assert found.volumes_after_mm3["1"] == pytest.approx(found.volumes_before_mm3["1"])
    assert np.array_equal(found.label[::2, ::2], label)
    assert [len(step["channels"]) for step in found.intensity] == [3]


def test_a_case_without_label():
    assert prepare(volume(), None).label is None


def test_values_that_are_not_finite_and_grids_apart_are_refused():
    bad = volume().astype(np.float32)
    bad[0, 0, :2] = (np.nan, np.inf)
    with pytest.raises(SegtraceError, match="2 values that are not finite"):
        prepare(bad, mask())
    label = from_array(mask(), Grid(GRID.size, (1.0, 2.0, 3.5), GRID.origin_mm, GRID.direction))
    with pytest.raises(SegtraceError, match=r"image and label differ: spacing 1x2x3 and 1x2x3.5 mm"):
        preparation.prepare_arrays(from_array(volume(), GRID), label, RECIPE, labels=(1, 2))


# --- stored cases -----------------------------------------------------------------------------------

reads: list[str] = []


@pytest.fixture
def raw(tmp_path, monkeypatch) -> Path:
    def read_image(root, case, options):
        reads.append(case.case)
        return read_volume(root / case.images[0])

    def read_label(root, case, options):
        return read_volume(root / case.labels[0]), []

    reads.clear()
    monkeypatch.setattr(
        datasets, "reader", lambda name: SimpleNamespace(read_image=read_image, read_label=read_label)
    )
    root = tmp_path / "raw"
    root.mkdir()
    sitk.WriteImage(from_array(volume(), GRID), str(root / "c1.nii.gz"))
    sitk.WriteImage(from_array(mask(), GRID), str(root / "c1_label.nii.gz"))
    return root


def job(raw: Path, folder: Path, *, digest: str = "d" * 16, **changes) -> cases.Job:
    case = Case("c1", "c1", ("c1.nii.gz",), ("c1_label.nii.gz",))
    return cases.Job(
        root=raw,
        reader="any",
        options={},
        case=case,
        image_sha256=files.sha256_file(raw / "c1.nii.gz"),
        label_sha256=files.sha256_file(raw / "c1_label.nii.gz"),
        labels=(1, 2),
        recipe=RECIPE | changes,
        folder=folder,
        batch=3,
        digest=digest,
    )


def test_a_stored_case_maps_back_to_the_file(raw, tmp_path):
    row = cases.prepare_case(job(raw, tmp_path / "store"))
    tables.write("prepared", [row], tmp_path / "batch.csv")  # it obeys its schema
    assert (row["case"], row["batch"], row["digest"]) == ("c1", 3, "d" * 16)
    assert json.loads(row["volumes_after_mm3"]) == {"1": 72.0, "2": 6.0}
    stored = store.open_case(tmp_path / "store", "c1")
    record = stored.record
    assert Grid.from_json(record["native_grid"]) == GRID == grid_of(read_volume(raw / "c1_label.nii.gz"))
    prediction = from_array(np.array(stored.label), Grid.from_json(record["prepared_grid"]))
    back = sitk.Resample(
        prediction,
        from_array(mask(), Grid.from_json(record["native_grid"])),
        sitk.Transform(),
        sitk.sitkNearestNeighbor,
    )
    assert np.array_equal(sitk.GetArrayFromImage(back), mask())
    assert record["intensity"][0]["channels"] == [
        {"minimum": float(volume().min()), "maximum": float(volume().max())}
    ]


def test_an_intact_case_is_left_and_any_other_is_made_again(raw, tmp_path):
    folder = tmp_path / "store"
    first = cases.prepare_case(job(raw, folder))
    assert cases.prepare_case(job(raw, folder)) == first
    assert reads == ["c1"]
    cases.prepare_case(job(raw, folder, digest="e" * 16))  # other code, recipe or data
    assert reads == ["c1"] * 2
    (folder / "c1.label.npy").unlink()
    again = cases.prepare_case(job(raw, folder, digest="e" * 16))
    assert reads == ["c1"] * 3
    assert again == first | {"digest": "e" * 16}
    with (folder / "c1.image.npy").open("r+b") as handle:
        handle.seek(-2, 2)
        handle.write(b"\xff\xff")
    assert cases.prepare_case(job(raw, folder, digest="e" * 16)) == again
    assert reads == ["c1"] * 4


def test_a_file_that_is_not_the_indexed_one_is_refused(raw, tmp_path):
    wanted = job(raw, tmp_path / "store")
    sitk.WriteImage(from_array(volume() + 1, GRID), str(raw / "c1.nii.gz"))
    with pytest.raises(
        SegtraceError, match=r"c1: c1.nii.gz: sha256 is .*, the index says .*; run index again|index again"
    ):
        cases.prepare_case(wanted)
    assert not (tmp_path / "store").exists()
    (raw / "c1_label.nii.gz").unlink()
    sitk.WriteImage(from_array(volume(), GRID), str(raw / "c1.nii.gz"))
    with pytest.raises(SegtraceError, match=r"c1: .*c1_label.nii.gz: no such file; run index again"):
        cases.prepare_case(wanted)


def test_files_of_cases_that_are_gone_are_removed(raw, tmp_path):
    folder = tmp_path / "store"
    image = np.zeros((1, 2, 2), np.float32)
    here = [name for name in (f"x{i}" for i in range(40)) if layout.batch_of(name, 2) == 0][:3]
    there = next(name for name in (f"x{i}" for i in range(40)) if layout.batch_of(name, 2) == 1)
    for name in [*here, there]:
        store.write_case(folder, name, image=image, label=image[0].astype(np.uint8), record={"digest": "d"})
    for text in ("gate.json", "prepared.csv", f".{here[0]}.image.npy.abc.tmp", f".{there}.json.abc.tmp"):
        (folder / text).write_text("x")
    removed = cases.remove_strays(
        folder, keep=here[:1], batch_of=lambda case: layout.batch_of(case, 2), batch=0
    )
    assert removed == sorted(here[1:])
    left = {path.name for path in folder.iterdir()}
    assert left == {
        *(name + ending for name in (here[0], there) for ending in (".json", ".image.npy", ".label.npy")),
        "gate.json",
        "prepared.csv",
        f".{there}.json.abc.tmp",
    }
