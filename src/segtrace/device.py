"""The device of a job that runs a network: a leased GPU where there is one, otherwise the CPU.

Each GPU has a lock file for all jobs of this user on this machine; a job takes the first free device of
those that ``CUDA_VISIBLE_DEVICES`` shows, and waits while all are taken. The kernel frees the lock when
its holder ends, however it ends.
"""

import ctypes
import fcntl
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from segtrace.errors import SegtraceError
from segtrace.progress import resident_memory

#: How far a training may be repeated: see :func:`set_determinism`.
MODES = ("strict", "fast")


def _lock_folder() -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(base) / f"segtrace-devices-{os.getuid()}"


@contextmanager
def first_free(names: Sequence[str], *, folder: Path, wait_seconds: float = 1.0) -> Iterator[int]:
    """Hold the lock of the first free device of ``names`` while the block runs; gives its position."""
    folder.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        for position, name in enumerate(names):
            handle = (folder / f"{name}.lock").open("a")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.close()
                continue
            try:
                yield position
            finally:
                handle.close()
            return
        if not told:
            print(
                f"all {len(names)} GPUs are leased to other jobs; waiting for one (locks in {folder})",
                flush=True,
            )
            told = True
        time.sleep(wait_seconds)


@contextmanager
def lease(*, threads: int, what: str) -> Iterator[torch.device]:
    """The device for ``what`` ("training", …), held while the block runs; without a GPU the CPU, said in one line."""
    if not torch.cuda.is_available():
        print(f"no GPU here: {what} on the CPU with {threads} threads", flush=True)
        yield torch.device("cpu")
        return
    names = [f"gpu-{torch.cuda.get_device_properties(i).uuid}" for i in range(torch.cuda.device_count())]
    with first_free(names, folder=_lock_folder()) as position:
        torch.cuda.set_device(position)
        print(f"{what} on GPU {position}: {torch.cuda.get_device_name(position)}", flush=True)
        yield torch.device("cuda", position)


def kind(device: torch.device) -> dict[str, str]:
    """What decides the bits of a result beside its configuration: device, processor kind, torch version."""
    if device.type == "cuda":
        processor = torch.cuda.get_device_name(device)
    else:
        amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
        processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}{' AMX' if amx else ''}"
    return {"device": device.type, "processor": processor, "torch": torch.__version__}


def set_determinism(mode: str, *, threads: int) -> None:
    """Set torch to ``threads`` CPU threads and to ``strict`` or ``fast`` operations.

    ``strict``: the same run on the same kind of device ends with the same bits, every time. An operation that cannot
    promise this raises, rather than only warning (``segtrace.determinism`` says what to use instead). cuDNN takes its
    deterministic kernels and does not time them against each other; cuBLAS works in a fixed workspace.

    ``fast``: what is quickest on a GPU. cuDNN times its kernels for each new shape and keeps the quickest, sums may
    be made in any order, and matrix products of float32 are rounded to TF32 (10 bits of mantissa). Given up: two
    trainings of one run differ, a resumed one differs from one that was not interrupted, and nobody can recompute a
    weight to its bits. On a CPU the two modes differ little, and ``fast`` promises as little.

    Convolutions may use TF32 in both, which is torch's own setting and deterministic. Raises :class:`SegtraceError`
    for another mode.
    """
    if mode not in MODES:
        raise SegtraceError(f"determinism is {mode!r}; there are: {', '.join(MODES)}")
    strict = mode == "strict"
    # cuBLAS reads it when it starts, and torch looks only once in a process whether it was there
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs time, changes nothing that is read
    torch.backends.cudnn.benchmark = not strict
    torch.backends.cuda.matmul.allow_tf32 = not strict


def keep_freed_memory() -> None:
    """Let this process keep the memory that tensors on the CPU leave, for the next ones.

    glibc gives blocks from 32 MiB on back to the system each time, which maps and clears them page by page for the next
    tensor. No number changes; the process stays as large as it once was. Does nothing where the C library has no such settings.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    m_mmap_max, m_trim_threshold = -4, -1
    mallopt(m_mmap_max, 0)
    mallopt(m_trim_threshold, -1)


def be_deterministic(*, threads: int) -> None:
    """:func:`set_determinism` in its mode ``strict``."""
    set_determinism("strict", threads=threads)


def memory_format(device: torch.device, *, precision: str, axes: int) -> torch.memory_format:
    """How a network of ``axes`` spatial axes and its batches lie in memory: what is quickest on the device.

    On a CPU with bfloat16 units, channels last is quicker in bf16; it gains nothing in float32 or on GPUs.
    """
    if device.type == "cpu" and precision == "bf16":
        return torch.channels_last if axes == 2 else torch.channels_last_3d
    return torch.contiguous_format


def memory_in_use(device: torch.device) -> str:
    """For a progress line: on a GPU the most that tensors have taken so far, on a CPU what the process holds now."""
    if device.type != "cuda":
        return resident_memory()
    most, whole = (
        torch.cuda.max_memory_allocated(device),
        torch.cuda.get_device_properties(device).total_memory,
    )
    return f"{most / 2**30:.1f} of {whole / 2**30:.0f} GiB on the GPU"
