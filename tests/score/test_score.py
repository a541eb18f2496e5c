"""Scores by hand, and everything that must be an error or a worst score instead of a good one."""

import math
from pathlib import Path

import numpy as np
import pytest

from segtrace import aggregation, files, layout, tables
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid

ALL_TEST = {"a": "test", "b": "test", "v": "val"}
TEST = "test-last-native-none"


def empty(project) -> np.ndarray:
    return np.zeros(project.grid.array_shape, np.uint8)


def block(project, *places: tuple[slice, ...], value: int = 1) -> np.ndarray:
    label = empty(project)
    for place in places:
        label[place] = value
    return label


@pytest.fixture
def simple(volumes):
    """Two test cases with label 1 as a 2×2×2 block; the predictions of "a" lie 2 mm, one voxel in z, off."""
    reference = block(volumes, np.s_[1:3, 1:3, 1:3])
    volumes.write_references({"a": reference, "b": reference, "v": reference}, roles=ALL_TEST)
    volumes.write_predictions({"a": block(volumes, np.s_[2:4, 1:3, 1:3]), "b": reference})
    return volumes


def test_scores_by_hand(simple) -> None:
    rows = simple.score()
    assert rows.index.tolist() == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    shifted = rows.loc[("a", 1)]
    assert shifted[["tp", "fp", "fn", "tn"]].tolist() == [4, 4, 4, 240 - 12]
    assert shifted["dice"] == 0.5
    assert shifted["iou"] == pytest.approx(1 / 3)
    assert (shifted["precision"], shifted["recall"]) == (0.5, 0.5)
    assert shifted["accuracy"] == pytest.approx(232 / 240)
    assert (shifted["hd95_mm"], shifted["hd95_voxel"]) == (2.0, 1.0)
    assert (shifted["hd_mm"], shifted["hd_voxel"]) == (2.0, 1.0)
    # of the 8 border voxels of either mask 4 lie on the other one, 4 are a step in z away
    assert (shifted["assd_mm"], shifted["assd_voxel"]) == (1.0, 0.5)
    assert (shifted["nsd"], shifted["nsd_tolerance_mm"]) == (0.5, 1.0)
    assert np.isnan(shifted["nsd_tolerance_voxel"])
    assert shifted["worst_mm"] == pytest.approx(math.dist((0, 0, 0), (8, 9, 10)))
    assert shifted["worst_voxel"] == pytest.approx(math.dist((0, 0, 0), (8, 6, 5)))
    assert shifted["reason"] == ""
    assert rows.loc[("b", 1), ["dice", "hd95_mm"]].tolist() == [1.0, 0.0]
    absent = rows.loc[("a", 2)]
    assert (absent["dice"], absent["nsd"], absent["reason"]) == (1.0, 1.0, "both empty")
    assert np.isnan(absent["hd95_mm"])
    assert np.isnan(absent["precision"])


def test_the_keys_are_those_of_run_and_variant(simple) -> None:
    row = simple.score().iloc[0]
    found = {key: row[key] for key in tables.columns("scores")[:11]}
    assert found == {
        "dataset": "toy",
        "recipe": "plain",
        "protocol": "random",
        "role": "test",
        "method": "unet",
        "budget": "smoke",
        "fold": 0,
        "seed": 3,
        "checkpoint": "last",
        "grid": "native",
        "corruption": "none",
    }


def test_bytes_do_not_depend_on_workers(simple) -> None:
    simple.score(workers=1)
    path = layout.scores(simple.run, TEST)
    one = path.read_bytes(), path.with_name(path.name + ".prov.json").read_bytes()
    path.unlink()
    simple.score(workers=2)
    assert (path.read_bytes(), path.with_name(path.name + ".prov.json").read_bytes()) == one


def test_the_surface_dice_is_at_the_tolerance_of_the_configuration(simple) -> None:
    path = Path("config/datasets/toy.yaml")
    before = simple.score().loc[("a", 1)]
    path.write_text(path.read_text() + "nsd_tolerance: {1: 2.0, 2: 0.5}\n")
    rows = simple.score()
    assert (before["nsd"], rows.loc[("a", 1), "nsd"]) == (0.5, 1.0)
    assert rows["nsd_tolerance_mm"].tolist() == [2.0, 0.5, 2.0, 0.5]
    record = layout.scores(simple.run, TEST).with_name(f"{TEST}.csv.prov.json")
    assert files.read_json(record)["configuration"]["nsd_tolerance"] == {"1": 2.0, "2": 0.5}


