"""Drops of Dice under corruptions: by hand, missing cases, refused scores, the page and its chains."""

import csv
import json
import re
from pathlib import Path

import pytest
import yaml

from score_rows import row
from segtrace import aggregation, files, layout, tables
from segtrace.cli import main
from segtrace.compare import intervals, robustness
from segtrace.config import load
from segtrace.trace import cells, jobs
from segtrace.trace.explain import pages
from segtrace.trace.explain.facts import Facts
from segtrace.trace.reproduce import recompute

LOST = {"dice": 0.0, "iou": 0.0, "reason": aggregation.PREDICTION_MISSING}
#: (method, case) → correct pixels of ten, on clean images and under noise; None: no prediction.
CLEAN = {("a", "c0"): 8, ("a", "c1"): 6, ("a", "c2"): 9, ("b", "c0"): 10, ("b", "c1"): 5, ("b", "c2"): 7}
NOISY = CLEAN | {("a", "c0"): 4, ("a", "c1"): 5, ("b", "c0"): None, ("b", "c1"): 6}
NAMES = {0: "mean", 1: "lesion"}


def score(found, seed=0, **changes):
    made = []
    for (method, case), n in found.items():
        lost = LOST if n is None else {}
        counts = {"tp": n or 0, "fp": 10 - n if n else 0, "fn": 10 - (n or 0)}
        made.append(row(method, case, 1, seed=seed, **counts, **lost, **changes))
    return made


def values(rows):
    return aggregation.values_of_cells(rows, methods=["a", "b"], labels=[1])


def test_drops_are_of_the_cases_one_by_one():
    found = robustness.rows(values(score(CLEAN)), {"noise_0.5": values(score(NOISY))}, labels=NAMES)
    tables.check("robustness", tables.frame("robustness", found), where="test")
    assert [(r["method"], r["label"]) for r in found] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    first, other = found[1], found[3]
    assert (first["corruption"], first["strength"], first["cases"]) == ("noise", 0.5, 3)
    assert first["clean"] == pytest.approx(23 / 30)
    assert first["mean"] == pytest.approx(18 / 30)
    assert first["drop"] == pytest.approx(5 / 30)
    assert other["drop"] == pytest.approx(
        (1.0 - 0.1 + 0) / 3
    )  # the missing one counts as worst, one is better
    assert (first["missing"], other["missing"]) == (0, 1)
    ends = intervals.of_cases({"a": [0.8 - 0.4, 0.6 - 0.5, 0.0]})
    assert (first["low"], first["high"]) == pytest.approx(ends["a", "bca"])
    assert "3 cases" in first["note"]


def test_a_case_is_the_mean_over_its_runs_before_it_drops():
    two = score(CLEAN) + score(dict.fromkeys(CLEAN, 2), seed=1)
    (found, *_) = robustness.rows(values(two), {"blur_1": values(score(NOISY))}, labels=NAMES)
    assert found["clean"] == pytest.approx((8 + 6 + 9 + 3 * 2) / 60)
    assert robustness.rows(values(two), {}, labels=NAMES) == []


@pytest.fixture
def project(make_project):
    """The report's project, asked for two corruptions, of which the scores are made from the clean ones."""
    made = make_project(shape=(20, 24), pictures=False)
    path = Path("config/experiments/toy.yaml")
    wanted = {"corruptions": {"scale": [0.5], "noise": [0.1]}}
    path.write_text(yaml.safe_dump(json.loads(path.read_text()) | wanted, sort_keys=False))
    for method in made.methods:
        for name, lost in (("scale_0.5", 2), ("noise_0.1", 1)):
            _corrupt(made, method, name, lost)
    return made


def _corrupt(made, method, name, lost):
    """Scores like the clean ones, with so many voxels less found."""
    clean, variant = tables.read("scores", made.scores_path(method)), layout.Variant(corruption=name)
    rows = clean.assign(corruption=name)
    moved = rows["tp"].clip(upper=lost)
    rows["tp"], rows["fn"] = rows["tp"] - moved, rows["fn"] + moved
    total = 2 * rows["tp"] + rows["fp"] + rows["fn"]
    rows["dice"] = (2 * rows["tp"] / total).where(total > 0, 1.0)
    tables.write("scores", rows, layout.scores(made.run_name(method), variant))


