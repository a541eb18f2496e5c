"""Does it still hold? Outputs against their records, records against what there is now.

A job holds if all its outputs are there, their bytes are those that its record names, the files that its
table vouches for are too, and what it was made from is what it would be made from now. If every job up to a
table holds, every number in it can be walked back to the raw files: a job's inputs are digests of the
content of what the jobs above made.
"""

import base64
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrace import digests, layout, upkeep
from segtrace.config import load, models
from segtrace.errors import SegtraceError, raise_all
from segtrace.options import words_of
from segtrace.seen import Seen, state_of
from segtrace.trace import jobs, record
from segtrace.trace.identity import compared, identity, rows
from segtrace.trace.jobs import Job

METADATA = Path(".snakemake/metadata")
#: The name of the parameter that says whether a job's outputs hold; its text begins with it.
HELD = "held"


@dataclass(frozen=True)
class Problem:
    """One link that does not hold: ``what`` names the file or the part, the others its two values."""

    job: Job
    what: str
    recorded: str
    now: str

    def __str__(self) -> str:
        return f"{self.job}: {self.what}: recorded {self.recorded}, now {self.now}"


def contents(job: Job) -> dict[Path, str]:
    """Files that a job's table or record vouches for, with the checksums that it names."""
    table = jobs.outputs(job)[0]
    found: dict[Path, str] = {}
    if job.phase == "prepare":
        for row in rows(table):
            stem = table.parents[1] / row["case"]
            found[stem.with_name(f"{row['case']}.image.npy")] = row["image_sha256"]
            if row["label_sha256"]:
                found[stem.with_name(f"{row['case']}.label.npy")] = row["label_sha256"]
        named = (record.read(table) or {}).get("contents", {})
        found |= {Path(path): sha256 for path, sha256 in named.items()}
    elif job.phase == "predict":
        for row in rows(table):
            found[table.parent / row["file"]] = row["sha256"]
    elif job.phase == "report":
        named = (record.read(table) or {}).get("contents", {})
        found |= {Path(path): sha256 for path, sha256 in named.items()}
    return found


def problems(job: Job, config: models.Config) -> list[Problem]:
    """Every reason for which a job does not hold; none if it does."""
    found = bytes_problems(job)
    records = {output: record.read(output) for output in jobs.outputs(job)}
    if not any(records.values()):
        return found
    try:
        now = compared(identity(job, config))
    except SegtraceError as error:
        return [*found, Problem(job, "what it is made from", "there", f"not there ({error})")]
    told: dict[tuple[str, str], Problem] = {}
    for output, made in records.items():
        if made is None:
            continue
        if (made["output"], made["phase"], made["job"]) != (str(output), job.phase, job.name):
            found.append(Problem(job, f"the record of {output}", f"of {made['output']}", f"of {output}"))
        then = compared(made)
        for part in sorted(then.keys() | now.keys()):
            one, other = then.get(part, "nothing"), now.get(part, "nothing")
            if one != other:
                told.setdefault((part, one), Problem(job, part, one, other))
    return [*found, *told.values()]


def bytes_problems(job: Job) -> list[Problem]:
    """Outputs, and files that they vouch for, that are missing or are not the bytes that were recorded."""
    found = []
    seen = jobs.seen(job)
    for output in jobs.outputs(job):
        sha256, made = seen.sha256(output), record.read(output)
        if sha256 is None:
            found.append(Problem(job, str(output), "there", "missing"))
        elif made is None:
            found.append(Problem(job, str(jobs.record_of(output)), "there", "missing or damaged"))
        elif made["sha256"] != sha256:
            found.append(Problem(job, str(output), f"sha256 {made['sha256']}", f"sha256 {sha256}"))
    if not found:
        found += _content_problems(job, seen)
    if job.phase == "acquire" and not layout.raw(job.name).is_dir():
        found.append(Problem(job, str(layout.raw(job.name)), "there", "missing"))
    seen.save()
    return found


