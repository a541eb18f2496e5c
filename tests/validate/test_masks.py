"""Validation of prepared masks: what is lost, grown, moved or exchanged is found, from the stored bytes."""

import json
import shutil

import numpy as np
import pytest

from segtrace import store
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid, format_numbers
from segtrace.structures import structures
from segtrace.validate import gate, masks

LABELS = (1, 2)
GRID = Grid((12, 10, 8), (1.0, 1.0, 2.0), (5.0, -4.0, 3.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
GATE = {"volume_change": 0.1, "centroid_shift_voxels": 1.0, "max_components": 2}


def label_map() -> np.ndarray:
    label = np.zeros(GRID.array_shape, np.uint8)
    label[1:6, 2:7, 1:6] = 1  # 125 voxels, off the centre of every axis
    label[5, 8, 9] = 2  # a structure of one voxel
    return label


def raw_row(label: np.ndarray, grid: Grid = GRID) -> dict:
    found = structures(label, grid, labels=LABELS)
    return {
        "case": "c1",
        "channels": 1,
        "digest": "0" * 16,
        "spacing_mm": format_numbers(grid.spacing_mm),
        "voxels": json.dumps({str(v): s.voxels for v, s in found.items()}),
        "components": json.dumps({str(v): s.components for v, s in found.items()}),
        "centroids_mm": json.dumps({str(v): s.centroid_mm for v, s in found.items() if s.voxels}),
    }


def stored(
    folder, label: np.ndarray, *, raw=None, grid: Grid = GRID, image=None, digest="d" * 16
) -> masks.Job:
    image = np.ones((1, *label.shape), np.float32) if image is None else image
    record = store.write_case(
        folder, "c1", image=image, label=label, record={"digest": digest, "prepared_grid": grid.to_json()}
    )
    row = {"case": "c1", "batch": 0, "digest": "d" * 16}
    row |= {"image_sha256": record["image_sha256"], "label_sha256": record["label_sha256"]}
    return masks.Job(folder, raw if raw is not None else raw_row(label_map()), row, LABELS)


def failed(job: masks.Job) -> set[str]:
    """Names of the expectations that would fail, judged by hand as the gate's arguments say."""
    rows = gate.population(masks.measure_case(job))
    names = set()
    for expectation in gate.expectations(GATE):
        low = expectation.arguments.get("min_value", -np.inf)
        high = expectation.arguments.get("max_value", np.inf)
        values = [row[expectation.arguments["column"]] for row in rows]
        if any(not low <= value <= high for value in values if value == value):
            names.add(expectation.arguments["column"])
    return names


def test_an_unchanged_mask_passes(tmp_path):
    job = stored(tmp_path, label_map())
    rows = masks.measure_case(job)
    assert [(r["label"], r["voxels_before"], r["voxels_after"], r["volume_change"]) for r in rows] == [
        (1, 125, 125, 0.0),
        (2, 1, 1, 0.0),
    ]
    assert [r["centroid_shift_voxels"] for r in rows] == [0.0, 0.0]
    assert [r["volume_after_mm3"] for r in rows] == [250.0, 2.0]
    assert failed(job) == set()


def test_a_lost_tiny_structure_is_found(tmp_path):
    label = label_map()
    label[label == 2] = 0
    job = stored(tmp_path, label)
    assert failed(job) == {"lost"}
    row = masks.measure_case(job)[1]
    assert row["problem"] == "lost: 1 raw voxels, none prepared"
    assert row["volume_change"] == -1.0
    assert row["centroid_shift_voxels"] is None


def test_a_structure_from_nowhere_is_found(tmp_path):
    raw = label_map()
    raw[raw == 2] = 0
    job = stored(tmp_path, label_map(), raw=raw_row(raw))
    assert failed(job) == {"appeared"}
    assert masks.measure_case(job)[1]["problem"] == "appeared: no raw voxel, 1 prepared"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_flipped_mask_is_found_by_its_place(tmp_path, axis):
    job = stored(tmp_path, np.ascontiguousarray(np.flip(label_map(), axis)))
    assert "centroid_shift_voxels" in failed(job)


def test_a_transposed_mask_is_found(tmp_path):
    grid = Grid((10, 10, 10), (1.0,) * 3, (0.0,) * 3, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    label = np.zeros(grid.array_shape, np.uint8)
    label[1:6, 2:7, 4:9] = 1
    raw = raw_row(label, grid)
    job = stored(tmp_path, np.ascontiguousarray(label.transpose(2, 1, 0)), raw=raw, grid=grid)
    assert failed(job) == {"centroid_shift_voxels"}


def test_a_shift_counts_in_the_voxels_of_each_axis():
    assert masks.distance_voxels((0, 0, 0), (0, 0, 2.0), GRID) == pytest.approx(1.0)
    assert masks.distance_voxels((0, 0, 0), (2.0, 0, 0), GRID) == pytest.approx(2.0)
    assert masks.distance_voxels((3.0, 0, 0), (0, 4.0, 0), GRID) == pytest.approx(5.0)


def test_volume_is_judged_for_large_labels_only(tmp_path):
    label = label_map()
    label[5, 8, 10] = 2  # doubled, but of one voxel
    label[1, 2, 1:6] = 0  # 5 of 125 voxels: within a tenth
    assert failed(stored(tmp_path, label)) == set()
    label[1:2, 2:7, 1:6] = 0  # 25 of 125
    assert failed(stored(tmp_path, label)) == {"volume_change"}


def test_a_shattered_mask_is_found(tmp_path):
    label = label_map()
    label[1, 2, 1:6] = (0, 1, 0, 1, 0)
    label[3:5, 2:7, 1:6] = 0
    label[7, 8:10, 0] = 1
    job = stored(tmp_path, label)
    assert masks.measure_case(job)[0]["components_after"] == 3
    assert "components" in failed(job)


def test_bytes_that_changed_since_are_refused(tmp_path):
    job = stored(tmp_path, label_map())
    with (tmp_path / "c1.label.npy").open("r+b") as handle:
        handle.seek(-1, 2)
        handle.write(b"\x01")
    with pytest.raises(
        SegtraceError, match=r"c1: c1.label.npy has sha256 .*, its batch table says .*run prepare again"
    ):
        masks.measure_case(job)


def test_a_record_of_another_run_is_refused(tmp_path):
    job = stored(tmp_path, label_map(), digest="e" * 16)
    with pytest.raises(SegtraceError, match=r"c1: its record says digest e{16}, its batch table d{16}"):
        masks.measure_case(job)


def test_stale_cases_are_told_in_one_line():
    rows = [{"case": f"c{i}", "digest": "a"} for i in range(9)]
    assert masks.stale(rows, {f"c{i}": "a" for i in range(9)}) == []
    assert masks.stale(rows, {f"c{i}": "b" if i else "a" for i in range(9)}) == [
        "8 of 9 cases were prepared from other data, recipe or code: c1, c2, c3, c4, c5 and 3 more"
    ]


def test_a_missing_array_is_refused(tmp_path):
    job = stored(tmp_path, label_map())
    (tmp_path / "c1.image.npy").unlink()
    with pytest.raises(SegtraceError, match=r"c1: files .*c1\.\* are missing or incomplete"):
        masks.measure_case(job)
    shutil.rmtree(tmp_path)
    with pytest.raises(SegtraceError, match="missing or incomplete"):
        masks.measure_case(job)


def test_faults_of_the_arrays_are_listed_together(tmp_path):
    label = label_map()
    label[0, 0, 0] = 7
    image = np.ones((2, *label.shape), np.float32)
    image[0, 0, 0, :3] = np.nan
    job = stored(tmp_path, label, image=image)
    with pytest.raises(SegtraceError) as error:
        masks.measure_case(job)
    text = str(error.value)
    assert "2 channels, the raw image 1" in text
    assert "3 values that are not finite" in text
    assert "holds [7]; expected 0 and [1, 2] only" in text


def test_the_union_of_batches_must_be_the_index():
    cases = [{"case": name} for name in ("a", "b", "c")]
    rows, problems = masks.union(cases, [[{"case": "b", "batch": 0}], [{"case": "a", "batch": 1}]])
    assert [row["case"] for row in rows] == ["a", "b"]
    assert problems == ["c: in the index, but not prepared"]
    _, problems = masks.union(
        cases[:1], [[{"case": "a", "batch": 0}], [{"case": "a", "batch": 1}, {"case": "z"}]]
    )
    assert problems == ["a: in batch 0 and in batch 1", "z: prepared, but not in the index"]
