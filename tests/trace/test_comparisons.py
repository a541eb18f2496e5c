"""The chains of a comparison's tables: what is computed again, what is told, and what a change breaks."""

from pathlib import Path
from typing import Any

import pytest

from segtrace import cli, tables
from segtrace.config import load
from segtrace.trace import cells
from segtrace.trace.explain import chain, show
from segtrace.trace.explain.facts import Facts

FOLDER = "results/made"
RUNS = 4


def explain(table: str, row: str | None = None, column: str | None = None) -> dict[str, Any]:
    subject = cells.select(f"{FOLDER}/{table}.csv", row=row, column=column)
    return chain.explain(subject, Facts(load.main_config()))


def told(found: dict[str, Any]) -> str:
    return "\n".join(show.lines(found, every=True))


def scored(found: dict[str, Any]) -> list[str]:
    return [step["job"] for step in found["steps"] if step["phase"] == "score"]


@pytest.mark.parametrize("table", ["summary", "intervals", "aggregates", "tests", "ranks", "missing"])
def test_every_row_follows_from_the_scores(kept: Path, table: str) -> None:
    found = explain(table)
    assert found["holds"], found["broken"]
    if found["recomputed"]:
        assert found["recomputed"]["equal"]
    assert found["steps"][-1]["phase"] in ("acquire", "compare")


@pytest.mark.parametrize(
    ("table", "row", "column", "words", "runs"),
    [
        (
            "ranks",
            "scheme=aggregate_then_rank,label=mean,metric=dice,method=unet3d_tiny",
            "rank",
            [
                "rank of the mean over 3 cases",
                "ranks, with what they are by: unet3d_tiny 1 (",
                "dynunet_tiny_3d 2 (",
            ],
            RUNS,
        ),
        (
            "ranks",
            "scheme=test_then_rank,label=organ,metric=dice,method=unet3d_tiny",
            "mean_rank",
            [
                "one-sided Wilcoxon",
                "from 10,000 bootstrap samples of the cases, drawn with seed 0",
                "no win can be",
            ],
            RUNS,
        ),
        (
            "ranks",
            "scheme=rank_then_aggregate,label=0,metric=nsd,method=dynunet_tiny_3d",
            None,
            ["mean of the ranks within each of 3 cases"],
            RUNS,
        ),
        (
            "aggregates",
            "method=unet3d_tiny,label=mean,metric=dice,aggregation=pooled",
            "mean",
            ["mean over 2 runs of the dice of one confusion matrix", "recomputed: equal"],
            2,
        ),
        (
            "aggregates",
            "method=dynunet_tiny_3d,label=1,metric=iou,aggregation=per_batch",
            None,
            ["2 batches of up to 8 images", "1 cases lack a prediction", "recomputed: equal (3 cells)"],
            2,
        ),
        (
            "intervals",
            "method=unet3d_tiny,label=mean,metric=dice,kind=bca",
            "low",
            ["mean over 3 cases of", "(BCa), from 10,000 bootstrap samples", "The sample is small (3 cases)"],
            2,
        ),
        (
            "summary",
            "method=unet3d_tiny,label=mean,metric=dice",
            "high",
            ["end of the 95 % interval of the mean (BCa), from 10,000", "mean over 3 cases of"],
            2,
        ),
    ],
)
def test_a_cell_is_told_with_its_runs(
    kept: Path, table: str, row: str, column: str | None, words: list[str], runs: int
) -> None:
    found = explain(table, row, column)
    assert found["holds"]
    assert len(scored(found)) == runs
    for word in words:
        assert word in told(found)


def edit(table: str, old: str, new: str) -> None:
    path = Path(FOLDER, f"{table}.csv")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("table", "old", "new", "row"),
    [
        ("ranks", ",dice,unet3d_tiny,1.0,", ",dice,unet3d_tiny,2.0,", "2"),
        ("aggregates", ",per_case,0,3,", ",per_case,0,4,", "2"),
        ("intervals", ",bca,0.95,3,", ",bca,0.95,2,", "2"),
    ],
)
def test_a_changed_cell_comes_out_as_it_was(project: Path, table: str, old: str, new: str, row: str) -> None:
    edit(table, old, new)
    found = explain(table, row)
    assert not found["holds"]
    assert found["recomputed"]["differences"]


def test_a_row_of_no_method_is_no_row_of_the_scores(project: Path) -> None:
    edit("ranks", ",unet3d_tiny,", ",other,")
    found = explain("ranks", "2")
    assert {"cell": "line 2", "table": "there", "recomputed": "no scores make such a row"} in found[
        "recomputed"
    ]["differences"]