def read():
    with (layout.results("toy") / "robustness.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_corruptions_add_one_table_and_change_no_other(project):
    assert main(["compare", "toy"]) == 0
    texts = {
        path.name: path.read_bytes() for path in layout.results("toy").iterdir() if "prov" not in path.name
    }
    assert len(read()) == 2 * 2 * 3
    path = Path("config/experiments/toy.yaml")
    path.write_text(
        yaml.safe_dump({k: v for k, v in yaml.safe_load(path.read_text()).items() if k != "corruptions"})
    )
    assert main(["compare", "toy"]) == 0
    assert read() == []
    again = {
        path.name: path.read_bytes() for path in layout.results("toy").iterdir() if "prov" not in path.name
    }
    assert [name for name in texts if texts[name] != again[name]] == ["robustness.csv"]


def test_scores_that_lack_a_corruption_or_are_of_other_cases_are_refused(project, capsys):
    path = layout.scores(project.run_name("beta"), layout.Variant(corruption="noise_0.1"))
    rows = tables.read("scores", path)
    tables.write("scores", rows[rows["case"] != "case_001"], path)
    assert main(["compare", "toy"]) == 1
    told = capsys.readouterr().err
    assert (
        "scores under the corruption noise_0.1 are not of the cases and references of the clean ones" in told
    )
    assert "beta, fold 0, seed 0: case case_001, label 1" in told
    tables.write("scores", rows.assign(fn=rows["fn"] + 1), path)
    assert main(["compare", "toy"]) == 1
    assert "reference voxels are" in capsys.readouterr().err
    path.unlink()
    assert main(["compare", "toy"]) == 1
    assert "test-last-native-noise_0.1" in capsys.readouterr().err


def test_the_jobs_and_the_record_are_those_of_every_corruption(project):
    config = load.main_config()
    made = jobs.corrupted("toy", config)
    assert [str(jobs.variant_of(job)) for job in made[::2]] == [
        "test-last-native-scale_0.5",
        "test-last-native-noise_0.1",
    ]
    every = jobs.above([jobs.Job("report", "toy")], config)
    assert sum(job.phase == "predict" for job in every) == 6
    assert main(["compare", "toy"]) == 0
    recorded = files.read_json(layout.results("toy") / "robustness.csv.prov.json")["inputs"]["corrupted"]
    assert sorted(recorded) == sorted(str(jobs.outputs(job)[0]) for job in made)
    assert all(path for path in recorded.values())


def test_a_drop_is_computed_again_and_walked_to_both_scores(project, capsys):
    assert main(["compare", "toy"]) == 0
    capsys.readouterr()
    main(["explain", "results/toy/robustness.csv", "--json"])
    assert json.loads(capsys.readouterr().out)["recomputed"]["equal"]
    keys = "method=beta,corruption=scale,strength=0.5,label=organ"
    main(["explain", "results/toy/robustness.csv", "--row", keys, "--column", "drop", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["recomputed"] == {"cells": 1, "equal": True, "differences": []}
    assert len(found["cases"]) == 4
    assert (
        "dice on the clean image − that under scale of strength 0.5 (factor of the number of voxels"
        in found["how"][0]
    )
    variants = [step["job"].rpartition("/")[2] for step in found["steps"] if step["phase"] == "score"]
    assert sorted(variants) == ["test-last-native-none", "test-last-native-scale_0.5"]
    path = Path("results/toy/robustness.csv")
    path.write_text(path.read_text().replace(",organ,dice,4,0,", ",organ,dice,5,0,"))
    main(["explain", "results/toy/robustness.csv", "--row", keys, "--column", "cases", "--json"])
    assert not json.loads(capsys.readouterr().out)["recomputed"]["equal"]


def test_a_drop_is_recomputed_with_its_own_corruption_alone(project, tmp_path):
    assert main(["compare", "toy"]) == 0
    for table, chosen, wanted in (
        ("robustness", "method=beta,corruption=noise,strength=0.1,label=1", {"noise": [0.1]}),
        ("summary", "method=beta,label=1,metric=dice", None),
    ):
        cell = cells.select(f"results/toy/{table}.csv", row=chosen, column="mean")
        plan = recompute.Plan(cell, "toy", (project.run_name("beta"),), layout.Variant(), load.main_config())
        folder = tmp_path / table
        recompute._reduce(plan, folder)
        assert yaml.safe_load((folder / "experiments/toy.yaml").read_text()).get("corruptions") == wanted


def test_the_page_has_a_chart_a_corruption_and_a_linked_table_a_label(project):
    assert main(["compare", "toy"]) == 0
    assert main(["report", "toy"]) == 0
    page = Path("reports/toy/index.html")
    text = page.read_text()
    section = text[text.index('<section id="robustness"') :].split("</section>")[0]
    links = set(re.findall(r'data-row="([^"]+)" data-table="robustness" data-column="drop"', section))
    assert links == {
        f"method={r['method']},corruption={r['corruption']},strength={r['strength']},label={r['label']}"
        for r in read()
    }
    names = {element.name: element for element in pages.elements(page)}
    assert {"robustness-scale", "robustness-noise", "drops-0", "drops-1", "drops-2"} <= set(names)
    facts = Facts(load.main_config())
    for name, count in (("robustness-noise", 2), ("drops-1", 4)):
        source = pages.source(names[name], "toy", facts)
        assert (source.files, len(source.numbers)) == (["results/toy/robustness.csv"], count)
    for kind in ("scale", "noise"):
        assert "<svg" in (page.parent / f"figures/robustness/robustness-{kind}.svg").read_text()
