"""What a job is compared by: what decides its outcome, and nothing that only shows."""

import shutil
from pathlib import Path

import pytest

from segtrace import digests, layout
from segtrace.config import load
from segtrace.trace import identity, jobs

ROOT = Path(__file__).parents[2]
RUN = layout.parse_run("phantom2d/size96/random/unet_tiny/smoke/fold-0_seed-0")
JOBS = [jobs.train(RUN), jobs.predict(RUN, layout.Variant()), jobs.score(RUN, layout.Variant())]
JOBS += [jobs.Job("compare", "demo_2d"), jobs.Job("overview", jobs.OVERVIEW)]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)


def configurations(**overrides: object) -> list[str]:
    config = load.main_config(overrides)
    return [digests.digest(identity.configuration(job, config)) for job in JOBS]


def test_determinism_is_part_of_a_training_alone() -> None:
    strict, fast = configurations(determinism="strict"), configurations(determinism="fast")
    assert [a != b for a, b in zip(strict, fast, strict=True)] == [True, False, False, False, False]
    assert configurations() == strict
    resolved = identity.configuration(JOBS[0], load.main_config({"determinism": "fast"}))
    assert resolved["determinism"] == "fast"


def test_tracking_and_mirror_are_part_of_nothing() -> None:
    assert configurations(tracking="tensorboard,dvclive", mirror="/data") == configurations()
    code = [identity.code(job, load.main_config()) for job in JOBS]
    assert not any("train/tracking.py" in files or "progress.py" in files for files in code)
