"""How methods stand to each other on the page: best, pairs, ranks, intervals, averages, chains."""

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segtrace import files, layout, tables
from segtrace.cli import main
from segtrace.config import load, runs
from segtrace.report import compared
from segtrace.report.chains import of_method, of_run
from segtrace.report.page import build
from segtrace.report.scores import Results
from segtrace.report.subject import Subject

NAMES = {0: "mean", 1: "organ", 2: "nodule"}
SMALL = "Only 4 cases: an interval of so few is not to be trusted."


@pytest.fixture(autouse=True)
def no_library(monkeypatch):
    """The drawing library takes a second to bundle, and no test here draws."""
    from segtrace.report import charts

    monkeypatch.setattr(charts, "library", lambda: "window.vegaEmbed = null;")


def fill_tables(methods: tuple[str, ...], *, p: float = 0.2, metrics: tuple[str, ...] = ("dice", "hd95_mm")):
    """Rows of the toy experiment's tables of comparisons, made up: every pair with the same p-values."""
    folder = layout.results("toy")
    summary = tables.read("summary", folder / "summary.csv")
    means = {(r.method, r.label, r.metric): r.mean for r in summary.itertuples()}
    cells = [(label, name, metric) for label, name in NAMES.items() for metric in metrics]
    about = {"cases": 4, "note": SMALL}
    pairs = [(a, b) for i, a in enumerate(methods) for b in methods[i + 1 :]]
    tests, ranks, intervals, aggregates = [], [], [], []
    for label, name, metric in cells:
        cell = {"label": label, "label_name": name, "metric": metric}
        for first, second in pairs:
            difference = means[first, label, metric] - means[second, label, metric]
            row = {**cell, **about, "first": first, "second": second, "dropped": 0, "difference": difference}
            row |= {"low": difference - 0.25, "high": difference + 0.25, "wins": 3, "losses": 1, "ties": 0}
            row |= {"permutation": "exact", "permutation_p": p / 3, "permutation_holm": p}
            row |= {"wilcoxon": "none", "wilcoxon_p": math.nan, "wilcoxon_holm": math.nan}
            tests.append(row | {"cohens_dz": 0.375, "rank_biserial": -0.625})
        for place, method in enumerate(methods, 1):
            mine = {**cell, "method": method}
            for scheme in compared.SCHEMES if len(methods) > 1 else ():
                row = {**mine, **about, "scheme": scheme, "rank": float(place), "statistic": 0.5}
                row |= {"mean_rank": place + 0.25, "low": 1.0, "high": 2.0, "first": 0.75, "samples": 1000}
                ranks.append(row | {"frequencies": "{}", "tau": 0.5, "tau_low": 0.0, "tau_high": 1.0})
            for kind, half in (("bca", 0.0625), ("percentile", 0.125)):
                mean = means[method, label, metric]
                ends = {"mean": mean, "low": mean - half, "high": mean + half}
                intervals.append({**mine, **about, "kind": kind, "level": 0.95, "seeds": 1, **ends})
            if metric == "dice":
                for way, batch, units in (("per_case", 0, 4), ("per_batch", 2, 2), ("pooled", 0, 4)):
                    row = {**mine, "aggregation": way, "batch": batch, "units": units, "note": ""}
                    spread = math.nan if way == "pooled" else 0.03125
                    aggregates.append(row | {"mean": 0.4375, "sd": spread})
    missing = [{"method": methods[0], "fold": 0, "seed": 0, "case": "case_001", "what": "no prediction"}]
    made: dict[str, list[dict[str, Any]]] = {
        "tests": tests,
        "ranks": ranks,
        "intervals": intervals,
        "aggregates": aggregates,
        "missing": missing,
    }
    for table, rows in made.items():
        tables.write(table, rows, folder / f"{table}.csv")


def page(*, fill: dict[str, Any] | None = None, methods: tuple[str, ...] = ("alpha", "beta")) -> str:
    """The toy project's page, with tables of comparisons that are made up, or empty."""
    assert main(["compare", "toy"]) == 0
    if fill is None:
        for table in ("tests", "ranks", "intervals", "aggregates", "missing"):
            tables.write(table, [], layout.results("toy") / f"{table}.csv")
    else:
        fill_tables(methods, **fill)
    return build(toy())


