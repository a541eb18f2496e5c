"""Published values: their form, the arithmetic of claims, and what is committed of them."""

import json
import re
import shutil
import textwrap
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from segtrace import schemas
from segtrace.cli import main
from segtrace.config import claims, load
from segtrace.config.models import Claim, Experiment
from segtrace.config.published_models import METRICS, Column, Published, parts
from segtrace.errors import SegtraceError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def table(**changes: Any) -> dict[str, Any]:
    return {
        "paper": "p",
        "table": "Table 1",
        "columns": [
            {"name": "Dice", "metric": "dice", "scale": 0.01},
            {"name": "Size", "metric": "parameters"},
        ],
        "rows": [
            {"name": "x", "cells": ["86.49 ± 5.27", "9.04 MB"]},
            {"name": "y", "cells": ["", "247.62 KB"]},
        ],
    } | changes


def claim(operation: str, printed: str, numbers: list[float], **changes: Any) -> Claim:
    terms = [{"number": number, "source": "by hand"} for number in numbers]
    given = {"claim": "c", "printed": printed, "where": "abstract", "operation": operation, "terms": terms}
    return Claim.model_validate(given | changes)


# --- the form ---------------------------------------------------------------------------------------


def test_the_metrics_of_columns_are_those_of_scores() -> None:
    assert METRICS == schemas.METRICS


@pytest.mark.parametrize(
    ("printed", "found"),
    [
        ("86.49", ("86.49", "", 1.0)),
        ("86.49 ± 5.27", ("86.49", "5.27", 1.0)),
        ("-0.5", ("-0.5", "", 1.0)),
        ("243.63 KB", ("243.63", "", 1024.0)),
        ("9.04 M", ("9.04", "", 1e6)),
        ("", ("", "", 1.0)),
    ],
)
def test_a_printed_cell_has_value_spread_and_unit(printed: str, found: tuple[str, str, float]) -> None:
    assert parts(printed) == found


def test_a_cell_in_this_projects_units() -> None:
    published = Published.model_validate(table())
    dice, size = published.columns
    first, second = published.rows
    assert first.value(0, dice) == (0.8649, 0.0527)
    assert first.value(1, size) == (9.04 * 1024**2, None)
    assert second.value(0, dice) == (None, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": [{"name": "x", "cells": ["86,49", "1"]}]}, "number as printed"),
        ({"rows": [{"name": "x", "cells": ["86.49%", "1"]}]}, "number as printed"),
        ({"rows": [{"name": "x", "cells": ["1"]}]}, "1 cells, the table 2 columns"),
        ({"rows": [{"name": "x", "cells": ["1", "2"]}] * 2}, "row 'x' is given twice"),
        ({"columns": [{"name": "a", "metric": "dice"}] * 2}, "column 'a' is given twice"),
        ({"columns": [{"name": "a", "metric": "dyce"}]}, "'dyce' is none of dice, iou"),
    ],
)
def test_a_malformed_table_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Published.model_validate(table(**changes))


def test_rows_name_methods_of_the_experiment_and_an_experiment_shows_something() -> None:
    keys = {"title": "t", "dataset": "d", "recipe": "r", "protocol": "p", "training": "t"}
    rows = [{"name": "x", "method": "unet", "cells": ["1", "2"]}]
    with pytest.raises(ValidationError, match="that the experiment lacks: unet"):
        Experiment.model_validate(keys | {"methods": [], "published": table(rows=rows)})
    with pytest.raises(ValidationError, match="name at least one, or give published values"):
        Experiment.model_validate(keys | {"methods": []})


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "difference"},  # of one term
        {"operation": "mean_difference", "terms": [{"number": n, "source": "s"} for n in (1, 2, 3)]},
        {"terms": [{"number": 1}]},  # without its source
        {"terms": [{"experiment": "e", "row": "r"}]},  # no column
        {"where": "somewhere"},
    ],
)
def test_a_malformed_claim_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        claim(**{"operation": "value", "printed": "1", "numbers": [1]} | changes)


