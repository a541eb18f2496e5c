"""The split's gate: sides that are alike pass, others fail by name; published ones warn; what tables say."""

import json
from pathlib import Path

import pytest

from segtrace import cli, files, layout, tables
from segtrace.aggregation import split_summary
from segtrace.config.models import Protocol
from segtrace.split import clusters, gate
from split_helpers import LABELS, assign, grouped, k_fold, last_n, many, row


def judged(rows, split, protocol, *, differ=0.1) -> list[str]:
    """The names of the expectations that fail, by their arguments' plain meaning."""
    cases = gate.population(rows, split, labels=LABELS)
    names = []
    for expectation in gate.expectations(cases, protocol, labels={1: "lesion"}, differ=differ):
        low, high = expectation.arguments["min_value"], expectation.arguments["max_value"]
        values = [case[expectation.arguments["column"]] for case in cases]
        values = [value for value in values if value == value]
        if expectation.kind == "expect_column_mean_to_be_between":
            values = [sum(values) / len(values)]
        if not all(low <= value <= high for value in values):
            names.append(expectation.name)
    return names


def test_a_stratified_split_passes_in_every_fold():
    rows = [row(f"c{i:03d}", foreground=(0, 20, 200, 500)[i % 4]) for i in range(200)]
    protocol = k_fold()
    split = assign(rows, protocol)
    cases = gate.population(rows, split, labels=LABELS)
    assert len(gate.expectations(cases, protocol, labels={1: "lesion"}, differ=0.1)) == 3 * (1 + 3 * 3)
    assert judged(rows, split, protocol) == []


def test_each_expectation_fails_on_what_it_is_for():
    rows = [row(f"c{i:03d}", foreground=0 if i < 60 else 100 if i < 130 else 400) for i in range(200)]
    protocol = last_n(test_cases=60, validation_cases=30)
    found = judged(rows, assign(rows, protocol), protocol)
    assert "fold 0, test: fraction of cases with label 1 (lesion)" in found
    assert "fold 0, test: mean share of foreground, where there is some" in found
    assert not any("fraction of the cases" in name or "two sides" in name for name in found)
    split = assign(many(200), grouped())
    moved = [entry | {"role": "train"} if entry["role"] == "val" else entry for entry in split]
    moved[0] = moved[0] | {"role": "val"}
    assert judged(many(200), moved, grouped()) == [
        "fold 0, training: fraction of the cases",
        "fold 0, validation: fraction of the cases",
    ]
    pairs = many(200, per_subject=2)
    split = assign(pairs, grouped())
    other = {"train": "test", "test": "train", "val": "train"}[split[0]["role"]]
    divided = [split[0] | {"role": other}, *split[1:]]
    assert judged(pairs, divided, grouped()) == ["fold 0: no cluster on two sides"]


def test_few_cases_are_allowed_what_chance_allows():
    """Ten cases, three of which test: a side of three cannot be like the whole to within a tenth."""
    rows = [row(f"c{i}", foreground=300 * (i % 2)) for i in range(10)]
    protocol = grouped(seed=3)
    assert judged(rows, assign(rows, protocol), protocol, differ=0.0) == []


def test_frames_of_few_subjects_count_as_few():
    """A hundred frames of four subjects allow as much as four cases do."""
    one, many_frames = many(4), many(100, per_subject=25)
    ends = []
    for rows in (one, many_frames):
        split = [{**r, "cluster": r["subject"], "fold": 0, "role": "train"} for r in rows]
        split[0]["role"] = "test"
        cases = gate.population(rows, split, labels=LABELS)
        wanted = gate.expectations(cases, grouped(), labels={}, differ=0.0)
        ends.append(next(e.arguments["max_value"] for e in wanted if "test: fraction of the cases" in e.name))
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    ("protocol", "shares"),
    [
        (grouped(), (0.56, 0.14, 0.3)),
        (k_fold(), (0.8 * 2 / 3, 0.2 * 2 / 3, 1 / 3)),
        (last_n(), (0.55, 0.15, 0.3)),
        (Protocol(kind="plain_k_fold", folds=5, held_out="val"), (0.8, 0.2, 0.0)),
        (Protocol(kind="plain_random", test_cases=50, shuffle_seed=0), (0.75, 0.0, 0.25)),
    ],
)
def test_what_a_protocol_asks_for(protocol, shares):
    found = tuple(gate.asked_share(protocol, role, 200) for role in ("train", "val", "test"))
    assert found == pytest.approx(shares)


def test_the_owners_sides_are_asked_for_nothing():
    protocol = Protocol(kind="official", roles={"a": "train", "b": "test"})
    assert gate.asked_share(protocol, "test", 10) is None


def test_what_tables_say_of_a_split():
    rows = many(20, per_subject=4)
    protocol = last_n(test_cases=5, validation_cases=2, shuffle_seed=None)
    split = assign(rows, protocol)
    told = {"protocol": "p", **gate.told(split, protocol, leaks=clusters.leaks(rows, split))}
    assert told["folds"] == [{"train": 13, "val": 2, "test": 5, "leaks": 1, "scored": "test", "shared": 1}]
    assert len(told["leaks"]) == 1
    summary = split_summary({"split": told}, folds={0})
    assert summary == {"protocol": "p", "words": protocol.words, "published": "no", "leaks": 1, "shared": 1}
    assert split_summary({"split": told}, folds=set())["leaks"] == 0
    assert split_summary({}, folds={0}) == {}


