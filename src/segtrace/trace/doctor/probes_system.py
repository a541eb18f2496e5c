"""Probes of the system: Python and packages, processors, memory, clock, limits, git, Snakemake's lock, text."""

import fcntl
import math
import re
import time
from pathlib import Path

from segtrace import digests, upkeep
from segtrace.trace.doctor.machine import Finding, Machine, cpu_limit, memory_free

GIB = 1024**3
#: Package → (least, below) of its version; None: any.
NEEDED: dict[str, tuple[str | None, str | None]] = {
    "torch": (None, None),
    "monai": (None, None),
    "snakemake": ("9.25", None),
    "dvc": ("3.67", "4"),
    "great-expectations": (None, None),
    "pandera": (None, None),
    "SimpleITK": (None, None),
}


# --- Python and packages --------------------------------------------------------------------------------


def python(machine: Machine) -> list[Finding]:
    """The version of Python."""
    shown = ".".join(str(part) for part in machine.python)
    if not (3, 11) <= machine.python[:2] <= (3, 13):
        return [
            Finding(
                "error",
                f"Python is {shown}; segtrace needs 3.11 to 3.13",
                "make install PYTHON=/path/to/python3.11",
            )
        ]
    return [Finding("ok", f"Python {shown}")]


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def packages(machine: Machine) -> list[Finding]:
    """Installed versions against what the program needs, and against the lock."""
    found = []
    for name, (least, below) in NEEDED.items():
        version = machine.version_of(name)
        if version is None:
            found.append(Finding("error", f"{name} is not installed", "make install"))
        elif (least and _parts(version) < _parts(least)) or (below and _parts(version) >= _parts(below)):
            wanted = f"at least {least}" + (f", below {below}" if below else "")
            found.append(Finding("error", f"{name} is {version}; it must be {wanted}", "make install"))
    locked = digests.pins()
    if not locked:
        found.append(
            Finding(
                "warning",
                f"{digests.LOCK}: no pins: the environment is not known",
                f"git checkout {digests.LOCK}",
            )
        )
    core = {_plain(name) for name in NEEDED}
    missing, different = [], []
    for name, pin in sorted(locked.items(), key=lambda item: (_plain(item[0]) not in core, item[0].lower())):
        version = machine.version_of(name)
        if version is None and _plain(name) not in core:
            missing.append(name)
        elif version is not None and version.partition("+")[0] != pin.partition("+")[0]:
            different.append(f"{name} is {version}, locked {pin}")
    if different:
        found.append(Finding("warning", f"not the locked versions: {'; '.join(different)}", "make install"))
    if missing:
        found.append(Finding("warning", f"locked, and not installed: {', '.join(missing)}", "make install"))
    versions = ", ".join(f"{name} {machine.version_of(name)}" for name in NEEDED)
    return found or [Finding("ok", f"{versions}; all {len(locked)} pins of {digests.LOCK} hold")]


# --- processors and memory -------------------------------------------------------------------------------


