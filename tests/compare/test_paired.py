"""Paired comparisons: values by hand, laws, and agreement with SciPy, statsmodels and full enumeration."""

import math
import statistics
from dataclasses import astuple, replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from segtrace import bootstrap, signs, tables
from segtrace.aggregation import CaseValue, paired_matrix
from segtrace.compare import paired
from threads import printed_with_one_and_two


def cells_of(label=1, metric="dice", **methods):
    """Cells of one label and metric: method → values, in the order of cases c0, c1, …; None: no value."""
    return {
        (method, label, metric): [
            CaseValue(method=method, case=f"c{i:03}", label=label, metric=metric, value=value)
            for i, value in enumerate(values)
        ]
        for method, values in methods.items()
    }


def test_cases_without_a_value_of_both_are_left_out_and_counted():
    cells = cells_of(metric="precision", a=[0.5, None, 0.7, None], b=[0.4, 0.9, None, None])
    cases, values, dropped = paired_matrix(cells, methods=["a", "b"], label=1, metric="precision")
    assert (cases, values.tolist(), dropped) == (["c000"], [[0.5, 0.4]], 3)


def test_two_empty_masks_are_a_distance_of_0_if_the_rival_has_one():
    cells = cells_of(metric="hd95_mm", a=[None, 3.0, None], b=[50.0, 4.0, None], c=[None, 5.0, None])
    cases, values, dropped = paired_matrix(cells, methods=["a", "b"], label=1, metric="hd95_mm")
    assert (cases, values.tolist(), dropped) == (["c000", "c001"], [[0.0, 50.0], [3.0, 4.0]], 1)
    cases, values, dropped = paired_matrix(cells, methods=["a", "c"], label=1, metric="hd95_mm")
    assert (cases, values.tolist(), dropped) == (["c001"], [[3.0, 5.0]], 2)


def test_no_cases_are_an_empty_matrix():
    cases, values, dropped = paired_matrix({}, methods=["a", "b"], label=1, metric="dice")
    assert (cases, values.shape, dropped) == ([], (0, 2), 0)
    assert values.dtype == np.float64


# --- tests of signs: agreement with SciPy and full enumeration -----------------------------------------


def differences(cases, columns, *, seed=0, steps=None):
    """Differences, (cases, columns); with ``steps`` whole numbers over it, so that there are ties and zeros."""
    found = np.random.default_rng(seed).normal(0.1, 0.3, (cases, columns))
    return signs.steady(np.rint(found * steps) / steps if steps else found)


def enumerated(values):
    """Two-sided p of the sum over all assignments of signs, in whole numbers."""
    whole = [Fraction(value) for value in values]
    observed = abs(sum(whole))
    sums = [
        abs(sum(s * v for s, v in zip(turn, whole, strict=True)))
        for turn in product((1, -1), repeat=len(whole))
    ]
    return sum(value >= observed for value in sums) / len(sums)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-6, 6), min_size=1, max_size=8))
def test_permutation_equals_enumeration_with_ties_and_zeros(values):
    column = signs.steady(np.array(values, dtype=float)[:, None] / 10)  # tenths are not exact in binary
    p, kind = signs.permutation(column)
    assert kind == ["exact"]
    assert p[0] == enumerated(values)


@pytest.mark.parametrize("steps", [None, 5])
def test_permutation_equals_scipys(steps):
    columns = differences(10, 4, steps=steps)
    found, _ = signs.permutation(columns)
    for column, p in zip(columns.T, found, strict=True):
        whole = np.rint(column * steps) if steps else column  # SciPy's sums are exact in whole numbers only
        expected = scipy.stats.permutation_test(
            (whole,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=False
        )
        assert p == pytest.approx(expected.pvalue, abs=1e-12)


def test_drawn_signs_come_near_the_exact_p_and_are_never_0(monkeypatch):
    columns = differences(14, 6)
    exact, _ = signs.permutation(columns)
    signs._signs.cache_clear()
    monkeypatch.setattr(signs, "ENUMERATED", 10)
    drawn, kind = signs.permutation(columns)
    signs._signs.cache_clear()
    assert kind == ["drawn"] * 6
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(0.25 / signs.DRAWN))
    assert signs.permutation(np.full((60, 1), 0.25))[0][0] == 1 / (1 + signs.DRAWN)


