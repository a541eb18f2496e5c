"""Intervals: known answers, agreement with SciPy, laws, small samples, and what they cover."""

import math
from dataclasses import astuple

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrace import bootstrap, resampling, samples
from segtrace.aggregation import Entry, cells_of
from segtrace.compare import intervals
from threads import printed_with_one_and_two

LABELS = {0: "mean", 1: "lesion"}


def dice_like(cases, columns, *, seed=0, failures=0.0):
    """Beta-distributed values, of which a share is 0, in another shape for each column."""
    generator = np.random.default_rng(seed)
    values = generator.beta(np.linspace(4, 30, columns), 1.5, (cases, columns))
    return np.where(generator.random((cases, columns)) < failures, 0.0, values)


def runs_of(values, *, method="a", label=1, metric="dice", folds=None):
    """A cell's values by run: ``values`` is seeds × cases, None where a run has none."""
    return {
        (method, label, metric): {
            f"c{case:03}": {
                (folds[case] if folds else 0, seed): Entry(row[case]) for seed, row in enumerate(values)
            }
            for case in range(len(values[0]))
        }
    }


def rows_of(runs):
    return {
        (row["method"], row["metric"], row["kind"]): row
        for row in intervals.rows(cells_of(runs), runs, labels=LABELS)
    }


# --- agreement with SciPy ------------------------------------------------------------------------------


@pytest.mark.parametrize(("cases", "failures"), [(2, 0.0), (7, 0.0), (30, 0.2), (97, 0.03)])
def test_bounds_are_those_of_scipy_for_the_same_distribution(cases, failures, monkeypatch):
    values = resampling.exact(dice_like(cases, 6, failures=failures))
    rounded = bootstrap.bounds(values, samples=2000, seed=3)
    monkeypatch.setattr(
        bootstrap, "_STEPS", 2.0**44
    )  # what is rounded for equal bytes stands as SciPy has it
    found = bootstrap.bounds(values, samples=2000, seed=3)
    assert np.allclose(astuple(found), astuple(rounded), rtol=0, atol=1e-10)
    distribution = resampling.means(resampling.draws(cases, 2000, seed=3), values)
    for column in range(6):
        if values[:, column].min() == values[:, column].max():
            continue
        given_result = scipy.stats._resampling.BootstrapResult(
            confidence_interval=None, bootstrap_distribution=distribution[:, column], standard_error=None
        )
        for method, low, high in (
            ("BCa", found.bca_low, found.bca_high),
            ("percentile", found.percentile_low, found.percentile_high),
        ):
            expected = scipy.stats.bootstrap(
                (values[:, column],),
                np.mean,
                method=method,
                n_resamples=0,
                bootstrap_result=given_result,
                vectorized=True,
            ).confidence_interval
            assert low[column] == pytest.approx(expected.low, abs=1e-12)
            assert high[column] == pytest.approx(expected.high, abs=1e-12)


def test_skewness_is_that_of_scipy():
    for column in dice_like(40, 5, failures=0.1).T:
        assert samples.skewness(column.tolist()) == pytest.approx(scipy.stats.skew(column), abs=1e-12)
    assert samples.skewness([0.5, 0.5, 0.5]) == 0.0


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=40), st.floats(0, 1))
def test_quantiles_are_those_of_numpy(values, share):
    ordered = np.sort(np.array(values))[None]
    found = bootstrap.quantiles(ordered, np.array([share]))[0]
    assert found == pytest.approx(np.quantile(ordered[0], share), abs=1e-6)
    assert ordered[0, 0] <= found <= ordered[0, -1]


# --- known answers -------------------------------------------------------------------------------------


def test_percentile_interval_of_two_cases_by_hand():
    # The mean of two draws of 0 and 1 is 0, ½ or 1 with chances ¼, ½, ¼: the ends are 0 and 1.
    found = bootstrap.bounds(np.array([[0.0], [1.0]]))
    assert [float(end[0]) for end in astuple(found)] == [0.0, 1.0, 0.0, 1.0]
    middle = bootstrap.bounds(np.array([[0.0], [1.0]]), level=0.4)
    assert [float(end[0]) for end in astuple(middle)] == [0.5, 0.5, 0.5, 0.5]


