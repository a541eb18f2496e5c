"""What a job is made from: content of its inputs, configuration, code, environment.

This is the one definition of it. Snakemake compares it (as ``params``), each job writes it beside its
outputs, the closure check and ``segtrace why`` compare the two. Inputs are digests of the content that
matters to the job, never times: a training is made from the arrays of its own cases, and not from a
table in which a test case has changed.
"""

import csv
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from segtrace import digests, layout
from segtrace.config import claims, load, models, runs
from segtrace.errors import SegtraceError
from segtrace.files import sha256_file
from segtrace.seen import tree_sums
from segtrace.trace import jobs
from segtrace.trace.jobs import Job

#: Of each phase, the inputs that come from checkpoints of the workflow: only these may be read before it runs.
SETTLED: dict[str, tuple[str, ...]] = {
    "index": ("raw",),
    "prepare": ("cases",),
    "validate": ("cases",),
    "split": ("cases",),
    "train": ("arrays",),
    "predict": ("images",),
    "score": ("references",),
}
#: Of the main table of a phase, the columns that are read here.
COLUMNS = {
    "index": ("case", "digest", "duplicate_group"),
    "prepare": ("case", "digest", "image_sha256", "label_sha256"),
    "split": ("case", "fold", "role"),
    "predict": ("case", "file", "sha256"),
}
#: What a split is made from, of the rows of ``cases``.
DIVIDED = ("case", "digest", "subject", "group", "side", "pixels_sha256", "duplicate_group", "voxels")
#: What the index and the gate read of a data set's configuration.
INDEXED = ("dimensions", "labels", "channels", "options", "exclude", "gate", "spacing_known")


def identity(job: Job, config: models.Config) -> dict[str, Any]:
    """``inputs``, ``configuration``, ``code`` and ``environment`` of a job, as they are now.

    Raises :class:`SegtraceError` where a table that the job reads is not there.
    """
    return {
        "inputs": inputs(job, config),
        "configuration": configuration(job, config),
        "code": code(job, config),
        "environment": digests.environment_digest(),
    }


