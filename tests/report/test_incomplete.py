"""Tables and a page of an experiment of which one run is not there: its cells are missing, with the reason."""

import re
import shutil
from pathlib import Path

import pytest

from segtrace import layout, tables
from segtrace.cli import main
from segtrace.trace import check, failures, jobs, record
from segtrace.trace.failures import State
from segtrace.trace.jobs import Job


@pytest.fixture
def without_beta(make_project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Three methods under two seeds, of which one training of beta failed."""
    project = make_project(methods=("alpha", "beta", "gamma"), seeds=(0, 1))
    run = project.run_name("beta", 1)
    project.scores_path("beta", 1).unlink()
    shutil.rmtree(layout.run(run))
    failed = State(jobs.train(run), "failed", "loss is <nan>")
    monkeypatch.setattr(failures, "lost", lambda *_: {run: failed})
    capsys.readouterr()
    assert main(["compare", "toy", "--incomplete"]) == 0
    told = capsys.readouterr().out
    assert "toy: beta is left out: fold 0, seed 1: train failed: loss is <nan>" in told
    assert "no prediction missing" in told
    assert main(["report", "toy"]) == 0
    return project


def test_the_method_is_in_no_table_but_that_of_what_is_missing(without_beta) -> None:
    for name in ("summary", "per_case"):
        found = tables.read(name, layout.results("toy") / f"{name}.csv")
        assert set(found["method"]) == {"alpha", "gamma"}
    rows = tables.read("missing", layout.results("toy") / "missing.csv").to_dict("records")
    assert [(row["method"], row["seed"], row["case"], row["what"]) for row in rows] == [
        ("beta", 1, "all cases", "train failed: loss is <nan>")
    ]


def test_the_page_says_missing_in_its_cells_and_why(without_beta) -> None:
    page = layout.report("toy").read_text()
    assert "beta is missing: fold 0, seed 1: train failed: loss is &lt;nan&gt;" in page
    row = re.search(r'<tr data-methods="beta">.*?</tr>', page, flags=re.S)
    assert row is not None
    cells = re.findall(r"<td[^>]*>([^<]*)", row.group())
    assert set(cells) == {"missing"}
    assert "0 missing prediction" not in page


def test_such_tables_never_hold_and_are_older_than_what_they_are_made_from(without_beta) -> None:
    from segtrace.config import load

    config = load.main_config()
    for job in (Job("compare", "toy"), Job("report", "toy")):
        assert record.is_incomplete(job)
        assert any(problem.what == "configuration" for problem in check.problems(job, config))
        scores = without_beta.scores_path("alpha").stat().st_mtime
        assert all(output.stat().st_mtime < scores for output in jobs.outputs(job))
    # Snakemake knows nothing of them; they are no reason to refuse its start
    assert check.unknown_to_snakemake([Job("compare", "toy")], config) == []


def test_without_any_whole_method_nothing_is_compared(
    make_project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project()
    states = {
        project.run_name(name): State(jobs.train(project.run_name(name)), "remaining")
        for name in ("alpha", "beta")
    }
    monkeypatch.setattr(failures, "lost", lambda *_: states)
    assert main(["compare", "toy", "--incomplete"]) == 1
    said = capsys.readouterr().err
    assert "no method has all its runs" in said
    assert "train is not there yet" in said
    assert list(failures.stopped(_config())) == []


def _config():
    from segtrace.config import load

    return load.main_config()


def test_the_whole_experiment_is_as_without_the_option(make_project, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project()
    monkeypatch.setattr(failures, "lost", lambda *_: {})
    path = layout.results("toy")
    assert main(["compare", "toy"]) == 0
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    shutil.rmtree(path)
    assert main(["compare", "toy", "--incomplete"]) == 0
    assert {file.name: file.read_bytes() for file in Path(path).iterdir()} == before
