"""Regions in an experiment's tables: rows of their own, and never a part of the mean of labels."""

import csv
import json
from pathlib import Path

import pytest

import two_methods
from score_rows import row
from segtrace import files, layout, tables
from segtrace.aggregation import METRICS, best_constants, cells_of, run_values
from segtrace.cli import main
from segtrace.metrics.averages import averages
from segtrace.regions import FIRST, enters, is_region, without

REGIONS = "regions:\n  1001: {name: whole, labels: [1, 2], source: the textbook}\n  1002: {name: core, labels: [2]}\n"
#: Labels 1 and 2 and their union (1001), and label 2 again as a region of its own (1002).
COUNTS = {
    ("a", "c0"): {1: (8, 2, 2), 2: (5, 5, 5), 1001: (18, 2, 2), 1002: (5, 5, 5)},
    ("a", "c1"): {1: (4, 1, 6), 2: (9, 1, 1), 1001: (15, 0, 5), 1002: (9, 1, 1)},
    ("b", "c0"): {1: (10, 0, 0), 2: (6, 4, 4), 1001: (16, 4, 4), 1002: (6, 4, 4)},
    ("b", "c1"): {1: (5, 5, 5), 2: (10, 0, 0), 1001: (20, 0, 0), 1002: (10, 0, 0)},
}
PUBLISHED = """published:
  paper: p
  table: Table 1
  columns:
    - {name: Whole, metric: dice, label: 1001}
    - {name: Mean, metric: dice}
  rows:
    - {name: A, method: a, cells: ["0.9", "0.7"]}
"""


def scores(method, numbers=(1, 2, 1001, 1002)):
    return [
        row(method, case, label, tp=tp, fp=fp, fn=fn, hd=float(fp + fn))
        for (of, case), counts in COUNTS.items()
        for label, (tp, fp, fn) in counts.items()
        if of == method and label in numbers
    ]


def every(numbers=(1, 2, 1001, 1002)):
    return [*scores("a", numbers), *scores("b", numbers)]


def test_a_number_tells_a_region_from_a_label():
    assert [is_region(number) for number in (0, 1, 255, FIRST)] == [False, False, False, True]
    assert without([1, 1001, 2]) == [1, 2]
    assert [enters(number, 0) for number in (1, 2, 1001)] == [True, True, False]
    assert [enters(number, 1001) for number in (1, 1001, 1002)] == [False, True, False]


def test_label_0_is_the_mean_over_labels_alone():
    plain = run_values(every((1, 2)), methods=["a", "b"], labels=[1, 2])
    found = run_values(every(), methods=["a", "b"], labels=[1, 2, 1001, 1002])
    assert {cell: found[cell] for cell in plain} == plain
    assert set(found) - set(plain) == {(m, r, k) for m in "ab" for r in (1001, 1002) for k in METRICS}
    by_hand = {"c0": (0.8 + 0.5) / 2, "c1": (8 / 15 + 0.9) / 2}
    assert {v.case: v.value for v in cells_of(found)["a", 0, "dice"]} == pytest.approx(by_hand)
    assert {v.case: v.value for v in cells_of(found)["a", 1001, "dice"]} == pytest.approx(
        {"c0": 36 / 40, "c1": 30 / 35}
    )


def test_every_way_of_averaging_leaves_regions_out_of_label_0():
    made = []
    for numbers in ([1, 2], [1, 2, 1001, 1002]):
        rows = every(numbers)
        values = run_values(rows, methods=["a", "b"], labels=numbers)
        made.append(averages(rows, values=values, labels=numbers, batch=1))
    plain, found = made
    assert {cell: found[cell] for cell in plain} == plain
    pooled = {one.aggregation: one.mean for one in found["a", 1001, "dice"]}["pooled"]
    assert pooled == pytest.approx(2 * 33 / (2 * 33 + 2 + 7))
    assert found["a", 1002, "dice"] == found["a", 2, "dice"]


def test_the_constant_of_a_region_is_that_of_any_of_its_labels():
    plain, found = best_constants(every((1, 2)), labels=[1, 2]), best_constants(every(), labels=[1, 2, 1001])
    assert {key: found[key] for key in plain} == plain
    assert found[1001, "dice"] == pytest.approx(40 / 120)  # 20 of 100 voxels in both cases
    assert found[0, "dice"] == pytest.approx((2 * 10 / 110) / 2)


