"""The page: everything on it comes from files, nothing on it loads or runs anything foreign."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from segtrace import files, layout, tables
from segtrace.cli import main
from segtrace.report import charts

LOADING = {"src", "srcset", "poster", "data", "action", "background"}


class Page(HTMLParser):
    """Elements and text of a page, scripts apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, {key: value or "" for key, value in attributes}))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def make_page() -> str:
    assert main(["compare", "toy"]) == 0
    assert main(["report", "toy"]) == 0
    return layout.report("toy").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def built(tmp_path_factory, project_type):
    """A page of two methods, two seeds and four cases, made once for the tests that only read it."""
    from segtrace import datasets

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        project = project_type(seeds=(0, 1))
        patch.setattr(datasets, "reader", project.reader)
        text = make_page()
        summary = tables.read("summary", layout.results("toy") / "summary.csv")
        sha256 = files.sha256_file(layout.results("toy") / "summary.csv")
        again, drawn = make_page(), project.charts()
    return SimpleNamespace(
        project=project,
        text=text,
        page=Page(text),
        summary=summary,
        sha256=sha256,
        again=again,
        charts=drawn,
    )


def test_page_shows_every_method_label_and_case(built):
    project, page = built.project, built.page
    for name in (*project.methods, "The method alpha", "Organ", "Nodule", "Mean of labels", "Budget: smoke"):
        assert name in page.text, name
    drawn = {
        a["data-chart"]: json.loads(s)
        for a, s in zip(page.all("script"), page.scripts, strict=True)
        if "data-chart" in a
    }
    assert set(drawn) == built.charts
    assert sorted(set(drawn["points-0-dice"]["rows"]["case"])) == project.cases
    assert len(drawn["points-1-dice"]["rows"]["case"]) == len(project.cases) * len(project.methods)
    assert len(set(drawn["curve-loss"]["rows"]["run"])) == 4
    places = [figure["id"] for figure in page.all("div") if figure.get("class") == "chart"]
    assert sorted(places) == sorted(drawn)
    unfolding = [a["data-values"] for a in page.all("details") if "data-values" in a]
    assert sorted(unfolding) == sorted(drawn)  # each chart has its numbers beside it
    for chart in drawn.values():
        assert chart["spec"]["description"]
        assert {field for field, _ in chart["columns"]} <= set(chart["rows"])
    # read in the order of the builder, though keys are sorted
    assert [field for field, _ in drawn["curve-loss"]["columns"]] == ["run", "epoch", "loss"]
    assert "#cost" not in built.text  # neither networks nor times are known


def test_page_shows_the_summary_and_the_constant_prediction(built):
    page, summary = built.page, built.summary
    for row in summary[summary.metric == "dice"].itertuples():
        assert f"{row.mean:.3f} ± {row.sd:.3f}" in page.text
        assert f"{row.constant:.3f}" in page.text
    distance = summary[(summary.metric == "hd95_mm") & (summary.as_worst > 0)].iloc[0]
    spread = (
        rf"{distance['mean']:.2f} ± {distance['sd']:.2f}( [\d.]+ to [\d.]+)? {distance.as_worst} as worst"
    )
    assert re.search(spread, page.text)


def test_dice_iou_and_hd95_are_shown_and_the_other_metrics_unfold(built):
    text = built.text
    tables_of = re.findall(
        r"(<details>\n<summary id=\"more-\d\">.*?)?<table class=\"sortable numbers\" data-filtered>(.*?)</thead>",
        text,
        re.S,
    )
    headings = [re.findall(r"<button type=\"button\">([^<]*?) ?<", head) for _, head in tables_of]
    first = ["Method", "Dice", "IoU", "HD95 (mm)"]
    others = ["HD95 (voxels)", "NSD", "ASSD (mm)", "ASSD (voxels)", "HD (mm)", "HD (voxels)"]
    more = ["Method", *others, "Precision", "Recall", "Accuracy"]
    assert headings == [first, more] * 3  # the mean and two labels
    assert [bool(opened) for opened, _ in tables_of] == [False, True] * 3
    assert "The tolerance of NSD is 1.5 mm." in built.page.text
    for metric, decimals in (("nsd", 3), ("assd_mm", 2), ("hd_voxel", 2)):
        for row in built.summary[built.summary.metric == metric].itertuples():
            assert f"{row.mean:.{decimals}f} ± {row.sd:.{decimals}f}" in built.page.text


