"""The chain of a number: what it goes through, how it follows, and every way in which a link can be broken."""

import json
from pathlib import Path
from typing import Any

import pytest
from fabricated import ARCHIVE, fabricate

from segtrace import cli
from segtrace.config import load
from segtrace.errors import SegtraceError
from segtrace.trace import cells
from segtrace.trace.explain import chain, pages
from segtrace.trace.explain.facts import Facts

RUN = "phantom3d/iso2/random/unet3d_tiny/smoke/fold-0_seed-0"
VARIANT = "test-last-native-none"
SUMMARY = "results/made/summary.csv"
CELL = "method=unet3d_tiny,label=mean,metric=dice"


def explain(file: str, row: str | None = None, column: str | None = None) -> dict[str, Any]:
    return chain.explain(cells.select(file, row=row, column=column), Facts(load.main_config()))


def step(found: dict[str, Any], phase: str) -> dict[str, Any]:
    return next(step for step in found["steps"] if step["phase"] == phase)


def broken(found: dict[str, Any]) -> list[str]:
    return [f"{link['step']}: {link['what']}" for link in found["broken"]]


def flip(path: str) -> None:
    content = bytearray(Path(path).read_bytes())
    content[len(content) // 2] ^= 1
    Path(path).write_bytes(content)


# --- the whole way ------------------------------------------------------------------------------------


def test_a_mean_leads_to_raw_files_and_the_archive_with_digests_at_every_step(kept: Path) -> None:
    found = explain(SUMMARY, CELL, "mean")
    assert found["holds"]
    assert found["recomputed"] == {"cells": 1, "equal": True, "differences": []}
    assert [s["phase"] for s in found["steps"]] == [
        "compare", "score", "score", "predict", "predict", "train", "train",
        "split", "validate", "prepare", "prepare", "index", "acquire",
    ]  # fmt: skip
    for one in found["steps"]:
        assert one["holds"]
        assert set(one["record"]) >= {
            "code_digest",
            "configuration_digest",
            "configuration",
            "environment_digest",
        }
        assert all(item["sha256"] for item in one["files"])
    assert {row["case"] for row in step(found, "score")["rows"]} == {"c0", "c3", "c5"}
    assert {m["case"]: m["recorded"] == m["now"] for m in step(found, "predict")["label_maps"]} == {
        "c0": True, "c3": True, "c5": True,
    }  # fmt: skip
    assert step(found, "train")["run"]["network"]["name"] == "unet3d"
    assert {(r["case"], r["role"]) for r in step(found, "split")["rows"]} == {
        ("c0", "test"), ("c1", "train"), ("c2", "val"), ("c3", "test"), ("c4", "train"), ("c5", "test"),
    }  # fmt: skip
    assert step(found, "prepare")["recipe"]["spacing_mm"] == [2.0, 2.0, 2.0]
    assert {item["state"] for item in step(found, "acquire")["raw"]} == {"as in the receipt"}
    assert len(step(found, "acquire")["raw"]) == 12
    assert step(found, "acquire")["archives"] == [ARCHIVE]


def test_the_way_goes_through_the_methods_own_runs_and_cases_alone(kept: Path) -> None:
    found = explain(SUMMARY, CELL, "mean")
    assert all("dynunet" not in s["job"] for s in found["steps"])
    one = explain("results/made/per_case.csv", "method=unet3d_tiny,seed=0,case=c3,label=organ", "dice")
    assert [s["job"] for s in one["steps"] if s["phase"] == "score"] == [f"{RUN}/{VARIANT}"]
    assert [m["case"] for m in step(one, "predict")["label_maps"]] == ["c3"]
    used = {c["case"]: c["used"] for s in one["steps"] if s["phase"] == "prepare" for c in s["cases"]}
    assert used == {"c1": ["trained on"], "c2": ["validated on"], "c3": ["predicted"], "c4": ["trained on"]}
    raw = {Path(item["file"]).name for item in step(one, "acquire")["raw"]}
    assert raw == {"c1.nii.gz", "c2.nii.gz", "c3.nii.gz", "c4.nii.gz"}


def test_the_constant_goes_through_all_methods_and_label_0_through_all_labels(kept: Path) -> None:
    found = explain(SUMMARY, CELL, "constant")
    assert any("dynunet" in s["job"] for s in found["steps"])
    assert found["recomputed"]["equal"]
    assert "no prediction enters it" in found["how"][0]
    assert {row["label"] for row in step(found, "score")["rows"]} == {"1", "2", "3"}
    organ = explain(SUMMARY, "method=unet3d_tiny,label=organ,metric=dice", "mean")
    assert {row["label"] for row in step(organ, "score")["rows"]} == {"1"}


def test_the_text_says_how_a_number_follows(kept: Path) -> None:
    told = explain(SUMMARY, "method=unet3d_tiny,label=0,metric=hd95_mm", "mean")
    assert told["how"] == [
        "mean over 3 cases of the mean over the case's runs (up to 2) of the mean over 3 labels of hd95_mm",
        "in 1 cases an undefined distance counts as the image diagonal",
    ]
    assert [case["case"] for case in told["cases"] if case["as_worst"]] == ["c0"]
    missing = explain(SUMMARY, "method=dynunet_tiny_3d,label=0,metric=dice", "mean")
    assert "1 cases lack a score in some run, and count as worst there" in missing["how"]
    left_out = explain(SUMMARY, "method=unet3d_tiny,label=nodule,metric=hd95_mm", "sd")
    assert left_out["how"][0] == (
        "sample standard deviation (n − 1) over 2 cases of the mean over the case's runs (up to 2) of the "
        "hd95_mm of label 3 (nodule)"
    )
    assert "1 cases are left out: no value in any run" in left_out["how"]


def test_a_surface_metric_of_a_case_says_what_it_is(kept: Path) -> None:
    table, row = f"scores/{RUN}/{VARIANT}.csv", "case=c3,label=1"
    assert explain(table, row, "assd_voxel")["how"][1] == (
        "assd_voxel = the mean distance from the border voxels of both masks to the border of the other, in voxels"
    )
    assert explain(table, row, "nsd")["how"][1] == (
        "nsd = the share of the border voxels of both masks within a tolerance of the border of the other: 1.0 mm"
    )
    assert len(explain(table, "case=c0,label=2", "hd_mm")["how"]) == 2  # no distance, and the reason why


def test_a_case_without_a_prediction_is_told_and_breaks_nothing(kept: Path) -> None:
    found = explain("results/made/per_case.csv", "method=dynunet_tiny_3d,seed=1,case=c5,label=1", "dice")
    assert found["holds"]
    assert step(found, "predict")["label_maps"] == []
    assert step(found, "predict")["notes"] == ["cases without a prediction, scored as missing: c5"]


def test_embedded_data_end_at_their_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fabricate(tmp_path, archive=False)
    found = explain(SUMMARY)
    assert found["holds"]
    assert step(found, "acquire")["generator"] == {"code": "0123456789abcdef", "options": {"seed": 0}}


@pytest.mark.parametrize(
    ("file", "row", "column"),
    [
        (SUMMARY, None, None),
        (SUMMARY, "method=unet3d_tiny,label=mean,metric=dice", "leaks"),
        (SUMMARY, "method=unet3d_tiny,label=mean,metric=dice", "protocol"),
        ("results/made/metrics.json", "split.leaks", None),
        ("results/made/per_case.csv", None, None),
        ("results/made/metrics.json", None, None),
        ("results/made/metrics.json", "dynunet_tiny_3d.organ.dice", None),
        ("results/made/metrics.json", "scores_sha256.scores/" + f"{RUN}/{VARIANT}.csv", None),
        ("results/metrics.json", "made.unet3d_tiny.mean.hd95_voxel", None),
        ("results/metrics.json", None, None),
        ("results/histories.csv", None, None),
        ("results/histories.csv", f"run={RUN},epoch=2", "loss"),
        ("results/convergence.csv", None, None),
        ("results/convergence.csv", f"run={RUN}", "epoch"),
        (f"scores/{RUN}/{VARIANT}.csv", "case=c3,label=nodule", "dice"),
        (f"scores/{RUN}/{VARIANT}.csv", None, "recall"),
        (f"predictions/{RUN}/{VARIANT}/predictions.csv", "case=c0", None),
        (f"checkpoints/{RUN}/history.csv", "epoch=1", "loss"),
        (f"checkpoints/{RUN}/run.json", "training.crop.size", None),
        (f"checkpoints/{RUN}/run.json", None, None),
        ("data/splits/phantom3d/random.csv", "case=c0", "role"),
        ("data/splits/phantom3d/random.gate.json", "split.words", None),
        ("data/prepared/phantom3d/iso2/prepared.csv", "case=c1", "image_sha256"),
        ("data/prepared/phantom3d/iso2/mask_checks.csv", "2", "volume_change"),
        ("data/prepared/phantom3d/iso2/batches/000.csv", "2", None),
        ("data/prepared/phantom3d/iso2/gate.json", "expectations.no structure is lost.observed", None),
        ("data/index/phantom3d/cases.csv", "case=c4", None),
        ("data/index/phantom3d/gate.json", "passed", None),
        ("data/raw/phantom3d.receipt.json", None, None),
    ],
)  # fmt: skip
def test_every_table_leads_to_the_archive(kept: Path, file: str, row: str | None, column: str | None) -> None:
    found = explain(file, row, column)
    assert found["holds"], broken(found)
    assert found["how"]
    assert step(found, "acquire")["archives"] == [ARCHIVE]
    assert step(found, "acquire")["raw"]


def test_a_table_made_for_other_seeds_than_are_asked_for_now_is_as_sound_as_it_was(project: Path) -> None:
    text = Path("config/config.yaml").read_text()
    Path("config/config.yaml").write_text(text.replace("[0, 1]", "[0]"))
    found = explain(SUMMARY)
    assert found["holds"], broken(found)
    assert step(found, "compare")["notes"] == ["made for seeds [0, 1]; config/config.yaml asks for [0]"]


# --- broken links -------------------------------------------------------------------------------------


LINKS = {
    f"predictions/{RUN}/{VARIANT}/c3.nii.gz": f"predict {RUN}/{VARIANT}",
    f"checkpoints/{RUN}/weights.safetensors": f"train {RUN}",
    f"scores/{RUN}/{VARIANT}.csv": f"score {RUN}/{VARIANT}",
    f"predictions/{RUN}/{VARIANT}/predictions.csv": f"predict {RUN}/{VARIANT}",
    "data/splits/phantom3d/random.csv": "split phantom3d/random",
    "data/prepared/phantom3d/iso2/c1.image.npy": "prepare phantom3d/iso2/000",
    "data/prepared/phantom3d/iso2/prepared.csv": "validate phantom3d/iso2",
    "data/index/phantom3d/cases.csv": "index phantom3d",
    "data/raw/phantom3d/labels/c3.nii.gz": "index phantom3d",
    "data/raw/phantom3d.receipt.json": "acquire phantom3d",
    SUMMARY: "compare made",
}
FAULTS = [("changed", file) for file in LINKS] + [("missing", file) for file in LINKS if file != SUMMARY]


@pytest.mark.parametrize(("how", "file"), FAULTS)
def test_a_changed_or_missing_file_is_named_as_the_broken_link(
    project: Path, capsys: pytest.CaptureFixture[str], file: str, how: str
) -> None:
    if how == "changed":
        flip(file)
    else:
        Path(file).unlink()
    assert cli.main(["explain", SUMMARY, "--row", "2", "--column", "mean"]) == 1
    told = capsys.readouterr()
    assert f"{LINKS[file]}: {file}" in told.err
    assert f"broken: {file}" in told.out


def test_a_file_of_another_case_is_told_and_is_no_link_of_this_chain(project: Path) -> None:
    flip(f"predictions/{RUN}/{VARIANT}/c3.nii.gz")
    found = explain("results/made/per_case.csv", "method=unet3d_tiny,seed=0,case=c0,label=1", "dice")
    assert found["holds"]
    assert "files of other cases" in step(found, "predict")["notes"][0]
    assert not explain("results/made/per_case.csv", "method=unet3d_tiny,seed=0,case=c3,label=1", "dice")[
        "holds"
    ]


def test_a_cell_that_does_not_follow_from_the_scores_is_a_broken_link(project: Path) -> None:
    line = Path(SUMMARY).read_text().splitlines()[1].split(",")
    value = line[10]
    Path(SUMMARY).write_text(Path(SUMMARY).read_text().replace(value, "0.987654", 1))
    found = explain(SUMMARY, CELL, "mean")
    again = found["recomputed"]
    assert not again["equal"]
    assert again["differences"] == [{"cell": "line 2, mean", "table": "0.987654", "recomputed": float(value)}]
    assert f"recomputed {SUMMARY}: line 2, mean" in broken(found)


def test_a_copied_cell_that_differs_from_its_scores_is_a_broken_link(project: Path) -> None:
    table = Path("results/made/per_case.csv")
    rows = table.read_text().splitlines()
    rows[1] = rows[1].replace(",40.0,", ",41.0,")
    table.write_text("\n".join(rows) + "\n")
    found = explain(str(table), "2", "worst_mm")
    assert found["recomputed"]["differences"][0] == {
        "cell": "line 2, worst_mm",
        "table": "41.0",
        "recomputed": "40.0",
    }


def test_changed_configuration_is_told_by_its_keys(project: Path) -> None:
    method = Path("config/methods/unet3d_tiny.yaml")
    method.write_text(method.read_text().replace("base: 6", "base: 7"))
    found = explain(SUMMARY, CELL, "mean")
    assert f"train {RUN}: configuration: network.options.base" in broken(found)
    link = next(link for link in found["broken"] if link["step"] == f"train {RUN}")
    assert (link["recorded"], link["now"]) == ("6", "7")


def test_a_local_edit_is_told_where_all_that_follows_was_made_from_it(project: Path) -> None:
    receipt = json.loads(Path("data/raw/phantom3d.receipt.json").read_text())
    receipt["files"]["labels/c3.nii.gz"][1] = "0" * 64
    Path("data/raw/phantom3d.receipt.json").write_text(json.dumps(receipt))
    from segtrace.trace import jobs, record

    record.write(jobs.acquire("phantom3d"), record.begin(jobs.acquire("phantom3d")))
    found = explain(SUMMARY, CELL, "mean")
    assert found["holds"]
    states = {item["file"]: item["state"] for item in step(found, "acquire")["raw"]}
    assert [file for file, state in states.items() if state == "local edit"] == [
        "data/raw/phantom3d/labels/c3.nii.gz"
    ]
    assert "local edit" in step(found, "acquire")["notes"][0]


def test_a_table_that_is_damaged_is_a_broken_link_and_no_traceback(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in ("data/index/phantom3d/cases.csv", "data/prepared/phantom3d/iso2/batches/000.csv"):
        Path(file).write_text("nonsense\n1\n")
    assert cli.main(["explain", SUMMARY]) == 1
    told = capsys.readouterr().err
    assert "index phantom3d: data/index/phantom3d/cases.csv" in told
    assert "prepare phantom3d/iso2/000: data/prepared/phantom3d/iso2/batches/000.csv" in told


# --- what cannot be explained -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((SUMMARY, "method=unet3d_tiny,label=organ", None), "12 rows are method=unet3d_tiny,label=organ; name one"),
        ((SUMMARY, "method=unet3d_tny,label=organ,metric=dice", None), "did you mean 'unet3d_tiny'"),
        ((SUMMARY, "method=unet3d_tiny,label=orgn,metric=dice", None), "did you mean 'organ'"),
        ((SUMMARY, "methd=unet3d_tiny", None), "did you mean 'method'"),
        ((SUMMARY, CELL, "men"), "did you mean 'mean'"),
        ((SUMMARY, "1", None), "the rows are lines 2 to 97"),
        ((SUMMARY, "unet3d_tiny.organ", None), "is not KEY=VALUE"),
        (("results/made/per_case.csv", "method=unet3d_tiny,seed=0,case=c1,label=1", None), "no row has case=c1"),
        (("results/made/metrics.json", "unet3d_tiny.organ", None), "name one of them:\n  made.unet3d_tiny.organ."),
        (("results/made/metrics.json", "unet3d_tiny.organ.dicee", None), "did you mean 'dice'"),
        ((f"checkpoints/{RUN}/run.json", "training.crop.sise", None), "did you mean 'size'"),
        ((f"checkpoints/{RUN}/weights.safetensors", None, None), "is no table"),
        (("results/mde/summary.csv", None, None), "did you mean 'made'"),
        (("reports/made/index.html", None, None), "makes it"),
        (("README.md", None, None), "no job of a segtrace project makes this file"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_an_error_that_lists_what_there_is(
    kept: Path, words: tuple[str, str | None, str | None], told: str
) -> None:
    with pytest.raises(SegtraceError) as caught:
        explain(*words)
    assert told in str(caught.value)


def test_rows_that_match_in_part_are_listed_as_the_nearest(project: Path) -> None:
    table = Path("results/made/per_case.csv")
    kept_lines = [
        line
        for line in table.read_text().splitlines()
        if ",unet3d_tiny,smoke,0,1,last,native,none,c0," not in line
    ]
    table.write_text("\n".join(kept_lines) + "\n")
    with pytest.raises(SegtraceError, match="the nearest are") as caught:
        explain(str(table), "method=unet3d_tiny,seed=1,case=c0,label=1")
    assert "method=unet3d_tiny,fold=0,seed=0,case=c0,label=1" in str(caught.value)


# --- the command --------------------------------------------------------------------------------------


def test_the_command_prints_few_cases_or_all_and_json_holds_everything(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", SUMMARY, "--row", CELL, "--column", "mean"]
    assert cli.main(words) == 0
    few = capsys.readouterr().out
    assert cli.main([*words, "--all"]) == 0
    every = capsys.readouterr().out
    assert "more (--all)" in few
    assert "more (--all)" not in every
    assert every.count("as in the receipt\n") > few.count("as in the receipt\n")
    assert f"down to {ARCHIVE['archive']} (sha256 {ARCHIVE['sha256']})" in few.splitlines()[-1]
    assert cli.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(next(s for s in found["steps"] if s["phase"] == "acquire")["raw"]) == 12
    assert found["value"] == Path(SUMMARY).read_text().splitlines()[1].split(",")[10]


PAGE = """<h2>Results</h2><h3 id="table-0">Mean of labels</h3><div class="scroll" role="region"
aria-labelledby="table-0"><table></table></div><details><div role="region" aria-labelledby="more-0"><table></table>
</div></details><h3>Organ</h3><figure><div class="chart" id="points-1-dice"></div>
<figcaption>Dice of every case.</figcaption></figure><h3>unet3d_tiny</h3><figure><figcaption><strong>Best</strong>: c3,
Dice 0.700 <small>organ 0.7. Fold 0, seed 1.</small></figcaption></figure><h2>Training</h2><figure>
<div class="chart" id="curve-loss"></div><figcaption>Training loss by epoch.</figcaption></figure>
<h3 id="panel">Cases side by side</h3><div role="region" aria-labelledby="panel"><table></table></div>
<h3>Cases of each role</h3><div role="region" aria-label="Cases of each role"><table></table></div>"""


def test_a_page_lists_its_figures_and_tables_with_what_they_are_drawn_from(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from segtrace.trace import record
    from segtrace.trace.jobs import Job

    page = Path("reports/made/index.html")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(PAGE)
    record.write(Job("report", "made"), record.begin(Job("report", "made")))
    found = pages.explain(cells.select(page), Facts(load.main_config()))
    assert found["holds"]
    drawn = {element["name"]: element["files"] for element in found["elements"]}
    other = RUN.replace("seed-0", "seed-1")
    assert drawn == {
        "table-0": [SUMMARY],
        "more-0": [SUMMARY],
        "points-1-dice": ["results/made/per_case.csv", SUMMARY],
        "picture-unet3d_tiny-best": [
            f"predictions/{other}/{VARIANT}/predictions.csv",
            "data/index/phantom3d/cases.csv",
            "results/made/per_case.csv",
        ],
        "curve-loss": [
            f"checkpoints/{run.replace('unet3d_tiny', method)}/history.csv"
            for method in ("dynunet_tiny_3d", "unet3d_tiny")
            for run in (RUN, other)
        ],
        "panel": [
            f"predictions/{RUN.replace('unet3d_tiny', 'dynunet_tiny_3d')}/{VARIANT}/predictions.csv",
            "data/index/phantom3d/cases.csv",
            f"predictions/{other.replace('unet3d_tiny', 'dynunet_tiny_3d')}/{VARIANT}/predictions.csv",
            f"predictions/{RUN}/{VARIANT}/predictions.csv",
            f"predictions/{other}/{VARIANT}/predictions.csv",
            "results/made/per_case.csv",
        ],
        "cases-of-each-role": ["data/splits/phantom3d/random.csv"],
    }
    for name, numbers in (
        ("table-0", 2 * 3 + 2),
        ("more-0", 2 * 9),
    ):  # two methods; constants of Dice and IoU
        assert cli.main(["explain", str(page), "--row", name]) == 0
        told = [line.strip() for line in capsys.readouterr().out.splitlines()]
        commands = [line for line in told if line.startswith("segtrace explain")]
        assert len(commands) == numbers
        for command in commands:
            assert cli.main(command.split()[1:]) == 0
        capsys.readouterr()
    with pytest.raises(SegtraceError, match="did you mean 'table-0'"):
        pages.explain(cells.select(page, row="table-1"), Facts(load.main_config()))
    flip(f"checkpoints/{RUN}/weights.safetensors")
    assert cli.main(["explain", str(page)]) == 1
    assert f"train {RUN}: checkpoints/{RUN}/weights.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "edit"),
    [
        (SUMMARY, (",random,no,0", ",random,no,4")),
        ("results/made/metrics.json", ('"leaks": 0', '"leaks": 4')),
    ],
)
def test_leaks_that_the_split_does_not_have_are_a_difference(
    project: Path, file: str, edit: tuple[str, str]
) -> None:
    text = Path(file).read_text()
    assert edit[0] in text
    Path(file).write_text(text.replace(*edit))
    found = explain(file)
    assert not found["holds"]
    assert any("leaks" in difference for difference in broken(found))
