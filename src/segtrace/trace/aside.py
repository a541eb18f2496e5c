"""Files that no longer belong: moved to ``.segtrace/aside``, never deleted, for a checkpoint is hours of work."""

import os
from collections.abc import Iterable
from pathlib import Path

from segtrace.config import models
from segtrace.trace import check, jobs
from segtrace.trace.jobs import Job

ASIDE = Path(".segtrace/aside")
#: Phase → the folder that it owns whole. Preparing and validating share one.
OWNED = {
    "index": Path("data/index"),
    "prepare": Path("data/prepared"),
    "split": Path("data/splits"),
    "train": Path("checkpoints"),
    "predict": Path("predictions"),
    "score": Path("scores"),
    "compare": Path("results"),
}
_MAKERS = {"prepare": ("prepare", "validate"), "compare": ("compare", "overview")}


def put_aside(paths: Iterable[Path]) -> list[Path]:
    """Move files below the working directory to ``.segtrace/aside``, under the same names; where they lie now."""
    moved = []
    for path in paths:
        target = ASIDE / path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
        moved.append(target)
    return moved


def files_of(job: Job) -> set[Path]:
    """Everything that belongs to a job: outputs, their records, the files that they vouch for."""
    outputs = jobs.outputs(job)
    found = {*outputs, *(jobs.record_of(output) for output in outputs)}
    if outputs[0].is_file():
        found |= set(check.contents(job))
    return found


def orphans(phase: str, config: models.Config) -> list[Path]:
    """Files in the folder that ``phase`` owns that no configured job makes: of removed cases, methods, runs."""
    folder = OWNED[phase]
    makers = _MAKERS.get(phase, (phase,))
    expected: set[Path] = set()
    for job in jobs.configured(config):
        if job.phase in makers:
            expected |= files_of(job)
    return sorted(
        path for path in folder.rglob("*") if (path.is_file() or path.is_symlink()) and path not in expected
    )


def prune(phase: str, config: models.Config) -> list[Path]:
    """Put aside what no configured job makes, and remove folders that are empty then; what was moved."""
    found = orphans(phase, config)
    put_aside(found)
    folder = OWNED[phase]
    for below in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        if not any(below.iterdir()):
            below.rmdir()
    return found


def drop_pages(config: models.Config) -> list[Path]:
    """Put pages aside that do not hold, for they are not versioned and made anew in seconds; the pages."""
    dropped = []
    for job in jobs.configured(config):
        page = jobs.outputs(job)[0]
        if job.phase == "report" and page.is_file() and not check.holds(job, config):
            put_aside(path for path in (page, jobs.record_of(page)) if path.is_file())
            dropped.append(page)
    return dropped
