"""``segtrace compare [EXPERIMENT]``: make an experiment's tables, or join those of all experiments."""

import argparse
from typing import TYPE_CHECKING

from segtrace.options import add_experiment

if TYPE_CHECKING:
    from segtrace.config.models import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_experiment(parser, optional="without one, the tables of all configured experiments are joined")
    parser.add_argument(
        "--incomplete",
        action="store_true",
        help="leave out methods of which a run is not there, and say why; the tables never count as finished",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the experiment's tables, or the files that join those of all experiments."""
    from segtrace.config import load

    asked = {"budget": arguments.budget, "seeds": arguments.seeds}
    if arguments.experiment is None:
        _join(load.main_config(asked | {"experiments": arguments.experiments}))
    else:
        _compare(arguments.experiment, load.main_config(asked), incomplete=arguments.incomplete)


def _compare(name: str, config: "Config", *, incomplete: bool) -> None:
    from segtrace import files, layout, tables
    from segtrace.compare import results
    from segtrace.compare.tables import counted
    from segtrace.trace import failures, record
    from segtrace.trace.jobs import Job

    folder, job = layout.results(name), Job("compare", name)
    with files.hold(folder, what="compare"):
        begun = record.begin(job, config)
        lost = failures.told(name, config) if incomplete else {}
        given = results.read(name, config, lost=lost)
        made = results.made(given)
        files.write_json(folder / "metrics.json", results.metrics(given))
        for table, rows in made.items():
            tables.write(table, rows, folder / f"{table}.csv")
        if lost:
            record.write_incomplete(job, begun, {str(run): reason for run, reason in lost.items()})
        else:
            record.write(job, begun)
    for run, reason in lost.items():
        print(f"{name}: {run.method} is left out: fold {run.fold}, seed {run.seed}: {reason}", flush=True)
    cases, split = given.scores["case"].nunique(), given.split
    print(f"{folder / 'summary.csv'}: {len(given.runs)} runs, {cases} cases", flush=True)
    print(counted(given.cells, made["missing"]), flush=True)
    if not given.classes:
        missing = layout.cases(given.experiment.dataset)
        print(f"{missing}: not here, so no subgroups are told apart", flush=True)
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
