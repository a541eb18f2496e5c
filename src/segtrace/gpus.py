"""The GPUs of a job: which are visible, how many jobs share one, and a lease of one before CUDA starts.

``CUDA_VISIBLE_DEVICES`` from outside (a scheduler's, or somebody's own) is kept to: a job leases among those devices,
and nothing is leased where it names none. Devices are known by their UUID, whatever each process counts them by.
For tests, ``SEGTRACE_FAKE_GPUS`` gives devices that are leased as real ones, while networks run on the CPU.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from segtrace import leases
from segtrace.errors import SegtraceError

VISIBLE = "CUDA_VISIBLE_DEVICES"
FAKE = "SEGTRACE_FAKE_GPUS"
JOBS_PER_GPU = "SEGTRACE_JOBS_PER_GPU"
#: The devices that a job has leased, for the processes that it starts: they lease nothing of their own.
LEASED = "SEGTRACE_LEASED_GPUS"
#: What Slurm sets where it has given a job its GPUs.
SLURM = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS_ON_NODE", "SLURM_SHARDS_ON_NODE")

# A process of its own asks the driver: one that has asked keeps to the devices that were visible then.
PROBE = """
import ctypes, uuid
cuda = ctypes.CDLL("libcuda.so.1")
def ask(name, *given):
    code = getattr(cuda, name)(*given)
    if code: raise SystemExit(f"{name}: CUDA error {code}")
count, device, name = ctypes.c_int(), ctypes.c_int(), (ctypes.c_ubyte * 16)()
ask("cuInit", 0)
ask("cuDeviceGetCount", ctypes.byref(count))
for place in range(count.value):
    ask("cuDeviceGet", ctypes.byref(device), place)
    ask("cuDeviceGetUuid_v2" if hasattr(cuda, "cuDeviceGetUuid_v2") else "cuDeviceGetUuid", name, device)
    print(uuid.UUID(bytes=bytes(name)))
