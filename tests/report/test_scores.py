"""Choosing and laying out a page's numbers."""

from types import SimpleNamespace

import pytest

from segtrace.aggregation import CaseValue
from segtrace.report import gates
from segtrace.report.chart_training import CURVE_POINTS, thinned
from segtrace.report.scores import Results, chosen_cases, heading, number, points


def results(values):
    made = [CaseValue("m", case, 1, "dice", value, as_worst=case == "c") for case, value in values.items()]
    return Results(summary=[], scores=[], values=made, notes=[], split={})


SUBJECT = SimpleNamespace(methods={"m": None}, main_label=1)


def test_best_median_and_worst_with_ties_by_case():
    chosen = chosen_cases(SUBJECT, results({"a": 0.5, "b": 0.9, "c": 0.1, "d": 0.5}))
    assert [(c["kind"], c["case"]) for c in chosen] == [("best", "b"), ("median", "a"), ("worst", "c")]


def test_no_case_is_shown_twice_and_undefined_ones_are_not_shown():
    assert [c["kind"] for c in chosen_cases(SUBJECT, results({"a": 0.5, "b": None}))] == ["best"]
    assert [c["case"] for c in chosen_cases(SUBJECT, results({"a": 0.5, "b": 0.6}))] == ["b", "a"]
    assert chosen_cases(SUBJECT, results({"a": None})) == []


def test_points_keep_their_place_and_say_why_they_are_worst():
    rows = points(SUBJECT, results({"a": 0.5, "b": None, "c": 0.1}), label=1, metric="dice")
    assert [row["case"] for row in rows] == ["a", "c"]
    assert rows[1]["note"] == "one mask is empty: counted as worst"
    assert all(0 <= row["spread"] < 1 for row in rows)


def test_unknown_numbers_are_a_dash():
    assert (number(None, 2), number(float("nan"), 2), number(0.125, 2)) == ("–", "–", "0.12")


def test_thinned_curves_keep_their_last_point():
    rows = [{"epoch": e} for e in range(1, 1001)]
    kept = thinned(rows)
    assert kept[-1] == rows[-1]
    assert CURVE_POINTS / 2 < len(kept) <= CURVE_POINTS
    assert thinned(rows[:7]) == rows[:7]
    assert thinned([]) == []


def test_gate_values_in_words():
    assert gates.expected({"column": "x", "min_value": 0.0, "max_value": 0.4}) == "0 to 0.4"
    assert gates.expected({"min_value": 260, "max_value": 260}) == "260"
    assert gates.expected({"column": "x", "min_value": 1}) == "at least 1"
    assert gates.expected({"min_value": -0.1, "max_value": 2e6}) == "−0.1 to 2\u202f000\u202f000"
    assert gates.expected({"column": "x"}) == "no value twice"
    assert gates.expected({"column": "x", "value_set": ["a", "b"]}) == "one of a, b"
    assert gates.found(0.25) == "0.25"
    assert gates.found({"judged": 3, "failed": 0, "cases": []}) == "3 judged, 0 failed"


def test_a_number_is_drawn_where_it_lies_to_its_range():
    assert gates.picture({"min_value": 0.0, "max_value": 1.0}, 0.5) == {"low": 8.3, "width": 83.4, "at": 50.0}
    beyond = gates.picture({"min_value": 0.0, "max_value": 1.0}, 2.0)
    assert beyond["at"] > beyond["low"] + beyond["width"]
    assert gates.picture({"min_value": 3, "max_value": 3}, 3)["width"] == 1.0
    assert gates.picture({"min_value": 0.0}, 0.5) is None
    assert gates.picture({"min_value": 0, "max_value": 1}, {"judged": 3, "failed": 0, "cases": []}) is None


def test_only_the_first_failing_cases_are_named():
    cases = [{"case": f"c{i:02d}", "value": i} for i in range(20)]
    text = gates.found({"judged": 50, "failed": 30, "cases": cases})
    assert text.endswith("c11 (11) and 18 more")


@pytest.mark.parametrize(("dimensions", "unit"), [(2, "pixels"), (3, "voxels")])
def test_distances_of_pictures_are_in_pixels(dimensions, unit):
    subject = SimpleNamespace(dataset=SimpleNamespace(dimensions=dimensions))
    assert heading(subject, "hd95_voxel") == f"HD95 ({unit})"
    assert heading(subject, "hd95_mm") == "HD95 (mm)"
