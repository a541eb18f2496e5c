"""Starting the processes of a run that trains on several devices, and saying in one line why they ended.

They are started by ``torchrun`` (``torch.distributed.run``), which ends all as soon as one fails. On several machines
this command is started once on each: by Slurm's ``srun``, whose variables say who is who, or with torchrun's own
``PET_…`` variables.
"""

import logging
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from segtrace import device as devices
from segtrace.errors import SegtraceError
from segtrace.files import read_json, write_json
from segtrace.train import interruption
from segtrace.train.world import is_loss, is_one_of_several

#: Where the processes of a run leave the reason for which they ended.
REASONS = "SEGTRACE_REASONS"
#: Seconds for the processes to write a state and end, once they are asked to.
GRACE = 300
#: Signals to the command that are passed on to its processes.
HANDLED = (*interruption.SIGNALS, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
#: What a process says when it lost another one: no reason of its own.
LOST = "lost"
#: A fault that is told as it stands.
TOLD = "told"


def launch(
    run: Mapping[str, Any],
    folder: Path,
    *,
    attempt: int,
    gpus: int | None,
    save_seconds: float,
    save_steps: int | None,
) -> None:
    """Train ``run`` in as many processes as it has devices, those of this machine started here, and wait for them.

    Raises :class:`SegtraceError` with the reason of the process that failed first, or :class:`SystemExit` where they
    were asked to end and have written their state.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch
    from torch.distributed.run import config_from_args, parse_args

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="segtrace-ranks-") as name, ExitStack() as stack:
        there = Path(name)
        write_json(there / "run.json", dict(run))
        where = layout(os.environ)
        here = _here(run, where)
        stack.enter_context(_signals_kept())
        variables = {REASONS: name, "OMP_NUM_THREADS": str(run["threads"])}
        # torch would warn each time that no parameter was unused, which it is asked to find out
        variables["TORCH_CPP_LOG_LEVEL"] = os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR")
        stack.enter_context(_environment(variables))
        threads = run["threads"]
        stack.enter_context(devices.lease_several(here, threads=threads, what="training", granted=gpus))
        options = ["--nproc-per-node", str(here), "--max-restarts", "0", "--log-dir", name]
        options += ["--signals-to-handle", ",".join(number.name for number in HANDLED)]
        options += ["--shutdown-timeout", str(GRACE), *where, "-m", "segtrace.train"]
        command = [str(there / "run.json"), str(folder), "--attempt", str(attempt)]
        command += ["--save-seconds", str(save_seconds)]
        command += [] if save_steps is None else ["--save-steps", str(save_steps)]
        config, program, arguments = config_from_args(parse_args([*options, *command]))
        try:
            elastic_launch(config, program)(*arguments)
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            if interruption.STATUS in codes.values():
                raise SystemExit(interruption.STATUS) from None
            raise SegtraceError(_reason(run, codes, there)) from None
        except SignalException as error:
            asked = error.sigval in interruption.SIGNALS
            raise SystemExit(interruption.STATUS if asked else 128 + error.sigval) from None


def layout(variables: Mapping[str, str]) -> list[str]:
    """torchrun's options for the machines of this job: one, unless Slurm's or torchrun's own variables say more.

    Raises :class:`SegtraceError` where Slurm starts more than one task on a machine.
    """
    nodes = int(variables.get("SLURM_STEP_NUM_NODES", "1"))
    if nodes == 1:
        several = "PET_NNODES" in variables
        name = f"segtrace-{os.getpid()}"
        alone = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--rdzv-id", name]
        return [] if several else [*alone, "--local-addr", "localhost"]
    tasks = int(variables.get("SLURM_STEP_NUM_TASKS", nodes))
    if tasks != nodes:
        raise SegtraceError(
            f"srun started {tasks} tasks on {nodes} machines: start one on each (--ntasks-per-node=1), which starts a "
            "process for each device itself"
        )
    job = f"{variables['SLURM_JOB_ID']}.{variables.get('SLURM_STEP_ID', '0')}"
    first = first_of(variables["SLURM_STEP_NODELIST"])
    port = 20000 + int(re.sub(r"\D", "", job)) % 10000
    is_host = variables.get("SLURM_NODEID") == "0"
    return [
        *("--nnodes", str(nodes), "--rdzv-backend", "c10d", "--rdzv-id", job),
        *("--rdzv-endpoint", f"{first}:{port}", "--rdzv-conf", f"is_host={str(is_host).lower()}"),
    ]


def first_of(nodes: str) -> str:
    """The first machine of a list as Slurm writes it: of ``gpu[03-05,9],login`` it is ``gpu03``."""
    found = re.match(r"([^,\[]*)(?:\[(\w+)[^\]]*\]([^,]*))?", nodes)
    if found is None or not found.group():
        raise SegtraceError(f"SLURM_STEP_NODELIST is {nodes!r}: no name of a machine in it")
    return "".join(part or "" for part in found.groups())


def _here(run: Mapping[str, Any], where: list[str]) -> int:
    """How many of the run's processes this machine has."""
    text = where[where.index("--nnodes") + 1] if "--nnodes" in where else os.environ.get("PET_NNODES", "1")
    nodes, size = int(text) if text.isdecimal() else 0, int(run["devices"])
    if nodes < 1 or size % nodes:
        raise SegtraceError(
            f"{run['run']}: devices is {size}, which {text} machines cannot share equally; start it on a number that "
            "divides it"
        )
    return size // nodes


def _reason(run: Mapping[str, Any], codes: Mapping[int, int], there: Path) -> str:
    """Why the processes that ended with ``codes`` by rank did so: of several, one that has a reason of its own."""

    def of(rank: int, text: str) -> str:
        return f"{run['run']}: process {rank} of {run['devices']} {text}"

    again = "the others were ended; the same command goes on from the last state"
    reasons = {
        int(path.stem): read_json(path) for path in sorted(there.glob("[0-9]*.json")) if path.stem.isdecimal()
    }
    # torchrun ends the others by SIGTERM, which those that still read their modules die of
    for rank, code in sorted(codes.items(), key=lambda item: (item[1] == -signal.SIGTERM, item[0])):
        if code < 0 and rank not in reasons:
            memory = "; the usual cause is too little memory" if -code == signal.SIGKILL else ""
            return of(rank, f"was killed ({signal.Signals(-code).name}){memory}; {again}")
    for rank, found in sorted(reasons.items(), key=lambda item: (item[1]["kind"] == LOST, item[0])):
        if found["kind"] == LOST:
            return of(
                rank, f"lost another one, whose own machine's log says why ({found['message']}); {again}"
            )
        return found["message"] if found["kind"] == TOLD else of(rank, f"failed: {found['message']}")
    rank, code = min(codes.items())
    return of(rank, f"ended with status {code}; {again}")


@contextmanager
def explained() -> Iterator[None]:
    """Where the block fails in a process that was started here, leave the reason for the command that started it.

    Elsewhere errors come out as they are.
    """
    folder = os.environ.get(REASONS)
    if folder is None or not is_one_of_several():
        yield
        return
    try:
        yield
    except Exception as error:
        kind = LOST if is_loss(error) else TOLD if isinstance(error, SegtraceError) else "fault"
        if kind == "fault":
            traceback.print_exc()
        first = (str(error) or "no more is said").splitlines()[0]
        text = str(error) if kind == TOLD else f"{type(error).__name__}: {first}"
        write_json(Path(folder) / f"{os.environ['RANK']}.json", {"kind": kind, "message": text})
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # at once: to leave in order, this process would wait for the others


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """``values`` among the environment's variables while the block runs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back, at the end, what signals did before: torchrun sets its own."""
    kept = {number: signal.getsignal(number) for number in HANDLED}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
