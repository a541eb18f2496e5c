"""Published values beside recomputed ones: numbers, units, and every reason against a comparison."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

import toy_config
from segtrace import files, layout, schemas, tables
from segtrace.cli import main
from segtrace.compare import published
from segtrace.config import load
from segtrace.config.models import Budget, Dataset, Experiment
from segtrace.errors import SegtraceError
from segtrace.trace import identity, jobs

CONVENTION = {"cases": 4, "seeds": 1}
COLUMNS = [
    {"name": "Mean Dice", "metric": "dice", "scale": 0.01, "unit": "%"},
    {"name": "Organ HD95", "metric": "hd95_mm", "label": 1, "unit": "mm"},
    {"name": "# params", "metric": "parameters", "scale": 1e6, "unit": "million"},
    {"name": "GFLOPs", "metric": "macs", "scale": 1e9, "size": [32, 32]},
    {"name": "FLOPs", "metric": "macs", "scale": 1e9},
    {"name": "Time", "metric": "minutes_per_epoch"},
    {"name": "Rank", "metric": "none"},
]
ROWS = [
    {"name": "Net [1]", "method": "net", "cells": ["80.0 ± 2.0", "7.25", "0.5", "0.10", "0.2", "0.17", "1"]},
    {"name": "Other [2]", "cells": ["70.0", "", "9", "", "", "", ""], "notes": ["taken from another paper"]},
]
SUMMARY = [
    {"method": "net", "label": 0, "metric": "dice", "mean": 0.75, "low": 0.7, "high": 0.8, "cases": 4},
    {"method": "net", "label": 1, "metric": "hd95_mm", "mean": 7.5, "low": 7.0, "high": 8.0, "cases": 3},
]


def experiment(*, convention: dict[str, Any] | None = None, **changes: Any) -> Experiment:
    told = {
        "paper": "p",
        "table": "Table 1",
        "convention": CONVENTION | (convention or {}),
        "columns": COLUMNS,
        "rows": ROWS,
    }
    keys = {"title": "t", "dataset": "d", "recipe": "r", "protocol": "p", "training": "t", "methods": ["net"]}
    return Experiment.model_validate(keys | {"published": told} | changes)


def dataset(*, official: bool = True, cases: int | None = 10, **protocol: Any) -> Dataset:
    drawn = {"kind": "grouped_random", "test_fraction": 0.4, "validation_fraction": 0.1} | protocol
    drawn = {key: value for key, value in drawn.items() if value is not None}
    return Dataset.model_validate(
        {
            "title": "d",
            "dimensions": 3,
            "modality": "CT",
            "licence": "none",
            "labels": {1: "organ"},
            "channels": ["CT"],
            "published_cases": cases,
            "recipes": {"r": {}},
            "protocols": {"p": drawn | {"published": official, "source": "the paper"}},
        }
    )


def table(
    subject: Experiment | None = None, *, official: bool = True, **changes: Any
) -> dict[tuple[str, str], dict[str, Any]]:
    """(row, column) → row of the table."""
    given: dict[str, Any] = {
        "budget": ("paper", Budget(title="as published", published=official)),
        "data": dataset(),
        "summary": [{"undefined": 0 if row["label"] == 0 else 1, "seeds": 2} | row for row in SUMMARY],
        "aggregates": [],
        "split_cases": [10],
        "parameters": {"net": 500_100},
        "macs": {("net", (32, 32)): 104_000_000},
    }
    made = published.rows(subject or experiment(), **(given | changes))
    return {(row["row"], row["column"]): row for row in made}


def reasons(cell: tuple[str, str], *arguments: Any, **changes: Any) -> list[str]:
    return [text for text in table(*arguments, **changes)[cell]["reason"].split("; ") if text]


DICE = ("Net [1]", "Mean Dice")


def test_one_row_a_printed_cell_in_this_projects_units(tmp_path: Path) -> None:
    found = table()
    assert [cell for row, cell in found if row == "Other [2]"] == ["Mean Dice", "# params"]
    row = found[DICE]
    assert (row["published"], row["published_spread"]) == (pytest.approx(0.8), pytest.approx(0.02))
    assert (row["recomputed"], row["low"], row["high"], row["seeds"]) == (0.75, 0.7, 0.8, 2)
    assert row["difference"] == pytest.approx(-0.05)
    assert (row["comparable"], row["reason"], row["budget"]) == ("yes", "", "paper")
    assert found["Net [1]", "Organ HD95"]["recomputed"] == 7.5
    tables.write("published", list(found.values()), tmp_path / "published.csv")
    read = tables.read("published", tmp_path / "published.csv")
    assert list(read["comparable"]) == [row["comparable"] for row in found.values()]


def test_an_experiment_without_published_values_has_no_rows() -> None:
    assert table(experiment(published=None)) == {}


def test_counts_of_parameters_are_compared_under_any_budget_and_convention() -> None:
    cell = ("Net [1]", "# params")
    row = table(experiment(grid="prepared"), official=False)[cell]
    assert (row["published"], row["recomputed"], row["difference"]) == (500_000, 500_100, 100)
    assert (row["comparable"], row["aggregation"]) == ("yes", "none")
    assert reasons(cell, parameters={}) == ["no value was computed here"]


def test_multiply_accumulates_are_compared_at_a_stated_size_of_images() -> None:
    row = table(experiment(grid="prepared"), official=False)["Net [1]", "GFLOPs"]
    assert (row["published"], row["recomputed"]) == (1e8, 1.04e8)
    assert (row["comparable"], row["aggregation"], row["seeds"]) == ("yes", "none", 2)
    assert reasons(("Net [1]", "GFLOPs"), macs={}) == ["no value was computed here"]
    assert reasons(("Net [1]", "FLOPs")) == ["for which size of images is not known"]
    assert table()["Net [1]", "FLOPs"]["recomputed"] is None


def test_multiply_accumulates_are_counted_where_they_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    column = {"name": "GFLOPs", "metric": "macs", "scale": 1e9, "size": [256, 256]}
    told = {"paper": "p", "table": "t", "columns": [column], "convention": {}}
    rows = [{"name": "U-Net", "method": "unet", "cells": ["12"]}, {"name": "other", "cells": ["1"]}]
    keys = load.experiment("busi").model_dump() | {"published": told | {"rows": rows}}
    given = Experiment.model_validate(keys)
    # 12,071,206,912 of three channels and one class: two channels less at the first convolution, one class more
    counted = 12_071_206_912 - 256 * 256 * 2 * 32 * 9 + 256 * 256 * 32
    assert published.count_macs(given) == {("unet", (256, 256)): counted}
    with pytest.raises(ValueError, match="size is of a column of macs, this one is of dice"):
        Experiment.model_validate(keys | {"published": told | {"columns": [column | {"metric": "dice"}]}})


def test_what_is_not_measured_here_and_rows_that_nothing_answers_to() -> None:
    assert reasons(("Net [1]", "Time")) == ["times are those of another machine"]
    assert reasons(("Net [1]", "Rank")) == ["not measured here"]
    assert reasons(("Other [2]", "Mean Dice"), official=False) == [
        "taken from another paper",
        "no method of this project answers to this row yet",
    ]
    row = table()["Other [2]", "Mean Dice"]
    assert (row["method"], row["recomputed"], row["difference"], row["seeds"]) == ("", None, None, 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"official": False}, "budget paper is not the published one"),
        ({"data": dataset(official=False)}, "protocol p is not a published one"),
        ({"split_cases": [10, 8]}, "the data set is incomplete or another: 8 cases here, 10 published"),
        ({"subject": experiment(convention={"cases": 60})}, "4 cases are scored here, 60 in the paper"),
        ({"subject": experiment(grid="prepared")}, "grid is prepared here, native in the paper"),
        ({"subject": experiment(role="val")}, "role is val here, test in the paper"),
        (
            {"subject": experiment(convention={"checkpoint": "unknown"})},
            "the paper's checkpoint is not known",
        ),
        (
            {"subject": experiment(convention={"aggregation": "unknown"})},
            "how the paper averaged is not known",
        ),
        (
            {"subject": experiment(convention={"aggregation": "pooled"})},
            "averaged over cases here, computed from all cases pooled in the paper",
        ),
    ],
)
def test_every_difference_is_a_reason(changes: dict[str, Any], expected: str) -> None:
    assert reasons(DICE, changes.pop("subject", None), **changes) == [expected]


def test_all_reasons_are_given_together() -> None:
    found = reasons(DICE, experiment(role="val"), official=False, split_cases=[3])
    assert len(found) == 3


def test_a_protocol_that_takes_a_part_of_the_cases_is_not_measured_by_all_published() -> None:
    assert reasons(DICE, data=dataset(groups=["a"]), split_cases=[6]) == []
    assert reasons(DICE, data=dataset(cases=None), split_cases=[6]) == []


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ("voxel", ["the paper's distances are in voxel, these in mm"]),
        ("unknown", ["whether the paper's distances are in millimetres or voxels is not known"]),
        ("mm", []),
    ],
)
def test_units_of_distances(measured: str, expected: list[str]) -> None:
    assert reasons(("Net [1]", "Organ HD95"), experiment(convention={"hd95": measured})) == expected
    assert reasons(DICE, experiment(convention={"hd95": measured})) == []


def test_a_mean_by_another_aggregation_comes_from_its_table() -> None:
    subject = experiment(aggregation="pooled", convention={"aggregation": "pooled"})
    assert reasons(DICE, subject) == ["no value was computed here"]
    aggregates = [
        {"method": "net", "label": 0, "metric": "dice", "aggregation": name, "mean": mean}
        for name, mean in (("per_case", 0.1), ("pooled", 0.78))
    ]
    row = table(subject, aggregates=aggregates)[DICE]
    assert (row["recomputed"], row["low"], row["aggregation"], row["comparable"]) == (
        0.78,
        None,
        "pooled",
        "yes",
    )


def test_batches_of_another_size_are_another_mean() -> None:
    aggregates = [{"method": "net", "label": 0, "metric": "dice", "aggregation": "per_batch", "mean": 0.78}]
    for batch, expected in (
        (8, []),
        (4, ["averaged over batches of 8 images here, of 4 images in the paper"]),
        (None, ["averaged over batches of 8 images here, of an unknown size in the paper"]),
    ):
        told = {"aggregation": "per_batch", "batch": batch}
        subject = experiment(aggregation="per_batch", convention=told)
        assert reasons(DICE, subject, aggregates=aggregates) == expected


def test_means_over_folds_need_all_folds() -> None:
    data = dataset(kind="k_fold", folds=5, test_fraction=None)
    aggregates = [{"method": "net", "label": 0, "metric": "dice", "aggregation": "per_fold", "mean": 0.78}]
    for folds, expected in (("all", []), ([0, 1], ["2 of 5 folds are trained"])):
        subject = experiment(aggregation="per_fold", folds=folds, convention={"aggregation": "per_fold"})
        assert reasons(DICE, subject, data=data, aggregates=aggregates) == expected


def test_parameters_are_counted_in_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [layout.RunName("d", "r", "p", "net", "smoke", 0, seed) for seed in (0, 1)]
    tensors = {
        "conv.weight": np.zeros((4, 2, 3, 3), np.float32),
        "conv.bias": np.zeros(4, np.float32),
        "norm.running_mean": np.zeros(4, np.float32),
        "norm.num_batches_tracked": np.zeros((), np.int64),
        "table": np.zeros((7, 7), np.int64),
    }
    for run in runs:
        layout.run(run).mkdir(parents=True)
        save_file(tensors, layout.run(run) / "weights.safetensors")
    assert published.read_parameters(runs) == {"net": 76}
    save_file(tensors | {"more": np.zeros(1, np.float32)}, layout.run(runs[1]) / "weights.safetensors")
    with pytest.raises(SegtraceError, match="77 parameters, 76 in another run of net"):
        published.read_parameters(runs)
    (layout.run(runs[0]) / "weights.safetensors").unlink()
    with pytest.raises(SegtraceError, match=f"{runs[0]}/weights.safetensors: no sound weights"):
        published.read_parameters(runs)


def test_cases_of_a_split_are_read_from_its_gate(tmp_path: Path) -> None:
    folds = [{"train": 6, "val": 1, "test": 3, "leaks": 0}, {"train": 8, "val": 2}]
    files.write_json(tmp_path / "p.gate.json", {"split": {"folds": folds}})
    assert published.read_split_cases(tmp_path / "p.gate.json") == [10, 10]


# --- the command ------------------------------------------------------------------------------------

PRINTED: dict[str, Any] = {
    "paper": "p",
    "table": "Table 1",
    "columns": COLUMNS[:3],
    "rows": [{"name": "U-Net", "method": "unet", "cells": ["60.0", "7.25", "0.5"]}],
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> layout.RunName:
    """A project of one run: two cases, two labels, half of each label found; 400,000 parameters."""
    monkeypatch.chdir(tmp_path)
    toy_config.write(dimensions=3)
    path = Path("config/experiments/toy.yaml")
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"published": PRINTED}))
    run = layout.RunName("toy", "plain", "random", "unet", "smoke", 0, 0)
    counts = {"tp": 5, "fp": 5, "fn": 5, "tn": 85, "reason": ""}
    numbers = dict.fromkeys(schemas.METRICS, 0.5) | {"hd95_mm": 8.0, "worst_mm": 50.0, "worst_voxel": 50.0}
    tolerances = {"nsd_tolerance_mm": 1.0, "nsd_tolerance_voxel": float("nan")}
    keys = {**vars(run), **vars(layout.Variant())}
    scores = [
        keys | counts | numbers | tolerances | {"case": case, "label": label}
        for case in ("c0", "c1")
        for label in (1, 2)
    ]
    tables.write("scores", scores, layout.scores(run, layout.Variant()))
    fold = {"train": 3, "val": 1, "test": 2, "leaks": 0, "scored": "test", "shared": 0}
    told = {"protocol": "random", "words": "as drawn", "published": False, "folds": [fold], "leaks": []}
    files.write_json(layout.split_gate("toy", "random"), {"split": told})
    layout.run(run).mkdir(parents=True)
    save_file({"w": np.zeros((1000, 400), np.float32)}, layout.run(run) / "weights.safetensors")
    return run


def test_the_command_writes_the_table(project: layout.RunName) -> None:
    assert main(["compare", "toy"]) == 0
    found = tables.read("published", layout.results("toy") / "published.csv").set_index("column")
    assert found.loc["Mean Dice", "difference"] == pytest.approx(0.5 - 0.6)
    assert found.loc["Organ HD95", "recomputed"] == 8.0
    assert found.loc["# params", "recomputed"] == 400_000
    assert list(found["comparable"]) == ["no", "no", "yes"]
    assert found.loc["Mean Dice", "reason"] == (
        "budget smoke is not the published one; protocol random is not a published one"
    )


def test_weights_are_an_input_only_where_counts_are_printed(project: layout.RunName) -> None:
    job, config = jobs.Job("compare", "toy"), load.main_config()
    weights = layout.run(project) / "weights.safetensors"
    before = identity.inputs(job, config)
    assert list(before["weights"]) == [str(weights)]
    assert jobs.train(project) in jobs.upstream(job, config)
    save_file({"w": np.zeros((1000, 401), np.float32)}, weights)
    assert identity.inputs(job, config)["weights"] != before["weights"]
    path = Path("config/experiments/toy.yaml")
    rows = [PRINTED["rows"][0] | {"cells": ["60.0", "7.25", ""]}]
    path.write_text(
        yaml.safe_dump(yaml.safe_load(path.read_text()) | {"published": PRINTED | {"rows": rows}})
    )
    assert "weights" not in identity.inputs(job, config)
    assert jobs.train(project) not in jobs.upstream(job, config)
    weights.unlink()
    assert main(["compare", "toy"]) == 0
