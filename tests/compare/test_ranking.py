"""Rankings: known answers, laws, and agreement with SciPy and statsmodels."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from statsmodels.stats.multitest import multipletests

from segtrace import ranks, resampling, tables
from segtrace.aggregation import CaseValue
from segtrace.compare import ranking, signed_ranks
from segtrace.compare.ranking import Resampled, of_samples, ranked

SCHEMES = list(ranks.SCHEMES)
#: Values on a grid, so that ties come about.
VALUES = arrays.arrays(
    np.float64,
    st.tuples(st.integers(2, 12), st.integers(2, 5)),
    elements=st.integers(0, 8).map(lambda k: k / 8),
)


def cells_of(label=1, metric="dice", **methods):
    return {
        (method, label, metric): [
            CaseValue(method=method, case=f"c{i:03}", label=label, metric=metric, value=value)
            for i, value in enumerate(values)
        ]
        for method, values in methods.items()
    }


def drawn_for(values, samples=200):
    return Resampled(len(values), samples=samples)


# --- ranks -------------------------------------------------------------------------------------------


@given(VALUES)
def test_competition_ranks_are_scipys(values):
    assert (ranks.competition(values) == stats.rankdata(-values, method="min", axis=1)).all()


def test_known_answers():
    """One bad case costs a the best mean, and no more than a rank in one case."""
    values = np.array([[0.9, 0.8, 0.5], [0.9, 0.8, 0.5], [0.9, 0.8, 0.5], [0.0, 0.8, 0.5]])
    by, rank = ranks.means(values, "dice")
    assert by.tolist() == [0.675, 0.8, 0.5]
    assert rank.tolist() == [2, 1, 3]
    by, rank = ranks.mean_ranks(values, "dice")
    assert by.tolist() == [1.5, 1.75, 2.75]
    assert rank.tolist() == [1, 2, 3]
    by, rank = ranks.means(values, "hd95_mm")
    assert rank.tolist() == [2, 3, 1]
    by, rank = ranks.wins(values, "dice")
    assert by.tolist() == [0, 0, 0]
    assert rank.tolist() == [1, 1, 1]


def test_wins_by_hand():
    noise = np.random.default_rng(0).normal(0, 0.01, (40, 1))
    values = 0.5 + noise + np.array([[0.1, 0.1, 0.0, -0.2]]) + noise[::-1] * [[0, 1, 0, 0]]
    by, rank = ranks.wins(values, "dice")
    assert by.tolist() == [2, 2, 1, 0]
    assert rank.tolist() == [1, 1, 3, 4]
    by, rank = ranks.wins(values, "assd_mm")
    assert by.tolist() == [0, 0, 2, 3]
    assert rank.tolist() == [3, 3, 2, 1]


@pytest.mark.parametrize("hypotheses", [1, 2, 6, 30])
def test_holm_is_that_of_statsmodels(hypotheses):
    p_values = np.random.default_rng(hypotheses).uniform(0, 0.02, hypotheses).round(3)
    expected = multipletests(p_values, alpha=0.05, method="holm")[0]
    assert ranks.holm(p_values).tolist() == expected.tolist()
    assert expected.any() or hypotheses > 1


@settings(deadline=None, max_examples=20)
@given(arrays.arrays(np.float64, st.integers(1, 9), elements=st.integers(-4, 6).map(float)))
def test_p_values_count_all_signs(differences):
    """Ties and zeros among them: against every assignment of signs, written out."""
    known = differences[differences != 0]
    assume(len(known))
    order = stats.rankdata(np.abs(known))
    signs = np.array(list(itertools.product([0, 1], repeat=len(known)))).reshape(-1, len(known))
    expected = np.mean(signs @ order >= order[known > 0].sum())
    assert ranks.signed_rank_p(differences) == expected
    assert ranks.signed_rank_p(0 * differences) == 1.0


@pytest.mark.parametrize(
    ("cases", "method"), [(8, "exact"), (50, "exact"), (51, "asymptotic"), (400, "asymptotic")]
)
def test_p_values_are_scipys(cases, method):
    differences = np.random.default_rng(cases).normal(0.2, 1, cases)
    expected = stats.wilcoxon(differences, alternative="greater", method=method).pvalue
    assert ranks.signed_rank_p(differences) == pytest.approx(expected, rel=1e-12)


@given(arrays.arrays(np.int64, st.tuples(st.integers(2, 6), st.integers(2, 8)), elements=st.integers(1, 8)))
def test_tau_is_scipys(rankings):
    found = ranks.tau(rankings[0], rankings)
    for ranking_, tau in zip(rankings, found, strict=True):
        assert tau == pytest.approx(stats.kendalltau(rankings[0], ranking_).statistic, abs=1e-14, nan_ok=True)


# --- signed ranks of samples ---------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(VALUES, st.integers(0, 5))
def test_scores_of_samples_are_scipys_of_the_cases_drawn(values, seed):
    counts = resampling.draws(len(values), 5, seed=seed)
    differences = values[:, :1] - values[:, 1:]
    columns = counts.T.astype(signed_ranks.exact_type(len(values)))
    found = signed_ranks.scores(differences, columns)
    for sample, of_pairs in zip(counts, found, strict=True):
        for pair, score in enumerate(of_pairs):
            observed = np.repeat(differences[:, pair], sample.astype(int))
            if not observed.any():
                assert score == 0
                continue
            result = stats.wilcoxon(
                observed, zero_method="wilcox", correction=False, method="asymptotic", alternative="greater"
            )
            assert score == pytest.approx(result.zstatistic, abs=1e-12)


def test_single_precision_loses_nothing():
    cases = 600
    assert signed_ranks.exact_type(cases) is np.float32
    assert signed_ranks.exact_type(4000) is np.float64
    differences = np.random.default_rng(0).normal(0.5, 1, (cases, 2)).round(2)
    counts = resampling.draws(cases, 50, seed=0).T
    short, long = (signed_ranks.scores(differences, counts.astype(kind)) for kind in (np.float32, np.float64))
    assert (short == long).all()
    most = np.zeros((cases, 2), np.float32)
    most[-1] = cases  # all draws are of one case
    assert np.isfinite(signed_ranks.scores(np.abs(differences) + 1, most)).all()


# --- bootstrap ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_samples_are_ranked_as_their_cases_would_be(scheme):
    """Each sample written out case by case, and ranked by the plain functions (SciPy's p-values approximate)."""
    rng = np.random.default_rng(3)
    values = (0.7 + rng.normal(0, 0.1, (20, 1)) + rng.normal(0, 0.05, (20, 4)) + [[0.08, 0, 0, -0.06]]).round(
        2
    )
    drawn = drawn_for(values, samples=25)
    found = of_samples(scheme, values, "dice", drawn)
    for sample, rank in zip(drawn.counts, found, strict=True):
        written = np.repeat(values, sample.astype(int), axis=0)
        if scheme != "test_then_rank":
            assert rank.tolist() == ranks.SCHEMES[scheme](written, "dice")[1].tolist()
            continue
        pairs = [(a, b) for a in range(4) for b in range(4) if a != b]
        p_values = [
            stats.wilcoxon(written[:, a] - written[:, b], alternative="greater", method="asymptotic").pvalue
            for a, b in pairs
        ]
        won = ranks.holm(np.array(p_values))
        wins = np.bincount([a for (a, _), w in zip(pairs, won, strict=True) if w], minlength=4)
        assert rank.tolist() == ranks.competition(wins).tolist()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("metric", ["dice", "hd95_mm"])
def test_the_best_in_every_case_is_first_always(scheme, metric):
    rng = np.random.default_rng(0)
    values = rng.uniform(0.2, 0.8, (40, 4))
    values[:, 2] = 0.9 + rng.uniform(0, 0.1, 40) if metric == "dice" else rng.uniform(0, 0.1, 40)
    row = ranked(scheme, values, metric, drawn_for(values))[2]
    assert (row["rank"], row["first"], row["mean_rank"], row["low"], row["high"]) == (1, 1.0, 1, 1, 1)
    assert json.loads(row["frequencies"]) == {"1": 1.0}


@settings(deadline=None, max_examples=15)
@given(VALUES, st.randoms(use_true_random=False), st.sampled_from(SCHEMES))
def test_order_of_methods_and_cases_means_nothing(values, random, scheme):
    order = list(range(values.shape[1]))
    random.shuffle(order)
    drawn = drawn_for(values, samples=50)
    rows = ranked(scheme, values, "dice", drawn)
    assert ranked(scheme, values[:, order], "dice", drawn) == [rows[m] for m in order]
    cases = list(range(len(values)))
    random.shuffle(cases)
    moved = ranked(scheme, values[cases], "dice", drawn)  # other cases are drawn, so the bootstrap differs
    assert [(r["rank"], r["statistic"]) for r in moved] == [(r["rank"], r["statistic"]) for r in rows]


@settings(deadline=None, max_examples=15)
@given(VALUES)
def test_ranks_within_cases_see_order_alone(values):
    drawn = drawn_for(values, samples=50)
    other = np.exp(3 * values) - 7
    assert ranked("rank_then_aggregate", values, "dice", drawn) == ranked(
        "rank_then_aggregate", other, "dice", drawn
    )
    assert [r["rank"] for r in ranked("rank_then_aggregate", -values, "assd_mm", drawn)] == [
        r["rank"] for r in ranked("rank_then_aggregate", values, "dice", drawn)
    ]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_a_row_says_is_over_the_samples(scheme):
    values = np.random.default_rng(1).uniform(0, 1, (30, 3)) + np.array([0.05, 0, 0])
    drawn = drawn_for(values, samples=1000)
    sampled = of_samples(scheme, values, "dice", drawn)
    own = ranks.SCHEMES[scheme](values, "dice")[1]
    rows = ranked(scheme, values, "dice", drawn)
    taus = [stats.kendalltau(own, sample).statistic for sample in sampled]
    for m, row in enumerate(rows):
        assert row["mean_rank"] == pytest.approx(sampled[:, m].mean())
        assert row["low"] == np.sort(sampled[:, m])[24]
        assert row["high"] == np.sort(sampled[:, m])[974]
        shares = json.loads(row["frequencies"])
        assert sum(shares.values()) == pytest.approx(1)
        assert row["first"] == shares.get("1", 0.0) == np.mean(sampled[:, m] == 1)
        if row["tau"] is not None:
            assert row["tau"] == pytest.approx(np.nanmedian(taus), abs=1e-12)
            assert row["tau_low"] <= row["tau"] <= row["tau_high"]


def test_table_of_ranks():
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0.5, 0.9, 12).tolist(), rng.uniform(0.4, 0.8, 12).tolist()
    cells = cells_of(a=first, b=second) | cells_of(label=0, a=first, b=second)
    cells |= cells_of(metric="hd95_voxel", a=[None, *second[1:]], b=[None, *first[1:]])
    cells |= cells_of(metric="hd95_mm", a=[None] * 12, b=[None] * 12)
    rows = ranking.rows(cells, methods=["a", "b"], labels={0: "mean", 1: "lesion"}, samples=100)
    tables.check("ranks", tables.frame("ranks", rows), where="test")
    found = {(r["scheme"], r["label"], r["metric"], r["method"]): r for r in rows}
    assert len(found) == len(rows) == 3 * 3 * 2
    assert not [key for key in found if key[2].endswith("_mm")]  # no physical scale: in voxels
    distance = found["aggregate_then_rank", 1, "hd95_voxel", "a"]
    assert (distance["cases"], distance["rank"]) == (11, 1)
    assert "1 cases in which a method has no value" in distance["note"]
    for scheme in SCHEMES:
        mean, label = (found[scheme, label, "dice", "b"] for label in (0, 1))
        assert mean | {"label": 1, "label_name": "lesion"} == label
    assert ranking.rows(cells, methods=["a", "b"], labels={0: "mean", 1: "lesion"}, samples=100) == rows


def test_one_method_and_few_cases_are_told():
    rows = ranking.rows(cells_of(a=[0.5, 0.6]), methods=["a"], labels={1: "lesion"}, samples=10)
    tables.check("ranks", tables.frame("ranks", rows), where="test")
    assert {(r["rank"], r["samples"], r["tau"], r["note"]) for r in rows} == {
        (1, 0, None, "one method: there is nothing to rank")
    }
    few = ranking.rows(
        cells_of(a=[0.9] * 5, b=[0.1] * 5), methods=["a", "b"], labels={1: "lesion"}, samples=10
    )
    tested = [r for r in few if r["scheme"] == "test_then_rank"]
    assert [r["rank"] for r in tested] == [1, 1]
    assert "with 5 cases and 2 methods no win can be significant" in tested[0]["note"]
    assert ranking.can_win(2, 6)
    assert not ranking.can_win(2, 5)
    assert [r["rank"] for r in few if r["scheme"] == "aggregate_then_rank"] == [1, 2]
    assert "the sample is small (5 cases)" in few[0]["note"]