def test_page_says_what_was_run(built):
    page = built.page
    expected = (
        "case_999: broken <file>",
        "case_001.nii.gz",
        "second mask resized",
        "components of nodule at most 3 7 judged, 1 failed: case_001 (5) failed",
        "number of cases 1 to 9 7 passed",
        "processor toy processor",
        "segtrace train toy/r/p/beta/smoke/fold-0_seed-0",
        "snakemake --cores 2 --config experiments=toy budget=smoke seeds=0,1",
        "data/prepared/toy/r/gate.json is not on this machine",
        "4 cases, 4 subjects",
        "It changes nothing of the training recipe, but is not marked as published",
        built.sha256,
    )
    for words in expected:
        assert words in page.text, words


def test_page_says_which_split_was_used(built):
    text = " ".join(built.page.text.split())
    assert "protocol p , not a published one: random split of whole groups" in text
    assert "No subject and no duplicate lies on two sides." in text
    tables_of = [
        a for a in built.page.all("table") if "numbers" in a.get("class", "") and "data-filtered" in a
    ]
    assert text.count("Protocol p; no leaks") == len(tables_of)


def test_leaks_of_a_published_split_reach_table_and_gates(make_project):
    make_project(leaks=3)
    text = " ".join(Page(make_page()).text.split())
    assert "protocol p , published" in text
    assert "3 leaks: subjects, identical images or near-duplicates lie on two sides of this split" in text
    assert "3 of the scored cases have one in training" in text
    assert "Protocol p, published; 3 leaks" in text
    assert "fold 0: subject s2 lies in train: a; test: <b>" in text


def test_input_as_published_is_said_at_every_table(make_project):
    make_project()
    clean = " ".join(Page(make_page()).text.split())
    assert "Protocol p; no leaks; input by recipe r" in clean
    assert "as published" not in clean.split("Protocol p; no leaks; input by recipe r")[1][:40]
    path = Path("config/datasets/toy.yaml")
    data = json.loads(path.read_text())
    data["recipes"]["r"]["faults"] = ["grey is <divided> twice"]
    path.write_text(json.dumps(data))
    text = " ".join(Page(make_page()).text.split())
    caption = "input by recipe r, as published with its faults"
    assert text.count(caption) == clean.count("input by recipe r") > 0
    assert (
        "Input as published: the recipe r keeps what is wrong in the published program. grey is <divided> twice."
        in text
    )
    assert "It keeps what is wrong there: grey is <divided> twice" in text


def test_gates_are_drawn_from_their_files_alone(built):
    text = " ".join(built.page.text.split())
    assert "Failed : 1 of 2 expectations met" in text
    assert "Passed : 1 of 1 expectation met" in text
    assert "fold 0, test: fraction of the cases 0.25 to 0.75 0.5 passed" in text
    rows = built.text.index("components of nodule"), built.text.index("number of cases")
    assert rows[0] < rows[1]  # what fails comes first
    links = [a["href"] for a in built.page.all("a") if "gates/" in a.get("href", "")]
    docs = ("index", "validate-r", "split-p")
    assert links == [f"../gates/toy/{name}/index.html" for name in docs]
    assert text.count("load scripts from public networks") == 3


def test_page_loads_nothing(built):
    page = built.page
    for tag, attributes in page.elements:
        for key in LOADING & set(attributes):
            assert attributes[key].startswith("data:"), (tag, key)
        assert tag not in {"link", "iframe", "object", "embed", "base", "form", "audio", "video"}
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    run = [
        s
        for a, s in zip(page.all("script"), page.scripts, strict=True)
        if a.get("type") != "application/json"
    ]
    assert len(run) == 3  # colours before anything is shown, the library, the rest
    for script in run:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_page_has_language_title_landmarks_and_texts_for_pictures(built):
    project, page = built.project, built.page
    assert page.all("html")[0]["lang"] == "en"
    tags = [tag for tag, _ in page.elements]
    for tag in ("title", "header", "nav", "main", "footer", "h1"):
        assert tags.count(tag) == 1, tag
    pictures = [a["alt"] for a in page.all("img") if not a["alt"].startswith("Surfaces")]
    assert len(pictures) == 3 * 3 * len(project.methods)  # best, median, worst; three planes
    assert all("Dice organ" in picture for picture in pictures)
    assert all(a.get("aria-label") for a in page.all("svg") if a.get("role") == "img")
    assert any("data-viewer" in attributes for _, attributes in page.elements)
    assert any("data-slice" in attributes for _, attributes in page.elements)
    identifiers = [a["id"] for _, a in page.elements if "id" in a]
    assert len(identifiers) == len(set(identifiers))


