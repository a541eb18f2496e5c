"""A page of a data set with regions: tables and charts of their own after the labels, named as regions."""

import re
from pathlib import Path

import pytest

import toy_paper
from segtrace import files, layout, tables
from segtrace.cli import main
from segtrace.config import load, models
from segtrace.report import export_sheets, methods_data, page, published, scores
from segtrace.report.subject import Subject

REGIONS = {
    "1001": {"name": "WT", "labels": [1, 2], "source": "the textbook"},
    "1002": {"name": "core", "labels": [2]},
}
SUMS = ("tp", "fp", "fn")


def add_regions(project) -> None:
    """Regions in the configuration, and their rows in the scores: the counts of both labels, and label 2 again."""
    path = Path("config/datasets/toy.yaml")
    files.write_json(path, {**files.read_json(path), "regions": REGIONS})
    for method in project.methods:
        rows = tables.read("scores", project.scores_path(method)).to_dict("records")
        by_case = {(row["case"], row["label"]): row for row in rows}
        for case in project.cases:
            one, two = by_case[case, 1], by_case[case, 2]
            union = {key: one[key] + two[key] for key in SUMS}
            tp, fp, fn = union.values()
            whole = {"tn": one["tn"] - two["tp"] - two["fp"] - two["fn"], "dice": 2 * tp / (2 * tp + fp + fn)}
            rows += [{**one, **union, **whole, "label": 1001}, {**two, "label": 1002}]
        tables.write("scores", rows, project.scores_path(method))


@pytest.fixture
def drawn(make_project) -> str:
    """A page with regions, without the files beside it; its numbers of labels are those of a page without."""
    project, made = make_project(cases=2), []
    for change in (lambda _: None, add_regions):
        change(project)
        assert main(["compare", "toy"]) == 0
        made.append(page.build(toy_paper.subject_of()))
    plain, text = made
    for label in (0, 1):
        parts = [one.split(f'data-label="{label}"')[1].split('data-label="')[0] for one in (plain, text)]
        assert parts[0] == parts[1]
    return text


def test_regions_have_sections_of_their_own_after_the_labels(
    drawn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = drawn
    assert re.findall(r'<h3 id="table-(\d+)">([^<]*)(?: <small>([^<]*)</small>)?</h3>', text) == [
        ("0", "Mean of labels", ""),
        ("1", "Organ", "label 1"),
        ("2", "Nodule", "label 2"),
        ("1001", "Region WT", "region 1001"),
        ("1002", "Region core", "region 1002"),
    ]
    told = (
        "The union of labels 1 (organ), 2 (nodule), scored as one mask; it is no part of the mean of labels."
    )
    assert f"<p>{told} Source: the textbook.</p>" in text
    assert text.count("it is no part of the mean of labels") == 2
    assert "<legend>Labels and regions</legend>" in text
    assert "<h3>Region WT, Dice</h3>" in text
    for chart in ("points-1001-dice", "blobs-1001-dice-aggregate_then_rank", "agreement-1001-alpha"):
        assert f'data-chart="{chart}"' in text, chart
    assert "region WT: the reference is empty in 0 of 2 cases" in text
    said = re.findall(r'<p class="said">.*?</p>', text, re.DOTALL)
    assert said  # pictures show labels, and say their Dice alone
    assert not [one for one in said if "1001" in one or "region" in one]
    subject = toy_paper.subject_of()
    sheet = export_sheets.summary(subject, scores.read(subject), 1001)
    assert sheet.title == "Summary, region WT"
    files.write_text(layout.report("toy"), text)
    capsys.readouterr()
    main(["explain", str(layout.report("toy")), "--row", "table-1001", "--json"])
    assert "method=alpha,label=1001,metric=dice" in capsys.readouterr().out


def dataset(**changes) -> models.Dataset:
    keys = {"title": "T", "dimensions": 3, "modality": "MR", "licence": "none", "channels": ["T1"]}
    labels = {1: "whole_organ", 2: "nodule"}
    return models.Dataset.model_validate(keys | {"labels": labels, "regions": REGIONS} | changes)


def subject_of(data: models.Dataset) -> Subject:
    keys = {"title": "t", "dataset": "d", "recipe": "default", "protocol": "default", "training": "t"}
    return Subject(
        name="e",
        experiment=models.Experiment.model_validate(keys | {"methods": ["m"]}),
        dataset=data,
        recipe=data.recipes["default"],
        protocol=data.protocols["default"],
        methods={},
        budget_name="b",
        budget=models.Budget(title="b"),
        seeds=(0,),
        runs=(),
        variant=layout.Variant(),
    )


def test_the_methods_text_says_what_regions_unite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def told(data: models.Dataset) -> str:
        return " ".join(str(part) for part in methods_data.data(subject_of(data), {}).sentences)

    found = told(dataset())
    assert "Beside the labels, and not in their mean, these regions are scored" in found
    assert "WT (union of whole organ and nodule; the textbook) and core (union of nodule)" in found
    assert "regions" not in told(dataset(regions={}))


def test_a_region_beside_a_single_label_leaves_that_label_the_main_one() -> None:
    subject = subject_of(dataset(labels={1: "organ"}, regions={1000: {"name": "all", "labels": [1]}}))
    assert subject.labels == {1: "organ", 1000: "region all"}
    assert subject.main_label == 1
    columns = [
        published.Column.model_validate({"name": "c", "metric": "dice", "label": n}) for n in (0, 1, 1000)
    ]
    words = [published.what(subject, column) for column in columns]
    assert words == ["Dice of organ", "Dice of organ", "Dice of region all"]


def test_names_that_begin_a_line() -> None:
    assert [page.titled(name) for name in ("left lung", "LV", "region WT")] == [
        "Left lung",
        "Lv",
        "Region WT",
    ]


def test_the_published_table_of_brats_names_labels_alone() -> None:
    given = load.experiment("dsd_table2").published
    assert given is not None
    assert {column.label for column in given.columns} == {0, 1, 2, 3}
    assert any("true regions" in note for note in given.convention.notes)