@pytest.mark.parametrize("listed", [True, False])
def test_a_missing_prediction_counts_as_worst(simple, capsys, listed: bool) -> None:
    (simple.folder / "a.nii.gz").unlink()
    if not listed:
        table = tables.read("predictions", simple.folder / "predictions.csv")
        tables.write("predictions", table[table["case"] != "a"], simple.folder / "predictions.csv")
    rows = simple.score()
    one, two = rows.loc[("a", 1)], rows.loc[("a", 2)]
    assert one[["tp", "fp", "fn", "tn"]].tolist() == [0, 0, 8, 232]
    assert two[["tp", "fp", "fn", "tn"]].tolist() == [0, 0, 0, 240]
    for row in (one, two):
        assert row[["dice", "iou", "precision", "recall", "accuracy"]].tolist() == [0.0] * 5
        assert np.isnan(row["hd95_mm"])
        assert row["worst_mm"] > 15
        assert row["reason"] == "prediction missing"
    assert rows.loc[("b", 1), "dice"] == 1.0
    assert "1 of 2 cases have no prediction and count as worst: a" in capsys.readouterr().out


def test_a_missing_prediction_is_the_worst_value_of_every_metric_in_tables(simple) -> None:
    (simple.folder / "a.nii.gz").unlink()
    rows = simple.score().reset_index()
    values = aggregation.case_values(rows.to_dict("records"), methods=["unet"], labels=[1, 2])
    found = {(v.label, v.metric): v for v in values if v.case == "a"}
    diagonal = {"mm": math.dist((0, 0, 0), (8, 9, 10)), "voxel": math.dist((0, 0, 0), (8, 6, 5))}
    assert len(found) == 3 * len(tables.METRICS)
    for (_, metric), value in found.items():
        assert value.missing
        assert value.value == pytest.approx(diagonal.get(metric.rpartition("_")[2], 0.0))
    assert not any(value.missing for value in values if value.case == "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (8, 5, 6)}, "size 8x5x6 and 8x6x5"),
        ({"spacing_mm": (1.0, 1.5, 2.1)}, r"spacing 1x1.5x2.09\d* and 1x1.5x2 mm"),
        ({"origin_mm": (10.0, -4.0, 3.5)}, "origin 10x-4x3.5 and 10x-4x3 mm"),
        ({"direction": (0.0, 1.0, 0, -1.0, 0.0, 0, 0, 0, 1.0)}, "direction 0x1x0x-1x0x0x0x0x1 and 1x0x0x"),
    ],
)
def test_a_prediction_on_another_grid_is_an_error_with_both_values(simple, change, message: str) -> None:
    parts = {name: getattr(simple.grid, name) for name in ("size", "spacing_mm", "origin_mm", "direction")}
    other = Grid(**(parts | change))
    simple.write_predictions(dict.fromkeys("ab", np.ones(other.array_shape, np.uint8)), grid=other)
    with pytest.raises(SegtraceError, match=message) as raised:
        simple.score()
    text = str(raised.value)
    assert "2 problems" in text.splitlines()[0]
    assert f"{simple.folder}/a.nii.gz" in text
    assert f"{simple.folder}/b.nii.gz" in text
    assert not layout.scores(simple.run, TEST).exists()


def test_files_that_are_not_the_recorded_ones_are_errors(simple) -> None:
    table = tables.read("predictions", simple.folder / "predictions.csv")
    path = simple.folder / "a.nii.gz"
    recorded = files.sha256_file(path)
    path.write_bytes((simple.folder / "b.nii.gz").read_bytes())
    with pytest.raises(SegtraceError, match=rf"a.nii.gz: sha256 is .*, predictions.csv says {recorded}"):
        simple.score()
    tables.write("predictions", table[table["case"] != "a"], simple.folder / "predictions.csv")
    with pytest.raises(SegtraceError, match=r"a.nii.gz: is not in predictions.csv beside it"):
        simple.score()


def test_a_reference_that_changed_since_the_index_is_an_error(simple) -> None:
    raw = layout.raw("toy")
    (raw / "a.nii.gz").write_bytes(b"other bytes")
    (raw / "b.nii.gz").unlink()
    with pytest.raises(
        SegtraceError,
        match=r"(?s)2 problems.*case a: .*sha256 is .*the index says .*case b: .*b.nii.gz: no such file",
    ):
        simple.score()


def test_values_that_are_no_label_are_errors(simple) -> None:
    wrong = block(simple, np.s_[0:2, 0:1, 0:1], value=7)
    simple.write_predictions({"a": wrong, "b": wrong})
    with pytest.raises(
        SegtraceError, match=r"a.nii.gz: values that are no label: 7 in 2 voxels; declared are 0 and 1, 2"
    ):
        simple.score()


def test_empties_carry_their_reason(volumes) -> None:
    some = block(volumes, np.s_[1:3, 1:3, 1:3])
    volumes.write_references({"a": some, "b": empty(volumes)}, roles=ALL_TEST)
    volumes.write_predictions({"a": empty(volumes), "b": some})
    rows = volumes.score()
    lost, made_up = rows.loc[("a", 1)], rows.loc[("b", 1)]
    assert (lost["dice"], lost["recall"], lost["reason"]) == (0.0, 0.0, "prediction empty")
    assert (made_up["dice"], made_up["precision"], made_up["reason"]) == (0.0, 0.0, "reference empty")
    assert np.isnan([lost["precision"], made_up["recall"], lost["hd95_mm"], made_up["hd95_voxel"]]).all()