"""


@dataclass(frozen=True)
class Gpu:
    """A device: ``word`` is what ``CUDA_VISIBLE_DEVICES`` calls it here, ``name`` the same for every process."""

    word: str
    name: str


def _words() -> list[str] | None:
    """The devices that ``CUDA_VISIBLE_DEVICES`` names, up to the first that is none; None where it is not set."""
    text = os.environ.get(VISIBLE)
    if text is None:
        return None
    words = []
    for word in text.split(","):
        if word.strip() in ("", "-1", "NoDevFiles", "void", "none"):
            break
        words.append(word.strip())
    return words


def fake() -> list[Gpu] | None:
    """The devices of ``SEGTRACE_FAKE_GPUS`` (their number, or names joined by commas) that are visible; None without it."""
    text = os.environ.get(FAKE, "").strip()
    if not text:
        return None
    names = (
        [f"fake-{i}" for i in range(int(text))]
        if text.isdecimal()
        else [name.strip() for name in text.split(",")]
    )
    if any(not name[:1].isalpha() or set(name) & set("/. ") for name in names) or len(set(names)) < len(
        names
    ):
        raise SegtraceError(
            f"{FAKE} is {text!r}: give a number, or different names joined by commas, each beginning with a letter"
        )
    there = {str(place): Gpu(str(place), name) for place, name in enumerate(names)}
    there |= {name: Gpu(name, name) for name in names}
    words = _words()
    if words is None:
        return [there[str(place)] for place in range(len(names))]
    found: list[Gpu] = []
    for word in words:
        if word not in there:  # as CUDA does: what follows an unknown one is not visible
            break
        found.append(there[word])
    return found


def visible(devices: Path = Path("/dev")) -> int:
    """Number of GPUs that jobs may use, by the driver's files: quick, and without starting CUDA.

    Those that ``CUDA_VISIBLE_DEVICES`` names, else all of the machine; none where the machine or the container has no
    ``/dev/nvidia0`` or the like (``/dev/dxg`` under WSL).
    """
    pretended = fake()
    if pretended is not None:
        return len(pretended)
    present = len(list(devices.glob("nvidia[0-9]*"))) or int((devices / "dxg").exists())
    words = _words()
    return present if words is None or present == 0 else len(words)


def listed() -> list[Gpu]:
    """The visible devices in CUDA's own order, as the driver says; none where it does not answer."""
    pretended = fake()
    if pretended is not None:
        return pretended
    words = _words()
    if words == []:
        return []
    try:
        answer = subprocess.run(
            [sys.executable, "-I", "-c", PROBE], capture_output=True, text=True, timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    names = answer.stdout.split() if answer.returncode == 0 else []
    if words is None:
        words = [str(place) for place in range(len(names))]
    return [Gpu(word, f"GPU-{name}") for word, name in zip(words, names, strict=False)]


def jobs_per_gpu() -> int:
    """How many jobs may share a device, by ``SEGTRACE_JOBS_PER_GPU``; 1 without it."""
    text = os.environ.get(JOBS_PER_GPU, "1")
    if not text.isdecimal() or int(text) < 1:
        raise SegtraceError(f"{JOBS_PER_GPU} is {text!r}: give a whole number from 1 on")
    return int(text)


def configure(jobs: int, *, given: bool = False) -> None:
    """Let jobs know ``jobs_per_gpu`` of the configuration; the environment's own wins unless it was ``given``."""
    if given or JOBS_PER_GPU not in os.environ:
        os.environ[JOBS_PER_GPU] = str(jobs)


def scaled_down(what: str, *, wanted: int, granted: int | None) -> str:
    """The line that says that a scheduler's cap gave a job fewer GPUs than it asked for; empty where it did not.

    Snakemake lowers a job's resource to the cap of ``--resources`` without a word.
    """
    if granted is None or granted >= wanted:
        return ""
    return f"{what}: scaled down: asked for {wanted} GPU{'s' if wanted > 1 else ''}, given {granted} (--resources gpu=N)"


def _namespace() -> str:
    """Before the names of locks. Slurm has settled which job has which device; leases are then within that job."""
    job = os.environ.get("SLURM_JOB_ID")
    return f"slurm-{job}-" if job and any(os.environ.get(key) for key in SLURM) else ""


@contextmanager
def lease(found: Sequence[Gpu], *, what: str, count: int = 1) -> Iterator[list[Gpu]]:
    """Hold ``count`` of the devices ``found`` while the block runs, with ``CUDA_VISIBLE_DEVICES`` set to them.

    Call it before CUDA starts in this process. A process that was started by a job with a lease is given that job's
    devices. Nothing is held where there are none, or none are asked for: then the variable is empty. Raises
    :class:`SegtraceError` where there are fewer than ``count``.
    """
    before = {key: os.environ.get(key) for key in (VISIBLE, LEASED)}
    inherited = before[LEASED] is not None and before[LEASED] == before[VISIBLE]
    if not found or count == 0:
        with _set({VISIBLE: ""} if count == 0 else {}):
            yield []
    elif inherited:
        yield list(found)
    else:
        names = [_namespace() + gpu.name for gpu in found]
        with leases.hold(names, what=what, count=count, places=jobs_per_gpu()) as positions:
            leased = [found[position] for position in positions]
            words = ",".join(gpu.word for gpu in leased)
            with _set({VISIBLE: words, LEASED: words}):
                yield leased


@contextmanager
def _set(values: dict[str, str]) -> Iterator[None]:
    """Environment variables while the block runs."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def cap(asked: int | None, *, there: int, jobs: int, local: bool) -> tuple[int, str]:
    """How much of ``gpu`` a workflow's jobs may take together, and a line about it (empty where nothing is to be said).

    ``asked`` is that of ``--resources gpu=N`` or a profile, None where nobody said any: then 1. Where ``jobs`` share a
    device, N devices take that many times N jobs; only on this machine, since a scheduler gives each job its own.
    """
    most = 1 if asked is None else asked
    says = f"--resources gpu={most}"
    if not local or there == 0 or most == there:
        said = ""
    elif most == 0:
        said = f"{says}: trainings and predictions run on the CPU, though {_number(there)} visible"
    elif most < there:
        said = f"{_number(there)} visible, and jobs use {most} of them; --resources gpu={there} uses all"
    else:
        said = f"{says}, and {_number(there)} visible: jobs beyond that wait for a device"
    return (most * jobs if local else most), said and f"segtrace: {said}"


def _number(there: int) -> str:
    return f"{there} GPUs are" if there > 1 else "1 GPU is"
