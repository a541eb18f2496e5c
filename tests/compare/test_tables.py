"""compare: numbers by hand, policies, errors and equal bytes."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import two_methods
from score_rows import DIAGONAL_MM, SCORES, row, table
from segtrace import files, layout, tables
from segtrace.aggregation import (
    DISTANCES,
    OVERLAPS,
    PREDICTION_MISSING,
    best_constants,
    case_values,
    deviation,
    mean,
    median,
)
from segtrace.cli import main
from segtrace.compare.tables import summarise
from segtrace.errors import SegtraceError
from segtrace.metrics import measures


def summary_of(rows, methods=("a", "b"), labels=None):
    rows = summarise(
        table(rows),
        experiment="toy",
        budget="smoke",
        methods=methods,
        labels=labels or {1: "lesion"},
        split={"protocol": "p", "published": "no", "leaks": 0},
        recipe=("r", "clean"),
    )
    return {(r["method"], r["label"], r["metric"]): r for r in rows}


def test_means_by_hand():
    summary = summary_of(SCORES)
    dice = summary["a", 1, "dice"]
    assert dice["mean"] == pytest.approx((0.8 + 2 / 3 + 0) / 3)
    assert dice["sd"] == pytest.approx(pd.Series([0.8, 2 / 3, 0]).std(ddof=1))
    assert (dice["median"], dice["minimum"], dice["maximum"]) == (2 / 3, 0.0, 0.8)
    assert (dice["cases"], dice["undefined"], dice["missing"], dice["seeds"]) == (3, 0, 0, 1)
    assert summary["b", 1, "dice"]["mean"] == pytest.approx(2 / 3)
    assert summary["b", 0, "dice"]["mean"] == summary["b", 1, "dice"]["mean"]


def test_distance_of_one_empty_mask_is_the_diagonal_and_of_two_is_left_out():
    summary = summary_of(SCORES)
    a, b = summary["a", 1, "hd95_mm"], summary["b", 1, "hd95_mm"]
    assert a["mean"] == pytest.approx((3 + 6 + DIAGONAL_MM) / 3)
    assert (a["cases"], a["as_worst"], a["undefined"]) == (3, 1, 0)
    assert b["mean"] == pytest.approx((0 + DIAGONAL_MM) / 2)
    assert (b["cases"], b["as_worst"], b["undefined"]) == (2, 1, 1)
    assert summary["a", 1, "hd95_voxel"]["mean"] == pytest.approx(a["mean"] / 2)


def test_precision_of_nothing_is_left_out_and_counted():
    precision = summary_of(SCORES)["b", 1, "precision"]
    assert (precision["mean"], precision["cases"], precision["undefined"], precision["sd"]) == (
        1.0,
        1,
        2,
        None,
    )


def test_millimetres_without_a_scale_are_a_row_without_numbers():
    rows = [dict(r, hd95_mm=math.nan, worst_mm=math.nan) for r in SCORES]
    distance = summary_of(rows)["a", 1, "hd95_mm"]
    assert (distance["mean"], distance["cases"], distance["undefined"], distance["as_worst"]) == (
        None,
        0,
        3,
        0,
    )
    assert summary_of(rows)["a", 1, "hd95_voxel"]["mean"] is not None


def test_every_metric_has_its_worst_and_its_row():
    missing = dict.fromkeys(("dice", "iou", "precision", "recall", "accuracy", "nsd"), 0.0)
    rows = [*SCORES[:2], row("a", "c2", 1, tp=0, fp=0, fn=5, **missing, reason=PREDICTION_MISSING)]
    summary = summary_of(rows, methods=["a"])
    assert [metric for _, label, metric in summary if label == 1] == list(tables.METRICS)
    assert set(OVERLAPS) | set(DISTANCES) == set(tables.METRICS)
    for metric in tables.METRICS:
        found = summary["a", 1, metric]
        worst = DIAGONAL_MM / (2 if metric.endswith("voxel") else 1) if metric in DISTANCES else 0.0
        assert (found["maximum"] if metric in DISTANCES else found["minimum"]) == worst, metric
        assert (found["cases"], found["missing"]) == (3, 1), metric


def test_distances_of_one_empty_mask_count_as_the_diagonal_whatever_they_are():
    summary = summary_of(SCORES)
    for metric, share in (("hd_mm", 2.0), ("assd_mm", 0.25), ("assd_voxel", 0.125)):
        worst = DIAGONAL_MM / (2 if metric.endswith("voxel") else 1)
        found = summary["a", 1, metric]
        assert found["mean"] == pytest.approx((3 * share + 6 * share + worst) / 3), metric
        assert found["as_worst"] == 1, metric
    assert summary["b", 1, "nsd"]["mean"] == pytest.approx((0.5 + 0 + 1) / 3)


def test_seeds_are_averaged_within_a_case_first():
    # Seed 0: dice 1.0 in c0, 0.5 in c1. Seed 1: dice 0.0 in c0, 0.5 in c1. Cases: 0.5 and 0.5, so sd is 0.
    rows = [
        row("a", "c0", 1, tp=10, fp=0, fn=0, hd=1, seed=0),
        row("a", "c1", 1, tp=5, fp=5, fn=5, hd=1, seed=0),
        row("a", "c0", 1, tp=0, fp=10, fn=10, hd=3, seed=1),
        row("a", "c1", 1, tp=5, fp=5, fn=5, hd=5, seed=1),
    ]
    summary = summary_of(rows, methods=["a"])
    assert summary["a", 1, "dice"]["mean"] == 0.5
    assert summary["a", 1, "dice"]["sd"] == 0.0
    assert summary["a", 1, "dice"]["seeds"] == 2
    assert summary["a", 1, "hd95_mm"]["mean"] == pytest.approx(2.5)


def test_a_missing_case_counts_as_worst():
    summary = summary_of([r for r in SCORES if not (r["method"] == "b" and r["case"] == "c0")])
    assert summary["b", 1, "dice"]["mean"] == pytest.approx(1 / 3)
    assert summary["b", 1, "dice"]["missing"] == 1
    assert summary["b", 1, "hd95_mm"]["mean"] == DIAGONAL_MM
    assert summary["a", 1, "dice"]["missing"] == 0


def test_a_missing_prediction_counts_as_worst_even_of_an_empty_reference():
    missing = {
        "dice": 0.0,
        "iou": 0.0,
        "precision": 0.0,
        "recall": 0.0,
        "accuracy": 0.0,
        "reason": PREDICTION_MISSING,
    }
    rows = [*SCORES[:2], row("a", "c2", 1, tp=0, fp=0, fn=0, **missing)]
    summary = summary_of(rows, methods=["a"])
    distance, accuracy = summary["a", 1, "hd95_mm"], summary["a", 1, "accuracy"]
    assert distance["mean"] == pytest.approx((3 + 6 + DIAGONAL_MM) / 3)
    assert (distance["missing"], distance["as_worst"], distance["undefined"]) == (1, 0, 0)
    assert accuracy["mean"] == pytest.approx((0.96 + 0.9) / 3)
    assert PREDICTION_MISSING == measures.PREDICTION_MISSING


def test_label_0_is_the_mean_of_the_labels_of_a_case():
    rows = [
        row("a", "c0", 1, tp=10, fp=0, fn=0, hd=1),  # 1
        row("a", "c0", 2, tp=5, fp=5, fn=5, hd=3),  # 0.5
        row("a", "c1", 1, tp=0, fp=0, fn=0),  # 1, no distance
        row("a", "c1", 2, tp=0, fp=10, fn=10, hd=8),  # 0
    ]
    summary = summary_of(rows, methods=["a"], labels={1: "one", 2: "two"})
    assert summary["a", 0, "dice"]["mean"] == pytest.approx((0.75 + 0.5) / 2)
    assert summary["a", 0, "dice"]["sd"] == pytest.approx(math.sqrt(2 * 0.125**2))
    assert summary["a", 0, "hd95_mm"]["mean"] == pytest.approx((2 + 8) / 2)
    assert summary["a", 0, "dice"]["label_name"] == "mean"


def test_constant_baseline_by_hand():
    # References of 20, 0 and 60 voxels of 100. Everywhere: 2P/(P+N); nothing: 1 for the empty one alone.
    rows = [row("a", f"c{i}", 1, tp=p, fp=0, fn=0, hd=0) for i, p in enumerate((20, 0, 60))]
    everywhere = (2 * 20 / 120 + 0 + 2 * 60 / 160) / 3
    assert everywhere > 1 / 3
    best = best_constants(rows, labels=[1])
    assert best[1, "dice"] == pytest.approx(everywhere)
    assert best[1, "iou"] == pytest.approx(1 / 3)  # everywhere gives (0.2 + 0 + 0.6) / 3, less than nothing
    assert best[0, "dice"] == best[1, "dice"]
    summary = summary_of(rows, methods=["a"])
    assert summary["a", 1, "dice"]["constant"] == best[1, "dice"]
    assert summary["a", 1, "recall"]["constant"] is None


def test_constant_baseline_of_the_mean_paints_one_label_only():
    rows = [row("a", "c0", label, tp=p, fp=0, fn=0, hd=0) for label, p in ((1, 50), (2, 30))]
    best = best_constants(rows, labels=[1, 2])
    assert best[1, "dice"] == pytest.approx(100 / 150)
    assert best[2, "dice"] == pytest.approx(60 / 130)
    assert best[0, "dice"] == pytest.approx(best[1, "dice"] / 2)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8))
def test_constant_baseline_equals_scoring_constant_predictions(cases):
    rows = [
        row("a", f"c{i}", label, tp=0, fp=0, fn=p)
        for i, pair in enumerate(cases)
        for label, p in enumerate(pair, 1)
    ]
    best = best_constants(rows, labels=[1, 2])
    for metric in ("dice", "iou"):
        scored = []
        for painted in (None, 1, 2):
            painted_rows = [
                row("a", r["case"], r["label"], tp=r["fn"], fp=100 - r["fn"], fn=0)
                if r["label"] == painted
                else row("a", r["case"], r["label"], tp=0, fp=0, fn=r["fn"])
                for r in rows
            ]
            values = case_values(painted_rows, methods=["a"], labels=[1, 2])
            scored.append(
                {k: mean([v.value for v in values if (v.label, v.metric) == (k, metric)]) for k in (0, 1, 2)}
            )
        for label in (0, 1, 2):
            assert best[label, metric] == pytest.approx(max(s[label] for s in scored))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.randoms())
def test_sums_do_not_depend_on_order(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    assert mean(shuffled) == mean(values)
    assert deviation(shuffled) == deviation(values)
    assert median(shuffled) == median(values)
    assert deviation(values) == pytest.approx(pd.Series(values).std(ddof=1), abs=1e-12)


# --- the command -----------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project of two methods whose scores are there."""
    monkeypatch.chdir(tmp_path)
    two_methods.write("{1: lesion}")
    for method in ("a", "b"):
        write_scores(method, [r for r in SCORES if r["method"] == method])
    fold = {"train": 5, "val": 1, "test": 3, "leaks": 2, "scored": "test", "shared": 1}
    told = {"protocol": "p", "words": "as drawn", "published": True, "folds": [fold, fold], "leaks": []}
    files.write_json(layout.split_gate("toy", "p"), {"split": told})
    return tmp_path