def test_pictures_without_a_scale_have_distances_in_pixels_alone(pictures) -> None:
    pictures.write_references({"a": block(pictures, np.s_[1:3, 1:3])}, roles=ALL_TEST)
    pictures.write_predictions({"a": block(pictures, np.s_[1:3, 2:4])})
    row = pictures.score().loc[("a", 1)]
    assert (row["dice"], row["hd95_voxel"], row["worst_voxel"]) == (0.5, 1.0, 10.0)
    assert (row["nsd"], row["nsd_tolerance_voxel"]) == (1.0, 1.0)
    assert np.isnan(row[["hd95_mm", "hd_mm", "assd_mm", "nsd_tolerance_mm", "worst_mm"]].astype(float)).all()
    assert row["reason"] == "no physical spacing"


def test_a_picture_of_another_size_is_an_error(pictures) -> None:
    pictures.write_references({"a": block(pictures, np.s_[1:3, 1:3])}, roles=ALL_TEST)
    pictures.write_predictions({"a": np.zeros((8, 6), np.uint8)})
    with pytest.raises(SegtraceError, match=r"a.png: does not lie on its reference.*(?s:.)*size 6x8 and 8x6"):
        pictures.score()


def test_the_prepared_grid_is_scored_against_the_store(volumes) -> None:
    volumes.write_references({"a": empty(volumes)}, roles=ALL_TEST)
    grid = Grid((4, 4, 4), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0), volumes.grid.direction)
    label, found = np.zeros((2, 4, 4, 4), np.uint8)
    label[1:3, 1:3, 1:3] = 2
    found[1:3, 1:3, 2:4] = 2
    volumes.write_prepared({"a": label}, grid)
    variant = "test-last-prepared-none"
    volumes.write_predictions({"a": found}, grid=grid, variant=variant)
    row = volumes.score(variant).loc[("a", 2)]
    assert (row["dice"], row["hd95_mm"], row["hd95_voxel"]) == (0.5, 3.0, 1.0)
    store_file = layout.prepared("toy", "plain") / "a.label.npy"
    store_file.write_bytes(store_file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(SegtraceError, match=r"case a: .*a\.\*: not what prepared.csv says"):
        volumes.score(variant)


def test_what_there_is_not_is_refused(simple) -> None:
    with pytest.raises(SegtraceError, match="fold 0 has no case of role 'train'"):
        simple.score("train-last-native-none")
    with pytest.raises(SegtraceError, match=r"predictions.csv: no such file"):
        simple.score("val-last-native-none")
    cases = tables.read("cases", layout.cases("toy"))
    tables.write("cases", cases[cases["case"] != "b"], layout.cases("toy"))
    with pytest.raises(SegtraceError, match=r"case b is in the split and not in data/index/toy/cases.csv"):
        simple.score()


def test_another_fold_is_not_scored(simple) -> None:
    path = Path(layout.split("toy", "random"))
    table = tables.read("split", path)
    table.loc[table["case"] == "b", "fold"] = 1
    tables.write("split", table, path)
    assert simple.score().index.get_level_values("case").unique().tolist() == ["a"]


REGIONS = """
regions:
  1001: {name: whole, labels: [2, 1], source: the textbook}
  1002: {name: core, labels: [2], nsd_tolerance: 3.0}
nsd_tolerance: {1: 2.0, 2: 0.5}
"""


def test_regions_are_rows_after_the_labels_and_part_of_what_score_is_compared_by(simple) -> None:
    path, record = Path("config/datasets/toy.yaml"), layout.scores(simple.run, TEST)
    reference = block(simple, np.s_[1:3, 1:3, 1:3])
    reference[3, 1:3, 1:3] = 2
    simple.write_references({"a": reference, "b": reference, "v": reference}, roles=ALL_TEST)
    simple.write_predictions({"a": np.where(reference, 1, 0).astype(np.uint8)})
    (simple.folder / "b.nii.gz").unlink()
    before = simple.score()
    plain = record.read_bytes()
    assert "regions" not in files.read_json(record.with_name(f"{TEST}.csv.prov.json"))["configuration"]
    path.write_text(path.read_text() + REGIONS)
    rows = simple.score()
    assert [label for case, label in rows.index if case == "a"] == [1, 2, 1001, 1002]
    assert rows.loc["a", "dice"].tolist() == [pytest.approx(16 / 20), 0.0, 1.0, 0.0]
    assert rows.loc["a", "nsd_tolerance_mm"].tolist() == [2.0, 0.5, 2.0, 3.0]
    assert set(rows.loc["b", "reason"]) == {"prediction missing"}
    told = files.read_json(record.with_name(f"{TEST}.csv.prov.json"))["configuration"]
    assert told["regions"] == {
        "1001": {"labels": [1, 2], "nsd_tolerance": 2.0},
        "1002": {"labels": [2], "nsd_tolerance": 3.0},
    }
    path.write_text(path.read_text().split("\nregions:")[0] + "\n")
    assert simple.score().equals(before)
    assert record.read_bytes() == plain
