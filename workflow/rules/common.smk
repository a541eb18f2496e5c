"""What all rules share: the checked configuration, the targets, wildcards, and the digests.

Content decides what reruns: digests of data, code, configuration and environment travel as `params`,
computed by `segtrace.trace`, which writes the same into each output's provenance record.
"""

import sys
from pathlib import Path

from segtrace import digests, gpus, layout, upkeep
from segtrace.config import load, runs
from segtrace.errors import SegtraceError
from segtrace.report import figure_files
from segtrace.trace import check, failures, identity, jobs

CONDA = "../../envs/segtrace.yaml"


def readable(function, *arguments, **options):
    """Call `function`; a user's fault ends Snakemake with its message and no traceback."""
    try:
        return function(*arguments, **options)
    except SegtraceError as error:
        sys.exit(f"segtrace: {error}")


# config/config.yaml is read by segtrace itself, whose errors name file, key and line; Snakemake's `config`
# holds what the command line gave.
readable(upkeep.require_own_source)
CONFIG = readable(load.main_config, dict(config))
# Thousands of jobs ask for the same files: they are read once. A job's own process reads them anew.
load.settle()
SEEDS = ",".join(str(seed) for seed in CONFIG.seeds)
ENVIRONMENT = f"environment:{digests.environment_digest()}"
# By environment, not by params: where archives lie, and how trainings are watched, is no part of what is made.
upkeep.set_environment(mirror=CONFIG.mirror, tracking=CONFIG.tracking, given=config)
gpus.configure(CONFIG.jobs_per_gpu, given="jobs_per_gpu" in config)
GPUS = readable(gpus.visible)


def cap_gpus():
    """Cap the jobs that take a GPU together, also where --resources or the profile says nothing of it."""
    asked = workflow.global_resources.get("gpu")
    jobs = readable(gpus.jobs_per_gpu)
    most, said = gpus.cap(
        asked.value if asked else None, there=GPUS, jobs=jobs, local=workflow.local_exec
    )
    workflow.register_resource("gpu", most)
    if said:
        print(said, file=sys.stderr)


if workflow.is_main_process:
    readable(
        upkeep.require_profile,
        sys.argv[1:],
        beside=Path(workflow.main_snakefile).parent,
    )
    cap_gpus()
    readable(check.greet, CONFIG)


DATASETS = load.names("datasets")
RECIPES = [r for d in DATASETS for r in readable(load.dataset, d).recipes]
PROTOCOLS = [p for d in DATASETS for p in readable(load.dataset, d).protocols]


wildcard_constraints:
    dataset=layout.any_of(DATASETS),
    recipe=layout.any_of(RECIPES),
    protocol=layout.any_of(PROTOCOLS),
    experiment=layout.any_of(load.experiments()),
    batch=r"\d{3}",
    variant=layout.variant_pattern(),
    run=layout.run_pattern(
        DATASETS, RECIPES, PROTOCOLS, load.names("methods"), load.names("budgets")
    ),


def final_output(phase="report"):
    """Everything that the configuration asks for, up to a phase.

    Not the last files alone: a checkpoint or a score that was deleted is made again even where all that
    was made from it is still there.
    """
    wanted = readable(jobs.configured, CONFIG, until=phase)
    return [str(jobs.outputs(job)[0]) for job in wanted]


def experiment_files(experiment, pattern):
    """`pattern` for every run of an experiment, with {run} and {variant} filled in."""
    variant = runs.variant_of(readable(load.experiment, experiment))
    names = readable(runs.runs_of, experiment, budget=CONFIG.budget, seeds=CONFIG.seeds)
    return [pattern.format(run=run, variant=variant) for run in names]


# --- files of checkpoints, asked for in input functions ---------------------------------------------


def require_triggers():
    """Refuse to go by times alone (`--rerun-triggers mtime`): changed data and code would be served as they were."""
    off = {"params", "code", "input", "mtime"} - {
        str(trigger) for trigger in workflow.dag_settings.rerun_triggers
    }
    if off:
        sys.exit(
            f"segtrace: --rerun-triggers leaves out {', '.join(sorted(off))}: changed data, code or "
            "configuration would go unseen. Leave the option out, also in your profile."
        )


def receipt_of(wildcards):
    """The receipt of a data set, once `acquire` has run."""
    require_triggers()
    return checkpoints.acquire.get(dataset=wildcards.dataset).output.receipt


def cases_of(wildcards):
    """The index of a data set, once `index` has run."""
    dataset = (
        layout.parse_run(wildcards.run).dataset
        if hasattr(wildcards, "run")
        else wildcards.dataset
    )
    return checkpoints.index.get(dataset=dataset).output.cases


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


# --- params: what decides that a job runs again ---------------------------------------------------------
#
# Each is a text that begins with its name: Snakemake compares params as a set of values. Each is a function
# of wildcards alone: Snakemake records nothing of one that takes `input`. One that reads the output of
# another rule asks for that rule first, which must be a checkpoint.


def run_variant(make):
    """A job of a run and a variant."""
    return lambda wildcards: make(wildcards.run, wildcards.variant)


