"""``segtrace predict RUN VARIANT``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtrace.options import at_least_one

if TYPE_CHECKING:
    from segtrace.layout import RunName, Variant
    from segtrace.predict.cases import Job


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("run", metavar="RUN", help="DATASET/RECIPE/PROTOCOL/METHOD/BUDGET/fold-K_seed-S")
    parser.add_argument(
        "variant", metavar="VARIANT", help="ROLE-CHECKPOINT-GRID-CORRUPTION, such as test-last-native-none"
    )
    parser.add_argument(
        "--threads",
        type=at_least_one,
        metavar="N",
        help="CPU threads that the run was trained with (default: training_threads in config/config.yaml)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Segment the cases of one role of a run; a case whose digest holds is left as it is.

    Raises :class:`SegtraceError` where the run is not trained, cases are not prepared, or the variant
    asks for what there is not.
    """
    import SimpleITK as sitk

    from segtrace import files, layout, tables
    from segtrace.config import load
    from segtrace.errors import SegtraceError
    from segtrace.predict import cases, export
    from segtrace.trace import jobs as jobs_of_project
    from segtrace.trace import record

    name, variant = layout.parse_run(arguments.run), layout.parse_variant(arguments.variant)
    if variant.corruption != "none":
        raise SegtraceError(f"variant {variant}: no corruption {variant.corruption!r}; there is: none")
    weights = layout.run(name) / layout.WEIGHTS[variant.checkpoint]
    resolved = _run_json(name, weights)
    folder = layout.predictions(name, variant)
    table = folder / "predictions.csv"
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(resolved["threads"])
    config = load.main_config({"training_threads": arguments.threads})
    job = jobs_of_project.predict(name, variant)
    with files.hold(folder, what="predict"):
        made = record.begin(job, config)
        jobs = _jobs(name, variant, resolved, weights)
        removed = cases.remove_strays(folder, keep=[job.file for job in jobs])
        if removed:
            print(f"removed {len(removed)} label maps of other cases: {', '.join(removed)}", flush=True)
        rows = cases.predict_cases(
            jobs,
            run=resolved,
            weights=weights,
            folder=folder,
            write=export.WRITERS[variant.grid],
            grid=variant.grid,
            rows=_earlier(table),
        )
        tables.write("predictions", rows, table)
        record.write(job, made, contents={folder / row["file"]: row["sha256"] for row in rows})
        cases.forget_records(folder)


def _run_json(name: "RunName", weights: Path) -> dict[str, Any]:
    """The run's resolved configuration, once it is trained."""
    from segtrace import files, layout
    from segtrace.errors import SegtraceError

    path = layout.run(name) / "run.json"
    absent = [str(part) for part in (path, weights) if not part.is_file()]
    if absent:
        raise SegtraceError(f"{', '.join(absent)}: no such file; train the run first: segtrace train {name}")
    resolved: dict[str, Any] = files.read_json(path)
    if resolved.get("run") != str(name):
        raise SegtraceError(f"{path}: describes the run {resolved.get('run')!r}, expected {str(name)!r}")
    return resolved


def _jobs(name: "RunName", variant: "Variant", resolved: dict[str, Any], weights: Path) -> "list[Job]":
    """One job a case of the variant's role, cases sorted."""
    from segtrace import digests, files, layout, networks, store, tables
    from segtrace.errors import SegtraceError, raise_all
    from segtrace.predict import cases

    split_path = layout.split(name.dataset, name.protocol)
    split = tables.read("split", split_path)
    chosen = sorted(split.loc[(split["fold"] == name.fold) & (split["role"] == variant.role), "case"])
    if not chosen:
        raise SegtraceError(f"{split_path}: fold {name.fold} has no case of role {variant.role!r}")
    folder = layout.prepared(name.dataset, name.recipe)
    prepared = tables.read("prepared", folder / "prepared.csv").set_index("case")
    code = digests.case_code("predict", extra=[networks.module_of(resolved["network"]["name"])])
    sha256 = files.sha256_file(weights)
    jobs, problems = [], []
    for case in chosen:
        record = store.read_record(folder, case)
        if case not in prepared.index:
            problems.append(f"case {case} is in {split_path} and not in {folder}/prepared.csv")
        elif record is None:
            problems.append(f"{folder}/{case}.*: the prepared case is missing or incomplete")
        elif record["image_sha256"] != prepared.loc[case, "image_sha256"]:
            problems.append(
                f"{folder}/{case}.json: image sha256 {record['image_sha256']}, "
                f"prepared.csv says {prepared.loc[case, 'image_sha256']}"
            )
        else:
            jobs.append(
                cases.job_of(
                    case,
                    record,
                    run=resolved,
                    weights_sha256=sha256,
                    grid=variant.grid,
                    corruption=variant.corruption,
                    code=code,
                )
            )
    raise_all(problems, heading=f"{name}: cannot predict", remedy="Run prepare and validate again.")
    return jobs


def _earlier(table: Path) -> list[dict[str, Any]]:
    """Rows of an earlier table; none if there is none, or if it is damaged: then all is made again."""
    from segtrace import tables
    from segtrace.errors import SegtraceError

    if not table.is_file():
        return []
    try:
        found = tables.read("predictions", table)
    except SegtraceError as error:
        print(f"{error}\nevery case is segmented again", flush=True)
        return []
    return [{str(key): value for key, value in row.items()} for row in found.to_dict("records")]