def toy() -> Subject:
    """The toy experiment, resolved: the page alone is made of it, without the files beside it."""
    config, experiment = load.main_config({}), load.experiment("toy")
    dataset = load.dataset("toy")
    return Subject(
        name="toy",
        experiment=experiment,
        dataset=dataset,
        recipe=dataset.recipes["r"],
        protocol=dataset.protocols["p"],
        methods={method: load.method(method) for method in experiment.methods},
        budget_name=config.budget,
        budget=load.load("budgets", config.budget),
        seeds=tuple(config.seeds),
        runs=tuple(runs.runs_of("toy", budget=config.budget, seeds=config.seeds)),
        variant=runs.variant_of(experiment),
    )


def words(text: str) -> str:
    """What a reader reads, without scripts."""
    text = re.sub(r"<(script|style).*?</\1>", " ", text, flags=re.S)
    text = re.sub(r"<[^>]*>", " ", text).replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">")
    return " ".join(text.split())


def cells_of(text: str, method: str, *, table: str = "0") -> list[str]:
    """The cells of a method's row in a summary table, in words."""
    body = text.split(f'aria-labelledby="table-{table}"')[1].split("</table>")[0]
    row = body.split(f'<tr data-methods="{method}">')[1].split("</tr>")[0]
    return [words(cell) for cell in re.findall(r"<td.*?</td>", row, re.S)]


def test_the_best_of_a_column_is_said_in_words_and_so_is_what_chance_can_explain(make_project):
    make_project(pictures=False)
    text = page(fill={"p": 0.2})
    dice, _, distance = cells_of(text, "alpha")
    assert " best rank 1 (1 to 2)" in dice
    assert " best rank 1 (1 to 2)" in distance
    dice, iou, distance = cells_of(text, "beta")
    assert "not distinguishable from the best rank 2 (1 to 2)" in dice
    assert "best" not in iou  # of IoU there is no test here
    assert "not distinguishable from the best" in distance


def test_a_method_that_the_test_separates_is_not_called_undistinguishable(make_project):
    make_project(pictures=False)
    assert "distinguishable" not in "".join(cells_of(page(fill={"p": 0.0499}), "beta"))
    assert "distinguishable" in "".join(cells_of(page(fill={"p": 0.05}), "beta"))
    assert "not tested against the best" in "".join(cells_of(page(fill={"p": math.nan}), "beta"))


def test_pairs_ranks_intervals_and_averages_unfold(make_project):
    make_project(pictures=False)
    text = page(fill={"p": 0.0003})
    read = words(text)
    rows = tables.read("tests", layout.results("toy") / "tests.csv")
    row = rows[(rows.label == 1) & (rows.metric == "dice")].iloc[0]
    ends = f"{row.low:+.3f} to {row.high:+.3f}"
    assert f"alpha − beta Dice {row.difference:+.3f} {ends} < 0.001 uncorrected < 0.001, exact –" in read
    assert "+0.38 -0.62 3 / 1 / 0 of 4 cases" in read
    assert "1 1 to 2 in 95 % of the samples first in 75%" in read
    assert "per batch 0.438 ± 0.031 over 2 batches" in read
    assert "pooled 0.438 over 4 cases" in read
    assert "A batch here: 2 images." in read
    section = text.split('<section id="results"')[1].split("</section>")[0]
    assert words(section).count(SMALL) == len(NAMES)  # once a label
    assert "1 missing prediction, run by run" in read
    assert "alpha, fold 0, seed 0: case_001 (no prediction)" in read
    assert 'data-column="difference"' in text
    assert "label=1,metric=dice,first=alpha,second=beta" in text


def test_one_method_has_nothing_to_compare(make_project):
    make_project(pictures=False, methods=("alpha",))
    for fill in (None, {}):
        read = words(page(fill=fill, methods=("alpha",)))
        assert read.count("One method: nothing to compare.") == len(NAMES)
        assert "Best is the best mean" not in read
        assert "paired differences" not in read


