"""``segtrace report EXPERIMENT``: make an experiment's page."""

import argparse
from typing import Any

from segtrace.options import add_experiment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_experiment(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the experiment's page."""
    from segtrace import files, layout, tables
    from segtrace.config import load, runs
    from segtrace.report import beside, cost, page, scores
    from segtrace.report.subject import Subject
    from segtrace.trace import record
    from segtrace.trace.jobs import Job

    config = load.main_config({"budget": arguments.budget, "seeds": arguments.seeds})
    name, experiment = arguments.experiment, load.experiment(arguments.experiment)
    absent = scores.absent(name)
    experiment = experiment.without(absent) if absent else experiment
    dataset = load.dataset(experiment.dataset)
    every = runs.runs_of(name, budget=config.budget, seeds=config.seeds)
    wanted = [run for run in every if run.method not in absent]
    subject = Subject(
        name=name,
        experiment=experiment,
        dataset=dataset,
        recipe=load.part(experiment.dataset, "recipe", dataset.recipes, experiment.recipe),
        protocol=load.part(experiment.dataset, "protocol", dataset.protocols, experiment.protocol),
        methods={method: load.method(method) for method in experiment.methods},
        budget_name=config.budget,
        budget=load.load("budgets", config.budget),
        seeds=tuple(config.seeds),
        runs=tuple(wanted),
        variant=runs.variant_of(experiment),
        absent=absent,
    )
    target, job = layout.report(name), Job("report", name)
    with files.hold(target.parent, what="report"):
        made = record.begin(job, config)
        costs = cost.rows(subject)
        drawn: dict[str, dict[str, Any]] = {}
        text = page.build(subject, costs=costs, drawn=drawn)
        written = beside.write(subject, target.parent, drawn)
        # Measured times differ from run to run: this table has no record and is compared with nothing.
        tables.write("cost", costs, target.with_name("cost.csv"))
        files.write_text(target, text)
        if absent:
            record.write_incomplete(job, made, absent, unlisted=written)
        else:
            record.write(job, made, unlisted=written)
    print(f"{target}: {len(text.encode()) / 1e6:.1f} MB; open it in a browser", flush=True)
    print(
        f"{target.parent}: {len(written)} files beside it, tables and texts for a paper and figures",
        flush=True,
    )