# --- arithmetic -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "numbers", "printed"),
    [
        ("value", [2.5], "2.5"),
        ("difference", [80.94, 78.24], "2.7"),
        ("percent_more", [120, 100], "20"),
        ("percent_less", [75, 100], "25"),
        ("ratio", [6, 4], "1.5"),
        ("mean", [1, 2, 6], "3"),
        ("mean_difference", [5, 2, 9, 4], "4"),
        ("sample_variance", [2, 4, 9], "13"),
    ],
)
def test_operations_by_hand(operation: str, numbers: list[float], printed: str) -> None:
    found = claims.recompute(claim(operation, printed, numbers))
    assert (found.agrees, found.shown) == ("yes", printed)
    assert found.recomputed == pytest.approx(float(printed))
    last = printed[:-1] + str((int(printed[-1]) + 1) % 10)
    assert claims.recompute(claim(operation, last, numbers)).agrees == "no"


@pytest.mark.parametrize(
    ("number", "printed", "shown"),
    [
        (6.475, "6.48", "6.48"),
        (-6.475, "-6.48", "-6.48"),
        (0.005, "0.01", "0.01"),
        (2.5, "3", "3"),
        (-0.4, "0", "0"),
    ],
)
def test_a_half_is_shown_rounded_as_it_is_judged(number: float, printed: str, shown: str) -> None:
    found = claims.recompute(claim("value", printed, [number]))
    assert (found.agrees, found.shown) == ("yes", shown)


@pytest.mark.parametrize("scale", [0, -0.01])
def test_a_scale_is_above_0(scale: float) -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        claim("value", "1", [1], scale=scale)
    with pytest.raises(ValidationError, match="greater than 0"):
        Column.model_validate({"name": "Dice", "metric": "dice", "scale": scale})


def test_a_scale_turns_variances_into_the_papers_unit() -> None:
    assert claims.recompute(claim("sample_variance", "0.13", [2, 4, 9], scale=0.01)).agrees == "yes"


@pytest.mark.parametrize(
    ("relation", "printed", "agrees"),
    [
        ("less_than", "0.05", "yes"),
        ("less_than", "0.04", "no"),
        ("more_than", "0.04", "yes"),
        ("more_than", "0.05", "no"),
    ],
)
def test_bounds(relation: str, printed: str, agrees: str) -> None:
    assert claims.recompute(claim("value", printed, [0.048], relation=relation)).agrees == agrees


def test_a_figure_that_only_unrounded_terms_give_agrees_within_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment = Experiment.model_validate(
        {"title": "t", "dataset": "d", "recipe": "r", "protocol": "p", "training": "t", "methods": []}
        | {
            "published": table(
                rows=[{"name": "x", "cells": ["72.0", "1"]}, {"name": "y", "cells": ["68.4", "1"]}]
            )
        }
    )
    monkeypatch.setattr(load, "experiment", lambda name: experiment)
    terms = [{"experiment": "e", "row": row, "column": "Dice"} for row in "xy"]
    for printed, agrees in (("3.60", "yes"), ("3.68", "within rounding"), ("3.71", "no")):
        assert claims.recompute(claim("difference", printed, [], terms=terms)).agrees == agrees
    with pytest.raises(SegtraceError, match=r"config/papers: claim .* of .*no row 'z'"):
        claims.recompute(claim("value", "1", [], terms=[{"experiment": "e", "row": "z", "column": "Dice"}]))
    with pytest.raises(SegtraceError, match=r"no column 'Dyce'; did you mean 'Dice'"):
        claims.recompute(claim("value", "1", [], terms=[{"experiment": "e", "row": "x", "column": "Dyce"}]))
    spread = [{"experiment": "e", "row": "x", "column": "Dice", "part": "spread"}]
    with pytest.raises(SegtraceError, match="has no spread"):
        claims.recompute(claim("value", "1", [], terms=spread))


def test_a_division_by_what_may_be_nothing_is_an_error() -> None:
    with pytest.raises(SegtraceError, match="may be 0"):
        claims.recompute(claim("ratio", "1", [1, 0]))


