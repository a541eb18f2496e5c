"""Which files of a project go into a crate, and as what: the workflow, what it was given, what it made.

Never raw data, prepared arrays or the report's page: all three hold the images themselves, and many licences
forbid to hand these on. The receipt, which names every raw file with its checksum, stands for them.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from segtrace import digests, layout
from segtrace.config import load, models
from segtrace.errors import raise_all
from segtrace.trace import check, jobs
from segtrace.trace.jobs import Job

#: What can be asked for beside the tables.
EXTRAS = ("predictions", "checkpoints")
MAIN = "Snakefile"
LOCK = digests.LOCK.as_posix()
#: Patterns of the files that the Snakefile needs to run, with what they are.
_SUPPORT = {
    "workflow/rules/*.smk": "rules of the workflow",
    "workflow/report/*.rst": "caption of Snakemake's own report",
    "profiles/*/*.yaml": "options that Snakemake loads by itself",
    "envs/segtrace.yaml": "conda environment of the rules",
    LOCK: "every version that the workflow runs with",
}
_SAYS = {
    "acquire": "archives and files of the data set as published, with checksums",
    "index": "cases as published, with their checksums, geometry and masks, and how they were judged",
    "prepare": "prepared cases of one batch, with checksums of their arrays",
    "validate": "prepared cases with checksums of their arrays, and how their masks were judged",
    "split": "cases, folds and roles, and how they were judged",
    "train": "training of one run",
    "predict": "label maps of one run, with checksums",
    "score": "scores of one run per case and label",
    "compare": "table of the experiment",
}


@dataclass(frozen=True)
class Part:
    """One file of a crate."""

    path: str
    """Where it lies in the crate: where it lies in the project."""
    role: str
    """``workflow``, ``input`` or ``result``."""
    says: str
    text: str | None = None
    """The content, where the file is made for the crate; otherwise it is copied from the project."""
    about: str = ""
    """Of a provenance record: the output that it belongs to."""


def parts(experiment: str, config: models.Config, *, extras: Collection[str] = ()) -> list[Part]:
    """The files of an experiment's crate: the workflow, inputs, and results, in this order.

    ``extras`` are of :data:`EXTRAS`: ``predictions`` adds the label maps, ``checkpoints`` the weights. Raises
    :class:`SegtraceError` where a file of the workflow or of the configuration is missing.
    """
    found = [*_workflow(), *_configuration(experiment, config)]
    for job in jobs.above([Job("compare", experiment)], config):
        found += _made(job, extras)
    raise_all(
        [f"{p.path}: no such file" for p in found if p.text is None and not Path(p.path).is_file()],
        heading=f"files of the experiment {experiment}",
        remedy="Run segtrace export from the project's root, after snakemake.",
    )
    return found


def _workflow() -> Iterator[Part]:
    yield Part(MAIN, "workflow", "main workflow")
    for pattern, says in _SUPPORT.items():
        paths = sorted(Path().glob(pattern)) if "*" in pattern else [Path(pattern)]
        yield from (Part(path.as_posix(), "workflow", says) for path in paths)


def _configuration(name: str, config: models.Config) -> Iterator[Part]:
    """What the experiment reads of ``config/``. The main file is written anew: that of the project may name
    other experiments, and a folder of this machine.
    """
    import yaml

    asked = {
        "experiments": [name],
        "budget": config.budget,
        "seeds": list(config.seeds),
        "training_threads": config.training_threads,
        "determinism": config.determinism,
    }
    yield Part(
        "config/config.yaml", "input", "what was asked for", text=yaml.safe_dump(asked, sort_keys=False)
    )
    experiment = load.experiment(name)
    budget: models.Budget = load.load("budgets", config.budget)
    chosen = {
        "experiments": [name] if name in load.names("experiments") else [],  # a default one has no file
        "datasets": [experiment.dataset],
        "training": sorted({*experiment.recipes, *budget.by_training}),  # a budget's recipes must be there
        "budgets": [config.budget],
        "methods": list(experiment.methods),
    }
    protocol: models.Protocol = load.part(
        experiment.dataset, "protocol", load.dataset(experiment.dataset).protocols, experiment.protocol
    )
    if protocol.keep is not None:
        kept = layout.kept_split(protocol.keep)
        yield Part(kept.as_posix(), "input", "split whose cases the protocol keeps")
    for kind, names in chosen.items():
        for one in names:
            path = load.ROOT / kind / f"{one}.yaml"
            yield Part(path.as_posix(), "input", f"configuration: {kind}, {one}")


def _made(job: Job, extras: Collection[str]) -> Iterator[Part]:
    """Outputs of a job with their records. The record of weights stays when the weights do not go in: it holds
    their checksum, without which the chain would have a gap.
    """
    role = "input" if job.phase == "acquire" else "result"
    says = f"{_SAYS[job.phase]} ({job})"
    for output in jobs.outputs(job):
        if output.name not in layout.WEIGHTS.values() or "checkpoints" in extras:
            yield Part(output.as_posix(), role, says)
        made_from = f"what {output.as_posix()} was made from: inputs, configuration, code, environment"
        yield Part(jobs.record_of(output).as_posix(), role, made_from, about=output.as_posix())
    if job.phase == "predict" and "predictions" in extras:
        for path in check.contents(job):
            yield Part(path.as_posix(), role, f"label map ({job})")