@pytest.mark.parametrize("cases", [6, 9, 40, 80])
@pytest.mark.parametrize("steps", [None, 20])
def test_wilcoxon_equals_scipys(cases, steps):
    columns = differences(cases, 5, steps=steps)
    found, kinds = signs.wilcoxon(columns)
    for column, p, kind in zip(columns.T, found, kinds, strict=True):
        kept = column[column != 0.0]
        tied = len(set(np.abs(kept))) < len(kept)
        if kind == "approximate":
            assert len(kept) > (signs.ENUMERATED if tied else signs.RANKS_ENUMERATED)
            method = "asymptotic"
        else:
            method = scipy.stats.PermutationMethod(n_resamples=np.inf) if tied else "exact"
        expected = scipy.stats.wilcoxon(kept, method=method, correction=False).pvalue
        assert p == pytest.approx(expected, rel=1e-11)


def test_noise_of_subtraction_breaks_no_tie():
    column = np.array([[0.3 - 0.2], [-(0.2 - 0.1)], [0.7 - 0.6]])
    assert len(set(np.abs(column[:, 0]))) > 1
    assert len(set(np.abs(signs.steady(column)[:, 0]))) == 1
    # Three equal magnitudes, one negative: 6 of 8 assignments are not nearer to 0 than ±1/10, and so are all.
    assert signs.permutation(signs.steady(column))[0][0] == 1.0


# --- rows ----------------------------------------------------------------------------------------------


def rows_of(cells, methods=("a", "b")):
    found = paired.rows(cells, methods=methods, labels={1: "lesion"})
    return {(r["metric"], r["first"], r["second"]): r for r in found}


def test_a_pair_by_hand():
    # Differences 0.1, 0.2, −0.1, 0.4, 0: one loss, one tie. Ranks 1.5, 3, 1.5, 4.
    cells = cells_of(a=[0.5, 0.6, 0.4, 0.9, 0.3], b=[0.4, 0.4, 0.5, 0.5, 0.3])
    row = rows_of(cells)["dice", "a", "b"]
    assert (row["cases"], row["dropped"], row["wins"], row["losses"], row["ties"]) == (5, 0, 3, 1, 1)
    assert row["difference"] == pytest.approx(0.12)
    assert row["cohens_dz"] == pytest.approx(0.12 / statistics.stdev([0.1, 0.2, -0.1, 0.4, 0.0]))
    assert row["rank_biserial"] == pytest.approx((8.5 - 1.5) / 10)
    # |sum| 0.6 of at most 0.8: turned −0.1 or 0.1 gives 0.8 and 0.6, so ± of 3 assignments of 16.
    assert (row["permutation"], row["permutation_p"]) == ("exact", enumerated([1, 2, -1, 4]))
    assert row["permutation_p"] == 6 / 16
    assert (row["wilcoxon"], row["wilcoxon_p"]) == ("exact", enumerated([1.5, 3, -1.5, 4]))
    assert row["note"] == (
        "With 4 of 5 cases in which they differ no difference can be significant: the smallest possible two-sided "
        "p is 2/2^4 = 0.125. The sample is small (5 cases): below 50 a 95 % interval covers less than it says."
    )


def test_less_is_better_of_distances():
    cells = cells_of(metric="hd95_mm", a=[1.0, 2.0, 9.0, None], b=[3.0, 5.0, 8.0, 50.0])
    row = rows_of(cells)["hd95_mm", "a", "b"]
    assert (row["cases"], row["wins"], row["losses"], row["ties"]) == (4, 3, 1, 0)  # both empty: 0 against 50
    assert row["difference"] == pytest.approx((-2 - 3 + 1 - 50) / 4)
    assert row["rank_biserial"] == pytest.approx((1 - 9) / 10)


def test_pairs_without_cases_or_with_one_say_so():
    row = rows_of(cells_of(metric="precision", a=[None, 0.5], b=[0.5, None]))["precision", "a", "b"]
    assert (row["cases"], row["dropped"], row["difference"], row["permutation"]) == (0, 2, None, "none")
    assert (row["permutation_holm"], row["note"]) == (None, "No case has a value of both.")
    one = rows_of(cells_of(a=[0.5], b=[0.25]))["dice", "a", "b"]
    assert (one["difference"], one["low"], one["permutation_p"], one["cohens_dz"]) == (0.25, None, 1.0, None)
    assert one["note"].startswith(
        "With 1 case no difference can be significant: the smallest possible two-sided p is"
    )


def test_equal_methods_have_no_effect():
    row = rows_of(cells_of(a=[0.5] * 60, b=[0.5] * 60))["dice", "a", "b"]
    assert (row["difference"], row["low"], row["high"], row["ties"]) == (0.0, 0.0, 0.0, 60)
    assert (row["permutation_p"], row["wilcoxon_p"], row["cohens_dz"], row["rank_biserial"]) == (
        1.0,
        1.0,
        None,
        None,
    )
    assert row["note"] == "Both methods have the same value in every case."


