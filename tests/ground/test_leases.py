"""A device has one job (or as many as may share it), jobs come to their turn, and a dead one holds nothing."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from segtrace import leases
from segtrace.errors import SegtraceError

HOLDER = """
import os, subprocess, sys, time
from pathlib import Path
from segtrace import leases
folder, places, count, then, *devices = sys.argv[1:]
options = {"places": int(places), "count": int(count), "where": Path(folder), "wait_seconds": 0.01}
with leases.hold(devices, what="train other", **options) as held:
    if then == "fork":
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    elif then == "program":
        subprocess.Popen(["sleep", "60"], close_fds=False, stdout=subprocess.DEVNULL)
    print("held", *held, flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(
    folder: Path, *devices: str, places: int = 1, count: int = 1, then: str = "", wait: bool = True
) -> Iterator[subprocess.Popen[str]]:
    """A process group that holds a lease, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), str(places), str(count), then, *devices],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        if wait:
            line = process.stdout.readline()
            assert line.startswith("held"), line
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def told(process: subprocess.Popen[str], word: str) -> str:
    """The next line of a process that begins with ``word``."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(word):
            return line
    raise AssertionError(f"no line that begins with {word}")


def test_the_next_job_takes_the_next_device_and_all_are_listed(tmp_path: Path) -> None:
    with holder(tmp_path, "a", "b") as first, leases.hold(["a", "b"], what="mine", where=tmp_path) as mine:
        assert mine == (1,)
        assert leases.held(tmp_path) == [
            leases.Holder("a", str(first.pid), f"train other in {Path.cwd()}"),
            leases.Holder("b", str(os.getpid()), f"mine in {Path.cwd()}"),
        ]
    assert leases.held(tmp_path) == []


@pytest.mark.parametrize("then", ["", "fork", "program"])
def test_a_killed_job_frees_its_device_whatever_it_started(
    tmp_path: Path, then: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with holder(tmp_path, "a", then=then) as process:
        threading.Timer(0.3, os.kill, (process.pid, signal.SIGKILL)).start()
        started = time.monotonic()
        with leases.hold(["a"], what="mine", where=tmp_path, wait_seconds=0.02):
            assert time.monotonic() - started < 30  # the children sleep for 60
            assert process.wait() == -signal.SIGKILL
            if then:  # and are still there
                os.killpg(process.pid, 0)
    said = capsys.readouterr().out
    assert (
        f"mine: the GPU is leased (a: train other in {Path.cwd()} (process {process.pid})); waiting" in said
    )
    assert "a GPU is free after" in said


def _forked(answers: "multiprocessing.SimpleQueue[int]") -> None:
    answers.put(len(leases._open))


def test_a_forked_worker_holds_no_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with leases.hold(["a"], what="mine", where=tmp_path):
        answers = context.SimpleQueue()
        worker = context.Process(target=_forked, args=(answers,))
        worker.start()
        assert answers.get() == 0
        worker.join()
        assert [found.device for found in leases.held(tmp_path)] == ["a"]  # its end frees nothing


def test_jobs_that_share_spread_first_and_keep_out_one_that_does_not(tmp_path: Path) -> None:
    with (
        leases.hold(["a", "b"], what="1", places=2, where=tmp_path) as first,
        leases.hold(["a", "b"], what="2", places=2, where=tmp_path) as second,
        leases.hold(["a", "b"], what="3", places=2, where=tmp_path) as third,
        leases.hold(["a", "b"], what="4", places=2, where=tmp_path) as fourth,
    ):
        assert (first, second, third, fourth) == ((0,), (1,), (0,), (1,))
        assert leases._take(tmp_path, ["a", "b"], 1, 2) == {}
        assert leases._take(tmp_path, ["a", "b"], 1, 1) == {}
    with (
        leases.hold(["a", "b"], what="whole", where=tmp_path) as whole,
        leases.hold(["a", "b"], what="part", places=2, where=tmp_path) as part,
    ):
        assert (whole, part) == ((0,), (1,))


def test_a_job_of_several_devices_has_them_to_itself_or_holds_none(tmp_path: Path) -> None:
    with leases.hold(["a", "b", "c"], what="two", count=2, places=4, where=tmp_path) as two:
        assert two == (0, 1)
        assert leases._take(tmp_path, ["a", "b", "c"], 2, 1) == {}
        with leases.hold(["a", "b", "c"], what="one", where=tmp_path) as one:  # what failed let go of c
            assert one == (2,)
    with (
        pytest.raises(SegtraceError, match="asks for 2 GPUs, and 1 are visible"),
        leases.hold(["a"], what="x", count=2),
    ):
        pass


def test_jobs_that_wait_come_to_their_turn(tmp_path: Path) -> None:
    """One that needs both devices came first: one that needs either comes after it, though one is free."""
    with (
        holder(tmp_path, "a", "b") as first,
        holder(tmp_path, "a", "b", count=2, wait=False) as both,
    ):
        told(both, "train other: all 2 GPUs are leased")
        with holder(tmp_path, "a", "b", wait=False) as last:
            told(last, "train other: all 2 GPUs are leased")
            time.sleep(0.2)
            assert str(last.pid) not in {found.pid for found in leases.held(tmp_path)}
            with holder(tmp_path, "b"):  # which chooses among other devices
                pass
            first.kill()
            assert told(both, "held") == "held 0 1\n"
            assert str(last.pid) not in {found.pid for found in leases.held(tmp_path)}
            both.kill()
            assert told(last, "held") == "held 0\n"


def test_a_lock_file_that_was_removed_keeps_nobody_out_for_good(tmp_path: Path) -> None:
    with holder(tmp_path, "a"):
        (tmp_path / "a.lock").unlink()
        with leases.hold(["a"], what="mine", where=tmp_path):
            assert (tmp_path / "a.lock").exists()


def test_a_folder_that_was_removed_while_jobs_wait_is_made_again(tmp_path: Path) -> None:
    where = tmp_path / "leases"
    with holder(where, "a"), holder(where, "a", wait=False) as waiting:
        told(waiting, "train other: the GPU is leased")
        shutil.rmtree(where)
        assert told(waiting, "held") == "held 0\n"
        assert [found.pid for found in leases.held(where)] == [str(waiting.pid)]


def test_a_lock_that_is_a_dangling_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.lock").symlink_to(tmp_path / "nowhere/x")
    with (
        pytest.raises(SegtraceError, match=r"a\.lock: a link to a file that cannot be made; remove it"),
        leases.hold(["a"], what="x", where=tmp_path),
    ):
        pass


def test_the_folder_is_one_for_all_projects_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(leases.FOLDER, raising=False)
    monkeypatch.chdir(tmp_path)
    for key in ("TMPDIR", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.setenv(key, str(tmp_path))
    assert leases.folder() == Path(f"/tmp/segtrace-gpus-{os.getuid()}")
    monkeypatch.setenv(leases.FOLDER, str(tmp_path / "shared"))
    assert leases.folder() == tmp_path / "shared"


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(leases.FOLDER, raising=False)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    with (
        pytest.raises(SegtraceError, match="belongs to somebody else, or is a link; set SEGTRACE_LEASES"),
        leases.hold(["a"], what="x", where=tmp_path / "link"),
    ):
        pass
    (tmp_path / "file").touch()
    with (
        pytest.raises(SegtraceError, match="no folder for the leases"),
        leases.hold(["a"], what="x", where=tmp_path / "file"),
    ):
        pass
