"""Every number of a finished project's tables, and every figure and table of its page, traced to the raw files."""

import csv
import json
import os
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from workflow_helpers import Project

from segtrace import cli
from segtrace.config import load
from segtrace.trace import cells, dotted, jobs
from segtrace.trace.explain import chain, pages
from segtrace.trace.explain.facts import Facts

pytestmark = pytest.mark.workflow


@pytest.fixture
def here(reference: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(reference.path)
    return reference.path


def tables() -> Iterator[Path]:
    """Every table that the configured jobs make."""
    for job in jobs.configured(load.main_config()):
        for output in jobs.outputs(job):
            if output.suffix in (".csv", ".json"):
                yield output


def numbers(table: Path) -> Iterator[tuple[str, str | None]]:
    """(row, column) of every cell of a CSV table; (path, None) of every value of a JSON file."""
    if table.suffix == ".json":
        content = json.loads(table.read_text())
        for path in dotted.leaves(content):
            yield path, None
        return
    with table.open(newline="") as handle:
        for line, row in enumerate(csv.DictReader(handle), 2):
            for column in row:
                yield str(line), column


def test_every_number_of_every_table_leads_to_the_raw_files_and_the_generator(here: Path) -> None:
    facts = Facts(load.main_config())
    counted: dict[str, int] = {}
    for table in tables():
        for row, column in numbers(table):
            found = chain.explain(cells.select(table, row=row, column=column), facts)
            where = f"{table} {row} {column}"
            assert found["holds"], (where, found["broken"])
            assert found["how"], where
            last = found["steps"][-1]
            assert last["phase"] == "acquire", where
            assert last["generator"]["options"] == {"scans": 1, "seed": 0, "subjects": 8}, where
            assert last["raw"], where
            assert {item["state"] for item in last["raw"]} == {"as in the receipt"}, where
            assert all(step["record"] for step in found["steps"]), where
            of_split = found["kind"] == "metrics" and row.startswith("split.")
            if found["kind"] in ("summary", "per_case", "scores", "metrics", "all_metrics") and not of_split:
                assert [s["phase"] for s in found["steps"]].count("predict") == 1, where
                assert {r["role"] for s in found["steps"] for r in s.get("rows", ()) if "role" in r} == {
                    "train", "val", "test",
                }, where  # fmt: skip
            counted[table.name] = counted.get(table.name, 0) + 1
    assert set(counted) == {
        "summary.csv", "per_case.csv", "metrics.json", "histories.csv", "test-last-native-none.csv", "predictions.csv",
        "history.csv", "run.json", "random.csv", "prepared.csv", "mask_checks.csv", "000.csv", "001.csv", "cases.csv",
        "gate.json", "random.gate.json", "phantom3d.receipt.json", "intervals.csv", "aggregates.csv", "ranks.csv",
        "convergence.csv",
    }  # fmt: skip
    assert counted["summary.csv"] == 48 * 25  # 4 labels, their mean among them, by 12 metrics; 25 columns


class Counter(HTMLParser):
    """Counts a page's figures and tables."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("figure", "table"):
            self.tags.append(tag)


def test_every_figure_and_table_of_the_page_leads_there_too(here: Path) -> None:
    page, facts = Path("reports/tiny/index.html"), Facts(load.main_config())
    counter = Counter()
    counter.feed(page.read_text())
    listed = pages.explain(cells.select(page), facts)
    assert [element["kind"] for element in listed["elements"]] == counter.tags
    assert len({element["name"] for element in listed["elements"]}) == len(counter.tags) > 15
    assert listed["holds"]
    files = set()
    for element in listed["elements"]:
        assert element["files"], element["name"]
        assert element["numbers"], element["name"]
        assert element["heading"], element["name"]
        named = pages.explain(cells.select(page, row=element["name"]), facts)
        assert [e["name"] for e in named["elements"]] == [element["name"]]
        assert named["steps"][-1]["phase"] == "acquire"
        files |= set(element["files"])
    for file in files:
        found = chain.explain(cells.select(file), facts)
        assert found["holds"]
        assert found["steps"][-1]["generator"]["code"]


def test_every_command_that_the_page_names_works(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shlex

    listed = pages.explain(cells.select("reports/tiny/index.html"), Facts(load.main_config()))
    commands = [e["numbers"][0]["command"] for e in listed["elements"]] + [
        e["command"] for e in listed["elements"]
    ]
    for command in dict.fromkeys(commands):
        words = shlex.split(command)
        assert words[0] == "segtrace"
        assert cli.main(words[1:]) == 0, command
    capsys.readouterr()


def test_why_and_status_find_nothing_to_do(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 0
    for file in ("reports/tiny/index.html", "results/metrics.json", "results/tiny/summary.csv"):
        assert cli.main(["why", file]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "nothing would make it run again"


def test_one_changed_byte_is_named_as_the_broken_link(
    reference: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "project"
    shutil.copytree(reference.path, copy, ignore=shutil.ignore_patterns(".snakemake"))
    monkeypatch.chdir(copy)
    summary = ["explain", "results/tiny/summary.csv", "--row", "2", "--column", "mean"]
    assert cli.main(summary) == 0
    links = {
        "predict": next(Path("predictions").rglob("*.nii.gz")),
        "train": next(Path("checkpoints").rglob("weights.safetensors")),
        "score": next(Path("scores").rglob("*.csv")),
    }
    for phase, path in links.items():
        before = path.read_bytes()
        changed = bytearray(before)
        place = changed.rindex(b"1") if phase == "score" else len(changed) // 2
        changed[place] = ord("2") if phase == "score" else changed[place] ^ 1
        path.write_bytes(changed)
        os.utime(path, (1_500_000_000, 1_500_000_000))
        capsys.readouterr()
        assert cli.main(summary) == 1, path
        told = capsys.readouterr()
        assert f"{phase} " in told.err.splitlines()[1], told.err
        assert str(path) in told.err.splitlines()[1], told.err
        assert f"broken: {path}" in told.out
        path.write_bytes(before)
    assert cli.main(summary) == 0
