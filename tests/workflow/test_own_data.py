"""A folder that nobody has seen before: one command makes its YAML, a second one the report."""

import sys
from pathlib import Path

import pytest
from workflow_helpers import Project

from folders import pairs
from segtrace import tables

pytestmark = pytest.mark.workflow


def test_a_folder_of_pairs_is_indexed_gated_split_trained_and_reported(
    fresh: Project, tmp_path: Path
) -> None:
    folder = tmp_path / "knee shots (2)"
    pairs(folder, [f"knee {n} (left)" for n in range(24)], mask="{} outline.png")
    before = sorted(p for p in (fresh.path / "config").rglob("*") if p.is_file())
    printed = fresh.call(sys.executable, "-m", "segtrace", "add-dataset", str(folder))
    new = [p for p in sorted((fresh.path / "config").rglob("*")) if p.is_file() and p not in before]
    assert [p.name for p in new] == ["knee_shots_2.yaml"]
    assert len(new[0].read_text().splitlines()) < 15
    assert printed.rstrip().endswith("snakemake --cores 2 --config experiments=knee_shots_2")

    fresh.snakemake("--config", "experiments=knee_shots_2")
    page = (fresh.path / "reports/knee_shots_2/index.html").read_text()
    for word in (
        "unet_tiny",
        "dynunet_tiny_2d",
        "fraction of cases with an empty mask",
        "no structure is lost",
    ):
        assert word in page
    split = tables.read("split", fresh.path / "data/splits/knee_shots_2/default.csv")
    assert set(split["role"]) == {"train", "val", "test"}
    summary = tables.read("summary", fresh.path / "results/knee_shots_2/summary.csv")
    assert set(summary["method"]) == {"unet_tiny", "dynunet_tiny_2d"}
    assert "Nothing to be done" in fresh.snakemake("--config", "experiments=knee_shots_2")
