"""``segtrace compare EXPERIMENT``: make an experiment's tables."""

import argparse

from segtrace.options import add_experiment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_experiment(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write ``summary.csv``, ``per_case.csv`` and ``metrics.json`` of the experiment."""
    from segtrace import digests, files, layout, tables
    from segtrace.compare import tables as compare
    from segtrace.config import load, runs

    config = load.main_config({"budget": arguments.budget, "seeds": arguments.seeds})
    name, experiment = arguments.experiment, load.experiment(arguments.experiment)
    wanted = runs.runs_of(name, budget=config.budget, seeds=config.seeds)
    variant = runs.variant_of(experiment)
    labels = load.dataset(experiment.dataset).labels
    asked = experiment.model_dump(mode="json")
    folder = layout.results(name)
    with files.hold(folder, what="compare"):
        scores = compare.read_scores(wanted, variant=variant, labels=list(labels))
        summary = compare.summarise(
            scores, experiment=name, budget=config.budget, methods=experiment.methods, labels=labels
        )
        paths = [layout.scores(run, variant) for run in wanted]
        bytes_of = {str(path): files.sha256_file(path) for path in paths}
        tables.write("per_case", scores, folder / "per_case.csv")
        files.write_json(folder / "metrics.json", compare.metrics(summary, scores_sha256=bytes_of))
        tables.write("summary", summary, folder / "summary.csv")
        digests.write_record(
            folder / "summary.csv",
            phase="compare",
            inputs={"scores": bytes_of},
            configuration=[asked, config.budget, config.seeds, [*labels.items()]],
            code=digests.code_digest("compare"),
        )
    print(f"{folder / 'summary.csv'}: {len(wanted)} runs, {scores['case'].nunique()} cases", flush=True)
