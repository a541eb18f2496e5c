"""``segtrace validate DATASET RECIPE``."""

import argparse
import os
from typing import Any

from segtrace.options import at_least_one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("dataset", help="name of a file in config/datasets")
    parser.add_argument("recipe", help="one of the data set's recipes")
    parser.add_argument(
        "--workers", type=at_least_one, default=os.cpu_count() or 1, help="processes (all cores)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Measure and judge the prepared masks. The tables and ``gate.json`` are written only if all is well."""
    from segtrace import datasets, digests, files, gates, layout, parallel, tables
    from segtrace.config import load
    from segtrace.errors import raise_all
    from segtrace.trace import jobs as jobs_of_project
    from segtrace.trace import record
    from segtrace.validate import gate, masks

    name, chosen = arguments.dataset, arguments.recipe
    data = load.dataset(name)
    recipe = load.part(name, "recipe", data.recipes, chosen).model_dump(mode="json")
    folder = layout.prepared(name, chosen)
    where = f"validate {name}/{chosen}"
    demands = data.gate.model_dump(mode="json")
    job = jobs_of_project.validate(name, chosen)
    with files.hold(folder, what="validate"):
        made = record.begin(job)
        cases = _rows("cases", layout.cases(name))
        batches = [_rows("prepared", layout.batch_table(name, chosen, k)) for k in range(data.batches)]
        prepared, problems = masks.union(cases, batches)
        remedy = f"Run 'segtrace prepare {name} {chosen}' again."
        raise_all(problems, heading=where, remedy=remedy)
        code = digests.case_code("prepare", extra=[datasets.module_name(data.reader or name)])
        expected = {
            row["case"]: digests.prepared_case(row["digest"], recipe=recipe, code=code) for row in cases
        }
        raise_all(masks.stale(prepared, expected), heading=where, remedy=remedy)
        rows = {row["case"]: row for row in cases}
        jobs = [
            masks.Job(folder=folder, raw=rows[row["case"]], prepared=row, labels=tuple(sorted(data.labels)))
            for row in prepared
        ]
        measured = parallel.map_cases(
            masks.measure_case, jobs, label=where, workers=arguments.workers, name=lambda job: job.raw["case"]
        )
        checks = [check for case_checks in measured for check in case_checks]
        docs = layout.data_docs(name, f"validate-{chosen}")
        results = gates.judge(gate.population(checks), gate.expectations(demands), title=where, docs=docs)
        gates.require(
            results,
            heading=f"{where}: preparation changed masks more than config/datasets/{name}.yaml allows",
            remedy=f"See {docs}/index.html. Change the recipe {chosen!r}, exclude the cases, or widen the key 'gate'.",
        )
        tables.write("prepared", prepared, folder / "prepared.csv")
        tables.write("mask_checks", checks, folder / "mask_checks.csv")
        files.write_json(folder / "gate.json", gates.to_json(results, title=where))
        record.write(job, made)
    print(
        f"{name}/{chosen}: {len(prepared)} cases, {len(results)} expectations met; pages: {docs}/index.html"
    )


def _rows(table: str, path: Any) -> list[dict[str, Any]]:
    from segtrace import tables

    return tables.read(table, path).to_dict("records")  # type: ignore[return-value]
