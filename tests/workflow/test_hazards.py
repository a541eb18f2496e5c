"""The ways in which a workflow serves old results as new, each tried: what runs is right, or it is refused."""

import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest
from workflow_helpers import (
    ROOT,
    Project,
    copy_of,
    from_scratch,
    jobs,
    members,
    raw_file,
    rewrite_label,
)

from segtrace.trace import jobs as project_jobs

pytestmark = pytest.mark.workflow

AFTER_TRAINING = ["predict", "score", "compare", "report", "all"]


def joined(names: list[str]) -> list[str]:
    """Names without `overview`, whose place among the last is Snakemake's choice."""
    return [name for name in names if name != "overview"]


def without_pages(output: str) -> list[str]:
    """Rules that ran, but for the end of the chain that every new score leads to."""
    return [name for name in jobs(output) if name not in ("compare", "overview", "report", "all")]


def use_own_source(project: Project) -> Path:
    """Let the project run a copy of the package that a test may change."""
    shutil.copytree(
        ROOT / "src/segtrace",
        project.path / "src/segtrace",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    project.environment["PYTHONPATH"] = str(project.path / "src")
    return project.path / "src/segtrace"


@pytest.mark.slow
def test_in_place_edits_renamed_cases_and_a_new_environment_cost_what_they_touch(
    finished: Project, tmp_path: Path
) -> None:
    label = raw_file(finished, members(finished, "train")[0], "label")
    before = label.stat()
    rewrite_label(label)
    after = label.stat()
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)
    ran = without_pages(finished.snakemake())
    assert ran == ["index", "prepare", "validate", "split", "train", "predict", "score"]

    old = members(finished, "test")[0]
    for kind in ("image", "label"):
        path = raw_file(finished, old, kind)
        path.rename(path.with_name("renamed.nii.gz"))
    ran = without_pages(finished.snakemake())
    assert set(ran) >= {"index", "prepare", "validate", "split", "score"}
    assert not list((finished.path / "data/prepared").rglob(f"{old}.*"))
    assert not list((finished.path / "predictions").rglob(f"{old}.*"))

    lock = finished.path / "envs/requirements.lock"
    lock.write_text(lock.read_text() + "# a comment\n")
    assert "Nothing to be done" in finished.snakemake()
    lock.write_text(lock.read_text() + "another==1.0\n")
    tables = {path: path.read_text() for path in (finished.path / "data/prepared").rglob("batches/*.csv")}
    ran = without_pages(finished.snakemake())
    assert all(path.read_text() != text for path, text in tables.items())  # no case is taken over
    assert ran[0] == "acquire"
    assert {"index", "validate", "split", "train", "predict", "score"} <= set(ran)
    assert finished.contents() == from_scratch(finished, tmp_path / "scratch")
    assert "Nothing to be done" in finished.snakemake()


@pytest.mark.slow
def test_a_method_that_is_edited_and_reverted_ends_where_it_began(finished: Project) -> None:
    before = finished.contents()
    file = "config/methods/unet3d_tiny.yaml"
    text = (finished.path / file).read_text()
    finished.edit(file, lambda v: v.update(title="another title"))
    assert joined(jobs(finished.snakemake())) == ["compare", "report", "all"]  # the page shows it
    (finished.path / file).write_text(text)
    finished.snakemake()
    finished.edit("config/budgets/smoke.yaml", lambda v: v["training"].update(learning_rate=0.002))
    assert joined(finished.waiting()) == ["train", *AFTER_TRAINING]
    finished.edit("config/budgets/smoke.yaml", lambda v: v["training"].pop("learning_rate"))
    assert finished.contents() == before
    assert "Nothing to be done" in finished.snakemake()


def test_code_reruns_what_runs_it_and_a_comment_nothing(finished: Project) -> None:
    source = use_own_source(finished)
    assert "Nothing to be done" in finished.snakemake()
    for module in ("networks/unet3d.py", "train/loop.py", "metrics/measures.py", "tables.py"):
        path = source / module
        path.write_text("# why\n" + path.read_text().replace('"""', '"""More. ', 1))
    assert finished.waiting() == []

    def changed(module: str) -> list[str]:
        path = source / module
        text = path.read_text()
        path.write_text(text + "\nADDED = 1\n")
        try:
            return joined(finished.waiting())
        finally:
            path.write_text(text)

    assert changed("networks/dynunet.py") == []  # no run of this network here
    assert changed("datasets/phantom2d.py") == []
    assert changed("report/page.py") == ["report", "all"]
    assert changed("compare/tables.py") == ["compare", "report", "all"]
    assert changed("metrics/measures.py")[0] == "score"
    assert changed("networks/unet3d.py") == ["train", *AFTER_TRAINING]
    assert changed("train/sampling.py") == ["train", *AFTER_TRAINING]
    assert changed("datasets/phantom3d.py") == ["acquire", "all"]  # then what its bytes decide
    (source / "networks/newcomer.py").write_text((source / "networks/unet3d.py").read_text())
    assert finished.waiting() == []  # registering a network retrains nobody


