"""Files, locks, workers, tables, digests, grids: what every phase stands on."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtrace import digests, files, parallel, schemas, seen, store, tables, upkeep
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid, format_numbers, parse_numbers


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.txt", "old")

    def write_half() -> None:
        with files.atomic(tmp_path / "a.txt") as handle:
            handle.write("new and")
            raise RuntimeError("half")

    with pytest.raises(RuntimeError, match="half"):
        write_half()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_lock_is_waited_for_and_ends_with_its_owner(tmp_path: Path) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from segtrace.files import hold
        with hold(Path("out"), what="one"):
            print("held", flush=True)
            time.sleep(float(sys.argv[1]))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    first = subprocess.Popen([*command, "60"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    second = subprocess.Popen([*command, "0"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert second.stdout is not None
    assert f"process {first.pid}" in second.stdout.readline()
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert second.stdout.readline() == "held\n"
    assert second.wait(timeout=20) == 0


def _square(number: int) -> int:
    if number % 7 == 3:
        raise SegtraceError(f"case {number} is faulty")
    return number * number


def _die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number


@pytest.mark.parametrize("workers", [1, 3])
def test_all_faults_are_listed_and_order_is_kept(workers: int) -> None:
    assert parallel.map_cases(_square, [5, 1, 2], label="x", workers=workers) == [25, 1, 4]
    with pytest.raises(SegtraceError, match=r"(?s)2 problems.*case 3 is.*case 10 is"):
        parallel.map_cases(_square, list(range(12)), label="x", workers=workers)


def test_a_killed_worker_is_named_by_its_case() -> None:
    with pytest.raises(SegtraceError, match=r"killed while it worked on one of: .*3"):
        parallel.map_cases(_die, list(range(6)), label="x", workers=2)


def test_tables_round_trip_to_the_same_bytes_and_list_their_faults(tmp_path: Path) -> None:
    rows = [{"case": "a", "subject": "s", "cluster": "s", "fold": 0, "role": "test"}]
    tables.write("split", rows, tmp_path / "a.csv")
    tables.write("split", tables.read("split", tmp_path / "a.csv"), tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    (tmp_path / "c.csv").write_text("case,subject,cluster,fold,role\na,s,s,0,exam\n,s,s,0,test\n")
    with pytest.raises(SegtraceError, match=r"(?s)c\.csv.*exam"):
        tables.read("split", tmp_path / "c.csv")
    with pytest.raises(SegtraceError, match="'segtrace split' makes it"):
        tables.read("split", tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()
    for table in schemas.SCHEMAS:  # a batch without a case, for instance
        tables.write(table, [], tmp_path / "empty.csv")
        assert tables.read(table, tmp_path / "empty.csv").empty


def test_a_file_is_read_again_only_when_its_state_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "raw" / "a.bin"
    path.parent.mkdir()
    path.write_bytes(b"1234")
    read = []
    monkeypatch.setattr(seen, "sha256_file", lambda p: read.append(p) or files.sha256_file(p))
    before = seen.tree_sums(Path("raw"))
    assert before == {"a.bin": files.sha256_file(path)}
    assert seen.tree_sums(Path("raw")) == before
    assert len(read) == 1
    status = path.stat()
    time.sleep(0.02)
    path.write_bytes(b"4321")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (status.st_mtime_ns, status.st_size)
    assert seen.tree_sums(Path("raw")) == {"a.bin": files.sha256_file(path)} != before
    assert seen.tree_sums(Path("none")) is None


def test_damaged_knowledge_of_files_is_no_knowledge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").write_bytes(b"1")
    for text in ("", "[1]", '{"a": 1}', "{", '{"a": [[0], 5]}'):
        seen.FOLDER.mkdir(parents=True, exist_ok=True)
        (seen.FOLDER / "g.json").write_text(text)
        known = seen.Seen("g")
        assert known.sha256(Path("a")) == files.sha256_file(Path("a"))
        assert known.sha256(Path("b")) is None


def test_comments_in_a_lock_are_no_environment(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("# note\nb==1\na==2  # why\n")
    (tmp_path / "b").write_text("a==2\nb==1\n")
    (tmp_path / "c").write_text("a==2\nb==2\n")
    first, second, third = (digests.environment_digest(tmp_path / name) for name in "abc")
    assert first == second != third


def test_a_package_upgraded_by_hand_is_another_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lock").write_text("torch==2.13.0\nrich==14.0\n")

    def with_versions(versions: dict[str, str]) -> str:
        digests._installed.cache_clear()

        def version(name: str) -> str:
            if name not in versions:
                raise digests.metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(digests.metadata, "version", version)
        return digests.environment_digest(tmp_path / "lock")

    try:
        pinned = with_versions({})
        assert with_versions({"torch": "2.13.0+cpu", "rich": "15"}) == pinned
        assert with_versions({"torch": "2.12.1"}) != pinned
    finally:
        digests._installed.cache_clear()


def test_jobs_are_told_by_the_environment_and_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*, tracking: list[str], given: tuple[str, ...] = (), before: str | None = None) -> str:
        monkeypatch.setenv("PATH", "/bin")
        monkeypatch.setenv("SEGTRACE_MIRROR", "/before")
        monkeypatch.delenv("SEGTRACE_TRACKING", raising=False)
        if before is not None:
            monkeypatch.setenv("SEGTRACE_TRACKING", before)
        upkeep.set_environment(mirror="/archives", tracking=tracking, given=given)
        assert os.environ["SEGTRACE_MIRROR"] == ("/archives" if "mirror" in given else "/before")
        return os.environ["SEGTRACE_TRACKING"]

    assert told(tracking=[]) == ""
    assert told(tracking=["dvclive", "tensorboard"]) == "dvclive,tensorboard"
    assert told(tracking=["dvclive"], before="tensorboard") == "tensorboard"
    assert told(tracking=[], given=("mirror", "tracking"), before="tensorboard") == ""


def test_a_second_source_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    upkeep.require_own_source()
    other = tmp_path / "src/segtrace/__init__.py"
    other.parent.mkdir(parents=True)
    other.write_text("")
    with pytest.raises(SegtraceError, match=r"(?s)source of segtrace of its own.*make install"):
        upkeep.require_own_source()
    other.unlink()
    other.symlink_to(Path(upkeep.__file__).with_name("__init__.py"))
    upkeep.require_own_source()


def test_only_the_lock_of_a_dead_run_is_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert upkeep.be_present() == ""
    lock = upkeep.SNAKEMAKE_LOCKS / "0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("x")
    holder = "import fcntl, sys; h = open(sys.argv[1]); fcntl.flock(h, fcntl.LOCK_SH); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(upkeep.PRESENCE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        upkeep._held.clear()
        assert upkeep.be_present() == ""
        assert lock.exists()
        other.kill()
    upkeep._held.clear()
    upkeep.PRESENCE.write_text("another-machine\n")
    assert upkeep.be_present() == ""
    assert lock.exists()
    upkeep._held.clear()
    assert "a run was killed" in upkeep.be_present()
    assert not lock.exists()
    upkeep._held.clear()


def test_a_changed_array_is_not_intact_and_an_emptied_one_is_a_named_error(tmp_path: Path) -> None:
    image, label = np.ones((1, 2, 3), np.float32), np.ones((2, 3), np.uint8)
    store.write_case(tmp_path, "a", image=image, label=label, record={"digest": "d"})
    assert store.is_intact(tmp_path, "a", digest="d")
    path = tmp_path / "a.image.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert not store.is_intact(tmp_path, "a", digest="d")
    path.write_bytes(b"")
    with pytest.raises(SegtraceError, match="damaged"):
        store.open_case(tmp_path, "a")


@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=9))
def test_numbers_in_a_cell_read_back_exactly(values: list[float]) -> None:
    assert parse_numbers(format_numbers(values)) == tuple(values)


def test_a_grid_says_what_differs_with_both_values() -> None:
    grid = Grid((4, 5, 6), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    moved = Grid((4, 5, 6), (1.0, 1.0, 2.5), (0.0, 3.0, 0.0), (1, 0, 0, 0, -1, 0, 0, 0, 1))
    assert grid.differences(grid) == []
    assert [text.split()[0] for text in grid.differences(moved)] == ["spacing", "origin", "direction"]
    assert "1x1x2 and 1x1x2.5 mm" in grid.differences(moved)[0]
    assert grid.world([5, 4, 3]).tolist() == [3.0, 4.0, 10.0]
    assert Grid.from_json(grid.to_json()) == grid
