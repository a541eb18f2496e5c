"""``segtrace compare [EXPERIMENT]``: make an experiment's tables, or join those of all experiments."""

import argparse
from typing import TYPE_CHECKING, Any, cast

from segtrace.options import add_experiment

if TYPE_CHECKING:
    from segtrace.config.models import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_experiment(parser, optional="without one, the tables of all configured experiments are joined")


def run(arguments: argparse.Namespace) -> None:
    """Write the experiment's tables, or the files that join those of all experiments."""
    from segtrace.config import load

    asked = {"budget": arguments.budget, "seeds": arguments.seeds}
    if arguments.experiment is None:
        _join(load.main_config(asked | {"experiments": arguments.experiments}))
    else:
        _compare(arguments.experiment, load.main_config(asked))


def _compare(name: str, config: "Config") -> None:
    from segtrace import aggregation, files, layout, subgroups, tables
    from segtrace.compare import aggregates, intervals, paired, published, ranking, robustness
    from segtrace.compare import subgroups as of_subgroups
    from segtrace.compare import tables as compare
    from segtrace.config import load, runs
    from segtrace.trace import jobs, record
    from segtrace.trace.jobs import Job

    experiment = load.experiment(name)
    wanted = runs.runs_of(name, budget=config.budget, seeds=config.seeds)
    variant = runs.variant_of(experiment)
    labels = load.dataset(experiment.dataset).scored
    folder, job = layout.results(name), Job("compare", name)
    with files.hold(folder, what="compare"):
        made = record.begin(job, config)
        scores = compare.read_scores(wanted, variant=variant, labels=list(labels))
        gate = layout.split_gate(experiment.dataset, experiment.protocol)
        split = compare.read_split(gate, folds={run.fold for run in wanted})
        compare.refuse_unscored(scores, gate, role=experiment.role)
        records = cast("list[dict[str, Any]]", scores.to_dict("records"))
        values = aggregation.run_values(records, methods=experiment.methods, labels=list(labels))
        cells, names = aggregation.cells_of(values), {0: compare.MEAN_NAME, **labels}
        summary = compare.summarise(
            scores,
            experiment=name,
            budget=config.budget,
            methods=experiment.methods,
            labels=labels,
            split=split,
            recipe=(experiment.recipe, load.dataset(experiment.dataset).recipes[experiment.recipe].input),
            cells=cells,
        )
        bounds = intervals.rows(cells, values, labels=names)
        tests = paired.rows(cells, methods=experiment.methods, labels=names)
        averaged = aggregates.rows(records, values=values, labels=names, batch=experiment.batch)
        ranked = ranking.rows(cells, methods=experiment.methods, labels=names)
        classes = subgroups.classes(experiment.dataset)
        divided = of_subgroups.rows(cells, classes, labels=names)
        missing = aggregation.missing_cases(records, methods=experiment.methods, labels=list(labels))
        corrupted = robustness.read(
            wanted,
            variants=runs.corrupted_variants(experiment),
            clean=scores,
            methods=experiment.methods,
            labels=list(labels),
        )
        dropped = robustness.rows(cells, corrupted, labels=names)
        paths = [layout.scores(run, variant) for run in wanted]
        bytes_of = {str(path): files.sha256_file(path) for path in paths}
        tables.write("per_case", scores, folder / "per_case.csv")
        files.write_json(
            folder / "metrics.json", compare.metrics(summary, split=split, scores_sha256=bytes_of)
        )
        summary = intervals.with_bounds(summary, bounds)
        printed = published.rows(
            experiment,
            budget=(config.budget, load.load("budgets", config.budget)),
            data=load.dataset(experiment.dataset),
            summary=summary,
            aggregates=averaged,
            split_cases=published.read_split_cases(gate),
            parameters=published.read_parameters(wanted) if jobs.counts_parameters(name) else {},
            macs=published.count_macs(experiment),
        )
        tables.write("published", printed, folder / "published.csv")
        tables.write("aggregates", averaged, folder / "aggregates.csv")
        tables.write("ranks", ranked, folder / "ranks.csv")
        tables.write("intervals", bounds, folder / "intervals.csv")
        tables.write("tests", tests, folder / "tests.csv")
        tables.write("missing", missing, folder / "missing.csv")
        tables.write("subgroups", divided, folder / "subgroups.csv")
        tables.write("robustness", dropped, folder / "robustness.csv")
        tables.write("summary", summary, folder / "summary.csv")
        record.write(job, made)
    print(f"{folder / 'summary.csv'}: {len(wanted)} runs, {scores['case'].nunique()} cases", flush=True)
    print(compare.counted(cells, missing), flush=True)
    if not classes:
        print(f"{layout.cases(experiment.dataset)}: not here, so no subgroups are told apart", flush=True)
    kind = "published protocol" if split["published"] == "yes" else "protocol"
    print(f"{kind} {split['protocol']}: {split['words']}; {split['leaks']} leaks", flush=True)


def _join(config: "Config") -> None:
    from segtrace import files, layout, tables
    from segtrace.compare import overview
    from segtrace.config import runs
    from segtrace.trace import record
    from segtrace.trace.jobs import OVERVIEW, Job

    job = Job("overview", OVERVIEW)
    with files.hold(layout.RESULTS, what="compare"):
        made = record.begin(job, config)
        wanted = {
            name: runs.runs_of(name, budget=config.budget, seeds=config.seeds) for name in config.experiments
        }
        files.write_json(layout.RESULTS / "metrics.json", overview.metrics(config.experiments))
        histories = overview.histories(wanted)
        tables.write("histories", histories, layout.RESULTS / "histories.csv")
        tables.write("convergence", overview.converged(histories), layout.RESULTS / "convergence.csv")
        record.write(job, made)
    print(f"{layout.RESULTS / 'metrics.json'}: {', '.join(config.experiments)}", flush=True)
