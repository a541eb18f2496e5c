"""The jobs of a project: what each writes, which jobs it builds on, and to which a file belongs.

A job is a phase and a name: of the data set, of its batch, split or recipe, of the run, of a run's variant,
or of the experiment. Its name is that of its files, so a path tells its job.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from segtrace import layout, networks
from segtrace.config import load, models, runs
from segtrace.errors import SegtraceError
from segtrace.seen import Seen

#: Phases in the order of the data. ``overview`` is the part of ``compare`` that joins all experiments.
PHASES = (
    "acquire",
    "index",
    "prepare",
    "validate",
    "split",
    "train",
    "predict",
    "score",
    "compare",
    "overview",
    "report",
)
OVERVIEW = "all"
#: The files of an experiment's comparison.
COMPARED = (
    "summary.csv",
    "per_case.csv",
    "metrics.json",
    "intervals.csv",
    "aggregates.csv",
    "tests.csv",
    "ranks.csv",
    "published.csv",
    "missing.csv",
    "subgroups.csv",
    "robustness.csv",
)
RECORD = ".prov.json"


@dataclass(frozen=True)
class Job:
    """One job: its phase, and the name of what it makes."""

    phase: str
    name: str

    def __str__(self) -> str:
        return f"{self.phase} {self.name}"


def acquire(dataset: str) -> Job:
    """The job that brings a data set."""
    return Job("acquire", dataset)


def index(dataset: str) -> Job:
    """The job that indexes a data set."""
    return Job("index", dataset)


def prepare(dataset: str, recipe: str, batch: int) -> Job:
    """The job that prepares one batch."""
    return Job("prepare", f"{dataset}/{recipe}/{batch:03d}")


def validate(dataset: str, recipe: str) -> Job:
    """The job that judges a recipe's prepared cases."""
    return Job("validate", f"{dataset}/{recipe}")


def split(dataset: str, protocol: str) -> Job:
    """The job that splits a data set."""
    return Job("split", f"{dataset}/{protocol}")


def train(run: layout.RunName | str) -> Job:
    """The job that trains a run."""
    return Job("train", str(run))


def predict(run: layout.RunName | str, variant: layout.Variant | str) -> Job:
    """The job that segments the cases of a run's variant."""
    return Job("predict", f"{run}/{variant}")


def score(run: layout.RunName | str, variant: layout.Variant | str) -> Job:
    """The job that scores a run's variant."""
    return Job("score", f"{run}/{variant}")


def run_of(job: Job) -> layout.RunName:
    """The run of a training, prediction or scoring."""
    return layout.parse_run(job.name if job.phase == "train" else job.name.rpartition("/")[0])


def variant_of(job: Job) -> layout.Variant:
    """The variant of a prediction or scoring."""
    return layout.parse_variant(job.name.rpartition("/")[2])


def dataset_of(job: Job) -> str:
    """The data set that a job up to ``score`` works on."""
    return job.name.partition("/")[0]


def outputs(job: Job) -> list[Path]:
    """The files that a job declares, the main one first."""
    parts = job.name.split("/")
    match job.phase:
        case "acquire":
            return [layout.receipt(job.name)]
        case "index":
            return [
                layout.cases(job.name),
                layout.index(job.name) / "gate.json",
                layout.duplicates(job.name),
            ]
        case "prepare":
            return [layout.batch_table(parts[0], parts[1], int(parts[2]))]
        case "validate":
            folder = layout.prepared(parts[0], parts[1])
            return [folder / name for name in ("prepared.csv", "mask_checks.csv", "gate.json")]
        case "split":
            return [layout.split(parts[0], parts[1]), layout.split_gate(parts[0], parts[1])]
        case "train":
            folder = layout.run(job.name)
            names = ("weights.safetensors", "best_val.safetensors", "history.csv", "run.json")
            return [folder / name for name in names]
        case "predict":
            return [layout.predictions(run_of(job), variant_of(job)) / "predictions.csv"]
        case "score":
            return [layout.scores(run_of(job), variant_of(job))]
        case "compare":
            folder = layout.results(job.name)
            return [folder / name for name in COMPARED]
        case "overview":
            return [layout.RESULTS / name for name in ("metrics.json", "histories.csv", "convergence.csv")]
        case "report":
            return [layout.report(job.name)]
    raise ValueError(f"no phase {job.phase!r}")


