"""An experiment's scores, read once, and every table that is made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pandas as pd

from segtrace import aggregation, files, layout, subgroups
from segtrace.aggregation import CaseValue, Cell, RunValues
from segtrace.compare import aggregates, intervals, paired, published, ranking, robustness, tables
from segtrace.compare import subgroups as of_subgroups
from segtrace.config import load, runs
from segtrace.config.models import Config, Dataset, Experiment
from segtrace.trace import jobs


@dataclass(frozen=True)
class Scored:
    """An experiment with the scores of its runs, by case and label, and by run."""

    name: str
    budget: str
    experiment: Experiment
    data: Dataset
    runs: Sequence[layout.RunName]
    gate: Path
    split: Mapping[str, Any]
    scores: pd.DataFrame
    records: Sequence[dict[str, Any]]
    values: RunValues
    cells: Mapping[Cell, Sequence[CaseValue]]
    classes: Mapping[str, str]
    """Case → subgroup; empty where the data set has none."""
    lost: Mapping[layout.RunName, str] = field(default_factory=dict)
    """Runs that are not there → why; their methods are in no table but ``missing``."""

    @property
    def labels(self) -> dict[int, str]:
        """Number → name of labels and regions."""
        return self.data.scored

    @property
    def names(self) -> dict[int, str]:
        """The labels, and 0 for their mean."""
        return {0: tables.MEAN_NAME, **self.labels}


def read(name: str, config: Config, *, lost: Mapping[layout.RunName, str] | None = None) -> Scored:
    """The scores of all runs of the experiment ``name``.

    ``lost`` are runs that are not there, with the reason: their methods are left out whole, for a mean over fewer
    folds or seeds than the others' would not be comparable.

    Raises :class:`SegtraceError` where scores are missing, or are not those of the split's cases.
    """
    lost = dict(lost or {})
    without = {run.method for run in lost}
    experiment = load.experiment(name)
    if without:
        experiment = experiment.without(without)
    data = load.dataset(experiment.dataset)
    every = runs.runs_of(name, budget=config.budget, seeds=config.seeds)
    wanted = [run for run in every if run.method not in without]
    labels = list(data.scored)
    scores = tables.read_scores(wanted, variant=runs.variant_of(experiment), labels=labels)
    gate = layout.split_gate(experiment.dataset, experiment.protocol)
    split = tables.read_split(gate, folds={run.fold for run in wanted})
    tables.refuse_unscored(scores, gate, role=experiment.role)
    records = cast("list[dict[str, Any]]", scores.to_dict("records"))
    values = aggregation.run_values(records, methods=experiment.methods, labels=labels)
    return Scored(
        name=name,
        budget=config.budget,
        experiment=experiment,
        data=data,
        runs=wanted,
        gate=gate,
        split=split,
        scores=scores,
        records=records,
        values=values,
        cells=aggregation.cells_of(values),
        classes=subgroups.classes(experiment.dataset),
        lost=lost,
    )


def made(given: Scored) -> dict[str, Any]:
    """Name → rows of every table of the experiment, ``summary`` last: it tells others that all are there."""
    cells, names, methods = given.cells, given.names, given.experiment.methods
    bounds = intervals.rows(cells, given.values, labels=names)
    averaged = aggregates.rows(given.records, values=given.values, labels=names, batch=given.experiment.batch)
    summary = intervals.with_bounds(summarised(given), bounds)
    return {
        "per_case": given.scores,
        "published": _published(given, summary=summary, averaged=averaged),
        "aggregates": averaged,
        "ranks": ranking.rows(cells, methods=methods, labels=names),
        "intervals": bounds,
        "tests": paired.rows(cells, methods=methods, labels=names),
        "missing": [
            *aggregation.missing_cases(given.records, methods=methods, labels=list(given.labels)),
            *tables.lost_rows(given.lost),
        ],
        "subgroups": of_subgroups.rows(cells, given.classes, labels=names),
        "robustness": _robustness(given),
        "summary": summary,
    }


def metrics(given: Scored) -> dict[str, Any]:
    """The content of ``metrics.json``: means, the split, and the checksum of every table of scores."""
    variant = runs.variant_of(given.experiment)
    paths = [layout.scores(run, variant) for run in given.runs]
    bytes_of = {str(path): files.sha256_file(path) for path in paths}
    return tables.metrics(summarised(given), split=given.split, scores_sha256=bytes_of)


def summarised(given: Scored) -> list[dict[str, Any]]:
    """The summary without intervals."""
    recipe = given.experiment.recipe
    return tables.summarise(
        given.scores,
        experiment=given.name,
        budget=given.budget,
        methods=given.experiment.methods,
        labels=given.labels,
        split=given.split,
        recipe=(recipe, given.data.recipes[recipe].input),
        cells=given.cells,
    )


def _robustness(given: Scored) -> list[dict[str, Any]]:
    corrupted = robustness.read(
        given.runs,
        variants=runs.corrupted_variants(given.experiment),
        clean=given.scores,
        methods=given.experiment.methods,
        labels=list(given.labels),
    )
    return robustness.rows(given.cells, corrupted, labels=given.names)


def _published(
    given: Scored, *, summary: Sequence[Mapping[str, Any]], averaged: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    counted = published.read_parameters(given.runs) if jobs.counts_parameters(given.name) else {}
    return published.rows(
        given.experiment,
        budget=(given.budget, load.load("budgets", given.budget)),
        data=given.data,
        summary=summary,
        aggregates=averaged,
        split_cases=published.read_split_cases(given.gate),
        parameters=counted,
        macs=published.count_macs(given.experiment),
    )
