"""A stage of `dvc.yaml` ends well only if every link holds; what no configured job makes is put aside."""

import os
import time
from pathlib import Path

import pytest

from segtrace import seen
from segtrace.config import load
from segtrace.errors import SegtraceError
from segtrace.trace import aside, check, jobs, stage, sync, tools


@pytest.fixture
def quiet(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The project, in which programs are not called; the calls that would have been made."""
    calls: list[tuple[str, ...]] = []

    def call(name: str, *arguments: str, **_: object) -> str:
        calls.append((name, *arguments))
        return ""

    monkeypatch.setattr(tools, "call", call)
    monkeypatch.setattr(tools, "has_dvc", lambda: False)
    monkeypatch.setattr(sync, "remake", lambda config: calls.append(("remake",)))
    return calls


def test_a_stage_calls_one_target_and_is_content_with_what_holds(quiet: list[tuple[str, ...]]) -> None:
    stage.run("score")
    assert quiet == [("remake",), ("snakemake", "score_all", "--quiet", "host")]
    stage.run("compare")
    assert ("segtrace", "explain", "results/made/summary.csv") in quiet


def test_the_environment_names_the_profile(
    quiet: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGTRACE_PROFILE", "slurm")
    stage.run("score")
    assert quiet[-1] == ("snakemake", "score_all", "--workflow-profile", "slurm", "--quiet", "host")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("score", "scores"),
        ("compare", "scores"),
        ("compare", "results"),
        ("train", "data/splits"),
        ("predict", "checkpoints"),
    ],
)
def test_a_broken_link_anywhere_above_fails_the_stage(
    quiet: list[tuple[str, ...]], name: str, file: str
) -> None:
    chosen = next(path for path in sorted(Path(file).rglob("*")) if path.suffix in (".csv", ".safetensors"))
    chosen.write_bytes(chosen.read_bytes() + b"\n")
    with pytest.raises(SegtraceError, match=rf"(?s)DVC does not record the stage.*{chosen}.*why FILE"):
        stage.run(name)


def test_a_broken_link_below_does_not(quiet: list[tuple[str, ...]]) -> None:
    scores = next(Path("scores").rglob("*.csv"))
    scores.write_bytes(scores.read_bytes() + b"\n")
    stage.run("train")


def test_orphans_are_put_aside_and_nothing_else(
    quiet: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    config = load.main_config()
    before = {phase: aside.orphans(phase, config) for phase in aside.OWNED}
    assert before == {phase: [] for phase in aside.OWNED}
    orphan = Path("scores/phantom3d/iso2/random/gone/smoke/fold-0_seed-0/test-last-native-none.csv")
    orphan.parent.mkdir(parents=True)
    orphan.write_text("old")
    stage.run("score")
    assert f"{orphan}: no configured job makes this" in capsys.readouterr().out
    assert not orphan.parent.exists()
    assert (aside.ASIDE / orphan).read_text() == "old"
    assert check.broken(jobs.configured(config, until="overview"), config) == []


def test_a_write_with_restored_times_is_shown_to_dvc(quiet: list[tuple[str, ...]]) -> None:
    config = load.main_config()
    stage.remember(config)
    assert stage.show_to_dvc(config) == []
    raw = next(path for path in sorted(Path("data/raw/phantom3d").rglob("*")) if path.is_file())
    status = raw.stat()
    time.sleep(0.02)
    with raw.open("r+b") as handle:
        handle.write(raw.read_bytes())
    os.utime(raw, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert stage.show_to_dvc(config) == [raw]
    assert raw.stat().st_mtime_ns != status.st_mtime_ns


def test_absent_data_says_what_to_do(quiet: list[tuple[str, ...]]) -> None:
    aside.put_aside(path for path in sorted(Path("data/raw/phantom3d").rglob("*")) if path.is_file())
    Path("data/raw/phantom3d").rename("data/elsewhere")
    try:
        with pytest.raises(
            SegtraceError, match=r"(?s)no data of phantom3d.*no pin.*'make demo'.*'dvc repro'"
        ):
            stage.run("index")
        Path("data/raw/phantom3d.dvc").write_text("outs: []\n")
        with pytest.raises(SegtraceError, match=r"(?s)'dvc pull'.*'segtrace sync'.*'make demo'"):
            stage.run("index")
        assert quiet == []
    finally:
        Path("data/elsewhere").rename("data/raw/phantom3d")


def test_pins_of_what_is_not_there(quiet: list[tuple[str, ...]]) -> None:
    Path("data/raw/phantom2d.dvc").write_text("outs: []\n")
    stage._require_pinned()
    assert quiet == [("segtrace", "acquire", "phantom2d")]
    Path("data/raw/busi.dvc").write_text("outs: []\n")
    with pytest.raises(
        SegtraceError, match=r"busi\.dvc: its data is not there; 'dvc pull data/raw/busi\.dvc'"
    ):
        stage._require_pinned()


def test_unknown_stages_are_refused(quiet: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    assert stage.main(["report"]) == 1
    assert stage.main([]) == 1
    assert "there are: index, prepare, split" in capsys.readouterr().err


def test_held_is_what_snakemake_recorded_until_it_does_not_hold(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load.main_config()
    job = next(job for job in jobs.configured(config) if job.phase == "score")
    assert check.held(job, config) == "made"
    monkeypatch.setattr(
        check, "metadata_of", lambda output: {"params": ["'code:x'", "'held:broken 0123456789abcdef'"]}
    )
    assert check.held(job, config) == "broken 0123456789abcdef"
    output = jobs.outputs(job)[0]
    output.write_bytes(output.read_bytes() + b"\n")
    one = check.held(job, config)
    assert one.startswith("broken ")
    assert one != "broken 0123456789abcdef"
    os.utime(output, ns=(1, 1))
    assert check.held(job, config) not in (one, "made")  # touching settles nothing
    output.unlink()
    assert check.held(job, config) == "made"
    assert seen.FOLDER.is_dir()


def test_records_of_one_job_must_agree_and_lie_beside_their_output(project: Path) -> None:
    config = load.main_config()
    trained = [job for job in jobs.configured(config) if job.phase == "train"]
    assert check.broken(trained, config) == []
    one, other = (jobs.outputs(job)[0] for job in trained[:2])
    for name in (other.name, jobs.record_of(other).name):
        (one.parent / name).write_bytes((other.parent / name).read_bytes())
    told = [str(problem) for problem in check.problems(trained[0], config)]
    assert any("the record of" in line for line in told)
    assert any("configuration" in line for line in told)
