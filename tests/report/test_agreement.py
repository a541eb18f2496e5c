"""Bland–Altman: hand-computed limits, units, and what is left out."""

import math
from types import SimpleNamespace

import pytest

from segtrace import layout, tables
from segtrace.report import agreement


def subject(*, dimensions: int = 3, spacing_known: bool = True, grid: str = "native"):
    return SimpleNamespace(
        dataset=SimpleNamespace(dimensions=dimensions, spacing_known=spacing_known),
        experiment=SimpleNamespace(dataset="toy", recipe="r"),
        variant=layout.Variant(grid=grid),
    )


def row(case: str, tp: int, fp: int, fn: int, *, method: str = "m", label: int = 1) -> dict:
    return {"method": method, "label": label, "case": case, "tp": tp, "fp": fp, "fn": fn}


def test_limits_of_four_differences_are_those_computed_by_hand() -> None:
    # 1, 2, 3, 4: mean 2.5, s² = 5/3; t(0.975, 3) = 3.182446.
    found = agreement.limits([1.0, 2.0, 3.0, 4.0])
    sd = math.sqrt(5 / 3)
    assert (found.cases, found.sd) == (4, pytest.approx(1.290994, abs=1e-6))
    assert found.mean == pytest.approx((2.5, 2.5 - 3.182446 * sd / 2, 2.5 + 3.182446 * sd / 2), abs=1e-5)
    # 1.96² / (2 · 3) = 0.640267; √(0.25 + 0.640267) = 0.943540
    half = 3.182446 * sd * 0.943540
    assert found.lower == pytest.approx((-0.030348, -0.030348 - half, -0.030348 + half), abs=1e-4)
    assert found.upper == pytest.approx((5.030348, 5.030348 - half, 5.030348 + half), abs=1e-4)


def test_limits_follow_the_example_of_1986() -> None:
    """17 differences of mean −2.1 and s 38.8 l/min: limits −79.7 and 75.5 (there 2 s), bias −22.0 to 17.8."""
    # 17 numbers with exactly that mean and deviation: -1, 0 or 1, scaled.
    signs = [1.0] * 8 + [-1.0] * 8 + [0.0]
    scale = 38.8 / math.sqrt(sum(s * s for s in signs) / 16)
    found = agreement.limits([-2.1 + scale * s for s in signs])
    assert found.sd == pytest.approx(38.8)
    assert [round(value, 1) for value in found.mean] == [-2.1, -22.0, 17.8]
    assert found.lower[0] == pytest.approx(-2.1 - 1.96 * 38.8)
    # the standard error of a limit is printed there as √(3 s²/n) = 16.3; the later formula gives 16.4
    half = (found.lower[2] - found.lower[1]) / 2
    assert half / 2.119905 == pytest.approx(16.4, abs=0.05)


def test_one_difference_has_a_mean_and_no_limits() -> None:
    found = agreement.limits([3.0])
    assert (found.mean, found.sd, found.lower, found.upper) == ((3.0, None, None), None, None, None)


def test_volumes_are_means_over_runs_in_millilitres_and_missing_cases_are_counted() -> None:
    measured = agreement.Scale("ml", 1000.0, {"a": 10.0, "b": 2.0, "c": 1.0})
    scores = [
        row("a", 100, 50, 20),  # predicted 1.5 ml, reference 1.2 ml
        row("a", 110, 20, 10),  # the other seed: 1.3 ml, the same reference
        row("b", 400, 100, 600),  # 1 ml against 2 ml
        row("c", 0, 0, 7),
        row("c", 3, 1, 4),
    ]
    (pairs, left_out) = agreement.pairs(scores, measured=measured, missing=[("m", "c"), ("other", "a")])[
        "m", 1
    ]
    assert [(p.case, round(p.predicted, 9), p.reference) for p in pairs] == [("a", 1.4, 1.2), ("b", 1.0, 2.0)]
    assert [round(p.difference, 9) for p in pairs] == [0.2, -1.0]
    assert [round(p.mean, 9) for p in pairs] == [1.3, 1.5]
    assert left_out == 1


def test_a_case_without_spacing_is_left_out() -> None:
    measured = agreement.Scale("ml", 1000.0, {"a": 1.0})
    pairs, left_out = agreement.pairs([row("a", 1, 0, 0), row("b", 1, 0, 0)], measured=measured, missing=[])[
        "m", 1
    ]
    assert ([p.case for p in pairs], left_out) == (["a"], 1)


@pytest.mark.parametrize(("dimensions", "unit"), [(2, "pixels"), (3, "voxels")])
def test_without_a_physical_scale_voxels_are_counted(dimensions: int, unit: str) -> None:
    found = agreement.scale(subject(dimensions=dimensions, spacing_known=False))
    assert found == agreement.Scale(unit, 1.0, None)
    pairs, _ = agreement.pairs([row("a", 5, 2, 1)], measured=found, missing=[])["m", 1]
    assert (pairs[0].predicted, pairs[0].reference) == (7.0, 6.0)


def test_spacing_is_that_of_the_grid_of_the_scores(make_project) -> None:
    make_project()  # the index says 2 mm in each direction
    assert agreement.scale(subject()) == agreement.Scale(
        "ml", 1000.0, dict.fromkeys(tables.read("cases", layout.cases("toy"))["case"], 8.0)
    )
    assert agreement.scale(subject(grid="prepared")) is None  # prepared.csv is not there
    prepared = {
        "case": "case_000",
        "batch": 0,
        "digest": "0" * 16,
        "image_sha256": "0" * 64,
        "label_sha256": "",
        "size": "4x4x4",
        "spacing_mm": "1x2x0.5",
        "volumes_before_mm3": "{}",
        "volumes_after_mm3": "{}",
    }
    tables.write("prepared", [prepared], layout.prepared("toy", "r") / "prepared.csv")
    found = agreement.scale(subject(grid="prepared"))
    assert found is not None
    assert found.of_case == {"case_000": 1.0}
