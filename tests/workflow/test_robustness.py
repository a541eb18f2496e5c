"""Images of two dimensions, end to end, and a corruption sweep, added to them in the experiment's file without training again."""

import csv

import pytest
from workflow_helpers import Project, jobs

pytestmark = pytest.mark.workflow


@pytest.mark.slow
def test_images_run_and_a_sweep_is_added_without_training_and_leaves_the_clean_tables_as_they_are(
    fresh: Project,
) -> None:
    fresh.snakemake("--config", "experiments=flat")
    assert list(fresh.path.glob("predictions/phantom2d/**/*.png"))
    assert (fresh.path / "reports/flat/index.html").is_file()
    results = fresh.path / "results/flat"
    before = {path.name: path.read_bytes() for path in results.glob("*.csv")}
    assert before["robustness.csv"].count(b"\n") == 1
    fresh.edit("config/experiments/flat.yaml", lambda v: v.update(corruptions={"noise": [2], "scale": [0.5]}))
    output = fresh.snakemake("results/flat/summary.csv")
    assert sorted(jobs(output)) == ["compare", "predict", "predict", "score", "score"]
    after = {path.name: path.read_bytes() for path in results.glob("*.csv")}
    assert [name for name in sorted(after) if after[name] != before.get(name)] == ["robustness.csv"]
    with (results / "robustness.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {(r["corruption"], r["strength"]) for r in rows} == {("noise", "2.0"), ("scale", "0.5")}
    with (results / "summary.csv").open(newline="") as handle:
        means = {(r["label"], r["metric"]): r["mean"] for r in csv.DictReader(handle)}
    for row in rows:
        assert row["clean"] == means[row["label"], "dice"]
        assert float(row["drop"]) == pytest.approx(float(row["clean"]) - float(row["mean"]), abs=1e-12)
    told = fresh.call(
        "segtrace",
        "explain",
        "results/flat/robustness.csv",
        "--row",
        "corruption=noise,label=mean",
        "--column",
        "drop",
    )
    assert "recomputed: equal" in told
    assert fresh.waiting("results/flat/summary.csv") == []
