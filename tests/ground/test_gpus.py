"""Which GPUs a job may use, the lease of one, and what a workflow's jobs may take together."""

import contextlib
import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from segtrace import device, gpus, leases
from segtrace.errors import SegtraceError


@pytest.fixture(autouse=True)
def two_fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (gpus.VISIBLE, gpus.LEASED, gpus.JOBS_PER_GPU, "SLURM_JOB_ID", *gpus.SLURM):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv(gpus.FAKE, "2")
    monkeypatch.setenv(leases.FOLDER, str(tmp_path / "leases"))


@pytest.mark.parametrize(
    ("fakes", "outer", "found"),
    [
        ("2", None, {"0": "fake-0", "1": "fake-1"}),
        ("left, right", None, {"0": "left", "1": "right"}),
        ("2", "", {}),
        ("2", "-1", {}),
        ("2", "NoDevFiles", {}),
        ("2", "1", {"1": "fake-1"}),
        ("3", "2,0", {"2": "fake-2", "0": "fake-0"}),
        ("2", "fake-1", {"fake-1": "fake-1"}),
        ("2", "1,7,0", {"1": "fake-1"}),
        ("0", None, {}),
    ],
)
def test_an_outer_setting_is_kept_to(
    fakes: str, outer: str | None, found: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(gpus.FAKE, fakes)
    if outer is not None:
        monkeypatch.setenv(gpus.VISIBLE, outer)
    assert {gpu.word: gpu.name for gpu in gpus.listed()} == found
    assert gpus.visible() == len(found)


@pytest.mark.parametrize("text", ["two gpus", "a,a", "a,", "../a", "-1", "1e3", "-1,-1"])
def test_fakes_that_are_none_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.FAKE, text)
    with pytest.raises(SegtraceError, match="SEGTRACE_FAKE_GPUS is"):
        gpus.listed()


@pytest.mark.parametrize(
    ("files", "outer", "count"),
    [
        ([], None, 0),
        ([], "0,1", 0),
        (["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"], None, 2),
        (["nvidia0", "nvidia1"], "1", 1),
        (["nvidia0", "nvidia1"], "", 0),
        (["nvidia0"], "MIG-a,MIG-b", 2),
        (["nvidia3", "nvidiactl"], None, 1),
        (["dxg"], None, 1),
    ],
)
def test_visible_gpus_by_the_files_of_the_driver(
    files: list[str], outer: str | None, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(gpus.FAKE)
    if outer is not None:
        monkeypatch.setenv(gpus.VISIBLE, outer)
    for name in files:
        (tmp_path / name).touch()
    assert gpus.visible(tmp_path) == count


def test_a_job_sees_its_device_alone_and_what_it_starts_leases_no_other() -> None:
    code = (
        "from segtrace import gpus\nwith gpus.lease(gpus.listed(), what='x') as g: print([i.name for i in g])"
    )
    with gpus.lease(gpus.listed(), what="one") as one, gpus.lease(gpus.listed(), what="nested") as nested:
        assert [gpu.name for gpu in one] == [gpu.name for gpu in nested] == ["fake-0"]
        assert os.environ[gpus.VISIBLE] == "0"
        inner = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
        assert inner.stdout.strip() == "['fake-0']"
        other = {k: v for k, v in os.environ.items() if k not in (gpus.VISIBLE, gpus.LEASED)}
        outer = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=other
        )
        assert outer.stdout.strip() == "['fake-1']"
    assert gpus.VISIBLE not in os.environ