def scores_path(method, seed=0):
    return layout.scores(layout.RunName("toy", "r", "p", method, "smoke", 0, seed), layout.Variant())


def write_scores(method, rows, seed=0):
    tables.write("scores", rows, scores_path(method, seed))


def outputs():
    return {p.name: p.read_bytes() for p in sorted(layout.results("toy").iterdir())}


def test_command_writes_checked_tables(project, capsys):
    assert main(["compare", "toy"]) == 0
    summary = tables.read("summary", layout.results("toy") / "summary.csv")
    chosen = summary[(summary.method == "a") & (summary.label == 1) & (summary.metric == "dice")]
    assert chosen["mean"].item() == pytest.approx((0.8 + 2 / 3) / 3)
    joined = tables.read("per_case", layout.results("toy") / "per_case.csv")
    assert list(joined.method) == ["a"] * 3 + ["b"] * 3
    metrics = json.loads((layout.results("toy") / "metrics.json").read_text())
    assert metrics["toy"]["b"]["lesion"]["dice"] == pytest.approx(2 / 3)
    assert metrics["split"] == {
        "protocol": "p",
        "words": "as drawn",
        "published": "yes",
        "leaks": 2,  # of the fold that was run
        "shared": 1,
    }
    assert set(zip(summary.protocol, summary.published, summary.leaks, strict=True)) == {("p", "yes", 2)}
    assert set(zip(summary.recipe, summary.input, strict=True)) == {("r", "clean")}
    assert len(metrics["scores_sha256"][str(scores_path("a"))]) == 64
    record = json.loads((layout.results("toy") / "summary.csv.prov.json").read_text())
    assert record["phase"] == "compare"


