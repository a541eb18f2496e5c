"""The raw gate: what a data set's configuration expects, on rows written by hand."""

import json
import statistics

from segtrace.config import models
from segtrace.index import gate

LABELS = {1: "organ", 2: "nodule"}
GATE = {
    "cases": [1, 3],
    "spacing_mm": [1.0, 2.0],
    "size": [4, 10],
    "intensity": [0, 255],
    "subjects": [1, 3],
    "groups": {},
    "sides": {},
    "foreground": {"1": [0.01, 0.5]},
    "prevalence": {"1": [1.0, 1.0], "2": [0.0, 0.5]},
    "empty_masks": [0.0, 0.5],
    "max_components": 2,
}


def row(case: str, **changes) -> dict:
    values = {
        "case": case,
        "images": json.dumps([f"{case}.nii.gz"]),
        "channels": 1,
        "subject": case,
        "group": "",
        "side": "",
        "intensity_min": 0.0,
        "intensity_max": 200.0,
        "spacing_mm": "1x1x2",
        "size": "4x6x10",
        "voxels": json.dumps({"0": 200, "1": 30, "2": 0}),
        "components": json.dumps({"1": 1, "2": 0}),
    }
    return values | changes


def failed(rows: list[dict], demands: dict = GATE) -> list[str]:
    """Names of the expectations that fail, by their arguments' plain meaning."""
    population = gate.population(
        rows, labels=sorted(LABELS), groups=demands["groups"], sides=demands["sides"]
    )
    names = []
    for expectation in gate.expectations(demands, labels=LABELS):
        arguments = expectation.arguments
        low, high = arguments.get("min_value", float("-inf")), arguments.get("max_value", float("inf"))
        values = [entry[arguments["column"]] for entry in population] if "column" in arguments else []
        passed = {
            "expect_column_values_to_be_unique": lambda v=values: len(set(v)) == len(v),
            "expect_table_row_count_to_be_between": lambda a=low, b=high: a <= len(population) <= b,
            "expect_column_mean_to_be_between": lambda v=values, a=low, b=high: (
                a <= statistics.mean([x for x in v if x == x] or [a]) <= b
            ),
            "expect_column_sum_to_be_between": lambda v=values, a=low, b=high: a <= sum(v) <= b,
            "expect_column_values_to_be_in_set": lambda v=values, e=arguments: set(v) <= set(e["value_set"]),
            "expect_column_values_to_be_between": lambda v=values, a=low, b=high: all(a <= x <= b for x in v),
        }[expectation.kind]()
        if not passed:
            names.append(expectation.name)
    return names


def test_a_data_set_as_expected_passes():
    assert failed([row("a"), row("b", spacing_mm="1.0000001x1x2.0000002")]) == []


def test_each_expectation_fails_on_what_it_is_for():
    assert failed([row(name) for name in "abcd"]) == ["number of cases", "number of subjects"]
    assert failed([row("a", intensity_min=-1.0)]) == ["smallest intensity"]
    assert failed([row("a", intensity_max=256.0)]) == ["largest intensity"]
    much = json.dumps({"0": 10, "1": 90, "2": 0})
    name = "mean share of the voxels of label 1 (organ), where there is some"
    assert failed([row("a", voxels=much)]) == [name]
    assert failed([row("a", voxels=much), row("b", voxels=json.dumps({"0": 98, "1": 2, "2": 0}))]) == []
    assert failed([row("a"), row("a")]) == ["each case once", "each image file once"]
    assert failed([row("a", spacing_mm="0.5x1x2")]) == ["smallest spacing, mm"]
    assert failed([row("a", spacing_mm="1x1x5")]) == ["largest spacing, mm"]
    assert failed([row("a", size="3x6x10")]) == ["smallest size, voxels"]
    assert failed([row("a", size="4x6x11")]) == ["largest size, voxels"]
    assert failed([row("a", components=json.dumps({"1": 3, "2": 0}))]) == [
        "connected components of label 1 (organ)"
    ]
    both = json.dumps({"0": 1, "1": 1, "2": 1})
    assert failed([row("a", voxels=both), row("b", voxels=both)]) == [
        "fraction of cases with label 2 (nodule)"
    ]
    none = json.dumps({"0": 9, "1": 0, "2": 0})
    assert failed([row("a", voxels=none)]) == [
        "fraction of cases with label 1 (organ)",
        "fraction of cases with an empty mask",
    ]


def test_what_is_not_configured_is_not_judged():
    bare = models.Gate().model_dump(mode="json")
    names = [expectation.name for expectation in gate.expectations(bare, labels=LABELS)]
    assert names == ["each case once", "each image file once", "fraction of cases with an empty mask"]


def test_classes_and_sides_are_counted_and_no_other_is_allowed():
    demands = GATE | {"groups": {"benign": [1, 1], "malignant": [1, 2]}, "sides": {"training": [2, 2]}}
    rows = [row("a", group="benign", side="training"), row("b", group="malignant", side="training")]
    assert failed(rows, demands) == []
    assert failed([rows[0], row("b", group="benign", side="training")], demands) == [
        "number of cases of group benign",
        "number of cases of group malignant",
    ]
    assert failed([rows[0], row("b", group="normal", side="test")], demands) == [
        "every group is one of benign, malignant",
        "number of cases of group malignant",
        "every side is one of training",
        "number of cases of side training",
    ]


def test_frames_of_one_subject_are_one_subject():
    assert failed([row(name, subject="s") for name in "ab"], GATE | {"subjects": [2, 2]}) == [
        "number of subjects"
    ]
    assert failed([row(name, subject="s") for name in "ab"], GATE | {"subjects": [1, 1]}) == []