def test_equal_values_are_a_point_and_no_nan():
    found = bootstrap.bounds(np.array([[0.1, 0.3], [0.1, 0.4], [0.1, 0.5]]))
    assert all(float(end[0]) == 0.1 for end in astuple(found))
    assert found.bca_low[1] < 0.4 < found.bca_high[1]
    row = rows_of(runs_of([[0.7] * 40, [0.7] * 40]))
    for kind in ("bca", "percentile", "hierarchical"):
        assert (row["a", "dice", kind]["low"], row["a", "dice", kind]["high"]) == (0.7, 0.7)


def test_one_case_or_none_has_no_interval_and_a_note():
    row = rows_of(runs_of([[0.7]]) | runs_of([[None, None]], metric="precision"))
    for kind in ("bca", "percentile", "hierarchical"):
        one, none = row["a", "dice", kind], row["a", "precision", kind]
        assert (one["mean"], one["low"], one["high"], one["cases"]) == (0.7, None, None, 1)
        assert one["note"].startswith("There is one case, which has no interval.")
        assert (none["mean"], none["low"], none["cases"]) == (None, None, 0)
        assert none["note"].startswith("No case has a value.")
    with pytest.raises(ValueError, match="1 cases have no interval"):
        bootstrap.bounds(np.array([[0.7]]))
    with pytest.raises(ValueError, match="1 cases have no interval"):
        bootstrap.nested_bounds(np.array([[[0.7]]]), [0])


def test_undefined_cases_are_left_out_of_a_cells_interval():
    values = dice_like(40, 1)[:, 0].tolist()
    row = rows_of(runs_of([[*values, None, None]]))["a", "dice", "bca"]
    alone = rows_of(runs_of([values]))["a", "dice", "bca"]
    assert (row["cases"], row["low"], row["high"]) == (40, alone["low"], alone["high"])


# --- trainings and cases -------------------------------------------------------------------------------


def test_one_training_has_no_hierarchical_interval_and_says_so():
    row = rows_of(runs_of([dice_like(60, 1)[:, 0].tolist()]))["a", "dice", "hierarchical"]
    assert (row["low"], row["high"], row["seeds"], row["note"]) == (None, None, 1, intervals.ONE_TRAINING)
    # One training of each fold is one training of each case.
    folded = rows_of(runs_of([dice_like(60, 1)[:, 0].tolist()], folds=[case % 3 for case in range(60)]))
    assert folded["a", "dice", "hierarchical"]["note"] == intervals.ONE_TRAINING


def test_equal_trainings_add_nothing_and_different_ones_widen():
    values = dice_like(60, 1)[:, 0]
    same = rows_of(runs_of([values.tolist()] * 3))
    nested, cases = same["a", "dice", "hierarchical"], same["a", "dice", "percentile"]
    assert nested["low"] == pytest.approx(cases["low"], abs=1e-12)
    assert nested["high"] == pytest.approx(cases["high"], abs=1e-12)
    apart = rows_of(runs_of([(values - shift).tolist() for shift in (0.0, 0.1, 0.2)]))
    wide, mean_alone = apart["a", "dice", "hierarchical"], apart["a", "dice", "percentile"]
    assert wide["high"] - wide["low"] > 2 * (mean_alone["high"] - mean_alone["low"])
    assert (
        wide["note"]
        == "With 3 trainings a method the interval over cases and seeds is a rough estimate of what training again would change."
    )
    assert rows_of(runs_of([values.tolist()] * 5))["a", "dice", "hierarchical"]["note"] == ""


def test_hierarchical_by_a_plain_loop_over_folds_and_runs():
    folds, generator = [0, 0, 0, 1, 1, 1, 1], np.random.default_rng(5)
    table = generator.random((7, 4))
    runs = [(0, 0), (0, 1), (1, 0), (1, 1)]
    values = np.array(
        [[[table[c, r]] if runs[r][0] == folds[c] else [np.nan] for r in range(4)] for c in range(7)]
    )
    low, high = bootstrap.nested_bounds(values, [fold for fold, _ in runs], samples=500, seed=1)
    cases = resampling.draws(7, 500, seed=1)
    trained = np.hstack([resampling.draws(2, 500, seed=2), resampling.draws(2, 500, seed=3)])
    means = [
        sum(
            cases[b, c] * sum(trained[b, r] * table[c, r] for r in range(4) if runs[r][0] == folds[c]) / 2
            for c in range(7)
        )
        / 7
        for b in range(500)
    ]
    assert (low[0], high[0]) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=1e-9)