def test_without_the_split_there_is_no_table(project, capsys):
    layout.split_gate("toy", "p").unlink()
    assert main(["compare", "toy"]) == 1
    assert "p.gate.json: no such file; make it with: segtrace split toy p" in capsys.readouterr().err
    assert not layout.results("toy").exists() or not list(layout.results("toy").glob("*.csv"))


def test_a_case_that_no_run_has_is_refused(project, capsys):
    for method in ("a", "b"):
        write_scores(method, [r for r in SCORES if r["method"] == method and r["case"] != SCORES[0]["case"]])
    assert main(["compare", "toy"]) == 1
    assert "fold 0: 2 cases are scored, 3 of the split have role 'test'" in capsys.readouterr().err
    assert not layout.results("toy").exists() or not list(layout.results("toy").glob("*.csv"))


def test_same_scores_give_the_same_bytes(project):
    assert main(["compare", "toy"]) == 0
    first = outputs()
    write_scores("a", [r for r in reversed(SCORES) if r["method"] == "a"])  # row order is no content
    for path in layout.results("toy").iterdir():
        path.unlink()
    assert main(["compare", "toy"]) == 0
    again = outputs()
    for name in ("summary.csv", "per_case.csv", "intervals.csv", "tests.csv", "missing.csv"):
        assert again[name] == first[name]


