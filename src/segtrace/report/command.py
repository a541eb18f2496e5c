"""``segtrace report EXPERIMENT``: make an experiment's page."""

import argparse

from segtrace.options import add_experiment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_experiment(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the experiment's page."""
    from segtrace import digests, files, layout
    from segtrace.config import load, runs
    from segtrace.report import page
    from segtrace.report.subject import Subject

    config = load.main_config({"budget": arguments.budget, "seeds": arguments.seeds})
    name, experiment = arguments.experiment, load.experiment(arguments.experiment)
    dataset = load.dataset(experiment.dataset)
    wanted = runs.runs_of(name, budget=config.budget, seeds=config.seeds)
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
    )
    target = layout.report(name)
    with files.hold(target.parent, what="report"):
        text = page.build(subject)
        files.write_text(target, text)
        tables = ("summary.csv", "per_case.csv", "metrics.json")
        digests.write_record(
            target,
            phase="report",
            inputs={f: files.sha256_file(layout.results(name) / f) for f in tables},
            configuration=[experiment.model_dump(mode="json"), config.budget, config.seeds],
            code=digests.code_digest("report"),
        )
    print(f"{target}: {len(text.encode()) / 1e6:.1f} MB; open it in a browser", flush=True)