@pytest.mark.slow
def test_a_damaged_checkpoint_prediction_or_table_is_made_again(finished: Project) -> None:
    before = finished.contents()
    weights = next((finished.path / "checkpoints").rglob("weights.safetensors"))
    status = weights.stat()
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert jobs(finished.snakemake()).count("train") == 1
    assert finished.contents() == before

    label_map = next((finished.path / "predictions").rglob("*.nii.gz"))
    status = label_map.stat()
    label_map.write_bytes(label_map.read_bytes()[:-1] + b"\x01")
    os.utime(label_map, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert jobs(finished.snakemake())[0] == "predict"
    grids = next((finished.path / "data/prepared").rglob("v*.json"))
    content = json.loads(grids.read_text())
    content["native_grid"]["origin_mm"][0] += 1.0
    for text in (json.dumps(content), "{"):
        grids.write_text(text)
        assert "prepare" in jobs(finished.snakemake())
    table = finished.path / "results/tiny/summary.csv"
    table.write_text(table.read_text().replace("0.", "0.9", 3))
    assert jobs(finished.snakemake())[0] == "compare"
    noise = random.Random(0).randbytes(400)
    (finished.path / "data/index/phantom3d/cases.csv").write_bytes(noise)
    assert jobs(finished.snakemake())[0] == "index"
    next((finished.path / "predictions").rglob("predictions.csv")).write_bytes(noise)
    assert jobs(finished.snakemake())[0] == "predict"
    page = finished.path / "reports/tiny/index.html.prov.json"
    page.write_text(json.dumps(json.loads(page.read_text()) | {"inputs": [1]}))
    assert jobs(finished.snakemake())[0] == "report"
    record = next((finished.path / "scores").rglob("*.prov.json"))
    record.unlink()
    assert jobs(finished.snakemake())[0] == "score"
    assert finished.contents() == before
    assert "Nothing to be done" in finished.snakemake()


def test_snakemake_records_every_digest_that_it_is_to_compare(finished: Project) -> None:
    """A params function that takes `input` would be recorded empty, and never compared."""
    names = {"configuration", "code", "environment", "held"}
    read = {"index", "prepare", "validate", "split", "train", "predict", "score"}
    found: dict[str, set[str]] = {}
    for path in (finished.path / ".snakemake/metadata").rglob("*"):
        if path.is_file():
            content = json.loads(path.read_text())
            params = [value.strip("'").partition(":") for value in content["params"]]
            assert len({name for name, _, _ in params}) == len(params), content["params"]
            found[content["rule"]] = {name for name, colon, value in params if colon and value}
    made = set(project_jobs.PHASES)
    assert set(found) == made
    for rule, recorded in found.items():
        expected = names | ({"data"} if rule in read else set())
        assert recorded >= expected - ({"environment"} if rule == "acquire" else set()), rule


@pytest.mark.slow
def test_two_runs_at_once_are_one_run_and_a_refusal(fresh: Project, reference: Project) -> None:
    first = fresh.start()
    fresh.wait_for("acquire", first)
    refused = fresh.snakemake(expect=1)
    assert "lock" in refused.lower()
    output, _ = first.communicate(timeout=300)
    assert first.returncode == 0, output[-3000:]
    assert fresh.contents() == reference.contents()


def test_going_by_times_alone_is_refused(finished: Project) -> None:
    finished.edit("config/budgets/smoke.yaml", lambda v: v["training"].update(epochs=2))
    assert "would go unseen" in finished.snakemake("--rerun-triggers", "mtime", expect=1)


def test_another_source_than_the_running_one_is_refused(finished: Project) -> None:
    source = use_own_source(finished)
    assert "Nothing to be done" in finished.snakemake()
    del finished.environment["PYTHONPATH"]
    (source / "networks/unet3d.py").write_text((source / "networks/unet3d.py").read_text() + "\nADDED = 1\n")
    refused = finished.snakemake(expect=1)
    assert "edits here would change nothing" in refused
    assert "edits here would change nothing" in finished.call("segtrace", "status", expect=1)


@pytest.mark.slow
def test_touch_settles_nothing_that_does_not_hold(finished: Project) -> None:
    before = finished.contents()
    finished.edit("config/budgets/smoke.yaml", lambda v: v["training"].update(epochs=2))
    finished.snakemake("--touch", "--forceall")
    assert "train" in finished.waiting()
    finished.edit("config/budgets/smoke.yaml", lambda v: v["training"].update(epochs=3))
    finished.snakemake()
    assert finished.contents() == before


@pytest.mark.slow
def test_without_snakemakes_memory_what_does_not_hold_is_refused(finished: Project) -> None:
    before = finished.contents()
    shutil.rmtree(finished.path / ".snakemake")
    finished.call("segtrace", "sync")
    assert "Nothing to be done" in finished.snakemake()
    shutil.rmtree(finished.path / ".snakemake")
    label = raw_file(finished, members(finished, "test")[0], "label")
    original = label.read_bytes()
    rewrite_label(label)
    os.utime(label, (1_500_000_000, 1_500_000_000))
    refused = finished.snakemake(expect=1)
    assert "index phantom3d: inputs.raw" in refused
    assert "segtrace sync --remake" in refused
    assert "index phantom3d" in finished.call("segtrace", "sync", expect=1)
    label.write_bytes(original)
    finished.call("segtrace", "sync")
    assert "Nothing to be done" in finished.snakemake()
    rewrite_label(label)
    shutil.rmtree(finished.path / ".snakemake")
    assert "index phantom3d: does not hold" in finished.call("segtrace", "sync", "--remake")
    ran = jobs(finished.snakemake())
    assert "index" in ran
    assert "score" in ran
    label.write_bytes(original)
    finished.snakemake()
    assert finished.contents() == before


def test_a_moved_project_is_the_same_project(finished: Project, tmp_path: Path) -> None:
    moved = copy_of(finished, tmp_path / "elsewhere")
    time.sleep(0.01)
    assert "Nothing to be done" in moved.snakemake()