def test_tables_without_rows_are_said_to_have_none(make_project):
    make_project(pictures=False)
    read = words(page())
    assert read.count("The tables hold no paired tests of this label.") == len(NAMES)
    assert "missing prediction" not in read
    assert " best " in " ".join(cells_of(page(), "alpha")) + " "


def test_empty_masks_are_counted(make_project):
    project = make_project(pictures=False)
    read = words(page())
    absent = sum(not (project.references[case] == 2).any() for case in project.cases)
    assert absent == 1
    expected = (
        "nodule: the reference is empty in 1 of 4 cases; empty predictions: 1 of 4 of alpha, 1 of 4 of beta"
    )
    assert expected in read


# --- chains -------------------------------------------------------------------------------------------


def test_every_mean_links_to_its_chain_and_every_fragment_has_its_target(make_project):
    make_project(pictures=False, seeds=(0, 1))
    text = page(fill={})
    identifiers = set(re.findall(r'\sid="([^"]+)"', text))
    fragments = set(re.findall(r'href="#([^"]+)"', text))
    assert fragments <= identifiers
    assert {of_run(m, 0, s) for m in ("alpha", "beta") for s in (0, 1)} <= identifiers
    assert {"gate-raw", "gate-prepared", "gate-split", "chain-data"} <= fragments
    summary = tables.read("summary", layout.results("toy") / "summary.csv")
    for row in summary.itertuples():
        named = f'href="#{of_method(row.method)}" data-row="method={row.method},label={row.label},metric={row.metric}"'
        assert (named in text) == (row.mean == row.mean), named


def test_the_commands_of_links_find_the_number_that_is_shown(make_project):
    from segtrace.trace import cells

    make_project(pictures=False)
    text = page(fill={})
    links = re.findall(r'<a class="number" href="#[^"]+" data-row="([^"]+)"([^>]*)>([^<]+)</a>', text)
    assert len(links) > 60
    for row, rest, shown in links:
        more = dict(re.findall(r'data-(table|column)="([^"]+)"', rest))
        table, column = more.get("table", "summary"), more.get("column", "mean")
        named = cells.select(layout.results("toy") / f"{table}.csv", row=row, column=column)
        number = re.match(r"[-+0-9.]+", shown).group()
        decimals = len(number.partition(".")[2])
        assert f"{float(named.value):.{decimals}f}" == f"{float(number):.{decimals}f}", (row, column)


def test_chains_have_the_checksums_of_the_records(make_project):
    project = make_project(pictures=False)
    run = project.run_name("alpha")
    weights = layout.run(run) / "weights.safetensors"
    records = {weights: "1" * 64, layout.predictions(run, layout.Variant()) / "predictions.csv": "2" * 64}
    records[layout.split("toy", "p")] = "3" * 64
    for path, sha256 in records.items():
        record = {"sha256": sha256, "inputs": {"weights": "1" * 64}}
        files.write_json(path.with_name(path.name + ".prov.json"), record)
    text = page()
    read = words(text)
    for path, sha256 in records.items():
        assert f"{path} sha256 {sha256}" in read
    scores = project.scores_path("beta")
    assert f"{scores} sha256 {files.sha256_file(scores)}" in read
    assert f"archive: toy.zip sha256 {'9' * 64}" in read
    assert f"{layout.cases('toy')} (no record of it on this machine)" in read
    assert "made with other weights" not in read
    record = {"sha256": "4" * 64, "inputs": {"weights": "1" * 64}}
    files.write_json(weights.with_name(weights.name + ".prov.json"), record)
    assert f"the predictions were made with other weights: sha256 {'1' * 64}" in words(page())


# --- nothing is typed in ------------------------------------------------------------------------------

#: Numbers as a page's tables show them.
NUMBER = re.compile(r"(?<![\w.-])[-+]?\d+\.\d+(?![\w.])")


