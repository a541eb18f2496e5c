"""``segtrace diff``: what changed between two states of the results, and whether it is more than chance."""

import csv
import json
import math
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from score_rows import KEYS
from segtrace import cli, files, tables
from segtrace.aggregation import DISTANCES, METRICS, OVERLAPS
from segtrace.errors import SegtraceError
from segtrace.trace import tools
from segtrace.trace.diff import means, rows, sides, subject
from segtrace.trace.diff.command import CHANGED

CASES = [f"c{number:02d}" for number in range(12)]
RUN = "toy/r/p/{method}/smoke/fold-0_seed-{seed}"


def row(method: str, case: str, label: int, dice: float, *, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A row of scores whose overlaps are ``dice`` and whose distances fall with it."""
    return {
        **KEYS,
        "method": method,
        "seed": seed,
        "case": case,
        "label": label,
        "tp": 50,
        "fp": 10,
        "fn": 50,
        "tn": 890,
        **dict.fromkeys(OVERLAPS, dice),
        **dict.fromkeys(DISTANCES, 10 * (1 - dice)),
        "nsd_tolerance_mm": 1.0,
        "nsd_tolerance_voxel": 1.0,
        "worst_mm": 50.0,
        "worst_voxel": 50.0,
        "reason": "",
        **changes,
    }


def table(
    value: Callable[[str, str, int], float],
    *,
    methods: Sequence[str] = ("alpha", "beta"),
    cases: Sequence[str] = CASES,
    labels: Sequence[int] = (1, 2),
    seeds: Sequence[int] = (0,),
) -> list[dict[str, Any]]:
    """Scores whose Dice is ``value(method, case, label)``."""
    return [
        row(method, case, label, value(method, case, label), seed=seed)
        for method in methods
        for seed in seeds
        for case in cases
        for label in labels
    ]


def plain(method: str, case: str, label: int) -> float:
    """A Dice that differs from case to case."""
    return 0.6 + int(case[1:]) / 100 + label / 50


def write(folder: Path, found: Sequence[Mapping[str, Any]]) -> Path:
    """A folder of an experiment's results: its scores, the names of the labels, and the record of its tables."""
    tables.write("per_case", found, folder / "per_case.csv")
    files.write_text(folder / "summary.csv", "label,label_name\n0,mean\n1,organ\n2,nodule\n")
    scored = {
        f"scores/{RUN.format(method=method, seed=seed)}/test-last-native-none.csv": files.json_text(
            [item["dice"] for item in found if (item["method"], item["seed"]) == (method, seed)]
        )
        for method, seed in {(item["method"], item["seed"]) for item in found}
    }
    record(
        folder / "per_case.csv",
        phase="compare",
        inputs={"scores": scored, "split": "s"},
        configuration={"experiment": {"dataset": "toy", "recipe": "r", "protocol": "p"}},
    )
    return folder


def record(output: Path, *, phase: str, **changes: Any) -> None:
    """A provenance record beside ``output``, whole but for what it would be the record of."""
    made = {"inputs": {}, "configuration": {}, "code": {"tables.py": "1"}, "environment": "e"} | changes
    words = {"output": str(output), "sha256": "0" * 64, "phase": phase, "job": "j", "code_digest": "d"}
    files.write_json(output.with_name(output.name + ".prov.json"), words | made)


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """What ``segtrace diff`` prints as JSON."""
    assert cli.main(["diff", *words, "--json"]) == 0, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def by_cell(found: Mapping[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The means of the first experiment by method, name of the label and metric."""
    return {(m["method"], m["label_name"], m["metric"]): m for m in found["experiments"][0]["means"]}


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test works in a folder of its own."""
    monkeypatch.chdir(tmp_path)


# --- folders ----------------------------------------------------------------------------------------


def test_equal_scores_are_said_to_be_equal(capsys: pytest.CaptureFixture[str]) -> None:
    for side in "ab":
        write(Path(side, "results/toy"), table(plain))
    assert cli.main(["diff", "a", "b", "--fail-on-change", "any"]) == 0
    told = capsys.readouterr().out
    assert "scores: equal byte for byte" in told
    assert "all scores are equal byte for byte" in told
    found = asked(capsys, "a", "b")
    assert found["verdicts"]["no change"] == len(found["experiments"][0]["means"]) == 2 * 3 * 3


def test_one_method_that_is_worse_in_every_case_is_more_than_chance(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(Path("a/results/toy"), table(plain))
    worse = table(lambda method, case, label: plain(method, case, label) - (0.1 if method == "beta" else 0))
    write(Path("b/results/toy"), worse)
    found = by_cell(asked(capsys, "a", "b"))
    assert {cell[0] for cell, mean in found.items() if mean["verdict"] == "more than chance"} == {"beta"}
    assert {mean["verdict"] for cell, mean in found.items() if cell[0] == "alpha"} == {"no change"}
    dice = found["beta", "organ", "dice"]
    assert dice["difference"] == pytest.approx(-0.1)
    assert dice["better"] == "old"
    assert dice["cases"] == 12
    assert dice["p"] == pytest.approx(2 / 2**12)  # all 12 cases moved one way
    assert dice["p_holm"] == pytest.approx(9 * 2 / 2**12)  # nine means of beta changed
    distance = found["beta", "organ", "hd95_mm"]
    assert distance["difference"] == pytest.approx(1.0)
    assert distance["better"] == "old"
    for wanted, status in (("worse", CHANGED), ("chance", CHANGED), ("any", CHANGED)):
        with pytest.raises(SystemExit) as ended:
            cli.main(["diff", "a", "b", "--fail-on-change", wanted])
        assert ended.value.code == status
    assert cli.main(["diff", "b", "a", "--fail-on-change", "worse"]) == 0  # that way it is better
    told = capsys.readouterr().out
    assert "more than chance (p 0.00049, corrected 0.0044), worse" in told
    assert "9 of 18 means: no change (equal in every case)" in told


def test_differences_that_go_both_ways_are_within_chance(capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("a/results/toy"), table(plain, methods=["alpha"]))
    mixed = table(
        lambda method, case, label: plain(method, case, label) + 0.05 * (-1) ** int(case[1:]),
        methods=["alpha"],
    )
    write(Path("b/results/toy"), mixed)
    found = asked(capsys, "a", "b")
    assert found["verdicts"] == {
        "no change": 0,
        "within chance": 9,
        "more than chance": 0,
        "too few cases to tell": 0,
    }
    dice = by_cell(found)["alpha", "mean", "dice"]
    assert dice["low"] < 0 < dice["high"]
    assert dice["p"] > 0.5
    assert cli.main(["diff", "a", "b", "--fail-on-change"]) == 0
    assert "What another seed of a training gives is not part of it" in capsys.readouterr().out


def test_five_cases_are_too_few_however_far_they_move(capsys: pytest.CaptureFixture[str]) -> None:
    """Five signs have 32 ways to fall: no p is below 0.06."""
    for side, gain in (("a", 0.0), ("b", 0.3)):
        write(
            Path(side, "results/toy"),
            table(lambda m, c, k, gain=gain: plain(m, c, k) + gain, methods=["alpha"], cases=CASES[:5]),
        )
    found = by_cell(asked(capsys, "a", "b", "--metrics", "dice"))
    assert {mean["verdict"] for mean in found.values()} == {"too few cases to tell"}
    assert cli.main(["diff", "a", "b", "--fail-on-change"]) == 0


def test_cases_that_do_not_differ_tell_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("a/results/toy"), table(plain, methods=["alpha"], labels=[1]))
    moved = table(lambda m, c, k: plain(m, c, k) + 0.2 * (c < "c04"), methods=["alpha"], labels=[1])
    write(Path("b/results/toy"), moved)
    mean = by_cell(asked(capsys, "a", "b", "--metrics", "dice"))["alpha", "organ", "dice"]
    assert (mean["cases"], mean["differ"], mean["verdict"]) == (12, 4, "too few cases to tell")
    assert mean["p"] == pytest.approx(2 / 2**4)
    cli.main(["diff", "a", "b"])
    assert "too few cases to tell (4 differ)" in capsys.readouterr().out


def test_what_came_and_went_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("a/results/toy"), table(plain))
    write(Path("a/results/gone"), table(plain))
    other = table(plain, methods=["alpha", "gamma"], cases=CASES[1:], seeds=(0, 1))
    other = [item | {"budget": "paper"} for item in other]
    for item in other:
        if item["case"] == "c05" and item["label"] == 1:
            item |= {"tp": 60, "fn": 45, "tn": 885}  # another reference
    write(Path("b/results/toy"), other)
    found = asked(capsys, "a", "b")
    entry = found["experiments"][0]
    assert found["removed"] == ["gone"]
    assert found["added"] == []
    assert {moved["what"]: (moved["removed"], moved["added"]) for moved in entry["moved"]} == {
        "budget": (["smoke"], ["paper"]),
        "methods": (["beta"], ["gamma"]),
        "seeds": ([], ["1"]),
        "cases": (["c00"], []),
    }
    assert entry["references"] == ["c05"]
    dice = by_cell(found)["alpha", "organ", "dice"]
    assert (dice["cases"], dice["left_out"], dice["verdict"]) == (11, 1, "no change")
    assert dice["old"] < dice["new"]  # each over its own cases; the difference is over those of both
    with pytest.raises(SystemExit):
        cli.main(["diff", "a", "b", "--fail-on-change", "any"])
    told = capsys.readouterr().out
    assert "experiments removed: gone" in told
    assert "methods: removed beta; added gamma" in told
    assert "references: 1 cases have another reference: c05" in told


def test_two_folders_of_single_experiments_may_have_other_names(capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("first"), table(plain))
    write(Path("second"), table(plain))
    entry = asked(capsys, "first", "second")["experiments"][0]
    assert (entry["was"], entry["experiment"], entry["equal"]) == ("first", "second", True)
    assert [(o["job"], o["note"]) for o in entry["origins"]] == [
        ("data and runs", "first is no folder 'results' of a project, so their records are not beside it")
    ]


def test_a_distance_that_one_side_lacks_counts_as_none() -> None:
    """Both masks empty on the new side, a false region on the old one: the new side is better there."""
    empty = {"tp": 0, "fn": 0, "hd95_mm": math.nan}
    old = [row("alpha", "c0", 1, 0.0, tp=0, fn=0, hd95_mm=50.0), row("alpha", "c1", 1, 0.5)]
    new = [row("alpha", "c0", 1, 1.0, fp=0, **empty), row("alpha", "c1", 1, 0.5)]
    scores = [rows.Scores(found, {}, "") for found in (old, new)]
    found = means.compared(*scores, experiment="toy", metrics=["hd95_mm"])
    assert [pairs.differences for pairs in found] == [(-50.0, 0.0)]
    assert [pairs.label for pairs in found] == [1]  # the mean of one label is that label


def test_seeds_are_averaged_before_cases_are_compared() -> None:
    one = table(plain, methods=["alpha"], labels=[1])
    two = [row("alpha", c, 1, plain("", c, 1) + d, seed=s) for s, d in ((0, 0.1), (1, -0.1)) for c in CASES]
    scores = [rows.Scores(found, {}, "") for found in (one, two)]
    found = means.compared(*scores, experiment="toy", metrics=["dice"])
    assert np.allclose(found[0].differences, 0.0)


def test_a_table_of_another_version_is_read_as_far_as_it_goes() -> None:
    folder = write(Path("results/toy"), table(plain))
    path = folder / "per_case.csv"
    with path.open(newline="") as handle:
        kept = [
            {k: v for k, v in item.items() if k not in ("nsd", "assd_mm")} for item in csv.DictReader(handle)
        ]
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(kept[0]))
        writer.writeheader()
        writer.writerows(kept)
    new = rows.Scores(table(plain), {}, "")
    moved = subject.moved(rows.read(folder), new)
    assert [(one.what, one.added) for one in moved] == [("metrics", ("assd_mm", "nsd"))]
    assert {p.metric for p in means.compared(rows.read(folder), new, experiment="toy", metrics=())} == set(
        METRICS
    ) - {"nsd", "assd_mm"}


def test_a_damaged_table_is_named() -> None:
    folder = write(Path("results/toy"), table(plain))
    (folder / "per_case.csv").write_text("method,case\na,b\n")
    with pytest.raises(
        SegtraceError, match=r"results/toy/per_case.csv: not a table of scores .*no column fold"
    ):
        rows.read(folder)


def test_metrics_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    for side in "ab":
        write(Path(side, "results/toy"), table(plain))
    assert {cell[2] for cell in by_cell(asked(capsys, "a", "b", "--metrics", "nsd,recall"))} == {
        "nsd",
        "recall",
    }
    assert {cell[2] for cell in by_cell(asked(capsys, "a", "b", "--metrics", "all"))} == set(METRICS)
    assert cli.main(["diff", "a", "b", "--metrics", "dicee"]) == 1
    assert "no metric 'dicee'; did you mean 'dice'?" in capsys.readouterr().err


# --- why --------------------------------------------------------------------------------------------


def test_records_say_why(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the runs whose scores changed, what their training was made from; nothing of the others."""
    for side, rate in (("a", 0.1), ("b", 0.2)):
        worse = 0.1 if side == "b" else 0.0
        write(
            Path(side, "results/toy"),
            table(lambda m, c, k, worse=worse: plain(m, c, k) - (worse if m == "beta" else 0)),
        )
        for method in ("alpha", "beta"):
            run = RUN.format(method=method, seed=0)
            record(
                Path(side, "checkpoints", run, "run.json"),
                phase="train",
                inputs={"arrays": "d"},
                configuration={"training": {"learning_rate": rate}},
            )
            record(Path(side, "predictions", run, "test-last-native-none/predictions.csv"), phase="predict")
            record(Path(side, "scores", run, "test-last-native-none.csv"), phase="score")
        record(Path(side, "data/index/toy/cases.csv"), phase="index", inputs={"raw": side})
        record(Path(side, "data/splits/toy/p.csv"), phase="split", environment=f"e{side}")
    found = {o["job"]: o for o in asked(capsys, "a", "b")["experiments"][0]["origins"]}
    assert {job: [c["what"] for c in o["changes"]] for job, o in found.items()} == {
        "index toy": ["inputs.raw: digest"],
        "records that a lacks": [],
        "records that b lacks": [],
        "split toy/p": ["environment: envs/requirements.lock"],
        "train toy/r/p/beta/smoke/fold-0_seed-0": ["configuration: training.learning_rate"],
    }
    assert found["records that a lacks"]["note"].startswith("of data/prepared: not there; snakemake")
    cli.main(["diff", "a", "b"])
    assert "configuration: training.learning_rate: 0.1 -> 0.2" in capsys.readouterr().out


def test_a_folder_without_records_is_compared_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("a/results/toy"), table(plain))
    shutil.copytree("a", "b")
    Path("b/results/toy/per_case.csv.prov.json").unlink()
    entry = asked(capsys, "a", "b")["experiments"][0]
    assert entry["equal"]
    assert entry["origins"][0]["note"] == "no provenance record beside the tables of b"


# --- revisions --------------------------------------------------------------------------------------


def commit(message: str) -> None:
    """Commit all that is here."""
    who = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    tools.call("git", "add", "--all")
    tools.call("git", *who, "commit", "--quiet", "--message", message)


def history() -> None:
    """A repository of two commits: in the second one beta is worse, and the case table is made from other data."""
    tools.call("git", "init", "--quiet", "--initial-branch", "main")
    for worse in (0.0, 0.1):
        write(
            Path("results/toy"),
            table(lambda m, c, k, worse=worse: plain(m, c, k) - (worse if m == "beta" else 0)),
        )
        record(Path("data/index/toy/cases.csv"), phase="index", inputs={"raw": str(worse)})
        commit(f"worse by {worse}")


def state() -> dict[str, str]:
    """Every file outside of git's own folder, and its checksum."""
    found = (path for path in Path().rglob("*") if path.is_file() and path.parts[0] not in (".git", ".dvc"))
    return {str(path): files.sha256_file(path) for path in found}


def test_revisions_are_compared_and_the_workspace_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    history()
    write(Path("results/toy"), table(plain))  # an edit that is not committed
    before = state()
    found = asked(capsys, "HEAD~1", "HEAD", "--experiment", "toy", "--metrics", "dice")
    assert {c[0] for c, mean in by_cell(found).items() if mean["verdict"] == "more than chance"} == {"beta"}
    assert "index toy" in {origin["job"] for origin in found["experiments"][0]["origins"]}
    assert found["old"]["revision"] == tools.call("git", "rev-parse", "HEAD~1").strip()
    assert asked(capsys, "HEAD~1")["experiments"][0]["equal"]  # with the workspace
    assert not asked(capsys, "main", "workspace")["experiments"][0]["equal"]
    assert state() == before


def test_a_revision_is_given_from_a_folder_inside_the_repository(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project need not be the repository's root."""
    inside = tmp_path / "project"
    inside.mkdir()
    monkeypatch.chdir(inside)
    write(Path("results/toy"), table(plain))
    monkeypatch.chdir(tmp_path)
    tools.call("git", "init", "--quiet")
    commit("one")
    monkeypatch.chdir(inside)
    assert asked(capsys, "HEAD")["experiments"][0]["equal"]


def test_what_is_no_side_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("a/results/toy"), table(plain))
    Path("empty").mkdir()
    wanted = {
        "nowhere": "'nowhere' is no folder, and this is no git repository",
        "": "an empty word names no side",
        "empty": "empty: no per_case.csv in this folder",
        "workspace": "results: no results here; make them with: snakemake",
    }
    for word, text in wanted.items():
        assert cli.main(["diff", "a", word]) == 1
        assert text in capsys.readouterr().err
    assert cli.main(["diff", "a", "a", "--experiment", "other"]) == 1
    assert "a: no results of experiment 'other'; there are: toy" in capsys.readouterr().err
    tools.call("git", "init", "--quiet")
    assert cli.main(["diff", "a", "nowhere"]) == 1
    assert "'nowhere' is neither a folder nor a revision" in capsys.readouterr().err


def test_what_git_does_not_have_is_had_through_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.call("git", "init", "--quiet")
    files.write_text(Path(".dvc/config"), "")
    files.write_text(Path(".dvc/.gitignore"), "/tmp\n/cache\n")
    write(Path("results/toy"), table(plain))
    record(Path("scores/run/last.csv"), phase="score", environment="then")
    tools.call("dvc", "add", "--quiet", "results", "scores")
    commit("one")
    record(Path("scores/run/last.csv"), phase="score", environment="now")
    write(Path("results/toy"), table(lambda m, c, k: plain(m, c, k) / 2))
    before = state()
    side = sides.resolve("HEAD", experiment="toy", scratch=tmp_path / "first")
    assert {item["dice"] for item in rows.read(side.folders["toy"]).rows} == {
        item["dice"] for item in table(plain)
    }
    found = side.record(Path("scores/run/last.csv"))
    assert found is not None
    assert found["environment"] == "then"
    assert state() == {**before, **{k: v for k, v in state().items() if k.startswith("first/")}}

    shutil.rmtree(".dvc/cache")
    lost = Path("scores/run/best.csv.prov.json")
    assert side.file(lost) is None
    told = r"of scores: neither in git nor in DVC's cache; 'git worktree add ../\w{12} \w{12}', there 'dvc pull scores'"
    assert re.match(told, side.remedy([lost]))
    with monkeypatch.context() as patched:
        patched.setattr(sides, "_dvc_get", lambda *words, **options: pytest.fail("asked again"))
        assert side.file(lost.with_name("val.csv.prov.json")) is None
    with pytest.raises(
        SegtraceError, match=r"no results to be had of results: neither in git nor in DVC's cache"
    ):
        sides.resolve("HEAD", experiment=None, scratch=tmp_path / "second")


def test_regions_are_compared_by_themselves_and_not_in_the_mean(capsys: pytest.CaptureFixture[str]) -> None:
    def value(method: str, case: str, label: int) -> float:
        return plain(method, case, min(label, 3))

    write(Path("one"), table(value, labels=(1, 2)))
    write(Path("two"), table(value, labels=(1, 2, 1001)))
    write(Path("three"), table(lambda *key: value(*key) - 0.1 * (key[2] == 1001), labels=(1, 2, 1001)))
    without = by_cell(asked(capsys, "one", "two"))
    assert {key: mean["verdict"] for key, mean in without.items() if key[1] == "mean"} == {
        key: "no change" for key in without if key[1] == "mean"
    }
    changed = by_cell(asked(capsys, "two", "three"))
    moved = {key[1] for key, mean in changed.items() if mean["verdict"] == "more than chance"}
    assert moved == {"1001"}
