"""``segtrace score RUN VARIANT``."""

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from segtrace.options import at_least_one

if TYPE_CHECKING:
    from segtrace.config.models import Dataset
    from segtrace.layout import RunName, Variant
    from segtrace.score.cases import Job, Native, Prepared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("run", metavar="RUN", help="DATASET/RECIPE/PROTOCOL/METHOD/BUDGET/fold-K_seed-S")
    parser.add_argument(
        "variant", metavar="VARIANT", help="ROLE-CHECKPOINT-GRID-CORRUPTION, such as test-last-native-none"
    )
    parser.add_argument(
        "--workers", type=at_least_one, default=os.cpu_count() or 1, help="processes (all cores)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Score the cases that the split gives the variant's role, each with every label and region of the data set.

    Raises :class:`SegtraceError` that lists every case whose prediction or reference does not fit.
    """
    from segtrace import files, layout, parallel, tables
    from segtrace.config import load
    from segtrace.score import cases
    from segtrace.trace import jobs as jobs_of_project
    from segtrace.trace import record

    name, variant = layout.parse_run(arguments.run), layout.parse_variant(arguments.variant)
    data = load.dataset(name.dataset)
    output = layout.scores(name, variant)
    made_by = jobs_of_project.score(name, variant)
    with files.hold(output, what="score"):
        chosen = _chosen(name, variant)
        made = record.begin(made_by)
        jobs = _jobs(name, variant, data, chosen)
        found = parallel.map_cases(
            cases.score_case,
            jobs,
            label=f"score {name} {variant}",
            workers=arguments.workers,
            name=lambda job: job.case,
        )
        tables.write("scores", [row for rows in found for row in rows], output)
        record.write(made_by, made)
        lost = [job.case for job, rows in zip(jobs, found, strict=True) if "missing" in rows[0]["reason"]]
        if lost:
            print(
                f"{len(lost)} of {len(jobs)} cases have no prediction and count as worst: {', '.join(lost)}"
            )


def _chosen(name: "RunName", variant: "Variant") -> list[str]:
    """The cases of the variant's role in the split, sorted."""
    from segtrace import layout, tables
    from segtrace.errors import SegtraceError

    split_path = layout.split(name.dataset, name.protocol)
    split = tables.read("split", split_path)
    chosen = sorted(split.loc[(split["fold"] == name.fold) & (split["role"] == variant.role), "case"])
    if not chosen:
        raise SegtraceError(f"{split_path}: fold {name.fold} has no case of role {variant.role!r}")
    return chosen


def _jobs(name: "RunName", variant: "Variant", data: "Dataset", chosen: list[str]) -> "list[Job]":
    """One job a case."""
    from segtrace import layout, tables
    from segtrace.score.cases import Job

    folder = layout.predictions(name, variant)
    rows = tables.read("predictions", folder / "predictions.csv").to_dict("records")
    predicted = {row["case"]: row for row in rows}
    references = _references(name, variant, data, chosen)
    keys = {
        "dataset": name.dataset,
        "recipe": name.recipe,
        "protocol": name.protocol,
        "role": variant.role,
        "method": name.method,
        "budget": name.budget,
        "fold": name.fold,
        "seed": name.seed,
        "checkpoint": variant.checkpoint,
        "grid": variant.grid,
        "corruption": variant.corruption,
    }
    ending = ".nii.gz" if data.dimensions == 3 else ".png"
    return [
        Job(
            case=case,
            # a file that the table does not know is looked at too: it is an error, not a missing case
            prediction=folder / predicted.get(case, {"file": case + ending})["file"],
            sha256=predicted[case]["sha256"] if case in predicted else None,
            reference=references[case],
            labels=tuple(sorted(data.labels)),
            spacing_known=data.spacing_known,
            tolerances=data.nsd_tolerances,
            keys=keys,
            regions=data.unions,
        )
        for case in chosen
    ]


def _references(
    name: "RunName", variant: "Variant", data: "Dataset", chosen: list[str]
) -> "Mapping[str, Native | Prepared]":
    """Case → where its reference is; every case that has none is listed in one error."""

    from segtrace import datasets, layout, tables
    from segtrace.errors import raise_all
    from segtrace.score.cases import Native, Prepared

    result: dict[str, Any] = {}
    if variant.grid == "prepared":
        folder = layout.prepared(name.dataset, name.recipe)
        source = folder / "prepared.csv"
        for row in tables.read("prepared", source).to_dict("records"):
            result[row["case"]] = Prepared(folder, row["digest"])
    else:
        source = layout.cases(name.dataset)
        for row in tables.read("cases", source).to_dict("records"):
            case = datasets.case_of(row)
            reader = data.reader or name.dataset
            root = layout.raw(name.dataset)
            result[case.case] = Native(root, reader, data.options, case, row["label_sha256"])
    raise_all(
        [f"case {case} is in the split and not in {source}" for case in chosen if case not in result],
        heading=f"{name}: cannot score",
        remedy="Run index, prepare and split again.",
    )
    return result
