"""The processes that train one run together, each on a device of its own, and how a step is shared among them.

A process alone is a world of one, in which nothing is sent. In a larger world each step's samples are those of one
device: every process takes its share of them, gradients are summed by torch's DistributedDataParallel, and what a
process must know of the others' samples (statistics of batch normalisation, logits of a loss that couples samples) is
sent. Processes find each other by the environment that ``torchrun`` sets. Tensors on GPUs travel by NCCL, those on the
CPU by gloo.
"""

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from segtrace import device as devices
from segtrace.errors import SegtraceError
from segtrace.files import hold

#: How long a process waits for the others of its world before it gives up.
PATIENCE = timedelta(minutes=30)
#: Set in the world's store once the first process holds the folder's lock.
HELD = "segtrace/held"


@dataclass(frozen=True)
class Piece:
    """A process's share of samples that pass through the network together."""

    samples: range
    """Positions among the step's samples; where the process has no share, that of one to stand in, of weight 0."""
    counts: tuple[int, ...]
    """Samples of each process; without those that stand in."""
    weight: float
    """The share of the step's samples that these are."""


@dataclass
class Share:
    """What modules that look across processes need of the piece at hand."""

    counts: tuple[int, ...] = (1,)
    rank: int = 0

    @property
    def own(self) -> int:
        """Samples of this process that count: none, where another's stands in."""
        return self.counts[self.rank]


@dataclass(frozen=True)
class World:
    """This process among those of a run: its number ``rank`` from 0, and how many there are, here and in all."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    share: Share = field(default_factory=Share)

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and speaks."""
        return self.rank == 0

    @property
    def kind(self) -> dict[str, Any]:
        """What of it decides bits beside the number of processes, which is the run's; nothing for a process alone."""
        if self.size == 1:
            return {}
        return {"backend": dist.get_backend(), "machines": self.size // self.local_size}

    def pieces(self, count: int, parts: int) -> list[Piece]:
        """This process's share of each of the ``parts`` of a step of ``count`` samples, as equal as can be."""
        found = []
        for part in _split(range(count), min(parts, count)):
            shares = _split(part, self.size)
            own = shares[self.rank]
            found.append(Piece(own or part[:1], tuple(len(share) for share in shares), len(own) / count))
        return found

    def total(self, value: Tensor) -> Tensor:
        """The sum of ``value`` over all processes, in place: the same bits in each."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is set in any process. Nothing waits for a GPU: it travels by the CPU."""
        if self.size == 1:
            return flag
        return bool(self.total(torch.tensor([int(flag)])).item())

    def told(self, values: Sequence[int]) -> list[int]:
        """``values`` of the first process, in all of them."""
        told = torch.tensor(list(values), dtype=torch.int64)
        if self.size > 1:
            dist.broadcast(told, 0)
        found: list[int] = told.tolist()
        return found


def _split(positions: range, count: int) -> list[range]:
    """``positions`` in ``count`` runs, the first ones longer by one where it does not divide: as tensor_split."""
    size, rest = divmod(len(positions), count)
    ends = [0]
    for number in range(count):
        ends.append(ends[-1] + size + (number < rest))
    return [positions[first:end] for first, end in itertools.pairwise(ends)]


def is_one_of_several() -> bool:
    """Whether ``torchrun`` started this process as one of a world."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "LOCAL_RANK" in os.environ


@contextmanager
def joined(expected: int) -> Iterator[World]:
    """The world that ``torchrun`` started this process in, or one of its own; all but the first keep silent.

    Raises :class:`SegtraceError` where it has not the ``expected`` number of processes: this number is part of a run.
    """
    if not is_one_of_several():
        yield World()
        return
    size, local_size = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if size != expected:
        raise SegtraceError(
            f"started as one of {size} processes, but the run has devices: {expected}. The number is part of a run: "
            "start as many, or set 'devices' in the training recipe or the budget"
        )
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    with ExitStack() as stack:
        if rank:
            stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        yield World(rank, size, local_rank, local_size, Share((1,) * size, rank))
    dist.destroy_process_group()  # not after a failure: it would wait for the others


@contextmanager
def held(world: World, folder: Path, *, what: str) -> Iterator[None]:
    """Hold the folder's lock in the first process of a world; the others wait for that, however long it takes."""
    if world.is_first:
        with hold(folder, what=what):
            if world.size > 1:
                _store().set(HELD, "1")
            yield
        return
    while not _store().check([HELD]):
        time.sleep(0.1)
    yield


def _store() -> dist.Store:
    return dist.distributed_c10d._get_default_store()


@contextmanager
def device(world: World, *, threads: int, granted: int | None = None) -> Iterator[torch.device]:
    """The device to train on: leased for a process alone, by its number among those that are shown in a larger world.

    ``granted`` is as :func:`segtrace.device.lease` has it.
    Raises :class:`SegtraceError` where there are GPUs, and fewer than processes on this machine.
    """
    if world.size == 1:
        with devices.lease(threads=threads, what="training", granted=granted) as found:
            yield found
    elif not torch.cuda.is_available():
        yield torch.device("cpu")
    elif torch.cuda.device_count() < world.local_size:
        raise SegtraceError(
            f"{world.local_size} processes of this machine would train on {torch.cuda.device_count()} visible GPUs; each "
            "needs one of its own"
        )
    else:
        torch.cuda.set_device(world.local_rank)
        yield torch.device("cuda", world.local_rank)


def is_loss(error: BaseException) -> bool:
    """Whether a process failed because another one of its world was gone or silent."""
    text = str(error)
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(word in text for word in ("gloo", "NCCL", "Connection"))
    )