def test_slurms_own_assignment_is_not_leased_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of Slurm's jobs that it lets share a device do not wait for each other; two of one job's would."""
    monkeypatch.setenv(gpus.VISIBLE, "0")
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    for job in ("7", "8"):
        monkeypatch.setenv("SLURM_JOB_ID", job)
        monkeypatch.delenv(gpus.LEASED, raising=False)
        context = gpus.lease(gpus.listed(), what=f"of {job}")
        context.__enter__()
        monkeypatch.setattr(gpus, f"_kept_{job}", context, raising=False)
    assert [(held.device, held.what) for held in leases.held()] == [
        ("slurm-7-fake-0", f"of 7 in {Path.cwd()}"),
        ("slurm-8-fake-0", f"of 8 in {Path.cwd()}"),
    ]
    for job in ("8", "7"):
        getattr(gpus, f"_kept_{job}").__exit__(None, None, None)
    assert leases.held() == []


def test_the_device_of_a_job(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.ExitStack() as process:
        monkeypatch.setattr(device, "_to_the_end", process)
        with device.lease(threads=2, what="training") as on:
            assert on == torch.device("cpu")
        assert [held.device for held in leases.held()] == ["fake-0"]  # CUDA would still have memory there
        said = capsys.readouterr().out
        with device.lease(threads=2, what="training"):
            assert [held.device for held in leases.held()] == ["fake-0"]
        assert capsys.readouterr().out == said
    assert said == (
        "training on the fake GPU fake-0 (CUDA_VISIBLE_DEVICES=0): training on the CPU with 2 threads\n"
    )
    assert leases.held() == []
    with device.lease(threads=1, what="training", granted=0) as on:
        assert (on, leases.held(), os.environ[gpus.VISIBLE]) == (torch.device("cpu"), [], "")
    assert capsys.readouterr().out == (
        "training: scaled down: asked for 1 GPU, given 0 (--resources gpu=N); training on the CPU with 1 thread\n"
    )
    monkeypatch.setenv(gpus.VISIBLE, "")
    with device.lease(threads=1, what="training", granted=0) as on:
        assert (on, leases.held()) == (torch.device("cpu"), [])
    assert (
        capsys.readouterr().out
        == "no GPU here (CUDA_VISIBLE_DEVICES is ''): training on the CPU with 1 thread\n"
    )


@pytest.mark.parametrize(("fakes", "outer"), [("2", "7"), ("2", "-1"), ("0", None)])
def test_on_the_cpu_the_setting_that_is_named_is_the_one_from_outside(
    fakes: str, outer: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(gpus.FAKE, fakes)
    if outer is not None:
        monkeypatch.setenv(gpus.VISIBLE, outer)
    with device.lease(threads=1, what="training"):
        assert os.environ[gpus.VISIBLE] == ""
    why = "" if outer is None else f" (CUDA_VISIBLE_DEVICES is {outer!r})"
    assert capsys.readouterr().out == f"no GPU here{why}: training on the CPU with 1 thread\n"


def test_a_device_that_is_named_twice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.VISIBLE, "0,0")
    with (
        pytest.raises(SegtraceError, match="asks for 2 GPUs, and 1 are visible"),
        gpus.lease(gpus.listed(), what="x", count=2),
    ):
        pass


@pytest.mark.parametrize(
    ("asked", "there", "jobs", "local", "most", "words"),
    [
        (None, 2, 1, True, 1, "2 GPUs are visible, and jobs use 1 of them; --resources gpu=2 uses all"),
        (2, 2, 1, True, 2, ""),
        (2, 2, 4, True, 8, ""),
        (2, 2, 4, False, 2, ""),
        (None, 0, 1, True, 1, ""),
        (0, 1, 1, True, 0, "run on the CPU, though 1 GPU is visible"),
        (3, 2, 1, True, 3, "jobs beyond that wait"),
    ],
)
def test_the_cap_of_a_workflow(
    asked: int | None, there: int, jobs: int, local: bool, most: int, words: str
) -> None:
    found, said = gpus.cap(asked, there=there, jobs=jobs, local=local)
    assert found == most
    assert (words in said) if words else said == ""


def test_jobs_per_gpu_of_the_environment_wins_unless_the_command_line_says_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(gpus.JOBS_PER_GPU, "3")
    gpus.configure(2)
    assert gpus.jobs_per_gpu() == 3
    gpus.configure(2, given=True)
    assert gpus.jobs_per_gpu() == 2
    monkeypatch.setenv(gpus.JOBS_PER_GPU, "0")
    with pytest.raises(SegtraceError, match="SEGTRACE_JOBS_PER_GPU is '0'"):
        gpus.jobs_per_gpu()


def _no_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return True
    return False


@pytest.mark.skipif(not _no_driver(), reason="a driver is here")
def test_without_a_driver_there_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(gpus.FAKE)
    assert gpus.listed() == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: torch's own list is compared there alone")
def test_the_driver_and_torch_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(gpus.FAKE)
    assert [gpu.name for gpu in gpus.listed()] == [gpu.name for gpu in device._of_torch()]