def gpus(machine: Machine) -> list[Finding]:
    """GPUs that jobs may use, whether torch can, and which jobs have leased them."""
    count, cuda = machine.gpus(), machine.torch_cuda()
    version = machine.version_of("torch")
    if count == 0:
        hidden = machine.environ.get("CUDA_VISIBLE_DEVICES")
        why = f" (CUDA_VISIBLE_DEVICES is {hidden!r})" if hidden is not None else ""
        return [Finding("note", f"no GPU{why}: networks are trained on the CPU, in training_threads threads")]
    answer = machine.ask(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"])
    names = [line.strip() for line in answer.output.splitlines() if line.strip()] if answer.code == 0 else []
    shown = f"{count} GPU{'s' if count != 1 else ''} visible" + (
        f" ({'; '.join(names)})" if names else ", of unknown name: nvidia-smi does not answer"
    )
    if version is not None and cuda is None:
        return [
            Finding(
                "warning",
                f"{shown}, but torch {version} is built without CUDA: networks would be trained on the CPU",
                f".venv/bin/python -m pip install --force-reinstall torch=={version.partition('+')[0]}",
            )
        ]
    more = f"; run up to {count} trainings side by side with --resources gpu={count}" if count > 1 else ""
    found = [Finding("ok" if names else "note", f"{shown}; torch is built with CUDA {cuda}{more}")]
    return found + [Finding("ok", f"leased: {holder}") for holder in machine.leases()]


def cores(machine: Machine) -> list[Finding]:
    """CPU cores that this process may use."""
    visible, limit = machine.cores(), cpu_limit(machine)
    if limit is not None and limit < visible:
        return [
            Finding(
                "note",
                f"{visible} CPU cores visible, but the control group allows the time of {limit:g}",
                f"snakemake --cores {max(1, math.floor(limit))}",
            )
        ]
    return [Finding("ok", f"{visible} CPU cores")]


def memory(machine: Machine) -> list[Finding]:
    """Memory that is free here."""
    free = memory_free(machine)
    if free is None:
        return [Finding("note", "the machine does not say how much memory is free")]
    shown = f"memory free: {free / GIB:.1f} GiB"
    if free < 2 * GIB:
        return [
            Finding("warning", f"{shown}; a training may be killed", "end other programs, or raise the limit")
        ]
    return [Finding("ok", shown)]


def limits(machine: Machine) -> list[Finding]:
    """The number of files that a process may have open."""
    count = machine.open_files()
    if 0 <= count < 1024:
        return [Finding("warning", f"a process may have only {count} files open", "ulimit -n 4096")]
    return [Finding("ok", "open files: " + (str(count) if 0 <= count < 1 << 40 else "no limit"))]


def clock(machine: Machine) -> list[Finding]:
    """Whether the clock can be right."""
    year = time.gmtime(machine.now()).tm_year
    if year < 2024:
        return [
            Finding(
                "error", f"the clock says the year {year}: file times mean nothing", "set the clock by NTP"
            )
        ]
    return [Finding("ok", f"the clock says {time.strftime('%Y-%m-%d', time.gmtime(machine.now()))}")]


# --- git, Snakemake, text ---------------------------------------------------------------------------------


def git(machine: Machine) -> list[Finding]:
    """Whether git is there and the folder is a repository."""
    answer = machine.ask(["git", "rev-parse", "--show-toplevel"])
    if answer.code is None:
        return [
            Finding(
                "warning",
                f"git cannot be run ({answer.errors})",
                "install git: a pinned result names its commit",
            )
        ]
    if answer.code != 0:
        lines = answer.errors.strip().splitlines() or ["git gives no reason"]
        return [
            Finding(
                "warning",
                f"this folder is no git repository: {lines[0]}",
                "git init, and commit the configuration",
            )
        ]
    top = Path(answer.output.strip())
    if top.resolve() != Path.cwd().resolve():
        return [Finding("note", f"the project is a folder of the git repository {top}, not its root")]
    return [Finding("ok", "the folder is a git repository")]


def snakemake_lock(machine: Machine) -> list[Finding]:
    """Whether a Snakemake lock is left, and whether anybody is at work who may hold it."""
    left = sorted(upkeep.SNAKEMAKE_LOCKS.glob("*.lock"))
    if not left:
        return [Finding("ok", "no Snakemake lock")]
    owner = ""
    if upkeep.PRESENCE.is_file():
        with upkeep.PRESENCE.open("r+", encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return [Finding("note", "a Snakemake is at work in this folder")]
            owner = handle.read().strip()
    if owner == machine.host:
        what = "a run that was killed left Snakemake's lock; the next run frees it by itself"
        return [Finding("note", what, "snakemake --cores N, or make unlock")]
    where = f"on the machine {owner}" if owner else "of an unknown machine"
    return [
        Finding(
            "warning",
            f"Snakemake's lock is held by a run {where}, or was left by it: {len(left)} files in {upkeep.SNAKEMAKE_LOCKS}",
            "if no run is at work there: make unlock",
        )
    ]


def text(machine: Machine) -> list[Finding]:
    """Whether text is UTF-8."""
    other = {
        purpose: name
        for purpose, name in machine.encodings().items()
        if name.lower().replace("-", "").replace("_", "") != "utf8"
    }
    if other:
        shown = ", ".join(f"{purpose} {name}" for purpose, name in other.items())
        return [Finding("warning", f"the encoding is not UTF-8: {shown}", "export LC_ALL=C.UTF-8")]
    return [Finding("ok", "text is UTF-8")]
