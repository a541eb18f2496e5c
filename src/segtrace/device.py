"""The device of a job that runs a network: a leased GPU where there is one, otherwise the CPU.

A job takes the first free device of those that ``CUDA_VISIBLE_DEVICES`` shows, and waits while all are taken:
see :mod:`segtrace.gpus` and :mod:`segtrace.leases`.
"""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from segtrace import gpus
from segtrace.errors import SegtraceError
from segtrace.progress import resident_memory

#: How far a training may be repeated: see :func:`set_determinism`.
MODES = ("strict", "fast")
#: Leases of this process. CUDA keeps memory of the device until the process ends, so they end with it as well.
_to_the_end = ExitStack()


def _of_torch() -> list[gpus.Gpu]:
    """The GPUs that torch sees in this process."""
    count = range(torch.cuda.device_count())
    return [gpus.Gpu(str(i), f"GPU-{torch.cuda.get_device_properties(i).uuid}") for i in count]


def _visible() -> list[gpus.Gpu]:
    """The GPUs that this process can use: those of the driver, and where CUDA runs here already those it started with."""
    if gpus.fake() is None and torch.version.cuda is None and torch.version.hip is None:
        return []  # a torch that knows the CPU alone
    found = gpus.listed()
    if gpus.fake() is not None:
        return found
    if not torch.cuda.is_initialized() and (found or not torch.cuda.is_available()):
        return found
    started = _of_torch()
    return [gpu for gpu in found if gpu.name in {own.name for own in started}] or started


@contextmanager
def lease(*, threads: int, what: str, granted: int | None = None) -> Iterator[torch.device]:
    """The device for ``what`` ("training", …); without a GPU the CPU, said in one line.

    A GPU stays leased until the process ends, and a later lease in the same process is of the same one.
    ``granted`` is the number of GPUs that a scheduler gave this job, where one did: with 0 it runs on the CPU, and
    where there is a GPU, that is said. Raises :class:`SegtraceError` where no lease can be kept.
    """
    found, on_cpu = _visible(), f"{what} on the CPU with {threads} thread{'s' if threads > 1 else ''}"
    wanted = min(1, len(found))
    scaled_down = gpus.scaled_down(what, wanted=wanted, granted=granted)
    count = 0 if scaled_down else wanted
    hidden, there = os.environ.get(gpus.VISIBLE), gpus.visible()  # before the lease of none, which empties it
    with ExitStack() as block:
        leased = (_to_the_end if count else block).enter_context(gpus.lease(found, what=what, count=count))
        if not leased:
            why = f" ({gpus.VISIBLE} is {hidden!r})" if hidden is not None else ""
            if hidden is None and there:
                why = " that the driver gives to this process ('segtrace doctor' says more)"
            print(f"{scaled_down}; {on_cpu}" if scaled_down else f"no GPU here{why}: {on_cpu}", flush=True)
            yield torch.device("cpu")
            return
        shown = f"{gpus.VISIBLE}={leased[0].word}"
        if gpus.fake() is not None:
            print(f"{what} on the fake GPU {leased[0].name} ({shown}): {on_cpu}", flush=True)
            yield torch.device("cpu")
            return
        position = _position(leased[0])
        torch.cuda.set_device(position)
        print(f"{what} on {leased[0].name} ({shown}): {torch.cuda.get_device_name(position)}", flush=True)
        yield torch.device("cuda", position)


@contextmanager
def lease_several(count: int, *, threads: int, what: str, granted: int | None = None) -> Iterator[None]:
    """``count`` devices for as many processes that the block starts; without a GPU the CPU, said in one line.

    The processes see the leased devices alone (``CUDA_VISIBLE_DEVICES``). ``granted`` is the number that a scheduler gave
    this job, where one did; with 0 it runs on the CPU. Raises :class:`SegtraceError` where there are GPUs, and too few.
    """
    found = [] if granted == 0 else _visible()
    lacking = gpus.scaled_down(what, wanted=count, granted=granted) if found else ""
    if not lacking and 0 < len(found) < count:
        lacking = f"{what}: asked for {count} GPUs of this machine, and {len(found)} can be seen"
    if lacking:
        raise SegtraceError(
            f"{lacking}: the number of devices is part of a run, so it does not train on fewer; give it {count}, or "
            "lower 'devices' in the training recipe or the budget"
        )
    with gpus.lease(found, what=what, count=count if found else 0) as leased:
        on_cpu = (
            f"{what} on the CPU in {count} processes with {threads} thread{'s' if threads > 1 else ''} each"
        )
        if not leased:
            print(f"no GPU here: {on_cpu}", flush=True)
        elif gpus.fake() is not None:
            print(f"{what} on the fake GPUs {', '.join(gpu.name for gpu in leased)}: {on_cpu}", flush=True)
        else:
            print(f"{what} on {', '.join(gpu.name for gpu in leased)}", flush=True)
        yield


def _position(leased: gpus.Gpu) -> int:
    """What torch counts a leased GPU by: 0, unless CUDA ran here before the lease and sees more."""
    names = [gpu.name for gpu in _of_torch()] if torch.cuda.is_available() else []
    if leased.name not in names:
        raise SegtraceError(
            f"{leased.name} is leased, but torch sees {', '.join(names) or 'no GPU'}: does torch {torch.__version__} go "
            f"with this driver? 'segtrace doctor' says more; an empty {gpus.VISIBLE} runs on the CPU"
        )
    return names.index(leased.name)


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