def test_missing_scores_are_all_listed_with_their_commands(project, capsys):
    for method in ("a", "b"):
        scores_path(method).unlink()
    assert main(["compare", "toy"]) == 1
    message = capsys.readouterr().err
    assert "2 problems" in message
    for method in ("a", "b"):
        assert f"segtrace score toy/r/p/{method}/smoke/fold-0_seed-0 test-last-native-none" in message
    assert f"snakemake --cores 2 {scores_path('a')} {scores_path('b')}" in message
    assert not layout.results("toy").exists()


def test_scores_of_another_run_are_refused(project, capsys):
    write_scores("b", [r for r in SCORES if r["method"] == "a"])
    assert main(["compare", "toy"]) == 1
    assert "column method holds a; its path says b" in capsys.readouterr().err


def test_scores_against_another_reference_are_refused(project, capsys):
    rows = [dict(r) for r in SCORES if r["method"] == "b"]
    rows[0]["tn"] += 7
    rows[1]["tp"] += 1
    write_scores("b", rows)
    assert main(["compare", "toy"]) == 1
    message = capsys.readouterr().err
    assert "case c0, label 1: image voxels are 100 and 107" in message
    assert "case c1, label 1: reference voxels are 20 and 21" in message


def test_scores_at_another_tolerance_are_refused(project, capsys):
    write_scores("b", [dict(r, nsd_tolerance_mm=2.5) for r in SCORES if r["method"] == "b"])
    assert main(["compare", "toy"]) == 1
    assert "label 1: NSD at tolerances of 1, 2.5 mm" in capsys.readouterr().err


def test_a_case_without_one_label_is_refused(project, capsys):
    path = project / "config/datasets/toy.yaml"
    path.write_text(path.read_text().replace("{1: lesion}", "{1: lesion, 2: cyst}"))
    assert main(["compare", "toy"]) == 1
    assert "case c0 has labels [1], expected [1, 2]" in capsys.readouterr().err


def test_damaged_scores_are_named(project):
    scores_path("a").write_text("case,label\nx,1\n")
    from segtrace.compare.tables import read_scores

    run = layout.parse_run("toy/r/p/a/smoke/fold-0_seed-0")
    with pytest.raises(SegtraceError, match="not a valid 'scores' table"):
        read_scores([run], variant=layout.Variant(), labels=[1])


def test_missing_predictions_are_listed_and_told(project, capsys):
    lost = [r for r in SCORES if r["method"] == "b"]
    lost[1] = dict(lost[1], dice=0.0, iou=0.0, reason=PREDICTION_MISSING)
    write_scores("a", [r for r in SCORES if r["method"] == "a" and r["case"] != "c0"])
    write_scores("b", lost)
    assert main(["compare", "toy"]) == 0
    missing = tables.read("missing", layout.results("toy") / "missing.csv")
    assert missing.to_dict("records") == [
        {"method": "a", "fold": 0, "seed": 0, "case": "c0", "what": "not in this run's scores"},
        {"method": "b", "fold": 0, "seed": 0, "case": "c1", "what": "no prediction"},
    ]
    printed = capsys.readouterr().out
    assert "2 predictions missing, counted as worst: missing.csv" in printed
    assert "1 distances of exactly one empty mask count as the image diagonal" in printed  # a's c2


def test_the_summarys_interval_is_the_bca_row_of_the_intervals(project):
    assert main(["compare", "toy"]) == 0
    summary = tables.read("summary", layout.results("toy") / "summary.csv")
    bounds = tables.read("intervals", layout.results("toy") / "intervals.csv")
    bca = bounds[bounds.kind == "bca"].reset_index(drop=True)
    assert len(bounds) == 3 * len(summary)
    for column in ("method", "label", "metric", "cases", "mean", "low", "high"):
        assert summary[column].equals(bca[column]), column
    dice = summary[(summary.label == 1) & (summary.metric == "dice")]
    assert (dice.low <= dice["mean"]).all()
    assert (dice["mean"] <= dice.high).all()
    tests = tables.read("tests", layout.results("toy") / "tests.csv")
    chosen = tests[(tests.label == 1) & (tests.metric == "hd95_mm")]
    # c0: 3 and 0; c1: 6 and the diagonal; c2: the diagonal, and 0 as both masks of b are empty.
    assert chosen["difference"].item() == pytest.approx((3 + (6 - DIAGONAL_MM) + DIAGONAL_MM) / 3)
    assert (chosen["cases"].item(), chosen["dropped"].item()) == (3, 0)