@given(
    st.sampled_from(
        ["difference", "ratio", "percent_more", "percent_less", "mean", "mean_difference", "sample_variance"]
    ),
    st.lists(st.tuples(st.integers(100, 9999), st.fractions(-1, 1)), min_size=2, max_size=2),
)
def test_whatever_rounds_to_the_printed_terms_gives_a_value_within_the_bounds(
    operation: str, drawn: list[tuple[int, Fraction]]
) -> None:
    printed = [f"{hundredths // 100}.{hundredths % 100:02d}" for hundredths, _ in drawn]
    unrounded = [Fraction(hundredths, 100) + share / 200 for hundredths, share in drawn]
    bounds = claims._operate(operation, [claims.as_printed(text) for text in printed])
    exact = claims._operate(operation, [claims.Bounds(value, value, value) for value in unrounded]).value
    assert bounds.low <= bounds.value <= bounds.high
    assert bounds.low - Fraction(1, 10**9) <= exact <= bounds.high + Fraction(1, 10**9)


# --- what is committed ------------------------------------------------------------------------------


def test_every_claim_can_be_recomputed_and_a_disagreement_has_a_note() -> None:
    for paper in load.names("papers"):
        for stated in load.load("papers", paper).claims:
            found = claims.recompute(stated)
            assert found.agrees != "no" or stated.note, f"{paper}: {stated.claim}: {found.shown}"


def test_every_table_is_of_a_paper_and_of_labels_that_its_data_set_has() -> None:
    assert not set(load.names("papers")) & set(load.experiments())
    for name in load.names("experiments"):
        experiment = load.experiment(name)
        data = load.dataset(experiment.dataset)
        if experiment.published is not None:
            load.load("papers", experiment.published.paper)
            load.load("training", experiment.training)
            load.part(experiment.dataset, "recipe", data.recipes, experiment.recipe)
            load.part(experiment.dataset, "protocol", data.protocols, experiment.protocol)
            assert {column.label for column in experiment.published.columns} <= {0, *data.labels}, name


def test_the_examples_of_the_page_are_valid() -> None:
    page = (ROOT / "docs/published.md").read_text(encoding="utf-8")
    blocks = [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n)+", page, re.MULTILINE)]
    shown = [yaml.safe_load(block) for block in blocks if block.startswith(("published:", "claims:"))]
    published = Published.model_validate(shown[0]["published"])
    (stated,) = [Claim.model_validate(told) for told in shown[1]["claims"]]
    rows = {row.name for row in published.rows}
    assert {term.row for term in stated.terms} <= rows
    values = [claims.as_printed(row.cells[0]).value for row in published.rows]
    assert values[1] - values[0] == claims.as_printed(stated.printed).value


# --- the command ------------------------------------------------------------------------------------


def test_the_command_lists_papers_and_shows_a_table_and_a_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["published"]) == 0
    assert "dsd_table3  " in capsys.readouterr().out
    assert main(["published", "dsd_table3"]) == 0
    shown = capsys.readouterr().out
    for text in (
        "86.49 ± 5.27",
        "nnunet_small",
        "distances in voxel",
        "less than 0.03  0.035       no",
    ):
        assert text in shown
    assert main(["published", "skin_table3_isic2018_128"]) == 0
    assert "none yet" in capsys.readouterr().out
    assert main(["published", "dsd"]) == 0
    assert "39.7 % more parameters" in " ".join(capsys.readouterr().out.split())


def test_a_table_printed_with_methods_side_by_side_is_shown_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["published", "dsd_table1"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("MYO Dice"))
    assert line.split("  ")[0] == "MYO Dice (%)"
    assert line.count("±") == 4


def test_the_command_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["published", "dsd_table3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"][4]["method"] == "nnunet_small"
    assert [row["agrees"] for row in found["claims"]].count("no") == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [("dsd_tabel3", "did you mean 'dsd_table3'"), ("hippocampus", "has no published values")],
)
def test_a_name_without_published_values_is_an_error(
    name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["published", name]) == 1
    assert message in capsys.readouterr().err


def test_a_column_of_a_label_that_the_data_set_lacks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    path = Path("config/experiments/dsd_table3.yaml")
    path.write_text(path.read_text().replace("label: 2", "label: 7"))
    with pytest.raises(SegtraceError, match=r"'Posterior Dice' is of label 7[\s\S]*has the labels 1, 2"):
        load.experiment("dsd_table3")
