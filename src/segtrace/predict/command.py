"""``segtrace predict RUN VARIANT`` and ``segtrace predict --run RUN FILES…``."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtrace.options import add_gpus, at_least_one

if TYPE_CHECKING:
    from segtrace.layout import RunName, Variant
    from segtrace.predict.cases import Job

#: Options of the form with FILES alone.
_FILES_ALONE = ("output", "mirror", "checkpoint")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.usage = (
        "%(prog)s [-h] [--threads N] RUN VARIANT\n"
        "       %(prog)s [-h] --run RUN [--run RUN ...] --output FOLDER [--mirror AXES] [--checkpoint NAME] "
        "FILE [FILE ...]"
    )
    parser.add_argument(
        "words",
        nargs="+",
        metavar="RUN VARIANT | FILE ...",
        help="RUN is DATASET/RECIPE/PROTOCOL/METHOD/BUDGET/fold-K_seed-S and VARIANT ROLE-CHECKPOINT-GRID-CORRUPTION, "
        "such as test-last-native-none; a FILE is an image, or, where the data set has several channels, a file "
        "for each in their order, joined by commas",
    )
    parser.add_argument(
        "--threads",
        type=at_least_one,
        metavar="N",
        help="CPU threads that the run was trained with (default: training_threads in config/config.yaml)",
    )
    add_gpus(parser)
    new = parser.add_argument_group("new images, without labels")
    new.add_argument(
        "--run",
        dest="runs",
        action="append",
        metavar="RUN",
        help="a trained run; several of one data set and recipe are an ensemble, whose class probabilities are averaged",
    )
    new.add_argument("--output", type=Path, metavar="FOLDER", help="where label maps and their records go")
    new.add_argument(
        "--mirror",
        type=_axes,
        metavar="AXES",
        help="average over mirrored images: axes of the array (0 is z of a volume, or y of a picture), joined by "
        "commas, or 'none' (default: inference.mirror of the training recipe)",
    )
    new.add_argument("--checkpoint", choices=("last", "best_val"), help="which of a run's weights (last)")
    parser.set_defaults(refuse=parser.error)


def _axes(text: str) -> list[int]:
    """Axes joined by commas; ``none`` is no axis."""
    if text == "none":
        return []
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither 'none' nor whole numbers joined by commas"
        ) from None


def run(arguments: argparse.Namespace) -> None:
    """Segment the cases of one role of a run, or new images; see :func:`segment_role` and :func:`segment_files`."""
    words = arguments.words
    if arguments.runs:
        if arguments.threads is not None:
            arguments.refuse(
                "argument --threads: not with --run; a run says how many threads it was trained with"
            )
        if arguments.gpus is not None:
            arguments.refuse(
                "argument --gpus: not with --run; an empty CUDA_VISIBLE_DEVICES runs it on the CPU"
            )
        if arguments.output is None:
            arguments.refuse("the following arguments are required: --output")
        segment_files(
            words,
            runs=arguments.runs,
            output=arguments.output,
            mirror=arguments.mirror,
            checkpoint=arguments.checkpoint or "last",
        )
        return
    given = [key for key in _FILES_ALONE if getattr(arguments, key) is not None]
    if given:
        arguments.refuse(f"argument --{given[0]}: only with --run")
    if len(words) < 2:
        arguments.refuse("the following arguments are required: VARIANT")
    if len(words) > 2:
        arguments.refuse(f"unrecognized arguments: {' '.join(words[2:])}")
    segment_role(*words, threads=arguments.threads, gpus=arguments.gpus)


def segment_files(
    texts: Sequence[str],
    *,
    runs: Sequence[str],
    output: Path,
    mirror: Sequence[int] | None = None,
    checkpoint: str = "last",
) -> None:
    """Segment new images with one trained run or several; label maps and records go to the folder ``output``.

    Raises :class:`SegtraceError` where runs are not trained or do not fit together, and one at the end that lists
    all images that could not be segmented.
    """
    import SimpleITK as sitk

    from segtrace import files
    from segtrace.errors import SegtraceError, raise_all
    from segtrace.predict import ensemble, new_images, sources
    from segtrace.trace import aside

    if output.exists() and not output.is_dir():
        raise SegtraceError(f"--output {output}: a file, not a folder")
    taken = [
        *aside.OWNED.values(),
        *map(Path, ("data", "config", "reports", "logs", ".segtrace", ".snakemake", "src")),
    ]
    inside = any(output.resolve().is_relative_to(folder.resolve()) for folder in taken)
    if inside or output.resolve() == Path.cwd():
        raise SegtraceError(
            f"--output {output}: a folder that the project keeps its own files in; choose another, such as segmented"
        )
    settings = new_images.settings_of(ensemble.load(runs, checkpoint=checkpoint), mirror=mirror)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(settings.threads)
    with files.hold(output, what="predict"):
        chosen, problems = sources.sources_of(texts, output=output, data=settings.data)
        problems += new_images.segment(chosen, settings)
    raise_all(
        problems,
        heading=f"predict into {output}",
        remedy=f"The other {len(texts) - len(problems)} of {len(texts)} images are segmented.",
    )


def segment_role(run: str, variant: str, *, threads: int | None = None, gpus: int | None = None) -> None:
    """Segment the cases of one role of a run; a case whose digest holds is left as it is.

    ``gpus`` is how many a scheduler gave this job, where one did; with 0 it runs on the CPU.

    Raises :class:`SegtraceError` where the run is not trained, cases are not prepared, or the variant
    asks for what there is not.
    """
    import SimpleITK as sitk

    from segtrace import files, layout, tables
    from segtrace import gpus as devices
    from segtrace.config import load
    from segtrace.predict import cases, ensemble, export
    from segtrace.trace import jobs as jobs_of_project
    from segtrace.trace import record

    name, asked = layout.parse_run(run), layout.parse_variant(variant)
    if asked.corruption != "none":
        layout.parse_corruption(asked.corruption)
    weights = layout.run(name) / layout.WEIGHTS[asked.checkpoint]
    resolved = ensemble.run_json(name, weights)
    folder = layout.predictions(name, asked)
    table = folder / "predictions.csv"
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(resolved["threads"])
    config = load.main_config({"training_threads": threads})
    devices.configure(config.jobs_per_gpu)
    job = jobs_of_project.predict(name, asked)
    with files.hold(folder, what="predict"):
        made = record.begin(job, config)
        jobs = _jobs(name, asked, resolved, weights)
        removed = cases.remove_strays(folder, keep=[job.file for job in jobs])
        if removed:
            print(f"removed {len(removed)} label maps of other cases: {', '.join(removed)}", flush=True)
        rows = cases.predict_cases(
            jobs,
            run=resolved,
            weights=weights,
            folder=folder,
            write=export.WRITERS[asked.grid],
            grid=asked.grid,
            corruption=asked.corruption,
            rows=_earlier(table),
            gpus=gpus,
        )
        tables.write("predictions", rows, table)
        record.write(job, made, contents={folder / row["file"]: row["sha256"] for row in rows})
        cases.forget_records(folder)


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
