"""What all rules share: the checked configuration, the targets, wildcards, and the digests.

Content decides what reruns: digests of data, code, configuration and environment travel as `params`.
A digest that reads a file is a function of wildcards alone, and the file is a checkpoint's output
that the rule's input function has asked for: Snakemake does not look at params that take `input`.
"""

import csv
import sys

from segtrace import digests, layout, upkeep
from segtrace.config import load, runs
from segtrace.errors import SegtraceError

CONDA = "../../envs/segtrace.yaml"


def readable(function, *arguments, **options):
    """Call `function`; a user's fault ends Snakemake with its message and no traceback."""
    try:
        return function(*arguments, **options)
    except SegtraceError as error:
        sys.exit(f"segtrace: {error}")


# config/config.yaml is read by segtrace itself, whose errors name file, key and line; Snakemake's `config`
# holds what the command line gave.
CONFIG = readable(load.main_config, dict(config))
SEEDS = ",".join(str(seed) for seed in CONFIG.seeds)
ENVIRONMENT = digests.environment_digest()
# By environment, not by params: where the archives lie is no part of what they are.
upkeep.set_environment(mirror=CONFIG.mirror, given="mirror" in config)
GPUS = upkeep.visible_gpus()


DATASETS = load.names("datasets")
RECIPES = [r for d in DATASETS for r in readable(load.dataset, d).recipes]
PROTOCOLS = [p for d in DATASETS for p in readable(load.dataset, d).protocols]


wildcard_constraints:
    dataset=layout.any_of(DATASETS),
    recipe=layout.any_of(RECIPES),
    protocol=layout.any_of(PROTOCOLS),
    experiment=layout.any_of(load.names("experiments")),
    batch=r"\d{3}",
    variant=layout.variant_pattern(),
    run=layout.run_pattern(
        DATASETS, RECIPES, PROTOCOLS, load.names("methods"), load.names("budgets")
    ),


def final_output():
    """Everything that the configuration asks for.

    Not the reports alone: a checkpoint or a score that was deleted is made again even where all that
    was made from it is still there.
    """
    targets = []
    for name in CONFIG.experiments:
        experiment = readable(load.experiment, name)
        targets.append(layout.report(name))
        targets.append(layout.cases(experiment.dataset))
        targets.append(
            layout.prepared(experiment.dataset, experiment.recipe) / "prepared.csv"
        )
        targets.append(layout.split(experiment.dataset, experiment.protocol))
        for pattern in (
            "checkpoints/{run}/weights.safetensors",
            "predictions/{run}/{variant}/predictions.csv",
            "scores/{run}/{variant}.csv",
        ):
            targets += experiment_files(name, pattern)
    return sorted({str(target) for target in targets})


def experiment_files(experiment, pattern):
    """`pattern` for every run of an experiment, with {run} and {variant} filled in."""
    variant = runs.variant_of(readable(load.experiment, experiment))
    names = readable(runs.runs_of, experiment, budget=CONFIG.budget, seeds=CONFIG.seeds)
    return [pattern.format(run=run, variant=variant) for run in names]


# --- files of checkpoints, asked for in input functions ---------------------------------------------


def receipt_of(wildcards):
    """The receipt of a data set, once `acquire` has run."""
    return checkpoints.acquire.get(dataset=wildcards.dataset).output.receipt


def cases_of(wildcards):
    """The index of a data set, once `index` has run."""
    return checkpoints.index.get(dataset=wildcards.dataset).output.cases


def split_of(wildcards):
    """The split of a run's protocol, once `split` has run."""
    run = layout.parse_run(wildcards.run)
    return checkpoints.split.get(
        dataset=run.dataset, protocol=run.protocol
    ).output.split


def prepared_of(wildcards):
    """The table of prepared cases of a run, once `validate` has passed it."""
    run = layout.parse_run(wildcards.run)
    return checkpoints.validate.get(
        dataset=run.dataset, recipe=run.recipe
    ).output.prepared


# --- digests ----------------------------------------------------------------------------------------


def rows(path):
    """A table as a list of dictionaries."""
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def raw_state(wildcards):
    """State of the raw files: names, sizes, times. Asked for once `acquire` has run."""
    receipt_of(wildcards)
    return digests.tree_signature(layout.raw(wildcards.dataset))


def cases_digest(wildcards):
    """Digest of every case of a data set."""
    return digests.digest(
        [[row["case"], row["digest"]] for row in rows(cases_of(wildcards))]
    )


def batch_digest(wildcards):
    """Digest of the cases of one batch."""
    count = load.dataset(wildcards.dataset).batches
    chosen = [
        [row["case"], row["digest"]]
        for row in rows(cases_of(wildcards))
        if layout.batch_of(row["case"], count) == int(wildcards.batch)
    ]
    return digests.digest(chosen)


def members(wildcards, roles):
    """(case, role) of a run's fold, for the given roles."""
    fold = str(layout.parse_run(wildcards.run).fold)
    table = rows(split_of(wildcards))
    return [
        (row["case"], row["role"])
        for row in table
        if row["fold"] == fold and row["role"] in roles
    ]


def training_digest(wildcards):
    """Digest of the arrays that a run is trained and validated on."""
    arrays = {
        row["case"]: [row["image_sha256"], row["label_sha256"]]
        for row in rows(prepared_of(wildcards))
    }
    return digests.digest(
        [
            [case, role, arrays.get(case)]
            for case, role in members(wildcards, ("train", "val"))
        ]
    )


def prediction_digest(wildcards):
    """Digest of the images that a variant segments."""
    role = layout.parse_variant(wildcards.variant).role
    arrays = {
        row["case"]: [row["image_sha256"], row["digest"]]
        for row in rows(prepared_of(wildcards))
    }
    return digests.digest(
        [[case, arrays.get(case)] for case, _ in members(wildcards, (role,))]
    )


