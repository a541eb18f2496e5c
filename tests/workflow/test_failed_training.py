"""One training fails: the other methods' table and page are made, and say what is missing and why."""

import csv

import pytest
from workflow_helpers import Project

pytestmark = pytest.mark.workflow

STEM = "phantom3d/iso2/random"


def missing(project: Project) -> list[dict[str, str]]:
    with (project.path / "results/tiny/missing.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.slow
def test_a_failed_training_stops_no_other_and_its_cells_are_missing(fresh: Project) -> None:
    def failing(value: dict) -> None:
        value.update(methods=["unet3d_tiny", "dynunet_tiny_3d"], trainings={"dynunet_tiny_3d": "bad"})

    good = (fresh.path / "config/training/demo_3d.yaml").read_text()
    bad = fresh.path / "config/training/bad.yaml"
    bad.write_text(good)
    fresh.edit("config/training/bad.yaml", lambda value: value.update(learning_rate=1.0e30))
    fresh.edit("config/experiments/tiny.yaml", failing)
    output = fresh.snakemake(expect=1, timeout=3000)
    assert "results/tiny and reports/tiny/index.html are made without what failed" in output
    page = (fresh.path / "reports/tiny/index.html").read_text()
    assert "dynunet_tiny_3d is missing: fold 0, seed 0: train failed: " in page
    assert "gradient norm" in page.partition("dynunet_tiny_3d is missing")[2][:400]
    (row,) = missing(fresh)
    assert (row["method"], row["case"]) == ("dynunet_tiny_3d", "all cases")
    summary = (fresh.path / "results/tiny/summary.csv").read_text()
    assert ",unet3d_tiny," in summary
    assert "dynunet_tiny_3d" not in summary
    status = fresh.call("segtrace", "status", expect=1)
    assert f"failed: train {STEM}/dynunet_tiny_3d/smoke/fold-0_seed-0: " in status

    # What was made without it never counts as finished, not even where Snakemake's records are gone.
    assert {"compare", "report"} <= set(fresh.waiting())
    bad.write_text(good)
    fresh.snakemake(timeout=3000)
    assert missing(fresh) == []
    assert "dynunet_tiny_3d" in (fresh.path / "results/tiny/summary.csv").read_text()
    assert "is missing: fold" not in (fresh.path / "reports/tiny/index.html").read_text()
    assert fresh.waiting() == []