def record_of(output: Path) -> Path:
    """Where the provenance record of an output lies: beside it."""
    return output.with_name(output.name + RECORD)


def seen(job: Job) -> Seen:
    """What is known of the files of a job."""
    return Seen(f"{job.phase}/{job.name}")


def scored(experiment: str, config: models.Config) -> list[Job]:
    """The scorings that an experiment's table is made from."""
    variant = runs.variant_of(load.experiment(experiment))
    wanted = runs.runs_of(experiment, budget=config.budget, seeds=config.seeds)
    return [score(run, variant) for run in wanted]


def corrupted(experiment: str, config: models.Config) -> list[Job]:
    """The scorings of corrupted images that an experiment's robustness is made from; none unless it asks for any."""
    variants = runs.corrupted_variants(load.experiment(experiment))
    if not variants:
        return []
    wanted = runs.runs_of(experiment, budget=config.budget, seeds=config.seeds)
    return [score(run, variant) for variant in variants for run in wanted]


def counts_parameters(experiment: str) -> bool:
    """Whether an experiment's comparison counts the parameters of its trained weights."""
    published = load.experiment(experiment).published
    return published is not None and published.counts_parameters


def counted_networks(experiment: str) -> list[str]:
    """The modules of the networks whose multiply-accumulates stand beside published ones in an experiment's tables."""
    published = load.experiment(experiment).published
    named = {load.method(method).network for method in published.counts_macs} if published else set()
    return [networks.module_of(name) for name in sorted(named)]


def upstream(job: Job, config: models.Config) -> list[Job]:
    """The jobs that a job builds on directly."""
    parts = job.name.split("/")
    match job.phase:
        case "acquire":
            return []
        case "index":
            return [acquire(job.name)]
        case "prepare":
            return [index(parts[0])]
        case "validate":
            batches = load.dataset(parts[0]).batches
            return [index(parts[0]), *(prepare(parts[0], parts[1], k) for k in range(batches))]
        case "split":
            return [index(parts[0])]
        case "train":
            run = run_of(job)
            return [validate(run.dataset, run.recipe), split(run.dataset, run.protocol)]
        case "predict":
            run = run_of(job)
            return [validate(run.dataset, run.recipe), split(run.dataset, run.protocol), train(run)]
        case "score":
            run, variant = run_of(job), variant_of(job)
            found = [index(run.dataset), split(run.dataset, run.protocol), predict(run, variant)]
            return [validate(run.dataset, run.recipe), *found] if variant.grid == "prepared" else found
        case "compare":
            experiment = load.experiment(job.name)
            made = scored(job.name, config)
            counted = [train(run_of(s)) for s in made] if counts_parameters(job.name) else []
            sides = split(experiment.dataset, experiment.protocol)
            return [index(experiment.dataset), sides, *made, *corrupted(job.name, config), *counted]
        case "overview":
            trained = [train(run_of(s)) for name in config.experiments for s in scored(name, config)]
            return [*(Job("compare", name) for name in config.experiments), *dict.fromkeys(trained)]
        case "report":
            made = scored(job.name, config)
            more = [j for s in made for j in (train(run_of(s)), Job("predict", s.name))]
            experiment = load.experiment(job.name)
            judged = [
                index(experiment.dataset),
                validate(experiment.dataset, experiment.recipe),
                split(experiment.dataset, experiment.protocol),
            ]
            return [Job("compare", job.name), *judged, *more]
    raise ValueError(f"no phase {job.phase!r}")


def above(wanted: Iterable[Job], config: models.Config) -> list[Job]:
    """``wanted`` and all jobs that they build on, in the order of the phases."""
    waiting, found = list(wanted), dict[Job, None]()
    while waiting:
        job = waiting.pop()
        if job not in found:
            found[job] = None
            waiting.extend(upstream(job, config))
    return sorted(found, key=lambda job: (PHASES.index(job.phase), job.name))