def _content_problems(job: Job, seen: Seen) -> list[Problem]:
    try:
        expected = contents(job)
    except SegtraceError as error:
        return [Problem(job, str(jobs.outputs(job)[0]), "a table", str(error))]
    now = seen.sums(expected)
    return [
        Problem(
            job, str(path), f"sha256 {sha256}", f"sha256 {now[str(path)]}" if now[str(path)] else "missing"
        )
        for path, sha256 in expected.items()
        if now[str(path)] != sha256
    ]


def holds(job: Job, config: models.Config) -> bool:
    """Whether a job holds."""
    return not problems(job, config)


def broken(wanted: Iterable[Job], config: models.Config) -> list[Problem]:
    """The problems of all ``wanted`` jobs."""
    return [problem for job in wanted for problem in problems(job, config)]


# --- what Snakemake is told ---------------------------------------------------------------------------


def metadata_of(output: Path) -> dict[str, Any] | None:
    """What Snakemake has recorded about an output; None if nothing."""
    name = base64.urlsafe_b64encode(str(output).encode()).decode()
    try:
        width = os.pathconf(METADATA, "PC_NAME_MAX")
    except OSError:
        return None
    parts = [name[start : start + width - 1] for start in range(0, len(name), width - 1)]
    path = METADATA.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def held(job: Job, config: models.Config) -> str:
    """The parameter that makes Snakemake run a job whose outputs do not hold, and never one that does.

    Snakemake runs a job when a parameter differs from the recorded one. While the job holds, this is the
    recorded value itself; otherwise a value that no run has recorded, made from the problems and from the
    state of the files, so that ``snakemake --touch`` cannot settle it.
    """
    outputs = jobs.outputs(job)
    if not all(output.is_file() for output in outputs):
        return "made"  # it runs anyway
    found = problems(job, config)
    if found:
        states = [state_of(output) for output in outputs]
        return f"broken {digests.digest([[str(problem) for problem in found], states])}"
    recorded = (metadata_of(outputs[0]) or {}).get("params") or []
    mine = [value.strip("'").removeprefix(f"{HELD}:") for value in recorded if f"{HELD}:" in value[:8]]
    return mine[0] if mine else "made"


def all_known_to_snakemake(wanted: Iterable[Job]) -> bool:
    """Whether Snakemake has a record of every output that is there."""
    return all(
        metadata_of(output) is not None for job in wanted for output in jobs.outputs(job) if output.is_file()
    )


def unknown_to_snakemake(wanted: Iterable[Job], config: models.Config) -> list[Problem]:
    """Problems of jobs of which Snakemake has no record: it would compare their times and nothing else.

    That is so in a fresh clone, and where ``.snakemake`` was removed.
    """
    found = []
    for job in wanted:
        if not all_known_to_snakemake([job]) and not record.is_incomplete(job):
            found += problems(job, config)
    return found


def _given(config: models.Config) -> list[str]:
    """The options by which a command is about the same runs as ``config``, where those of the file are others."""
    own = load.main_config()
    keys = ("experiments", "budget", "seeds")
    differing = {key: getattr(config, key) for key in keys if getattr(config, key) != getattr(own, key)}
    return words_of(differing, dashes="--")


def greet(config: models.Config) -> None:
    """What a starting workflow says and refuses: a lock that a killed run left, and outputs it knows nothing of.

    Raises :class:`SegtraceError` where outputs do not hold and Snakemake has no record that could tell it so.
    """
    said = upkeep.be_present()
    if said:
        print(said, file=sys.stderr)
    if os.environ.get("SEGTRACE_SYNC"):
        return  # started by ``segtrace sync``, which has judged them
    raise_all(
        [str(problem) for problem in unknown_to_snakemake(jobs.configured(config), config)],
        heading="Snakemake has no record of these files (a fresh clone, or .snakemake was removed), and they do "
        "not hold; it would take them as they are",
        remedy="Bring back what belongs to this commit (dvc pull or dvc checkout, then segtrace sync), or have the next "
        f"run make them anew: {' '.join(['segtrace sync --remake', *_given(config)])}",
    )