def test_a_change_of_scores_changes_ranks(project: Path) -> None:
    path = next(Path("scores").rglob("unet3d_tiny/**/*.csv"))
    rows = tables.read("scores", path)
    rows["dice"] = 0.0
    tables.write("scores", rows, path)
    found = explain("ranks", "scheme=aggregate_then_rank,label=0,metric=dice,method=unet3d_tiny", "statistic")
    assert not found["holds"]
    assert found["recomputed"]["differences"]


def test_difference_of_two_methods(project: Path) -> None:
    table = {
        "label": 1, "label_name": "organ", "metric": "dice", "first": "unet3d_tiny", "second": "dynunet_tiny_3d",
        "cases": 3, "dropped": 0, "difference": 0.5, "low": None, "high": None, "permutation": "exact",
        "permutation_p": 0.25, "permutation_holm": 0.25, "wilcoxon": "exact", "wilcoxon_p": 0.25, "wilcoxon_holm": 0.25,
        "cohens_dz": None, "rank_biserial": 1.0, "wins": 3, "losses": 0, "ties": 0, "note": "small",
    }  # fmt: skip
    tables.write("tests", [table], Path(FOLDER, "tests.csv"))
    found = explain("tests", "2")
    again = {item["cell"]: item["recomputed"] for item in found["recomputed"]["differences"]}
    assert list(again) == ["line 2, difference"]
    values = [case["value"] for case in found["cases"]]
    assert len(values) == 3
    assert again["line 2, difference"] == pytest.approx(sum(values) / 3)
    assert "mean of unet3d_tiny − dynunet_tiny_3d over 3 cases" in told(found)
    assert "paired permutation test" in told(explain("tests", "2", "permutation_p"))
    assert len(scored(found)) == RUNS


def test_missing_cases_are_looked_up(project: Path) -> None:
    rows = [
        {"method": "dynunet_tiny_3d", "fold": 0, "seed": seed, "case": "c5", "what": "prediction missing"}
        for seed in (0, 1)
    ]
    tables.write("missing", rows, Path(FOLDER, "missing.csv"))
    assert explain("missing", "seed=1,case=c5", "case")["recomputed"]["equal"]
    found = explain("missing", "seed=0,case=c5", "case")
    assert [item["cell"] for item in found["recomputed"]["differences"]] == ["line 2, case"]
    assert "counts as worst" in told(found)


def test_published_values_are_the_configurations(project: Path) -> None:
    mean = tables.read("summary", Path(FOLDER, "summary.csv"))["mean"].iloc[0]
    config = Path("config/experiments/made.yaml")
    config.write_text(
        config.read_text() + "published:\n  paper: emis\n  table: Table 1\n"
        "  columns: [{name: Dice, metric: dice, scale: 0.01}, {name: Params, metric: parameters}]\n"
        "  rows: [{name: U-Net, method: unet3d_tiny, cells: ['86.49', '7.8']}]\n"
    )
    row = {
        "paper": "emis", "table": "Table 1", "row": "U-Net", "column": "Dice", "printed": "86.49",
        "method": "unet3d_tiny", "label": 0, "metric": "dice", "aggregation": "per_case", "published": 0.8649,
        "published_spread": None, "recomputed": mean, "low": None, "high": None, "difference": mean - 0.8649,
        "budget": "smoke", "seeds": 2, "comparable": "no", "reason": "budget smoke is not the published one",
    }  # fmt: skip
    counted = row | {"column": "Params", "metric": "parameters", "printed": "7.9", "aggregation": "none"}
    tables.write("published", [row, counted], Path(FOLDER, "published.csv"))
    found = explain("published", "row=U-Net,column=Dice")
    assert found["recomputed"] == {"cells": 2, "equal": True, "differences": []}
    assert len(scored(found)) == 2
    for words in (
        "printed as 86.49 in Table 1 of emis: typed into config/experiments/made.yaml",
        "recomputed: dice of unet3d_tiny, label 0, as aggregates.csv has it by per_case",
        "comparable: no, for budget smoke is not the published one",
    ):
        assert words in told(found)
    wrong = explain("published", "row=U-Net,column=Params")
    assert [item["cell"] for item in wrong["recomputed"]["differences"]] == ["line 3, printed"]
    assert "counted in its weights" in told(wrong)
    assert [step["phase"] for step in wrong["steps"]][1:3] == ["train", "train"]


def test_a_table_without_rows_is_explained(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables.write("missing", [], Path(FOLDER, "missing.csv"))
    assert "no rows: one a case without a prediction in a run" in told(explain("missing"))
    assert cli.main(["explain", f"{FOLDER}/missing.csv", "--row", "case=c5"]) == 1
    assert "the table has no rows" in capsys.readouterr().err


def test_why_knows_the_tables(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for table in ("intervals", "aggregates", "tests", "ranks", "published", "missing"):
        assert cli.main(["why", f"{FOLDER}/{table}.csv"]) == 0
        assert "nothing" in capsys.readouterr().out