def configured(config: models.Config, *, until: str = "report") -> list[Job]:
    """All jobs that the configuration asks for, up to the phase ``until``, in the order of the phases."""
    load.require_experiments(config.experiments)
    wanted = [Job("report", name) for name in config.experiments] + [Job("overview", OVERVIEW)]
    last = PHASES.index(until)
    return [job for job in above(wanted, config) if PHASES.index(job.phase) <= last]


def _matches() -> Iterator[tuple[str, str]]:
    """(pattern of a path, phase); the group ``name`` is the job's."""
    run = layout.RUN_PATTERN.replace("?P<dataset>", "?:")
    run = re.sub(r"\?P<\w+>", "?:", run)
    variant = re.sub(r"\?P<\w+>", "?:", layout.VARIANT_PATTERN)
    yield r"data/raw/(?P<name>[^/]+)\.receipt\.json", "acquire"
    yield r"data/raw/(?P<name>[^/.][^/]*)/.+", "acquire"
    yield r"data/index/(?P<name>[^/]+)/[^/]+", "index"
    yield r"data/prepared/(?P<d>[^/]+)/(?P<r>[^/]+)/batches/(?P<b>\d{3})\.csv", "prepare"
    yield r"data/prepared/(?P<name>[^/]+/[^/]+)/(?:prepared\.csv|mask_checks\.csv|gate\.json)", "validate"
    yield (
        r"data/prepared/(?P<d>[^/]+)/(?P<r>[^/]+)/(?P<case>[^/]+?)(?:\.image\.npy|\.label\.npy|\.json)",
        "prepare",
    )
    yield r"data/splits/(?P<name>[^/]+/[^/]+?)(?:\.csv|\.gate\.json)", "split"
    yield rf"checkpoints/(?P<name>{run})/[^/]+", "train"
    yield rf"predictions/(?P<name>{run}/{variant})/[^/]+", "predict"
    yield rf"scores/(?P<name>{run}/{variant})\.csv", "score"
    yield r"results/(?:metrics\.json|(?:histories|convergence)\.csv)", "overview"
    yield r"results/(?P<name>[^/]+)/[^/]+", "compare"
    yield r"reports/(?P<name>[^/]+)/(?:index\.html|(?:tables|methods|figures/[^/]+)/[^/]+)", "report"


def of_file(path: Path | str) -> Job:
    """The job that makes the file at ``path`` (relative to the project's root), or its record.

    Raises :class:`SegtraceError` for a path that no job of a project makes.
    """
    text = str(inside(path)).removesuffix(RECORD)
    if Path(text).is_absolute() or text.startswith(".."):
        raise SegtraceError(
            f"{path} does not lie in the project {Path.cwd()}; run segtrace from the project's root"
        )
    for pattern, phase in _matches():
        match = re.fullmatch(pattern, text)
        if match is None:
            continue
        groups = match.groupdict()
        if phase == "overview":
            return Job(phase, OVERVIEW)
        if phase != "prepare":
            return Job(phase, groups["name"])
        dataset, recipe = groups["d"], groups["r"]
        if "b" in groups:
            return prepare(dataset, recipe, int(groups["b"]))
        return prepare(dataset, recipe, layout.batch_of(groups["case"], load.dataset(dataset).batches))
    raise SegtraceError(
        f"{path}: no job of a segtrace project makes this file; files that are made lie under "
        "data/index, data/prepared, data/splits, checkpoints, predictions, scores, results and reports"
    )


def inside(file: Path | str) -> Path:
    """The path relative to the project's root where it lies in it; :func:`of_file` judges the rest."""
    path = Path(os.path.normpath(file))
    return path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path


def check_known(job: Job) -> None:
    """Raise :class:`SegtraceError`, which names the nearest, for a job of a data set or experiment that is not
    configured.
    """
    if job.phase in ("compare", "report"):
        load.experiment(job.name)
    elif job.phase != "overview":
        load.dataset(dataset_of(job))
