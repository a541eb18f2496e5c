"""Means over the cases of each published class: by hand, on the page, and explained."""

import csv
import json

import pytest

from score_rows import row
from segtrace import aggregation, files, layout, subgroups, tables
from segtrace.cli import main
from segtrace.compare import intervals
from segtrace.compare import subgroups as compared

# Dice of a: 0.8 and 0.5 in benign, 0.2 in malignant; b lacks c1, which counts as worst.
SCORES = [
    row("a", "c0", 1, tp=8, fp=2, fn=2, hd=3.0),
    row("a", "c1", 1, tp=5, fp=5, fn=5, hd=6.0),
    row("a", "c2", 1, tp=1, fp=4, fn=4, hd=9.0),
    row("b", "c0", 1, tp=10, fp=0, fn=0, hd=0.0),
    row("b", "c1", 1, tp=0, fp=0, fn=10, dice=0.0, iou=0.0, reason=aggregation.PREDICTION_MISSING),
    row("b", "c2", 1, tp=0, fp=0, fn=5),
]
CLASSES = {"c0": "benign", "c1": "benign", "c2": "malignant", "elsewhere": "normal"}


def made(classes):
    cells = aggregation.values_of_cells(SCORES, methods=["a", "b"], labels=[1])
    found = compared.rows(cells, classes, labels={0: "mean", 1: "lesion"})
    tables.check("subgroups", tables.frame("subgroups", found), where="test")
    return {(r["method"], r["label"], r["metric"], r["subgroup"]): r for r in found}


def test_means_are_over_the_cases_of_the_class():
    found = made(CLASSES)
    assert {key[3] for key in found} == {"benign", "malignant"}  # of scored cases alone
    benign, malignant = found["a", 1, "dice", "benign"], found["a", 1, "dice", "malignant"]
    assert (benign["cases"], benign["mean"]) == (2, pytest.approx(0.65))
    assert benign["sd"] == pytest.approx(0.15 * 2**0.5)
    assert (malignant["cases"], malignant["mean"], malignant["low"]) == (1, pytest.approx(0.2), None)
    assert malignant["note"] == "There is one case, which has no interval."
    other = found["b", 1, "dice", "benign"]
    assert (other["mean"], other["missing"]) == (pytest.approx(0.5), 1)
    assert found["b", 1, "hd95_mm", "malignant"]["as_worst"] == 1
    assert found["a", 0, "dice", "benign"]["mean"] == benign["mean"]


def test_intervals_are_those_of_the_cases_alone():
    alone = [r for r in SCORES if r["case"] != "c2"]
    cells = aggregation.values_of_cells(alone, methods=["a", "b"], labels=[1])
    ends = intervals.of_cases({cell: [v.value for v in values] for cell, values in cells.items()})
    found = made(CLASSES)["a", 1, "dice", "benign"]
    assert (found["low"], found["high"]) == ends[("a", 1, "dice"), "bca"]


@pytest.mark.parametrize(
    "classes", [{}, {"elsewhere": "benign"}, dict.fromkeys(("c0", "c1", "c2"), "benign")]
)
def test_one_class_has_no_subgroups(classes):
    assert made(classes) == {}


def test_cases_without_a_class_are_told_apart():
    assert subgroups.names({"c0": "b", "c1": "a"}, ["c0", "c1", "c2"]) == ["a", "b", subgroups.UNNAMED]
    found = made({"c0": "benign"})
    assert found["a", 1, "dice", subgroups.UNNAMED]["cases"] == 2


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = {
        "config.yaml": "experiments: [toy]\nseeds: [0]\n",
        "datasets/toy.yaml": "title: T\ndimensions: 2\nmodality: none\nlicence: none\nlabels: {1: lesion}\n"
        "channels: [grey]\nrecipes: {r: {}}\n"
        "protocols: {p: {kind: grouped_random, test_fraction: 0.5, validation_fraction: 0.1}}\n",
        "methods/a.yaml": "title: A\nnetwork: unet\n",
        "methods/b.yaml": "title: B\nnetwork: unet\n",
        "training/t.yaml": "epochs: 1\nlearning_rate: 0.1\n",
        "budgets/smoke.yaml": "title: smoke\n",
        "experiments/toy.yaml": "title: Toy\ndataset: toy\nrecipe: r\nprotocol: p\ntraining: t\nmethods: [a, b]\n",
    }
    for name, text in texts.items():
        files.write_text(tmp_path / "config" / name, text)
    fold = {"train": 5, "val": 1, "test": 3, "leaks": 0, "scored": "test", "shared": 0}
    told = {"protocol": "p", "words": "as drawn", "published": False, "folds": [fold], "leaks": []}
    files.write_json(layout.split_gate("toy", "p"), {"split": told})
    for method in ("a", "b"):
        run = layout.RunName("toy", "r", "p", method, "smoke", 0, 0)
        rows = [r | {"reason": r["reason"]} for r in SCORES if r["method"] == method]
        tables.write("scores", rows, layout.scores(run, layout.Variant()))
    return tmp_path


def indexed(classes):
    lines = ["case,digest,duplicate_group,group", *(f"{c},d,{c},{name}" for c, name in classes.items())]
    files.write_text(layout.cases("toy"), "\n".join(lines) + "\n")


def compare():
    assert main(["compare", "toy"]) == 0
    texts = {path.name: path.read_bytes() for path in sorted(layout.results("toy").glob("*.csv"))}
    with (layout.results("toy") / "subgroups.csv").open(newline="") as handle:
        return texts, list(csv.DictReader(handle))


def test_classes_add_one_table_and_change_no_other(project, capsys):
    without, rows = compare()
    assert rows == []
    assert "data/index/toy/cases.csv: not here, so no subgroups are told apart" in capsys.readouterr().out
    indexed(CLASSES)
    texts, rows = compare()
    assert [name for name in texts if texts[name] != without[name]] == ["subgroups.csv"]
    assert {r["subgroup"] for r in rows} == {"benign", "malignant"}
    indexed(dict.fromkeys(CLASSES, ""))
    assert compare()[0] == without


def test_a_cell_is_computed_again_and_walked_to_the_index(project, capsys):
    indexed(CLASSES)
    compare()
    capsys.readouterr()
    table = "results/toy/subgroups.csv"
    main(["explain", table, "--json"])
    assert json.loads(capsys.readouterr().out)["recomputed"]["equal"]
    chosen = "method=b,label=lesion,metric=dice,subgroup=benign"
    main(["explain", table, "--row", chosen, "--column", "mean", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["recomputed"] == {"cells": 1, "equal": True, "differences": []}
    assert [(c["case"], c["value"], c["missing"]) for c in found["cases"]] == [
        ("c0", 1.0, False),
        ("c1", 0.0, True),
    ]
    assert [step["job"] for step in found["steps"] if step["phase"] == "score"] == [
        "toy/r/p/b/smoke/fold-0_seed-0/test-last-native-none"
    ]
    indexed(CLASSES | {"c1": "malignant"})
    main(["explain", table, "--row", chosen, "--column", "mean", "--json"])
    assert not json.loads(capsys.readouterr().out)["recomputed"]["equal"]
