"""Charts: what is drawn is exactly the rows that are given, in forms that the drawing library knows."""

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import altair as alt
import pytest
import vl_convert

from segtrace.report import (
    agreement,
    chart_agreement,
    chart_cases,
    chart_cost,
    chart_ranks,
    chart_tests,
    chart_training,
    charts,
    section_ranking,
)

METHODS = ["alpha", "beta's", "gamma"]
STYLES = Path(charts.__file__).parent / "templates/styles/page.css"


def compiled(content: dict[str, Any]) -> dict[str, Any]:
    """The specification, which is valid, as Vega's own, with its rows, as the page's library draws it."""
    kind = alt.LayerChart if "layer" in content["spec"] else alt.Chart
    kind.from_dict(copy.deepcopy(content["spec"]), validate=True)
    spec = copy.deepcopy(content["spec"])
    spec["datasets"] = {**spec.get("datasets", {}), "rows": rows_of(content)}
    made: dict[str, Any] = vl_convert.vegalite_to_vega(spec)
    return made


def rows_of(content: dict[str, Any]) -> list[dict[str, Any]]:
    columns = content["rows"]
    count = len(next(iter(columns.values())))
    assert {len(values) for values in columns.values()} == {count}
    assert set(content["columns"]) <= set(columns)
    json.dumps(columns, allow_nan=False)
    return [{key: values[place] for key, values in columns.items()} for place in range(count)]


def svg(content: dict[str, Any]) -> str:
    spec = copy.deepcopy(content["spec"])
    spec["datasets"] = {**spec.get("datasets", {}), "rows": rows_of(content)}
    spec["width"] = 500
    text: str = vl_convert.vegalite_to_svg(spec)
    return text


