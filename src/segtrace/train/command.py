"""``segtrace train RUN``: resolve a run from the configuration and train it."""

import argparse
import os
from typing import TYPE_CHECKING, Any

from segtrace import gpus
from segtrace.options import add_gpus, at_least_one

if TYPE_CHECKING:
    from segtrace.layout import RunName


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("run", metavar="RUN", help="DATASET/RECIPE/PROTOCOL/METHOD/BUDGET/fold-K_seed-S")
    parser.add_argument(
        "--threads",
        type=at_least_one,
        metavar="N",
        help="CPU threads, part of the run's identity (default: training_threads in config/config.yaml)",
    )
    parser.add_argument(
        "--determinism",
        choices=("strict", "fast"),
        help="the same bits every time, or the quickest operations; part of the run's identity "
        "(default: determinism in config/config.yaml)",
    )
    parser.add_argument(
        "--tracking",
        metavar="KINDS",
        help="tensorboard, dvclive or both, joined by a comma: files in logs/tracking, no part of the run's identity "
        "(default: the environment's SEGTRACE_TRACKING, then tracking in config/config.yaml)",
    )
    parser.add_argument(
        "--attempt",
        type=at_least_one,
        default=1,
        metavar="N",
        help="a scheduler's count: a later attempt goes on after a kill or lack of memory, and repeats nothing else",
    )
    add_gpus(parser)
    parser.add_argument(
        "--replay",
        nargs=4,
        metavar=("EPOCH", "CASE", "DRAW", "FILE"),
        help="train nothing: write one training sample to FILE.npz (image, label, parameters); all count from 0",
    )


def run(arguments: argparse.Namespace) -> None:
    """Train the run; raises :class:`SegtraceError` where its cases are not prepared or its data unfit."""
    from segtrace import layout
    from segtrace.config import load
    from segtrace.trace import jobs, record
    from segtrace.train import tracking
    from segtrace.train.loop import train

    name = layout.parse_run(arguments.run)
    asked = {"training_threads": arguments.threads, "determinism": arguments.determinism}
    config = load.main_config(asked)
    if arguments.replay is not None:
        _replay(
            resolve(name, threads=config.training_threads, determinism=config.determinism), *arguments.replay
        )
        return
    job = jobs.train(name)
    made = record.begin(job, config)
    resolved = resolve(name, threads=config.training_threads, determinism=config.determinism)
    # the loop reads it there, as it does on a machine without configuration
    os.environ[tracking.VARIABLE] = ",".join(tracking.asked(arguments.tracking, default=config.tracking))
    gpus.configure(config.jobs_per_gpu)
    train(resolved, folder=layout.run(name), attempt=arguments.attempt, gpus=arguments.gpus)
    record.write(job, made)


def _replay(resolved: dict[str, Any], epoch: str, case: str, draw: str, file: str) -> None:
    """Write one sample to a file and say how it was made."""
    import json
    from pathlib import Path

    from segtrace.errors import SegtraceError
    from segtrace.train.replay import replay

    if not (epoch.isdecimal() and draw.isdecimal()):
        raise SegtraceError(f"--replay {epoch} {case} {draw}: EPOCH and DRAW are whole numbers from 0")
    path = Path(file if file.endswith(".npz") else f"{file}.npz")
    sample = replay(resolved, epoch=int(epoch), case=case, draw=int(draw), path=path)
    print(f"{path}: {json.dumps(sample, sort_keys=True)}")


def resolve(name: "RunName", *, threads: int, determinism: str = "strict") -> dict[str, Any]:
    """The content of ``run.json``: configuration, cases of the fold, and digests of all that the run depends on."""
    from segtrace import digests, layout, tables
    from segtrace.config import runs
    from segtrace.errors import raise_all

    result = runs.resolve(name, threads=threads, determinism=determinism)
    configuration = digests.digest(result)
    split_path = layout.split(name.dataset, name.protocol)
    prepared_path = layout.prepared(name.dataset, name.recipe) / "prepared.csv"
    split = tables.read("split", split_path)
    prepared = tables.read("prepared", prepared_path).set_index("case")
    fold = split[split["fold"] == name.fold].sort_values("case")
    cases = {role: fold.loc[fold["role"] == role, "case"].tolist() for role in ("train", "val")}
    used = sorted(cases["train"] + cases["val"])
    raise_all(
        [
            f"case {case} is in {split_path} and not in {prepared_path}"
            for case in used
            if case not in prepared.index
        ],
        heading=f"{name}: cannot train",
        remedy="Run prepare and validate for the missing cases.",
    )
    arrays = prepared.loc[used, ["image_sha256", "label_sha256"]]
    result["cases"] = cases
    result["digests"] = {
        "data": digests.digest(list(arrays.itertuples(name=None))),
        "code": digests.code_digest("train", extra=runs.modules_of(result)),
        "configuration": configuration,
        "environment": digests.environment_digest(),
    }
    return result
