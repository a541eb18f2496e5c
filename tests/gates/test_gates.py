"""Gates: what fails is named with its cases; the JSON is deterministic; pages are written either way."""

import json
from pathlib import Path

import pytest

from segtrace import files, gates
from segtrace.errors import SegtraceError

ROWS = [
    {"case": f"c{i}", "size": 10 + i, "shift": 0.1 * i if i % 2 else float("nan"), "file": f"f{i // 2}"}
    for i in range(6)
]
EXPECTATIONS = [
    gates.row_count("number of cases", 1, 4),
    gates.between("size", "size", 10, 13),
    gates.between("shift", "shift", None, 1.0),
    gates.mean_between("mean size", "size", 0, 20),
    gates.unique("each file once", "file"),
]


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> tuple[list[gates.Result], Path]:
    docs = tmp_path_factory.mktemp("gate") / "reports" / "index"
    docs.mkdir(parents=True)
    (docs / "old.html").write_text("from an earlier run")
    return gates.judge(ROWS, EXPECTATIONS, title="validate here/recipe", docs=docs), docs


def test_results_are_judged_in_order(judged):
    results, _ = judged
    assert [(r.name, r.passed) for r in results] == [
        ("number of cases", False),
        ("size", False),
        ("shift", True),
        ("mean size", True),
        ("each file once", False),
    ]
    assert results[0].observed == 6
    assert results[1].observed == {
        "judged": 6,
        "failed": 2,
        "cases": [{"case": "c4", "value": 14}, {"case": "c5", "value": 15}],
    }
    assert results[2].observed["judged"] == 3  # unknown values are not judged
    assert results[3].observed == 12.5


def test_every_failure_is_listed_with_both_values(judged):
    results, _ = judged
    with pytest.raises(SegtraceError) as error:
        gates.require(results, heading="the data set", remedy="Mend it.")
    text = str(error.value)
    assert text.startswith("the data set: 3 problems\n")
    assert "number of cases: expected 1 to 4, found 6" in text
    assert "size: expected 10 to 13, 2 of 6 fail: c4 (14), c5 (15)" in text
    assert "each file once: expected no value twice, 6 of 6 fail" in text
    assert text.endswith("Mend it.")


def test_pages_are_written_for_a_failing_gate_and_replace_old_ones(judged):
    _, docs = judged
    assert (docs / "index.html").is_file()
    assert list(docs.glob("validations/**/*.html"))
    assert not (docs / "old.html").exists()
    assert [path.name for path in docs.parent.iterdir()] == ["index"]  # no temporary folder is left


def test_the_json_is_deterministic_and_knows_no_time_or_path(judged, tmp_path, monkeypatch):
    results, _ = judged
    monkeypatch.chdir(tmp_path)
    first = files.json_text(gates.to_json(results, title="validate here/recipe"))
    again = gates.judge(ROWS, EXPECTATIONS, title="validate here/recipe", docs=Path("other/folder"))
    assert files.json_text(gates.to_json(again, title="validate here/recipe")) == first
    assert str(tmp_path) not in first
    value = json.loads(first)
    assert value["passed"] is False
    assert value["expectations"]["mean size"] == {
        "passed": True,
        "expected": {"column": "size", "min_value": 0, "max_value": 20},
        "observed": 12.5,
    }


def test_a_gate_that_cannot_be_judged_is_an_error_not_a_pass(tmp_path):
    with pytest.raises(SegtraceError, match=r"t: 'no such' cannot be judged: .*nope"):
        gates.judge(ROWS, [gates.between("no such", "nope", 0, 1)], title="t", docs=tmp_path / "docs")
    with pytest.raises(SegtraceError, match="nothing to judge"):
        gates.judge([], EXPECTATIONS, title="t", docs=tmp_path / "docs")


def test_many_failing_cases_are_shortened():
    rows = [{"case": f"c{i:02d}", "value": i} for i in range(gates.SHOWN)]
    result = gates.Result(
        "x", False, {"column": "v", "min_value": 0}, {"judged": 50, "failed": 30, "cases": rows}
    )
    assert gates.describe(result).endswith("c19 (19) and 10 more")
    assert gates.describe(result).startswith("x: expected 0 to any, 30 of 50 fail: c00 (0), ")