def marks(content: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """All layers of the specification with this kind of mark."""

    def walk(spec: dict[str, Any]) -> list[dict[str, Any]]:
        found = [layer for part in spec.get("layer", []) for layer in walk(part)]
        return found + ([spec] if spec.get("mark", {}).get("type") == kind else [])

    return walk(content["spec"])


# --- every case -----------------------------------------------------------------------------------------


def points(cases: int) -> dict[str, Any]:
    rows = [
        {
            "case": f"c{place}",
            "method": method,
            "value": (place + 1 / 3) / cases,
            "note": "",
            "spread": 0.5,
        }
        for method in METHODS
        for place in range(cases)
    ]
    means = [{"method": m, "mean": 0.5, "low": 0.4, "high": math.nan} for m in METHODS]
    means.append({"method": "gamma", "mean": math.nan, "low": math.nan, "high": math.nan})
    return chart_cases.case_points(
        rows,
        methods=METHODS,
        means=means,
        title="Dice",
        bounded=True,
        constant=0.25,
        description="told",
    )


def test_every_case_is_drawn_to_six_digits_and_the_means_are_those_given() -> None:
    content = points(3)
    assert len(rows_of(content)) == 9
    assert rows_of(content)[0] == {
        "case": "c0",
        "method": "alpha",
        "value": 0.111111,
        "note": "",
        "spread": 0.5,
    }
    assert content["columns"] == {"case": "Case", "method": "Method", "value": "Dice"}
    assert content["spec"]["description"] == "told"
    (diamonds,) = marks(content, "point")
    assert diamonds["data"]["values"] == [
        {"method": m, "mean": 0.5, "low": 0.4, "high": None} for m in METHODS
    ]
    assert {"constant": 0.25} in [
        value for rule in marks(content, "rule") for value in rule["data"]["values"]
    ]
    assert compiled(content)["description"] == "told"


@pytest.mark.parametrize(("cases", "densities"), [(chart_cases.FEW, 0), (chart_cases.FEW + 1, 1)])
def test_a_density_is_drawn_of_many_cases_alone(cases: int, densities: int) -> None:
    content = points(cases)
    assert len(marks(content, "area")) == densities
    assert "beta's" in svg(content).replace("&#39;", "'").replace("&apos;", "'")


# --- ranks ----------------------------------------------------------------------------------------------


def rank(scheme: str, method: str, place: float, shares: dict[str, float]) -> dict[str, Any]:
    return {
        "scheme": scheme,
        "label": 0,
        "label_name": "mean",
        "metric": "dice",
        "method": method,
        "rank": place,
        "statistic": 0.5,
        "mean_rank": place,
        "low": 1.0,
        "high": 3.0,
        "first": shares.get("1", 0.0),
        "frequencies": json.dumps(shares),
        "tau": 0.75,
        "tau_low": -0.2,
        "tau_high": 1.0,
        "cases": 20,
        "samples": 1000,
        "note": "",
    }


RANKS = [
    rank("aggregate_then_rank", "alpha", 2.0, {"10": 0.0, "2": 0.75, "3": 0.25}),
    rank("aggregate_then_rank", "beta's", 1.0, {"1": 1.0}),
    rank("aggregate_then_rank", "gamma", 3.0, {"2": 0.25, "3": 0.75}),
    *(rank("test_then_rank", method, 1.0, {"1": 1.0}) for method in METHODS),
]


def test_blobs_hold_each_frequency_sorted_by_rank() -> None:
    content = chart_ranks.blobs(RANKS[:3], methods=METHODS, description="told")
    drawn = [(row["method"], row["place"], row["rank"], row["share"]) for row in rows_of(content)]
    assert drawn == [
        ("beta's", 0, 1.0, 1.0),
        ("alpha", 1, 2.0, 0.75),
        ("alpha", 1, 3.0, 0.25),
        ("gamma", 2, 2.0, 0.25),
        ("gamma", 2, 3.0, 0.75),
    ]
    assert {(row["method"], row["observed"]) for row in rows_of(content)} == {
        ("beta's", 1.0),
        ("alpha", 2.0),
        ("gamma", 3.0),
    }
    assert compiled(content)["marks"]


def test_ties_are_drawn_apart_and_named_with_their_rank() -> None:
    content = chart_ranks.over_schemes(RANKS, methods=METHODS, description="told")
    rows = rows_of(content)
    assert [row["rank"] for row in rows] == [2.0, 1.0, 3.0, 1.0, 1.0, 1.0]
    assert [row["height"] for row in rows[:3]] == [2.0, 1.0, 3.0]
    assert len({row["height"] for row in rows[3:]}) == 3
    assert all(abs(row["height"] - 1) < 0.5 for row in rows[3:])
    text = svg(content)
    for name in ("1. alpha", "1. beta", "1. gamma"):
        assert name in text


def test_tau_is_shown_for_each_scheme_that_has_one() -> None:
    unknown = [row | {"scheme": "rank_then_aggregate", "tau": math.nan} for row in RANKS[:3]]
    content = chart_ranks.taus([*RANKS, *unknown], description="told")
    assert rows_of(content) == [
        {"scheme": words, "place": place, "tau": 0.75, "tau_low": -0.2, "tau_high": 1.0}
        for place, words in enumerate(("aggregate, then rank", "test, then rank"))
    ]
    (point,) = marks(content, "point")
    assert point["encoding"]["x"]["scale"]["domain"] == [-1, 1]
    assert not chart_ranks.taus(unknown, description="told")["rows"]


# --- paired tests ---------------------------------------------------------------------------------------


def pair(first: str, second: str, difference: float, p: float) -> dict[str, Any]:
    return {
        "first": first,
        "second": second,
        "difference": difference,
        "low": difference - 0.1,
        "high": difference + 0.2,
        "permutation_holm": p,
        "wilcoxon_holm": 0.5,
        "cases": 20,
    }


TESTS = [
    pair("alpha", "beta's", 0.5, 0.01),
    pair("alpha", "gamma", 0.1, 0.2),
    pair("beta's", "gamma", math.nan, math.nan),
]


@pytest.mark.parametrize(("less", "verdicts"), [(False, ("better", "worse")), (True, ("worse", "better"))])
def test_verdicts_follow_the_sign_and_the_corrected_p(less: bool, verdicts: tuple[str, str]) -> None:
    compared = chart_tests.pairs(TESTS, less_is_better=less)
    found = {(row["first"], row["second"]): row for row in compared}
    assert (found["alpha", "beta's"]["verdict"], found["beta's", "alpha"]["verdict"]) == verdicts
    assert found["gamma", "alpha"]["verdict"] == "no difference shown"
    assert found["gamma", "beta's"]["verdict"] == "not tested"
    back = found["beta's", "alpha"]
    assert (back["difference"], back["low"], back["high"]) == (-0.5, -0.7, -0.4)


def test_the_significance_map_has_each_pair_twice_with_a_sign_of_its_own() -> None:
    compared = chart_tests.pairs(TESTS, less_is_better=False)
    content = chart_tests.significance(compared, methods=METHODS, description="told")
    signs = {(row["first"], row["second"]): row["sign"] for row in rows_of(content)}
    assert signs == {
        ("alpha", "beta's"): "▲",
        ("beta's", "alpha"): "▼",
        ("alpha", "gamma"): "○",
        ("gamma", "alpha"): "○",
        ("beta's", "gamma"): "–",
        ("gamma", "beta's"): "–",
    }
    assert len({sign for sign, _ in chart_tests.VERDICTS.values()}) == len(chart_tests.VERDICTS)
    assert svg(content).count(">▲<") == 1


def test_many_methods_are_numbered_in_the_significance_map() -> None:
    names = [f"method_{place}" for place in range(chart_tests.NAMED + 1)]
    compared = chart_tests.pairs([pair(names[0], names[5], 0.5, 0.01)], less_is_better=False)
    text = svg(chart_tests.significance(compared, methods=names, description="told"))
    assert ">6. method_5<" in text
    assert ">method_5<" not in text
    assert ">6<" in text


def test_differences_of_few_methods_are_all_shown_the_better_first() -> None:
    compared = chart_tests.pairs(TESTS, less_is_better=False)
    chosen = section_ranking.chosen_pairs(compared, ["gamma", "alpha", "beta's"])
    assert [(row["first"], row["second"], row["difference"]) for row in chosen] == [
        ("gamma", "alpha", -0.1),
        ("alpha", "beta's", 0.5),
    ]
    content = chart_tests.differences(chosen, title="difference", description="told")
    assert [(row["place"], row["low"], row["high"]) for row in rows_of(content)] == [
        (0, -0.3, 0.0),
        (1, 0.4, 0.7),
    ]
    assert compiled(content)["marks"]


def test_of_many_methods_differences_are_to_the_best_one() -> None:
    names = [f"m{place}" for place in range(section_ranking.ALL_PAIRS + 1)]
    tests = [pair(a, b, 0.1, 0.5) for i, a in enumerate(names) for b in names[i + 1 :]]
    chosen = section_ranking.chosen_pairs(chart_tests.pairs(tests, less_is_better=False), names)
    assert [(row["first"], row["second"]) for row in chosen] == [("m0", name) for name in names[1:]]


# --- agreement, cost, training --------------------------------------------------------------------------


def test_a_bland_altman_plot_holds_each_pair_and_the_three_lines() -> None:
    pairs = [agreement.Pair("a", 3.0, 2.0), agreement.Pair("b", 2.0, 4.0)]
    found = agreement.limits([pair.difference for pair in pairs])
    content = chart_agreement.bland_altman(
        pairs,
        found=found,
        unit="ml",
        method="alpha",
        methods=METHODS,
        extent={"mean": (2.0, 4.0), "difference": (-3.0, 3.0)},
        description="told",
    )
    drawn = [(row["case"], row["mean"], row["difference"]) for row in rows_of(content)]
    assert drawn == [("a", 2.5, 1.0), ("b", 3.0, -2.0)]
    lines = next(
        rule["data"]["values"] for rule in marks(content, "rule") if len(rule["data"]["values"]) == 3
    )
    assert [line["value"] for line in lines] == [
        charts.drawn(value[0]) for value in (found.upper, found.mean, found.lower)
    ]
    assert compiled(content)["marks"]


def test_a_single_case_is_drawn_without_limits() -> None:
    content = chart_agreement.bland_altman(
        [agreement.Pair("a", 3.0, 2.0)],
        found=agreement.limits([1.0]),
        unit="ml",
        method="alpha",
        methods=METHODS,
        extent={"mean": (2.0, 3.0), "difference": (0.0, 1.0)},
        description="told",
    )
    assert not marks(content, "rect")
    assert compiled(content)["marks"]


def test_cost_leaves_out_what_is_unknown_and_uses_a_logarithm_over_decades() -> None:
    rows = [
        {"method": "alpha", "parameters": 1e5, "mean": 0.5, "low": 0.4, "high": 0.6},
        {"method": "beta's", "parameters": 1e7, "mean": 0.6, "low": None, "high": None},
        {"method": "gamma", "parameters": None, "mean": 0.6, "low": None, "high": None},
    ]
    content = chart_cost.cost(
        rows, methods=METHODS, field="parameters", title="Parameters", metric="Dice", description="told"
    )
    assert [(row["method"], row["cost"], row["mean"]) for row in rows_of(content)] == [
        ("alpha", 1e5, 0.5),
        ("beta's", 1e7, 0.6),
    ]
    (point,) = marks(content, "point")
    assert point["encoding"]["x"]["scale"]["type"] == "log"
    assert compiled(content)["marks"]


def test_a_count_of_parameters_is_drawn_whole_and_minutes_are_no_powers_of_ten():
    rows = [
        {
            "method": method,
            "parameters": 5686771.0,
            "minutes": 45.5333333,
            "mean": 0.5,
            "low": 0.4,
            "high": 0.6,
        }
        for method in METHODS
    ]
    made = {
        field: chart_cost.cost(
            rows, methods=METHODS, field=field, title="T", metric="Dice", description="told"
        )
        for field in ("parameters", "minutes")
    }
    assert {row["cost"] for row in rows_of(made["parameters"])} == {5686771.0}
    assert {row["cost"] for row in rows_of(made["minutes"])} == {45.5333}
    text = svg(made["minutes"])
    assert ">40</text>" in text
    assert "e+1" not in text


def history(*dice: float) -> list[dict[str, float]]:
    return [
        {"epoch": epoch, "step": epoch, "learning_rate": 0.1, "loss": 1.0 / epoch, "val_dice": value}
        for epoch, value in enumerate(dice, 1)
    ]


def test_curves_mark_the_first_best_epoch_of_each_run() -> None:
    runs = [
        {"method": "alpha", "fold": 0, "seed": 0, "history": history(0.1, math.nan, 0.7, 0.7)},
        {"method": "gamma", "fold": 0, "seed": 1, "history": history(math.nan, math.nan)},
    ]
    rows = chart_training.history_rows(runs, field="loss")
    assert [(row["run"], row["epoch"], row["best"]) for row in rows] == [
        *(("alpha, fold 0, seed 0", epoch, int(epoch == 3)) for epoch in (1, 2, 3, 4)),
        *(("gamma, fold 0, seed 1", epoch, 0) for epoch in (1, 2)),
    ]
    assert [row["epoch"] for row in chart_training.history_rows(runs, field="val_dice")] == [1, 3, 4]
    content = chart_training.curves(rows, methods=METHODS, field="loss", title="Loss", description="told")
    assert len(rows_of(content)) == 6
    assert compiled(content)["marks"]


def test_means_of_several_runs_are_thick_lines_over_shared_epochs() -> None:
    nan = float("nan")
    curves = {0: (0.2, nan, 0.6), 1: (0.4, 0.5, 0.8, 0.9)}
    runs = [
        {"method": METHODS[0], "fold": 0, "seed": seed, "history": [
            {"epoch": epoch, "val_dice": value} for epoch, value in enumerate(values, 1)
        ]}
        for seed, values in curves.items()
    ]  # fmt: skip
    means = chart_training.mean_rows(runs, field="val_dice")
    assert [(row["epoch"], row["val_dice"]) for row in means] == [
        (1, pytest.approx(0.3)),
        (3, pytest.approx(0.7)),
    ]
    assert chart_training.mean_rows(runs[:1], field="val_dice") == []
    rows = chart_training.history_rows(runs, field="val_dice")
    asked = {"methods": METHODS, "field": "val_dice", "title": "Dice", "description": "told"}
    content = chart_training.curves([*rows, *means], **asked)
    assert compiled(content)["marks"]
    assert content["rows"]["mean"] == [0] * len(rows) + [1, 1]
    widths = [layer["mark"].get("strokeWidth") for layer in content["spec"]["layer"]]
    assert (widths[0], 3 in widths) == (0.6, True)
    alone = chart_training.curves(rows, **asked)
    assert "mean" not in alone["rows"]
    assert alone["spec"]["layer"][0]["mark"]["strokeWidth"] == 1.6


def test_long_curves_are_thinned_and_keep_their_end_and_their_best() -> None:
    rows = [{"epoch": epoch, "best": int(epoch == 2)} for epoch in range(1, 1001)]
    kept = [row["epoch"] for row in chart_training.thinned(rows)]
    assert len(kept) <= chart_training.CURVE_POINTS + 1
    assert {2, 1000} <= set(kept)
    assert kept == sorted(set(kept))
    assert chart_training.thinned([]) == []


# --- colours --------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_stand_out_from_the_page_in_light_and_in_dark() -> None:
    papers = set(re.findall(r"--paper: (#[0-9a-f]{6})", STYLES.read_text(encoding="utf-8")))
    assert len(papers) == 2
    for colour in {*charts.COLOURS, *(value for _, value in chart_tests.VERDICTS.values())}:
        for paper in papers:
            light, dark = sorted((luminance(colour), luminance(paper)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 3, (colour, paper)


def test_no_two_of_many_methods_look_the_same() -> None:
    names = [f"m{place}" for place in range(24)]
    colours = charts.colour(names).to_dict()["scale"]["range"]
    shapes = charts.shape(names).to_dict()["scale"]["range"]
    assert len(set(zip(colours, shapes, strict=True))) == len(names)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (-1061.2, "−1\u202f060"),
        (0.012345, "0.0123"),
        (48.0, "48"),
        (5.6e6, "5\u202f600\u202f000"),
    ],
)
def test_short_numbers_are_never_powers_of_ten(value: float | None, text: str) -> None:
    assert charts.short(value) == text