def test_correction_may_put_significance_out_of_reach():
    even = np.linspace(0, 1, 7).tolist()
    three = {name: [v + shift for v in even] for name, shift in (("a", 0.0), ("b", 0.1), ("c", 0.2))}
    four = three | {"d": [v + 0.4 for v in even]}
    assert "can be significant" not in rows_of(cells_of(**three), tuple(three))["dice", "a", "b"]["note"]
    told = rows_of(cells_of(**four), tuple(four))["dice", "a", "b"]["note"]
    assert "is 2/2^7 = 0.0156, corrected for 6 pairs 0.0938." in told


def cells_of_methods(methods, cases=40, *, seed=0):
    values = np.random.default_rng(seed).beta(8, 2, (methods, cases)).round(2)
    return cells_of(**{f"m{i}": row.tolist() for i, row in enumerate(values)}), [
        f"m{i}" for i in range(methods)
    ]


def test_holm_is_that_of_statsmodels_over_the_pairs_of_a_label_and_metric():
    cells, methods = cells_of_methods(5)
    other, _ = cells_of_methods(5, seed=1)
    found = paired.rows(
        cells | {(m, 2, "iou"): v for (m, _, _), v in other.items()}, methods=methods, labels={1: "x", 2: "y"}
    )
    for label, metric in ((1, "dice"), (2, "iou")):
        chosen = [r for r in found if (r["label"], r["metric"]) == (label, metric)]
        assert len(chosen) == 10
        for name in ("permutation", "wilcoxon"):
            expected = multipletests([r[f"{name}_p"] for r in chosen], method="holm")[1]
            assert [r[f"{name}_holm"] for r in chosen] == pytest.approx(expected, abs=1e-15)
    assert tables.check("tests", tables.frame("tests", found), where="here") is not None


def test_bounds_of_a_difference_are_those_of_its_mean():
    cells, methods = cells_of_methods(2)
    values = paired_matrix(cells, methods=methods, label=1, metric="dice")[1]
    low, high, *_ = astuple(bootstrap.bounds((values[:, 0] - values[:, 1])[:, None]))
    row = rows_of(cells, methods)["dice", "m0", "m1"]
    assert (row["low"], row["high"]) == (low[0], high[0])


TURNED = ("difference", "cohens_dz", "rank_biserial")
KEPT = ("permutation_p", "permutation_holm", "wilcoxon_p", "wilcoxon_holm", "ties", "cases", "note")


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 4), st.integers(2, 40), st.integers(0, 100))
def test_swapped_methods_turn_the_signs(methods, cases, seed):
    cells, names = cells_of_methods(methods, cases, seed=seed)
    found, turned = rows_of(cells, names), rows_of(cells, names[::-1])
    for (metric, first, second), row in found.items():
        other = turned[metric, second, first]
        assert [row[k] for k in KEPT] == [other[k] for k in KEPT]
        assert [row[k] for k in TURNED] == [None if other[k] is None else -other[k] for k in TURNED]
        assert (row["wins"], row["losses"]) == (other["losses"], other["wins"])
        if row["low"] is not None:
            assert (row["low"], row["high"]) == pytest.approx((-other["high"], -other["low"]), abs=1e-9)


@settings(max_examples=8, deadline=None)
@given(st.randoms(), st.integers(-3, 3))
def test_order_of_cases_and_unit_do_not_matter(random, power):
    cells, names = cells_of_methods(3, 25)
    shuffled = {}
    for (method, label, _), values in cells.items():
        scaled = [replace(v, value=v.value * 2.0**power) for v in values]
        shuffled[method, label, "dice"] = random.sample(scaled, len(scaled))
    again = rows_of(shuffled, names)
    for key, row in rows_of(cells, names).items():
        if key[0] != "dice":
            continue
        other = again[key]
        for name in ("difference", "low", "high"):
            assert other[name] == row[name] * 2.0**power
        for name in ("permutation_p", "wilcoxon_p", "cohens_dz", "rank_biserial", "wins", "note"):
            assert other[name] == row[name]


def test_bytes_are_the_same_whatever_the_threads():
    code = (
        "import numpy as np, hashlib, json\nfrom segtrace.compare import paired\n"
        "columns = np.random.default_rng(0).normal(0.01, 0.1, (300, 40))\n"
        "print(hashlib.sha256(json.dumps(paired.compared(columns, better=[1] * 40)).encode()).hexdigest())"
    )
    one, two = printed_with_one_and_two(code)
    assert one == two