def rows(path: Path) -> list[dict[str, str]]:
    """A table as text, row by row; read again only when the file has changed.

    Raises :class:`SegtraceError` for a file that is missing, no table, or without the columns that are read.
    """
    try:
        job = jobs.of_file(path)
        phase, main = job.phase, jobs.outputs(job)[0].name
    except SegtraceError:  # another project's, to be compared with this one's
        phase = main = ""
    try:
        status = path.stat()
        found = _rows(path, (status.st_mtime_ns, status.st_ctime_ns, status.st_size))
    except FileNotFoundError:
        maker = f"; 'segtrace {phase}' makes it" if phase else ""
        raise SegtraceError(f"{path}: no such file{maker}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise SegtraceError(f"{path}: not a table ({error}); delete it and run snakemake again") from None
    columns = COLUMNS.get(phase, ()) if path.name == main else ()
    missing = [name for name in columns if any(row.get(name) is None for row in found)]
    if missing:
        raise SegtraceError(f"{path}: rows without {', '.join(missing)}; delete it and run snakemake again")
    return found


@cache
def _rows(path: Path, _stamp: tuple[int, int, int]) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def sums(job: Job) -> dict[str, str | None]:
    """Path → SHA-256 of the present bytes of each declared output of a job; None where it is missing."""
    seen = jobs.seen(job)
    found = seen.sums(jobs.outputs(job))
    seen.save()
    return found


# --- inputs -----------------------------------------------------------------------------------------


def inputs(job: Job, config: models.Config) -> dict[str, Any]:
    """Name → digest of the content of all that a job reads."""
    return {name: read(job, config) for name, read in _readers(job).items()}


def settled(job: Job, config: models.Config) -> str:
    """Digest of those inputs that come from checkpoints of the workflow."""
    readers = _readers(job)
    return digests.digest({name: readers[name](job, config) for name in SETTLED.get(job.phase, ())})


def _readers(job: Job) -> dict[str, Callable[[Job, models.Config], Any]]:
    match job.phase:
        case "acquire":
            return {}
        case "index":
            return {"raw": _raw}
        case "prepare":
            return {"cases": _batch}
        case "validate":
            return {"cases": _cases, "prepared": _batches}
        case "split":
            return {"cases": _divided}
        case "train":
            return {"arrays": _arrays}
        case "predict":
            return {"images": _images, "weights": _weights}
        case "score":
            return {"references": _references, "predictions": _predictions}
        case "compare":
            counted = {"weights": _counted} if jobs.counts_parameters(job.name) else {}
            swept = {"corrupted": _corrupted} if load.experiment(job.name).corruptions else {}
            return {"scores": _scores, "split": _split_gate, "classes": _classes, **swept, **counted}
        case "overview" | "report":
            return {"files": _files}
    raise ValueError(f"no phase {job.phase!r}")


def _raw(job: Job, _: models.Config) -> str:
    found = tree_sums(layout.raw(job.name))
    return "absent" if found is None else digests.digest(found)


def case_digests(dataset: str) -> dict[str, str]:
    """Case → digest of its indexed content."""
    return {row["case"]: row["digest"] for row in rows(layout.cases(dataset))}


def _batch(job: Job, _: models.Config) -> str:
    dataset, _recipe, batch = job.name.split("/")
    count = load.dataset(dataset).batches
    chosen = [item for item in case_digests(dataset).items() if layout.batch_of(item[0], count) == int(batch)]
    return digests.digest(chosen)


def _cases(job: Job, _: models.Config) -> str:
    return digests.digest([*case_digests(jobs.dataset_of(job)).items()])


def _divided(job: Job, _: models.Config) -> str:
    table = rows(layout.cases(jobs.dataset_of(job)))
    return digests.digest([[row.get(column) for column in DIVIDED] for row in table])


def _batches(job: Job, config: models.Config) -> str:
    keys = ("case", "digest", "image_sha256", "label_sha256")
    tables = [jobs.outputs(j)[0] for j in jobs.upstream(job, config) if j.phase == "prepare"]
    return digests.digest([[row[key] for key in keys] for table in tables for row in rows(table)])


def members(run: layout.RunName, roles: tuple[str, ...]) -> list[tuple[str, str]]:
    """(case, role) of a run's fold, for the given roles, in the split's order."""
    table = rows(layout.split(run.dataset, run.protocol))
    return [
        (row["case"], row["role"]) for row in table if row["fold"] == str(run.fold) and row["role"] in roles
    ]


def _prepared(run: layout.RunName) -> dict[str, dict[str, str]]:
    return {row["case"]: row for row in rows(layout.prepared(run.dataset, run.recipe) / "prepared.csv")}


def _arrays(job: Job, _: models.Config) -> str:
    run = jobs.run_of(job)
    known = _prepared(run)
    return digests.digest(
        [
            [case, role, *(known[case][key] for key in ("image_sha256", "label_sha256"))]
            if case in known
            else [case, role, None]
            for case, role in members(run, ("train", "val"))
        ]
    )


def _images(job: Job, _: models.Config) -> str:
    run = jobs.run_of(job)
    known = _prepared(run)
    return digests.digest(
        [
            [case, *(known[case][key] for key in ("image_sha256", "digest"))]
            if case in known
            else [case, None]
            for case, _ in members(run, (jobs.variant_of(job).role,))
        ]
    )


def _weights(job: Job, _: models.Config) -> str | None:
    run = jobs.run_of(job)
    return sums(jobs.train(run))[str(layout.run(run) / layout.WEIGHTS[jobs.variant_of(job).checkpoint])]


def _references(job: Job, _: models.Config) -> str:
    run = jobs.run_of(job)
    known = case_digests(run.dataset)
    chosen = members(run, (jobs.variant_of(job).role,))
    found: list[Any] = [[case, known.get(case)] for case, _ in chosen]
    if jobs.variant_of(job).grid == "prepared":
        arrays = _prepared(run)
        found.append([arrays[case]["label_sha256"] if case in arrays else None for case, _ in chosen])
    return digests.digest(found)


def _predictions(job: Job, _: models.Config) -> str:
    table = layout.predictions(jobs.run_of(job), jobs.variant_of(job)) / "predictions.csv"
    return digests.digest([[row["case"], row["file"], row["sha256"]] for row in rows(table)])


def _scores(job: Job, config: models.Config) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for made in jobs.scored(job.name, config):
        found |= sums(made)
    return found


def _corrupted(job: Job, config: models.Config) -> dict[str, str | None]:
    """The scores of the corrupted images that an experiment asks for."""
    found: dict[str, str | None] = {}
    for made in jobs.corrupted(job.name, config):
        found |= sums(made)
    return found


def _counted(job: Job, config: models.Config) -> dict[str, str | None]:
    """The weights whose parameters are counted beside published counts."""
    made = [jobs.run_of(scored) for scored in jobs.scored(job.name, config)]
    paths = [(run, str(layout.run(run) / layout.WEIGHTS["last"])) for run in made]
    return {path: sums(jobs.train(run))[path] for run, path in paths}


def _split_gate(job: Job, _: models.Config) -> str | None:
    experiment = load.experiment(job.name)
    made = jobs.split(experiment.dataset, experiment.protocol)
    return sums(made)[str(layout.split_gate(experiment.dataset, experiment.protocol))]


def _classes(job: Job, _: models.Config) -> str:
    """The published class of every case: by it, tables tell subgroups apart."""
    table = layout.cases(load.experiment(job.name).dataset)
    if not table.is_file():
        return "absent"
    return digests.digest([[row["case"], row.get("group") or ""] for row in rows(table)])


def _files(job: Job, config: models.Config) -> dict[str, str | None]:
    """What a page or the joined tables read: whole files of the jobs above."""
    found: dict[str, str | None] = {}
    for made in jobs.upstream(job, config):
        wanted = {
            "train": ("history.csv", "run.json"),
            "compare": jobs.COMPARED
            if job.phase == "report"
            else ("summary.csv", "per_case.csv", "metrics.json"),
        }.get(made.phase)
        for path, sha256 in sums(made).items():
            if wanted is None or Path(path).name in wanted:
                found[path] = sha256
    return found


# --- configuration ----------------------------------------------------------------------------------


def configuration(job: Job, config: models.Config) -> Any:
    """The configuration that a job reads, resolved, as JSON. Where a value comes from is no part of it."""
    parts = job.name.split("/")
    match job.phase:
        case "acquire":
            return _keys(job.name, ("sources", "options", "access"))
        case "index":
            return _keys(job.name, INDEXED)
        case "prepare":
            recipe: models.Recipe = load.part(parts[0], "recipe", load.dataset(parts[0]).recipes, parts[1])
            shown = recipe.model_dump(mode="json", exclude={"source", "faults"})
            return {"recipe": shown, **_keys(parts[0], ("options", "labels"))}
        case "validate":
            return _keys(parts[0], ("gate", "labels", "batches"))
        case "split":
            protocol: models.Protocol = load.part(
                parts[0], "protocol", load.dataset(parts[0]).protocols, parts[1]
            )
            shown = protocol.model_dump(mode="json", exclude={"source"})
            differ = load.dataset(parts[0]).gate.sides_differ
            more = {"kept": _kept(protocol), "sides_differ": differ}
            return {"protocol": shown, **more, **_keys(parts[0], ("labels",))}
        case "train":
            return runs.resolve(
                jobs.run_of(job), threads=config.training_threads, determinism=config.determinism
            )
        case "predict":
            # however a run was trained, it predicts strictly; that its weights are others is an input
            resolved = runs.resolve(jobs.run_of(job), threads=config.training_threads)
            return {**resolved, "variant": str(jobs.variant_of(job))}
        case "score":
            keys = _keys(jobs.dataset_of(job), ("labels", "spacing_known", "nsd_tolerance", "options"))
            return {**keys, **_regions(jobs.dataset_of(job)), "variant": str(jobs.variant_of(job))}
        case "compare":
            return _shown(job.name, config)
        case "report":
            return _shown(job.name, config) | _cited(job.name)
        case "overview":
            return {"experiments": list(config.experiments)}
    raise ValueError(f"no phase {job.phase!r}")


def _kept(protocol: models.Protocol) -> str | None:
    """SHA-256 of the split table that a protocol keeps; 'absent' where there is none."""
    if protocol.keep is None:
        return None
    path = layout.kept_split(protocol.keep)
    return sha256_file(path) if path.is_file() else "absent"


def _keys(dataset: str, keys: Iterable[str]) -> dict[str, Any]:
    """The named keys of a data set's configuration; of the labels the values alone, for names change nothing."""
    data = load.dataset(dataset).model_dump(mode="json")
    return {key: sorted(data[key]) if key == "labels" else data[key] for key in keys}


def _regions(dataset: str) -> dict[str, Any]:
    """The regions that are scored, by number: what they unite, and their tolerance; nothing where there are none.

    Their names and sources change no score.
    """
    data = load.dataset(dataset)
    found = {
        str(number): {"labels": list(labels), "nsd_tolerance": data.nsd_tolerances[number]}
        for number, labels in data.unions.items()
    }
    return {"regions": found} if found else {}


def _shown(name: str, config: models.Config) -> dict[str, Any]:
    """All configuration that an experiment's tables and page show, and what was asked for."""
    experiment = load.experiment(name)
    parts = {
        "experiment": experiment,
        "dataset": load.dataset(experiment.dataset),
        "budget": load.load("budgets", config.budget),
    }
    return {
        **{key: part.model_dump(mode="json") for key, part in parts.items()},
        "training": {
            recipe: load.load("training", recipe).model_dump(mode="json") for recipe in experiment.recipes
        },
        "methods": {method: load.method(method).model_dump(mode="json") for method in experiment.methods},
        "asked": {"budget": config.budget, "seeds": list(config.seeds)},
    }


def _cited(name: str) -> dict[str, Any]:
    """What a page says of a paper, of its claims, which may name cells of other experiments, and of segtrace itself."""
    given = load.experiment(name).published
    citation = Path("CITATION.cff")
    made: dict[str, Any] = {"citation": sha256_file(citation) if citation.is_file() else None}
    if given is not None:
        paper: models.Paper = load.load("papers", given.paper)
        used = [claim for claim in paper.claims if name in {term.experiment for term in claim.terms}]
        made["paper"] = paper.model_dump(mode="json")
        made["claims"] = [claims.recompute(claim).recomputed for claim in used]
    return made


# --- code -------------------------------------------------------------------------------------------


def code(job: Job, config: models.Config) -> dict[str, str]:
    """File of the package → digest of its code, for all that a job runs."""
    if job.phase == "overview":
        return digests.code_of("compare")
    extra: list[str] = []
    if job.phase in ("acquire", "index", "prepare", "validate", "score"):
        extra = [reader(jobs.dataset_of(job))]
    elif job.phase in ("train", "predict"):
        extra = runs.modules_of(runs.resolve(jobs.run_of(job), threads=config.training_threads))
    elif job.phase == "compare":
        extra = jobs.counted_networks(job.name)
    return digests.code_of(job.phase, extra=extra)


def reader(dataset: str) -> str:
    """The module that reads a data set."""
    return f"segtrace.datasets.{load.dataset(dataset).reader or dataset}"


# --- one digest each, for comparison ----------------------------------------------------------------


def compared(made: dict[str, Any]) -> dict[str, str]:
    """The parts of an identity or a record as one digest each; equal digests mean equal parts."""
    parts = {f"inputs.{name}": digests.digest(value) for name, value in made["inputs"].items()}
    parts["configuration"] = digests.digest(made["configuration"])
    parts["code"] = digests.digest(made["code"])
    parts["environment"] = str(made["environment"])
    return parts
