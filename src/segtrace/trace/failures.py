"""Runs that are not there, and why: what failed, with its message, what is at work, what has not begun."""

import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from segtrace import files, layout
from segtrace.config import load, models, runs
from segtrace.errors import SegtraceError, raise_all
from segtrace.trace import check, jobs
from segtrace.trace.jobs import Job

#: Characters of a failure's message that tables and pages show; its log has all of it.
SHOWN = 300
STATES = ("done", "running", "failed", "remaining")


@dataclass(frozen=True)
class State:
    """Where a job stands: one of :data:`STATES`, and for a failed one its message."""

    job: Job
    state: str
    reason: str = ""


def log(job: Job) -> Path:
    """Where the output of a job goes."""
    return Path("logs") / job.phase / f"{job.name}.log"


def state(job: Job) -> State:
    """Where a training, prediction or scoring stands, by its files.

    Snakemake removes a job's outputs before it runs: a log beside missing outputs is that of a failure, unless a
    process is at work there. What is there may still be outdated; :func:`lost` looks at that.
    """
    if all(output.is_file() for output in jobs.outputs(job)):
        return State(job, "done")
    if at_work(job):
        return State(job, "running")
    noted = _noted(job)
    if noted:
        return State(job, "failed", _short(noted))
    if not log(job).is_file():
        return State(job, "remaining")
    return State(job, "failed", _short(said(log(job))))


def at_work(job: Job) -> bool:
    """Whether a process of this machine holds the lock of the job's folder."""
    lock = files.lock_of(jobs.outputs(job)[0] if job.phase == "score" else jobs.outputs(job)[0].parent)
    try:
        with lock.open("r", encoding="utf-8") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _noted(job: Job) -> str:
    """The message that a failed training left for its next attempt; empty where there is none."""
    if job.phase != "train":
        return ""
    try:
        found = files.read_json(layout.run(job.name) / "resume" / "attempt.json")
    except SegtraceError:
        return ""
    return str(found.get("failed") or "") if isinstance(found, dict) else ""


def said(path: Path) -> str:
    """The message with which a command ended, from its log; where it gave none, the last line."""
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    begins = [place for place, line in enumerate(lines) if line.startswith("segtrace ") and ": " in line]
    if begins:
        return "\n".join([lines[begins[-1]].partition(": ")[2], *lines[begins[-1] + 1 :]])
    return f"ended without a message ({path})" + (f"; its last line: {lines[-1]}" if lines else "")


def _short(text: str) -> str:
    one = " ".join(text.split())
    return one if len(one) <= SHOWN else f"{one[: SHOWN - 1]}…"


def why_lost(run: layout.RunName, variants: list[layout.Variant], config: models.Config) -> State | None:
    """The first job up to a run's scores that is not there or does not hold; None where all of them do."""
    chain = [jobs.train(run)]
    chain += [job for v in variants for job in (jobs.predict(run, v), jobs.score(run, v))]
    for job in chain:
        found = state(job)
        if found.state != "done":
            return found
        problems = check.problems(job, config)
        if problems:
            noted = _noted(job)
            words = noted or f"what is there is outdated: {problems[0].what}"
            return State(job, "failed" if noted else "remaining", _short(words))
    return None


def lost(experiment: str, config: models.Config) -> dict[layout.RunName, State]:
    """Each run of an experiment that its tables cannot be made of, with the reason."""
    found = load.experiment(experiment)
    variants = [runs.variant_of(found), *runs.corrupted_variants(found)]
    wanted = runs.runs_of(experiment, budget=config.budget, seeds=config.seeds)
    states = {run: why_lost(run, variants, config) for run in wanted}
    return {run: state for run, state in states.items() if state is not None}


def words(state: State) -> str:
    """A lost run's state in words: ``train failed: out of memory``."""
    told = {"failed": "failed", "running": "is at work", "remaining": "is not there yet"}[state.state]
    return f"{state.job.phase} {told}{': ' + state.reason if state.reason else ''}"


def stopped(config: models.Config) -> Iterator[str]:
    """Experiments of which some run failed, and some method has all its runs: tables can be made of the others."""
    for name in config.experiments:
        found = lost(name, config)
        without = {run.method for run in found}
        failed = any(state.state == "failed" for state in found.values())
        if failed and set(load.experiment(name).methods) - without:
            yield name


def told(experiment: str, config: models.Config) -> dict[layout.RunName, str]:
    """Each lost run → why, in words. Raises :class:`SegtraceError` where no method has all its runs."""
    found = {run: words(state) for run, state in lost(experiment, config).items()}
    without = {run.method for run in found}
    raise_all(
        [f"{run}: {why}" for run, why in found.items()]
        if without >= set(load.experiment(experiment).methods)
        else [],
        heading=f"{experiment}: no method has all its runs, so there is nothing to compare",
        remedy="Mend what failed and run snakemake again.",
    )
    return found
