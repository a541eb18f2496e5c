"""``segtrace prepare DATASET RECIPE [--batch K]``."""

import argparse
import os
from typing import TYPE_CHECKING

from segtrace.options import at_least_one

if TYPE_CHECKING:
    from segtrace.config.models import Dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("dataset", help="name of a file in config/datasets")
    parser.add_argument("recipe", help="one of the data set's recipes")
    parser.add_argument("--batch", type=int, help="only this batch of cases, from 0; all by default")
    parser.add_argument(
        "--workers", type=at_least_one, default=os.cpu_count() or 1, help="processes (all cores)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Prepare the indexed cases, batch by batch; a case whose digest still holds is left as it is."""
    from segtrace.config import load
    from segtrace.errors import SegtraceError

    name, chosen = arguments.dataset, arguments.recipe
    data = load.dataset(name)
    load.part(name, "recipe", data.recipes, chosen)
    if arguments.batch is not None and not 0 <= arguments.batch < data.batches:
        raise SegtraceError(f"{name} has batches 0 to {data.batches - 1}, got --batch {arguments.batch}")
    for batch in range(data.batches) if arguments.batch is None else [arguments.batch]:
        _run_batch(name, data, chosen, batch=batch, workers=arguments.workers)


def _run_batch(name: str, data: "Dataset", chosen: str, *, batch: int, workers: int) -> None:
    """Prepare one batch under its own lock, and write its table."""

    from segtrace import datasets, digests, files, layout, parallel, tables
    from segtrace.prepare import cases
    from segtrace.trace import jobs as jobs_of_project
    from segtrace.trace import record

    job = jobs_of_project.prepare(name, chosen, batch)
    made = record.begin(job)
    recipe = data.recipes[chosen].model_dump(mode="json")
    indexed = tables.read("cases", layout.cases(name)).to_dict("records")
    rows = [row for row in indexed if layout.batch_of(row["case"], data.batches) == batch]
    folder, table = layout.prepared(name, chosen), layout.batch_table(name, chosen, batch)
    reader = data.reader or name
    code = digests.case_code("prepare", extra=[datasets.module_name(reader)])
    with files.hold(table, what="prepare"):
        jobs = [
            cases.Job(
                root=layout.raw(name),
                reader=reader,
                options=data.options,
                case=datasets.case_of(row),
                image_sha256=row["image_sha256"],
                label_sha256=row["label_sha256"],
                labels=tuple(data.labels),
                recipe=recipe,
                folder=folder,
                batch=batch,
                digest=digests.prepared_case(row["digest"], recipe=recipe, code=code),
            )
            for row in rows
        ]
        removed = cases.remove_strays(
            folder,
            keep=[row["case"] for row in rows],
            batch_of=lambda case: layout.batch_of(case, data.batches),
            batch=batch,
        )
        if removed:
            print(f"removed {len(removed)} cases that are no longer in the index: {', '.join(removed)}")
        result = parallel.map_cases(
            cases.prepare_case,
            jobs,
            label=f"prepare {name}/{chosen} batch {batch + 1} of {data.batches}",
            workers=workers,
            name=lambda job: job.case.case,
        )
        tables.write("prepared", result, table)
        arrays = {
            folder / f"{row['case']}.{kind}.npy": row[f"{kind}_sha256"]
            for row in result
            for kind in ("image", "label")
            if row[f"{kind}_sha256"]
        }
        cases_own = {
            path: files.sha256_file(path) for path in (folder / f"{row['case']}.json" for row in result)
        }
        record.write(job, made, contents=arrays, unlisted=cases_own)
