"""A finished project is exported, twice to the same bytes; one that does not hold is refused."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from workflow_helpers import BIN, Project

pytestmark = pytest.mark.workflow


def export(project: Project, *arguments: str, expect: int = 0) -> str:
    """Run ``segtrace export``; what it printed."""
    done = subprocess.run(
        [str(BIN / "segtrace"), "export", "--ro-crate", "tiny", "--date", "2026-01-02", *arguments],
        cwd=project.path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_two_exports_are_the_same_and_hold_no_raw_bytes(finished: Project, tmp_path: Path) -> None:
    for name in ("a", "b"):
        said = export(finished, "--to", f"{tmp_path}/{name}.zip", "--with", "predictions,checkpoints")
        assert "publish these only as far as its licence allows" in said
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()

    export(finished)
    folder = finished.path / "crates/tiny"
    receipt = json.loads((folder / "data/raw/phantom3d.receipt.json").read_text())
    raw = {sha256 for _, sha256 in receipt["files"].values()}
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert raw
    assert not raw & {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert (folder / "results/tiny/summary.csv").read_bytes() == (
        finished.path / "results/tiny/summary.csv"
    ).read_bytes()
    assert "is there already" in export(finished, expect=1)


def test_what_does_not_hold_is_refused(finished: Project, tmp_path: Path) -> None:
    assert "fold-0_seed-1" in export(finished, "--seeds", "0,1", "--to", f"{tmp_path}/crate", expect=1)

    summary = finished.path / "results/tiny/summary.csv"
    summary.write_bytes(summary.read_bytes() + b"\n")
    said = export(finished, "--to", f"{tmp_path}/crate", expect=1)
    assert "compare tiny: results/tiny/summary.csv: recorded sha256" in said
    assert "Run snakemake" in said
    assert not (tmp_path / "crate").exists()