# --- the command -----------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project of two methods, scored with regions or without."""
    monkeypatch.chdir(tmp_path)
    two_methods.write("{1: rim, 2: heart}", published=PUBLISHED)
    fold = {"train": 5, "val": 1, "test": 2, "leaks": 0, "scored": "test", "shared": 0}
    told = {"protocol": "p", "words": "as drawn", "published": True, "folds": [fold], "leaks": []}
    files.write_json(layout.split_gate("toy", "p"), {"split": told})
    return tmp_path


def compared(*, regions: bool) -> dict[str, list[dict[str, str]]]:
    """The rows of all tables, as text, of scores with regions or without."""
    path = Path("config/datasets/toy.yaml")
    path.write_text(path.read_text().removesuffix(REGIONS) + (REGIONS if regions else ""))
    path = Path("config/experiments/toy.yaml")
    path.write_text(path.read_text().removesuffix(PUBLISHED) + (PUBLISHED if regions else ""))
    for method in ("a", "b"):
        run = layout.RunName("toy", "r", "p", method, "smoke", 0, 0)
        chosen = scores(method, (1, 2, 1001, 1002) if regions else (1, 2))
        tables.write("scores", chosen, layout.scores(run, layout.Variant()))
    assert main(["compare", "toy"]) == 0
    found = {}
    for table in sorted(layout.results("toy").glob("*.csv")):
        with table.open(newline="") as handle:
            found[table.stem] = list(csv.DictReader(handle))
    return found


def test_regions_add_rows_and_change_none(project):
    plain, found = compared(regions=False), compared(regions=True)
    assert {r["label"] for r in plain["summary"]} == {"0", "1", "2"}
    for table in ("summary", "per_case", "intervals", "aggregates", "tests", "ranks", "missing"):
        assert [r for r in found[table] if not is_region(int(r.get("label", 0)))] == plain[table]
    names = {r["label"]: r["label_name"] for r in found["summary"]}
    assert list(names.items()) == [
        ("0", "mean"), ("1", "rim"), ("2", "heart"), ("1001", "region whole"), ("1002", "region core"),
    ]  # fmt: skip
    for table in ("summary", "intervals", "aggregates", "tests", "ranks"):
        keys = [dict(r, label="", label_name="") for r in found[table] if r["label"] == "2"]
        assert keys == [dict(r, label="", label_name="") for r in found[table] if r["label"] == "1002"], table
    metrics = json.loads((layout.results("toy") / "metrics.json").read_text())["toy"]["a"]
    assert metrics["region whole"]["dice"] == pytest.approx((36 / 40 + 30 / 35) / 2)


def test_a_published_column_may_name_a_region(project):
    found = {r["column"]: r for r in compared(regions=True)["published"]}
    assert float(found["Whole"]["recomputed"]) == pytest.approx((36 / 40 + 30 / 35) / 2)
    assert float(found["Mean"]["recomputed"]) == pytest.approx(((0.8 + 0.5) / 2 + (8 / 15 + 0.9) / 2) / 2)
    assert "no value was computed here" not in found["Whole"]["reason"]


def test_a_published_column_of_a_region_that_is_not_there_is_refused(project, capsys):
    assert main(["compare", "toy"]) == 1  # the data set has no region yet
    assert "'Whole' is of label 1001\ntoy has the labels 1, 2," in capsys.readouterr().err


def test_scores_made_without_the_regions_are_refused(project, capsys):
    compared(regions=False)
    path = Path("config/datasets/toy.yaml")
    path.write_text(path.read_text() + REGIONS)
    assert main(["compare", "toy"]) == 1
    assert "case c0 has labels [1, 2], expected [1, 2, 1001, 1002]" in capsys.readouterr().err


def test_every_cell_of_a_region_is_explained(project, capsys):
    compared(regions=True)
    table = "results/toy/summary.csv"
    wanted = {
        "method=a,label=region whole,metric=dice": ["dice of region 1001 (whole)", "recomputed: equal"],
        "method=a,label=0,metric=dice": ["mean over 2 labels of dice", "recomputed: equal"],
    }
    for chosen, texts in wanted.items():
        main(["explain", table, "--row", chosen, "--column", "mean"])
        told = capsys.readouterr().out
        assert [text for text in texts if text not in told] == []
    for name in ("summary", "intervals", "aggregates", "tests", "ranks", "published"):
        main(["explain", f"results/toy/{name}.csv", "--json"])
        made = json.loads(capsys.readouterr().out)["recomputed"]
        assert (made["equal"], made["differences"]) == (True, []), name
        assert made["cells"]
