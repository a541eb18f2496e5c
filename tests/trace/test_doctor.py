"""segtrace doctor: each finding on a machine made for it, and the whole on this one."""

import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from segtrace.leases import Holder
from segtrace.trace.doctor import command, machine, probes_dvc, probes_storage, probes_system
from segtrace.trace.doctor.machine import Answer, Finding, Machine

GIB = 1024**3
BIN = Path(sys.executable).parent
VERSIONS = {
    "torch": "2.13.0+cpu",
    "monai": "1.6.1",
    "snakemake": "9.27.1",
    "dvc": "3.67.1",
    "great-expectations": "1.24.1",
    "pandera": "0.35.0",
    "SimpleITK": "2.5.7",
    "tqdm": "4.70.1",
}


def answers(**known: Answer) -> Callable[[Sequence[str]], Answer]:
    """Commands by their names; one that is not known is not there."""
    return lambda command: known.get(
        Path(command[0]).name.replace("-", "_"), Answer(None, errors="not found")
    )


def settings(*lines: str) -> Answer:
    """What DVC says of its configuration: FILE KEY=VALUE each."""
    return Answer(0, "\n".join(line.replace(" ", "\t", 1) for line in lines))


@pytest.fixture
def healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with nothing to complain of; the project is the working directory."""
    project, proc, cgroups = (tmp_path / name for name in ("project", "proc", "cgroups"))
    for folder in (project / "envs", project / ".dvc/cache", tmp_path / "store", proc / "self", cgroups):
        folder.mkdir(parents=True)
    pins = [f"{name.lower()}=={version.partition('+')[0]}" for name, version in VERSIONS.items()]
    (project / "envs/requirements.lock").write_text("# pins\n" + "\n".join(pins) + "\n")
    (proc / "mounts").write_text(f"/dev/a / ext4 rw 0 0\n/dev/b {tmp_path} xfs rw,noatime 0 0\n")
    (proc / "meminfo").write_text("MemTotal: 67108864 kB\nMemAvailable: 33554432 kB\n")
    (proc / "self/cgroup").write_text("0::/user/job\n")
    monkeypatch.chdir(project)
    versions = {name.lower(): version for name, version in VERSIONS.items()}
    return Machine(
        proc=proc,
        cgroups=cgroups,
        temporary=tmp_path,
        environ={},
        scripts=tmp_path / "bin",
        python=(3, 12, 4),
        host="here",
        ask=answers(
            dvc=settings(
                ".dvc/config cache.type=copy",
                ".dvc/config remote.s.url=../../store",
                ".dvc/config remote.s.verify=true",
                ".dvc/config core.remote=s",
            ),
            git=Answer(0, f"{project}\n"),
            nvidia_smi=Answer(0, "NVIDIA H200, 570.1\nNVIDIA H200, 570.1\n"),
        ),
        version_of=lambda name: versions.get(name.lower()),
        torch_cuda=lambda: "13.0",
        gpus=lambda: 2,
        leases=lambda: [],
        free=lambda path: 100 * GIB,
        cores=lambda: 8,
        open_files=lambda: 4096,
        encodings=lambda: {"files": "UTF-8", "output": "utf8"},
    )


def only(found: list[Finding]) -> Finding:
    assert len(found) == 1, found
    return found[0]


def bad(found: list[Finding]) -> Finding:
    """The one finding that is not well."""
    return only([finding for finding in found if finding.level != "ok"])


def test_a_healthy_machine_has_nothing_to_mend(healthy: Machine) -> None:
    found = command.examine(healthy)
    assert {finding.level for _, finding in found} == {"ok"}, command.as_text(found)
    assert not any(finding.remedy for _, finding in found)
    assert {name for name, _ in found} == set(command.PROBES)
    assert not Path(".segtrace").exists()  # what was tried is cleared away


def test_a_probe_that_fails_is_a_finding_and_hides_no_other(
    healthy: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(_: object) -> int:
        raise RuntimeError("no such disk")

    found = command.examine(replace(healthy, free=raises))
    failed = {name for name, finding in found if finding.level == "warning"}
    assert failed == {"disks", "dvc"}  # both look at a disk
    assert "RuntimeError: no such disk" in next(finding.what for name, finding in found if name == "disks")
    assert {name for name, _ in found} == set(command.PROBES)


# --- DVC ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "level", "remedy"),
    [
        (["/etc/xdg/dvc/config cache.type=symlink"], "error", "dvc config cache.type copy"),
        (["/home/u/.config/dvc/config cache.type=reflink,hardlink"], "error", "dvc config cache.type copy"),
        ([".dvc/config.local cache.type=hardlink"], "error", "dvc config --local cache.type copy"),
        (["/home/u/.config/dvc/config cache.type=hardlink", ".dvc/config cache.type=copy"], "ok", ""),
        ([".dvc/config cache.type=copy", ".dvc/config.local cache.type=symlink"], "error", "--local"),
        ([".dvc/config cache.type=reflink"], "note", ""),
        ([], "note", ""),
    ],
)
def test_cache_type(healthy: Machine, lines: list[str], level: str, remedy: str) -> None:
    found = probes_dvc.dvc(replace(healthy, ask=answers(dvc=settings(*lines))))
    said = next(finding for finding in found if "cache type" in finding.what)
    assert said.level == level
    assert remedy in said.remedy
    if level == "error":
        assert lines[-1].split()[0] in said.what  # the file that sets it


@pytest.mark.parametrize("variable", ["XDG_CONFIG_HOME", "HOME"])
def test_hardlinks_in_the_users_own_dvc_configuration_are_seen(
    healthy: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    home = tmp_path / "home"
    folder = home / ("dvc" if variable == "XDG_CONFIG_HOME" else ".config/dvc")
    folder.mkdir(parents=True)
    (folder / "config").write_text("[cache]\n    type = hardlink\n")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv(variable, str(home))
    said = probes_dvc.dvc(replace(healthy, ask=machine.ask, scripts=BIN))[0]
    assert said.level == "error"
    assert str(folder / "config") in said.what


def test_dvc_that_fails_or_is_not_there(healthy: Machine) -> None:
    broken = Answer(251, errors="Traceback\nERROR: configuration error - line 3\nHaving any troubles?")
    said = only(probes_dvc.dvc(replace(healthy, ask=answers(dvc=broken))))
    assert (said.level, "line 3" in said.what) == ("error", True)
    said = only(probes_dvc.dvc(replace(healthy, ask=answers())))
    assert (said.level, "not found" in said.what) == ("warning", True)


def test_a_folder_without_dvc(healthy: Machine) -> None:
    Path(".dvc/cache").rmdir()
    Path(".dvc").rmdir()
    assert [finding.remedy for finding in probes_dvc.dvc(healthy)] == ["dvc init", ""]


@pytest.mark.parametrize(
    ("lines", "level", "words"),
    [
        ([], "note", "no remote"),
        ([".dvc/config remote.s.url=../../store"], "warning", "no default"),
        ([".dvc/config remote.s.url=../../store", ".dvc/config core.remote=t"], "error", "'t'"),
        (
            [".dvc/config remote.s.url=../../new", ".dvc/config core.remote=s"],
            "note",
            "first dvc push makes it",
        ),
        ([".dvc/config remote.s.url=/no/such/disk", ".dvc/config core.remote=s"], "warning", "/no/such/disk"),
    ],
)
def test_remotes(healthy: Machine, lines: list[str], level: str, words: str) -> None:
    lines = [".dvc/config cache.type=copy", ".dvc/config remote.s.verify=true", *lines]
    said = bad(probes_dvc.dvc(replace(healthy, ask=answers(dvc=settings(*lines)))))
    assert said.level == level
    assert words in said.what
    assert said.remedy


def test_a_remote_elsewhere_is_not_contacted(healthy: Machine) -> None:
    lines = [
        ".dvc/config cache.type=copy",
        ".dvc/config remote.s.url=s3://b/dvc",
        ".dvc/config core.remote=s",
    ]
    cache, room, remote, unchecked = probes_dvc.dvc(replace(healthy, ask=answers(dvc=settings(*lines))))
    assert {cache.level, room.level, remote.level} == {"ok"}
    assert "not contacted" in remote.what
    assert (unchecked.level, unchecked.remedy) == ("note", "dvc remote modify s verify true")


# --- storage --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "gpfs", "cifs", "fuse.sshfs"])
def test_network_file_systems(healthy: Machine, kind: str) -> None:
    with (healthy.proc / "mounts").open("a") as mounts:
        mounts.write(f"server:/x {Path.cwd()} {kind} rw,nolock 0 0\n")
        mounts.write(f"/dev/c {Path.cwd()}x ext4 rw 0 0\n")  # another place with the same beginning
    said = only(probes_storage.file_system(healthy))
    assert said.level == "warning"
    assert kind in said.what
    assert "nolock" in said.what


def test_a_mount_point_with_a_blank(
    healthy: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a b").mkdir()
    monkeypatch.chdir(tmp_path / "a b")
    with (healthy.proc / "mounts").open("a") as mounts:
        mounts.write(f"server:/x {tmp_path}/a\\040b nfs rw 0 0\n")
    assert only(probes_storage.file_system(healthy)).level == "warning"


def test_locks_that_fail_or_do_nothing(healthy: Machine) -> None:
    def refuse(_: Path) -> bool:
        raise OSError(37, "No locks available")

    for excludes, words in (
        (refuse, "No locks available"),
        (lambda path: False, "keeps no second process out"),
    ):
        said = bad(probes_storage.trial(replace(healthy, excludes=excludes)))
        assert said.level == "error"
        assert words in said.what
    assert machine.excludes(Path("lock"))


def test_times_of_whole_seconds(healthy: Machine) -> None:
    whole = replace(healthy, modified=lambda path: int(time.time()) * 10**9)
    assert "whole seconds" in bad(probes_storage.trial(whole)).what


@pytest.mark.parametrize("offset", [-30.0, -3.0, 3.0, 400.0])
def test_a_file_server_with_another_clock(healthy: Machine, offset: float) -> None:
    skewed = replace(healthy, modified=lambda path: time.time_ns() + int(offset * 1e9))
    said = bad(probes_storage.trial(skewed))
    assert said.level == "warning"
    assert f"{offset:+.1f} s" in said.what
    nearly = replace(healthy, modified=lambda path: time.time_ns() + int(offset / 400 * 1e9))
    assert {finding.level for finding in probes_storage.trial(nearly)} == {"ok"}


def test_a_project_that_cannot_be_written_to(healthy: Machine) -> None:
    Path(".segtrace").write_text("a file where the folder belongs")
    found = dict(command.examine(healthy))
    assert found["locks, times"].level == "warning"
    assert ".segtrace" in found["locks, times"].what


@pytest.mark.parametrize(("free", "level"), [(0.2, "error"), (3.0, "warning"), (50.0, "ok")])
def test_room(healthy: Machine, free: float, level: str) -> None:
    asked: list[Path] = []

    def room(path: Path) -> int:
        asked.append(path)
        return int(free * GIB)

    project = probes_storage.room(replace(healthy, free=room))[0]
    assert project.level == level
    assert f"{free:.1f} GiB" in project.what
    assert asked == [Path.cwd(), healthy.temporary]
    elsewhere = settings(
        ".dvc/config cache.type=copy", f".dvc/config cache.dir={healthy.temporary}/large/cache"
    )
    found = probes_dvc.dvc(replace(healthy, free=room, ask=answers(dvc=elsewhere)))
    assert asked[-1] == healthy.temporary  # the cache is not there yet: the disk that it would lie on
    assert next(finding for finding in found if "cache:" in finding.what).level == level


def test_orphaned_state(healthy: Machine) -> None:
    seen = Path(".segtrace/seen")
    seen.mkdir(parents=True)
    Path("there.csv").write_text("")
    (seen / "one.json").write_text(json.dumps({"there.csv": [[1], "a"], "gone.csv": [[1], "a"]}))
    assert only(probes_storage.state(healthy)).level == "ok"
    (seen / "two.json").write_text(json.dumps({"gone.csv": [[1], "a"]}))
    (seen / "three.json").write_text("{")
    half = seen / ".four.json.x1.tmp"
    half.write_text("{")
    os.utime(half, (1, 1))
    (seen / ".five.json.x1.tmp").write_text("{")  # just being written
    orphaned, damaged, killed = probes_storage.state(healthy)
    assert "two.json" in orphaned.what
    assert "one.json" not in orphaned.what
    assert "three.json" in damaged.what
    assert str(half) in killed.what
    assert "five" not in killed.what


# --- system ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "level"), [((3, 10, 9), "error"), ((3, 11, 0), "ok"), ((3, 14, 0), "error")]
)
def test_python(healthy: Machine, version: tuple[int, int, int], level: str) -> None:
    assert only(probes_system.python(replace(healthy, python=version))).level == level


@pytest.mark.parametrize(
    ("name", "version", "level", "words"),
    [
        ("torch", None, "error", "torch is not installed"),
        ("snakemake", "9.24.3", "error", "at least 9.25"),
        ("dvc", "3.66.0", "error", "at least 3.67, below 4"),
        ("dvc", "4.0.0", "error", "at least 3.67, below 4"),
        ("monai", "1.6.0", "warning", "monai is 1.6.0, locked 1.6.1"),
        ("tqdm", "4.0", "warning", "tqdm is 4.0, locked 4.70.1"),
        ("tqdm", None, "warning", "not installed: tqdm"),
    ],
)
def test_packages(healthy: Machine, name: str, version: str | None, level: str, words: str) -> None:
    versions = {known.lower(): found for known, found in VERSIONS.items()} | {name: version}
    found = probes_system.packages(replace(healthy, version_of=lambda name: versions.get(name.lower())))
    said = found[0]
    assert said.level == level
    assert words in said.what
    assert said.remedy == "make install"


def test_an_environment_without_lock(healthy: Machine) -> None:
    Path("envs/requirements.lock").unlink()
    assert "no pins" in bad(probes_system.packages(healthy)).what


def test_gpus(healthy: Machine) -> None:
    assert "NVIDIA H200" in only(probes_system.gpus(healthy)).what
    said = probes_system.gpus(replace(healthy, leases=lambda: [Holder("GPU-1", "7", "training in /here")]))[1]
    assert (said.level, said.what) == ("ok", "leased: GPU-1: training in /here (process 7)")
    said = only(probes_system.gpus(replace(healthy, torch_cuda=lambda: None)))
    assert (said.level, "without CUDA" in said.what) == ("warning", True)
    assert "torch==2.13.0" in said.remedy
    said = only(probes_system.gpus(replace(healthy, gpus=lambda: 0, environ={"CUDA_VISIBLE_DEVICES": "-1"})))
    assert (said.level, "'-1'" in said.what) == ("note", True)
    said = only(probes_system.gpus(replace(healthy, ask=answers())))
    assert (said.level, "unknown name" in said.what) == ("note", True)


def test_what_torch_was_built_with_is_read_from_its_files() -> None:
    code = (
        "import sys; from segtrace.trace.doctor import machine; "
        "found = machine.torch_cuda(); print(found, 'torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    import torch

    assert said.split() == [str(torch.version.cuda), "False"]


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"user/job/cpu.max": "150000 100000", "user/cpu.max": "max 100000"}, "1.5"),
        ({"user/job/cpu.max": "max 100000", "cpu.max": "200000 100000"}, "2"),
        ({"user/job/cpu.max": "max 100000"}, None),
        ({"cpu/old/cpu.cfs_quota_us": "300000", "cpu/old/cpu.cfs_period_us": "100000"}, "3"),
        ({"cpu/old/cpu.cfs_quota_us": "-1", "cpu/old/cpu.cfs_period_us": "100000"}, None),
    ],
)
def test_cores_of_a_control_group(healthy: Machine, files: dict[str, str], limit: str | None) -> None:
    (healthy.proc / "self/cgroup").write_text("3:cpu:/old\n0::/user/job\n")
    for name, content in files.items():
        (healthy.cgroups / name).parent.mkdir(parents=True, exist_ok=True)
        (healthy.cgroups / name).write_text(content)
    said = only(probes_system.cores(healthy))
    if limit is None:
        assert said == Finding("ok", "8 CPU cores")
    else:
        assert f"the time of {limit}" in said.what
        assert said.remedy == f"snakemake --cores {int(float(limit))}"


def test_memory(healthy: Machine) -> None:
    assert only(probes_system.memory(healthy)).what == "memory free: 32.0 GiB"
    job = healthy.cgroups / "user/job"
    job.mkdir(parents=True)
    (job / "memory.max").write_text(str(6 * GIB))
    (job / "memory.current").write_text(str(5 * GIB))
    said = only(probes_system.memory(healthy))
    assert (said.level, "1.0 GiB" in said.what) == ("warning", True)
    (job / "memory.stat").write_text(f"anon 5\ninactive_file {3 * GIB}\n")  # given up when asked for
    assert "4.0 GiB" in only(probes_system.memory(healthy)).what
    (healthy.proc / "meminfo").unlink()
    (job / "memory.max").write_text("max")
    assert only(probes_system.memory(healthy)).level == "note"


def test_clock_files_and_text(healthy: Machine) -> None:
    assert only(probes_system.clock(replace(healthy, now=lambda: 0.0))).level == "error"
    assert only(probes_system.limits(replace(healthy, open_files=lambda: 256))).remedy == "ulimit -n 4096"
    assert only(probes_system.limits(replace(healthy, open_files=lambda: -1))).level == "ok"
    latin = replace(healthy, encodings=lambda: {"files": "ANSI_X3.4-1968", "output": "utf-8"})
    said = only(probes_system.text(latin))
    assert (said.level, "files ANSI" in said.what, "output" in said.what) == ("warning", True, False)


def test_git(healthy: Machine) -> None:
    said = only(probes_system.git(replace(healthy, ask=answers())))
    assert "cannot be run" in said.what
    refused = Answer(128, errors="fatal: detected dubious ownership in repository\nmore")
    said = only(probes_system.git(replace(healthy, ask=answers(git=refused))))
    assert (said.level, "dubious ownership" in said.what) == ("warning", True)
    said = only(probes_system.git(replace(healthy, ask=answers(git=Answer(0, "/\n")))))
    assert (said.level, "not its root" in said.what) == ("note", True)


def test_a_lock_that_a_snakemake_left(healthy: Machine) -> None:
    locks, presence = Path(".snakemake/locks"), Path(".segtrace/locks/workflow.lock")
    locks.mkdir(parents=True)
    (locks / "0.input.lock").write_text("")
    said = only(probes_system.snakemake_lock(healthy))
    assert (said.level, "make unlock" in said.remedy) == ("warning", True)
    presence.parent.mkdir(parents=True)
    presence.write_text("elsewhere\n")
    assert "machine elsewhere" in only(probes_system.snakemake_lock(healthy)).what
    presence.write_text("here\n")
    assert "frees it by itself" in only(probes_system.snakemake_lock(healthy)).what
    with presence.open() as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        assert "at work" in only(probes_system.snakemake_lock(healthy)).what
    assert presence.read_text() == "here\n"


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_on_this_machine(healthy: Machine) -> None:
    Path("envs/requirements.lock").write_text("tqdm==0.0.1\n")
    code = (
        "import sys\nfrom segtrace.cli import main\n"
        "try:\n    code = main(['doctor', '--json'])\nexcept SystemExit as end:\n    code = end.code\n"
        "heavy = {'torch', 'numpy', 'pandas', 'pydantic', 'yaml'} & set(sys.modules)\n"
        "print(code, sorted(heavy), file=sys.stderr)\n"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.monotonic() - begun < 10  # a second by itself; other tests may run beside it
    rows = json.loads(done.stdout)
    assert {row["probe"] for row in rows} == set(command.PROBES)
    assert any("tqdm is" in row["what"] and "locked 0.0.1" in row["what"] for row in rows)
    worst = any(row["level"] == "error" for row in rows)
    assert done.stderr.split("\n")[-2] == f"{int(worst)} []"


def test_an_error_ends_the_command_with_one(healthy: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    from segtrace.cli import main

    Path(".dvc/config").write_text("[cache]\n    type = symlink\n")
    subprocess.run(["git", "init", "-q"], check=True)
    with pytest.raises(SystemExit) as end:
        main(["doctor"])
    assert end.value.code == 1
    output = capsys.readouterr().out
    assert "do: dvc config cache.type copy" in output
    assert re.match(r"error: [1-9]\d*, warning: ", output.splitlines()[-1])