def reference_digest(wildcards):
    """Digest of the cases that a variant is scored against."""
    run = layout.parse_run(wildcards.run)
    role = layout.parse_variant(wildcards.variant).role
    table = rows(checkpoints.index.get(dataset=run.dataset).output.cases)
    known = {row["case"]: row["digest"] for row in table}
    return digests.digest(
        [[case, known.get(case)] for case, _ in members(wildcards, (role,))]
    )


def dataset_digest(*keys):
    """A params function: digest of the named keys of the data set's configuration."""
    return lambda wildcards: digests.digest(
        [
            readable(load.dataset, wildcards.dataset).model_dump(mode="json")[key]
            for key in keys
        ]
    )


def part_digest(kind, wildcard):
    """A params function: digest of one recipe or protocol of the data set, but for where it comes from."""

    def digest(wildcards):
        parts = getattr(load.dataset(wildcards.dataset), kind)
        part = readable(
            load.part, wildcards.dataset, wildcard, parts, wildcards[wildcard]
        )
        return digests.digest(part.model_dump(mode="json", exclude={"source"}))

    return digest


def run_threads(wildcards):
    """CPU threads of a run: part of its identity, and the same whatever --cores is."""
    run = layout.parse_run(wildcards.run)
    return readable(runs.resolve, run, threads=CONFIG.training_threads)["threads"]


def run_digest(wildcards):
    """Digest of a run's resolved configuration."""
    return digests.digest(
        readable(
            runs.resolve,
            layout.parse_run(wildcards.run),
            threads=CONFIG.training_threads,
        )
    )


def reader_code(phase):
    """A params function: digest of a phase's code with the data set's reader."""
    return lambda wildcards: digests.code_digest(
        phase, extra=[reader_module(wildcards.dataset)]
    )


def reader_module(dataset):
    """The module that reads a data set."""
    return f"segtrace.datasets.{load.dataset(dataset).reader or dataset}"


def run_code(phase):
    """A params function: digest of a phase's code with the run's own network and loss."""

    def code(wildcards):
        run = readable(
            runs.resolve,
            layout.parse_run(wildcards.run),
            threads=CONFIG.training_threads,
        )
        return digests.code_digest(phase, extra=runs.modules_of(run))

    return code


def score_code(wildcards):
    """Digest of the scoring code with the data set's reader."""
    dataset = layout.parse_run(wildcards.run).dataset
    return digests.code_digest("score", extra=[reader_module(dataset)])


def score_digest(wildcards):
    """Digest of what scoring reads of a data set's configuration."""
    data = load.dataset(layout.parse_run(wildcards.run).dataset)
    return digests.digest([sorted(data.labels), data.spacing_known, data.options])


def experiment_digest(wildcards):
    """Digest of all configuration that an experiment's tables and page show, and of what was asked for."""
    experiment = readable(load.experiment, wildcards.experiment)
    shown = [
        experiment,
        load.dataset(experiment.dataset),
        load.load("training", experiment.training),
        load.load("budgets", CONFIG.budget),
        *(load.method(method) for method in experiment.methods),
    ]
    return digests.digest(
        [[item.model_dump(mode="json") for item in shown], CONFIG.budget, CONFIG.seeds]
    )


# --- files that rules read or vouch for ----------------------------------------------------------------


def arrays_of(wildcards):
    """A function from a row of the batch table to the files of that case."""
    folder = layout.prepared(wildcards.dataset, wildcards.recipe)
    suffixes = (".json", ".image.npy", ".label.npy")
    return lambda row: [
        folder / (row["case"] + s)
        for s in suffixes
        if s != ".label.npy" or row["label_sha256"]
    ]


def prepare_repairs(wildcards):
    """How often missing arrays of the batch were made again."""
    table = layout.batch_table(
        wildcards.dataset, wildcards.recipe, int(wildcards.batch)
    )
    return upkeep.repairs(table, arrays_of(wildcards))


def batch_tables(wildcards):
    """The tables of all batches of a recipe."""
    count = load.dataset(wildcards.dataset).batches
    return [
        str(layout.batch_table(wildcards.dataset, wildcards.recipe, number))
        for number in range(count)
    ]


def gates_of(wildcards):
    """The prepared gates of all recipes that are configured with this protocol."""
    wanted = (wildcards.dataset, wildcards.protocol)
    chosen = set()
    for names in (CONFIG.experiments, load.names("experiments")):
        found = [readable(load.experiment, name) for name in names]
        chosen = {e.recipe for e in found if (e.dataset, e.protocol) == wanted}
        if chosen:
            break
    return [
        str(layout.prepared(wildcards.dataset, recipe) / "gate.json")
        for recipe in sorted(chosen)
    ]


def label_maps_of(wildcards):
    """A function from a row of the table to its label map."""
    folder = layout.predictions(wildcards.run, wildcards.variant)
    return lambda row: [folder / row["file"]]


def predict_repairs(wildcards):
    """How often missing label maps were made again."""
    table = layout.predictions(wildcards.run, wildcards.variant) / "predictions.csv"
    return upkeep.repairs(table, label_maps_of(wildcards))


def gates_of_experiment(wildcards):
    """The gates that the page shows: of the raw data set and of the prepared recipe."""
    experiment = readable(load.experiment, wildcards.experiment)
    return [
        str(layout.index(experiment.dataset) / "gate.json"),
        str(layout.prepared(experiment.dataset, experiment.recipe) / "gate.json"),
    ]


# --- resources --------------------------------------------------------------------------------------


def growing(base):
    """A resource that grows with each attempt."""
    return lambda wildcards, attempt: base * attempt