JOBS = {
    "acquire": lambda wildcards: jobs.acquire(wildcards.dataset),
    "index": lambda wildcards: jobs.index(wildcards.dataset),
    "prepare": lambda wildcards: jobs.prepare(
        wildcards.dataset, wildcards.recipe, int(wildcards.batch)
    ),
    "validate": lambda wildcards: jobs.validate(wildcards.dataset, wildcards.recipe),
    "split": lambda wildcards: jobs.split(wildcards.dataset, wildcards.protocol),
    "train": lambda wildcards: jobs.train(wildcards.run),
    "predict": run_variant(jobs.predict),
    "score": run_variant(jobs.score),
    "compare": lambda wildcards: jobs.Job("compare", wildcards.experiment),
    "overview": lambda wildcards: jobs.Job("overview", jobs.OVERVIEW),
    "report": lambda wildcards: jobs.Job("report", wildcards.experiment),
}
NEEDS = {
    "index": [receipt_of],
    "prepare": [cases_of],
    "validate": [cases_of],
    "split": [cases_of],
    "train": [split_of, prepared_of],
    "predict": [split_of, prepared_of],
    "score": [split_of, cases_of],
}


def param(name, phase, compute):
    """A params function: `name:` and what `compute` says of the job, once its checkpoints are there."""

    def value(wildcards):
        for need in NEEDS.get(phase, []):
            need(wildcards)
        return f"{name}:{readable(compute, JOBS[phase](wildcards), CONFIG)}"

    return value


def data(phase):
    """Digest of the content of the inputs that checkpoints made.

    A damaged table has none: the rule that makes it runs first (`held`), and then this is asked again.
    """

    def digest(job, config):
        try:
            return identity.settled(job, config)
        except SegtraceError as error:
            return f"unreadable {digests.digest(str(error))}"

    return param("data", phase, digest)


def configuration(phase):
    """Digest of the configuration that the job reads, resolved."""
    return param(
        "configuration",
        phase,
        lambda job, config: digests.digest(identity.configuration(job, config)),
    )


def code(phase):
    """Digest of the code that the job runs, with the reader, network, loss and framework that are its own."""
    return param(
        "code", phase, lambda job, config: digests.digest(identity.code(job, config))
    )


def held(phase):
    """Whether the outputs that are there hold: their bytes, and what they were made from."""
    return param(check.HELD, phase, check.held)


# --- threads and files that rules read -----------------------------------------------------------------


def run_threads(wildcards):
    """CPU threads of a run: part of its identity, and the same whatever --cores is."""
    run = layout.parse_run(wildcards.run)
    return readable(runs.resolve, run, threads=CONFIG.training_threads)["threads"]


def run_devices(wildcards):
    """Devices of a run's training: `devices` of its training recipe or budget, part of its identity."""
    run = layout.parse_run(wildcards.run)
    return readable(runs.resolve, run, threads=CONFIG.training_threads).get(
        "devices", 1
    )


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


def gates_of_experiment(wildcards):
    """The gates that the page shows: of the raw data set, of the prepared recipe and of the split."""
    experiment = readable(load.experiment, wildcards.experiment)
    return [
        str(layout.index(experiment.dataset) / "gate.json"),
        str(layout.prepared(experiment.dataset, experiment.recipe) / "gate.json"),
        split_gate_of(wildcards),
    ]


def split_gate_of(wildcards):
    """The gate of the split that an experiment's runs are divided by: its tables say what it says."""
    experiment = readable(load.experiment, wildcards.experiment)
    return str(layout.split_gate(experiment.dataset, experiment.protocol))


def corrupted_scores_of(experiment):
    """The scores of corrupted images that an experiment asks for; none for most."""
    return [
        str(jobs.outputs(job)[0])
        for job in readable(jobs.corrupted, experiment, CONFIG)
    ]


def cases_of_experiment(wildcards):
    """The index of an experiment's data set, which says the published class of each case."""
    return str(layout.cases(readable(load.experiment, wildcards.experiment).dataset))


def counted_weights_of(wildcards):
    """The weights whose parameters are counted, where an experiment has published counts beside them."""
    if not readable(jobs.counts_parameters, wildcards.experiment):
        return []
    return experiment_files(
        wildcards.experiment, "checkpoints/{run}/weights.safetensors"
    )


def figures(kind):
    """The folder of a kind of figures, each with the caption that says how to read it.

    A kind of which the page has no chart is an empty folder, of which `snakemake --report` warns and goes on.
    """
    return report(
        directory(f"reports/{{experiment}}/figures/{kind}"),
        patterns=["{figure}.svg"],
        caption=f"../report/{kind}.rst",
        category="Figures",
        subcategory="{experiment}",
        labels={"kind": kind, "figure": "{figure}"},
    )


# --- after failures ---------------------------------------------------------------------------------


def make_what_can_be_made():
    """After failures: tables and pages of the experiments that they stopped, from the methods that are whole.

    They say what is missing and why, and never hold, so the next run makes them anew.
    """
    asked = {
        job.wildcards.experiment
        for job in workflow.dag.jobs
        if job.rule.name == "report"
    }
    for name in readable(lambda: list(failures.stopped(CONFIG))):
        if name not in asked:
            continue
        common = f"{name} --budget {CONFIG.budget} --seeds {SEEDS}"
        log = f"logs/incomplete/{name}.log"
        shell(
            f"mkdir -p logs/incomplete; (segtrace compare --incomplete {common} && segtrace report {common}) > {log} 2>&1"
            f" && echo 'segtrace: results/{name} and reports/{name}/index.html are made without what failed ({log})'"
            f" || echo 'segtrace: the tables of {name} could not be made without what failed: {log}'"
        )


# --- resources --------------------------------------------------------------------------------------


def growing(base):
    """A resource that grows with each attempt."""
    return lambda wildcards, attempt: base * attempt


def retries(least):
    """How often a failed job is tried again: `least`, or the profile's number where that is larger.

    Only by the Snakemake that was started, not by the one that a cluster runs within each job: that one would
    start a training again that was told of its time limit, in what little is left of it.
    """
    if not workflow.is_main_process:
        return 0
    return max(least, getattr(workflow.execution_settings, "retries", 0))