def test_a_run_without_a_value_leaves_the_cases_mean_as_it_is():
    first, second = dice_like(30, 2).T.tolist()
    partial = runs_of([first, [None, *second[1:]]])
    filled = runs_of([first, [first[0], *second[1:]]])
    assert rows_of(partial) == rows_of(filled)


# --- laws ----------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 64), min_size=2, max_size=20), st.integers(-6, 6), st.integers(-3, 3))
def test_intervals_move_and_stretch_with_the_values(values, power, shift):
    column, scale = np.array(values)[:, None] / 64, 2.0**power  # so that nothing is rounded
    ends = astuple(bootstrap.bounds(column, samples=500))
    moved = astuple(bootstrap.bounds(column * scale + shift, samples=500))
    assert np.allclose(np.array(ends) * scale + shift, moved, rtol=0, atol=1e-8 * scale)
    assert ends[0][0] <= column.mean() <= ends[1][0]


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 60), st.integers(0, 1000))
def test_the_sign_of_the_values_turns_the_interval_around(cases, seed):
    values = dice_like(cases, 3, seed=seed)
    found, turned = bootstrap.bounds(values, samples=400), bootstrap.bounds(-values, samples=400)
    assert np.allclose(found.bca_low, -turned.bca_high, rtol=0, atol=1e-9)
    assert np.allclose(found.percentile_high, -turned.percentile_low, rtol=0, atol=1e-9)


def test_a_column_does_not_depend_on_its_neighbours():
    values = dice_like(50, 200)
    together = bootstrap.bounds(values)
    alone = bootstrap.bounds(values[:, 150:151])
    assert [float(end[150]) for end in astuple(together)] == [float(end[0]) for end in astuple(alone)]
    scaled = bootstrap.bounds(np.hstack([values[:, 150:151], 1e6 * values[:, :1]]))
    assert float(scaled.bca_low[0]) == float(alone.bca_low[0])


def test_bytes_are_the_same_whatever_the_threads():
    code = (
        "import numpy as np, hashlib\nfrom dataclasses import astuple\nfrom segtrace import bootstrap\n"
        "values = np.random.default_rng(0).beta(8, 1.5, (300, 40))\n"
        "ends = np.array(astuple(bootstrap.bounds(values)))\n"
        "print(hashlib.sha256(ends.tobytes()).hexdigest())"
    )
    one, two = printed_with_one_and_two(code)
    assert one == two


# --- small samples, and what intervals cover -----------------------------------------------------------


def test_small_and_skewed_samples_are_told():
    even = [i / 49 for i in range(50)]
    assert samples.too_small(even) == ""
    assert samples.too_small(even[:-1]).startswith("The sample is small (49 cases): below 50 ")
    # 59 values of 1 and a 0: skewness −58/√59 = −7.55, so 25 × 57.02 = 1425.4 and 1426 cases are needed.
    failing = [1.0] * 59 + [0.0]
    assert samples.skewness(failing) == pytest.approx(-58 / math.sqrt(59))
    assert samples.too_small(failing) == (
        "The values are skewed (-7.6), and 60 cases are too few for a trustworthy interval: "
        "that takes about 1426 cases."
    )
    assert samples.too_small([]) == "No case has a value."


def covered(draw, centre, cases, *, repetitions=2500):
    """(share of BCa intervals that hold the true mean, share of samples in which the warning fires)."""
    values = draw(np.random.default_rng([7, cases]), (cases, repetitions))
    found = bootstrap.bounds(values, samples=2000)
    held = (found.bca_low <= centre) & (centre <= found.bca_high)
    told = [bool(samples.too_small(column)) for column in values.T.tolist()]
    return float(held.mean()), float(np.mean(told))


def with_failures(share):
    def draw(generator, shape):
        return np.where(generator.random(shape) < share, 0.0, generator.beta(20, 2, shape))

    return draw, (1 - share) * 20 / 22


def test_at_60_cases_the_interval_covers_what_it_says():
    for a, b in ((8, 1.5), (20, 2)):
        share, told = covered(lambda g, shape, a=a, b=b: g.beta(a, b, shape), a / (a + b), 60)
        assert 0.93 <= share <= 0.97, (a, b, share)
        assert told < 0.2


def test_where_it_covers_less_the_warning_fires():
    for cases, failures in ((10, 0.0), (20, 0.1), (60, 0.04)):
        draw, centre = with_failures(failures)
        share, told = covered(draw, centre, cases)
        assert share < 0.93, (cases, failures, share)
        assert told > 0.9, (cases, failures, told)