def test_every_number_of_the_tables_stands_in_a_table(make_project):
    make_project(pictures=False, seeds=(0, 1))
    text = page(fill={})
    known: dict[int, set[str]] = {decimals: set() for decimals in range(1, 6)}
    for name in ("summary", "tests", "ranks", "intervals", "aggregates"):
        table = tables.read(name, layout.results("toy") / f"{name}.csv")
        for value in table.select_dtypes("number").to_numpy().ravel():
            for decimals in known:
                known[decimals].add(f"{value:.{decimals}f}")
    section = text.split('<section id="results"')[1].split("</section>")[0]
    parts = re.findall(r"<table.*?</table>", section, re.S)
    shown = [number for part in parts for number in NUMBER.findall(words(part))]
    assert len(shown) > 200
    for number in shown:
        assert number.lstrip("+") in known[len(number.partition(".")[2])], number


def numbers_of_cells(text: str) -> dict[tuple[str, str], str]:
    """(row, column) as the page's links name them → the whole cell in words."""
    found = {}
    for part in re.findall(r"<td data-order=.*?</td>", text, re.S):
        named = re.search(r'data-row="([^"]+)"', part)
        if named:
            title = re.search(r'title="([^"]*)"', part)
            found[named.group(1)] = words(part) + (title.group(1) if title else "")
    return found


def test_a_changed_score_changes_the_numbers_that_depend_on_it_and_no_other(make_project):
    project = make_project(pictures=False, seeds=(0, 1))
    before = numbers_of_cells(page())
    path = project.scores_path("alpha", 1)
    scores = tables.read("scores", path)
    place = scores[(scores.case == "case_002") & (scores.label == 1)].index[0]
    assert scores.loc[place, "dice"] < 0.9
    scores.loc[place, "dice"] = 0.999
    tables.write("scores", scores, path)
    after = numbers_of_cells(page())
    assert before.keys() == after.keys()
    changed = {row for row in before if before[row] != after[row]}
    summary = [row for row in before if row.startswith("method=")]
    depends = {f"method=alpha,label={label},metric=dice" for label in (0, 1)}
    assert changed & set(summary) == depends


def test_the_chain_of_a_page_holds_no_machine_path(make_project):
    make_project(pictures=False)
    text = page(fill={})
    assert str(Path.cwd()) not in text


def test_words_of_numbers():
    assert compared.p_value(0.00049) == "< 0.001"
    assert (compared.p_value(0.0496), compared.p_value(1.0), compared.p_value(math.nan)) == (
        "0.050",
        "1.000",
        "–",
    )
    assert (compared.signed(0.5, 2), compared.signed(-0.125, 1), compared.signed(math.nan, 2)) == (
        "+0.50",
        "-0.1",
        "–",
    )
    rows = [{"note": "b"}, {"note": ""}, {"note": "a"}, {"note": "b"}]
    assert compared.notes(rows) == ["b", "a"]
    assert json.dumps(compared.AVERAGES)
    assert pytest.approx(compared.LEVEL) == 0.05


def test_notes_say_of_which_metrics_and_methods_they_speak():
    cells = [(method, metric) for method in ("a", "b") for metric in ("dice", "hd_mm", "hd95_voxel")]
    summary = [{"metric": metric, "cases": 9} for metric in ("dice", "hd_mm")]
    small, alone = "The sample is small (9 cases).", "One training a method."
    told = {("a", "hd_mm"): f"The values are skewed (4.6). {alone}"}
    rows = [
        {"method": method, "metric": metric, "label": 1, "note": told.get((method, metric), alone)}
        for method, metric in cells
    ]
    ranks = [row | {"note": "the sample is small (9 cases); 1 case is left out"} for row in rows]
    tests = [{"first": "a", "second": "b", "metric": "hd_mm", "label": 1, "note": small}]
    # of HD95 in voxels no case has a value: it is not on the page
    for row in rows:
        row["note"] = "No case has a value." if row["metric"] == "hd95_voxel" else row["note"]
    tests.append(tests[0] | {"metric": "dice", "note": "Both methods have the same value in every case."})
    more = {"intervals": rows, "tests": tests, "ranks": ranks}
    subject = SimpleNamespace(dataset=SimpleNamespace(dimensions=3))
    found = compared.label_notes(
        subject, Results(summary=summary, scores=[], values=[], notes=[], split={}, more=more), 1
    )
    assert found == [
        "One training a method.",
        "HD (mm), a: the values are skewed (4.6).",
        "Differences in Dice: both methods have the same value in every case.",
        "The sample is small (9 cases).",
        "1 case is left out.",
    ]