def test_same_inputs_give_the_same_bytes(built):
    assert built.again == built.text


def test_a_changed_score_changes_the_page(make_project):
    project = make_project()
    before = make_page()
    path = project.scores_path("alpha")
    scores = tables.read("scores", path)
    scores.loc[0, ["dice", "hd95_mm"]] = [0.123456, 7.5]
    tables.write("scores", scores, path)
    after = make_page()
    assert before != after
    assert "0.123456" in after
    assert "0.123456" not in before


def test_tables_older_than_the_scores_are_refused(make_project, capsys):
    project = make_project()
    assert main(["compare", "toy"]) == 0
    path = project.scores_path("beta")
    scores = tables.read("scores", path)
    scores.loc[0, "dice"] = 0.5
    tables.write("scores", scores, path)
    assert main(["report", "toy"]) == 1
    message = capsys.readouterr().err
    assert f"{path} has changed since" in message
    assert "segtrace compare toy --budget smoke --seeds 0" in message
    assert not layout.report("toy").exists()


def test_tables_of_other_runs_are_refused(make_project, capsys):
    make_project(seeds=(0, 1))
    assert main(["compare", "toy", "--seeds", "0"]) == 0
    assert main(["report", "toy"]) == 1
    assert "lacks alpha, budget smoke, fold 0, seed 1" in capsys.readouterr().err


def test_missing_tables_name_the_file(make_project, capsys):
    make_project()
    assert main(["report", "toy"]) == 1
    assert "results/toy/summary.csv: no such file" in capsys.readouterr().err


def test_volumes_come_from_the_counts_and_a_missing_prediction_is_left_out(make_project):
    project = make_project(pictures=False)
    path = project.scores_path("alpha")
    scores = tables.read("scores", path)
    rows = scores[(scores.label == 1) & (scores.case != "case_000")]
    voxel = project.spacing**3 / 1000
    differences = [(fp - fn) * voxel for fp, fn in zip(rows.fp, rows.fn, strict=True)]
    gone = scores.case == "case_000"
    scores.loc[gone, "reason"] = "prediction missing"
    tables.write("scores", scores, path)
    page = Page(make_page())
    mean = sum(differences) / len(differences)
    expected = f"alpha {len(differences)} 1 {charts.short(mean)}"
    assert expected in page.text.replace("\u2212", "−"), expected
    assert "alpha: 3 cases, 1 left out without a prediction." in page.text


def test_hostile_text_is_shown_and_never_markup(make_project):
    title = "<script>alert(1)</script>\"'&"
    make_project(title=title, note="</style><img src=x onerror=alert(2)>")
    text = make_page()
    page = Page(text)
    assert title in page.text
    assert "</style><img src=x onerror=alert(2)>" in page.text
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert not any("alert(1)" in script for script in page.scripts)
    assert len(re.findall("</script>", text)) == len(page.scripts)


def test_page_without_predictions_says_so(make_project):
    make_project(pictures=False)
    page = Page(make_page())
    assert "No picture: the prediction is not on this machine" in page.text
    assert all(a["alt"].endswith(": reference") for a in page.all("img"))


def test_images_of_two_dimensions_have_one_picture_each(make_project):
    project = make_project(shape=(30, 40))
    page = Page(make_page())
    assert len(page.all("img")) == 3 * len(project.methods)
    assert not any("data-viewer" in attributes for _, attributes in page.elements)
    assert "#viewer" not in {a.get("href") for a in page.all("a")}
    enlarged = [a for a in page.all("button") if a.get("class") == "enlarge"]
    assert len(enlarged) == 4 * (
        2 + len(project.methods)
    )  # best, median, worst, and where the two differ most


def test_records_are_shown_as_digests_and_counted_by_job() -> None:
    from segtrace import digests
    from segtrace.report import origins

    entries = [{"code": {"a.py": "1"}}, {"code": {"a.py": "1"}}, {"code": "0123456789abcdef"}, {}]
    assert origins._distinct(entries, "code") == sorted(["0123456789abcdef", digests.digest({"a.py": "1"})])