# --- the command ---------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project whose index is there: forty small lesions, then twenty large ones; pairs of one subject."""
    monkeypatch.chdir(tmp_path)
    published = {"published": True, "source": "someone's code"}
    protocols = {
        "own": {"kind": "last_n", "test_cases": 20, "validation_cases": 4},
        "theirs": {"kind": "last_n", "test_cases": 19, "validation_cases": 5, "shuffle_seed": 0} | published,
        "whole": {"kind": "grouped_random", "test_fraction": 0.3, "validation_fraction": 0.2},
        "kept": {
            "kind": "grouped_random",
            "test_fraction": 0.3,
            "validation_fraction": 0.2,
            "seed": 5,
            "keep": "kept.csv",
        },
    }
    dataset = {
        "title": "T",
        "dimensions": 2,
        "modality": "x",
        "licence": "none",
        "labels": {1: "lesion"},
        "channels": ["g"],
        "recipes": {"r": {}},
        "protocols": protocols,
    }
    files.write_json(Path("config/datasets/toy.yaml"), dataset)
    files.write_json(Path("config/config.yaml"), {"experiments": ["none"]})
    rows = []
    for i in range(60):
        made = row(f"c{i:03d}", f"s{i // 2:03d}", foreground=10 if i < 40 else 400)
        rows.append(
            dict.fromkeys(tables.SCHEMAS["cases"].columns, "")
            | {"dataset": "toy", "images": "[]", "labels": "[]", "digest": "e" * 16, "dtype": "uint8"}
            | {
                "image_sha256": "a" * 64,
                "label_sha256": "b" * 64,
                "fingerprint": "0" * 16,
                "dimensions": 2,
                "channels": 1,
            }
            | {"size": "10x100", "spacing_mm": "1x1", "origin_mm": "0x0", "direction": "1x0x0x1"}
            | {"intensity_min": 0.0, "intensity_max": 1.0, "components": "{}", "centroids_mm": "{}"}
            | made
        )
    tables.write("cases", rows, layout.cases("toy"))
    return tmp_path


def told(protocol: str) -> dict:
    return json.loads(layout.split_gate("toy", protocol).read_text())


def test_unlike_sides_stop_ones_own_split_and_nothing_is_written(project, capsys):
    assert cli.main(["split", "toy", "own"]) == 1
    text = capsys.readouterr().err
    assert "protocol 'own': the sides of the split are not alike: " in text
    assert "fold 0, test: mean share of foreground, where there is some: expected" in text
    assert "reports/gates/toy/split-own/index.html" in text
    assert Path("reports/gates/toy/split-own/index.html").is_file()
    assert not layout.split("toy", "own").exists()
    assert not layout.split_gate("toy", "own").exists()


def test_a_published_split_is_followed_with_warnings_and_says_so(project, capsys):
    assert cli.main(["split", "toy", "theirs"]) == 0
    text = capsys.readouterr().out
    assert "the same patient or image lies on two sides: " in text
    assert "subject s020 lies in" in text
    assert "the sides of the split are not alike: " in text
    found = told("theirs")
    assert not found["passed"]
    assert not found["expectations"]["fold 0: no cluster on two sides"]["passed"]
    assert found["split"]["published"]
    assert found["split"]["folds"][0]["leaks"] == len(found["split"]["leaks"]) > 0


def test_a_grouped_split_passes_and_equal_runs_are_equal_bytes(project, capsys):
    assert cli.main(["split", "toy", "whole"]) == 0
    assert "0.3 of the cases test" in capsys.readouterr().out
    found = told("whole")
    assert found["passed"]
    assert found["split"]["folds"][0]["leaks"] == 0
    before = layout.split_gate("toy", "whole").read_bytes()
    assert cli.main(["split", "toy", "whole"]) == 0
    assert layout.split_gate("toy", "whole").read_bytes() == before
    assert str(project) not in before.decode()


def test_a_kept_table_decides_and_is_part_of_what_decides_a_rerun(project, capsys):
    from segtrace.config import load
    from segtrace.trace import identity, jobs

    assert cli.main(["split", "toy", "kept"]) == 1
    assert "config/datasets/kept.csv: no such file" in capsys.readouterr().err
    config = load.main_config()
    seen = {identity.configuration(jobs.split("toy", "kept"), config)["kept"]}
    assert cli.main(["split", "toy", "whole"]) == 0
    kept = Path("config/datasets/kept.csv")
    kept.write_bytes(layout.split("toy", "whole").read_bytes())
    seen.add(identity.configuration(jobs.split("toy", "kept"), config)["kept"])
    assert cli.main(["split", "toy", "kept"]) == 0
    assert layout.split("toy", "kept").read_bytes() == kept.read_bytes()
    kept.write_text(kept.read_text().replace(",0,", ",1,"))
    seen.add(identity.configuration(jobs.split("toy", "kept"), config)["kept"])
    assert len(seen) == 3
    assert cli.main(["split", "toy", "kept"]) == 1
    assert "has fold 1; the protocol has folds 0 to 0" in capsys.readouterr().err


def test_more_than_bytes_decides_whether_a_split_is_made_again(project):
    from segtrace.config import load
    from segtrace.trace import identity, jobs

    config, job = load.main_config(), jobs.split("toy", "whole")
    before = identity.settled(job, config)
    for column, value in (("subject", "other"), ("duplicate_group", "other"), ("side", "s"), ("group", "g")):
        rows = tables.read("cases", layout.cases("toy")).to_dict("records")
        old = rows[3][column]
        rows[3][column] = value
        tables.write("cases", rows, layout.cases("toy"))
        assert identity.settled(job, config) != before, column
        rows[3][column] = old
        tables.write("cases", rows, layout.cases("toy"))
    assert identity.settled(job, config) == before
