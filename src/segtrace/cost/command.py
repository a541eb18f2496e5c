"""``segtrace cost EXPERIMENT|METHOD``: what networks cost to predict with, counted and measured."""

import argparse
from pathlib import Path

from segtrace.options import at_least_one, seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("name", help="an experiment, for all its methods, or a method")
    parser.add_argument(
        "--size",
        nargs="+",
        type=at_least_one,
        metavar="SIDE",
        help="sides of an image, D H W or H W (default: what the experiment's networks see at once)",
    )
    parser.add_argument(
        "--channels", type=at_least_one, help="channels of an image (default: the data set's)"
    )
    parser.add_argument(
        "--classes", type=at_least_one, help="logits of a voxel (default: as the experiment trains it)"
    )
    parser.add_argument(
        "--batch", nargs="+", type=at_least_one, default=[1, 8], help="images at once (default: 1 8)"
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), help="where to measure (default: a GPU where there is one)"
    )
    parser.add_argument(
        "--threads", type=at_least_one, help="CPU threads (default: training_threads in config/config.yaml)"
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: fp32")
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=2.0,
        help="to measure each for, at five passes at least (default: 2)",
    )
    parser.add_argument(
        "--counts", action="store_true", help="count parameters and multiply-accumulates; measure nothing"
    )
    parser.add_argument("--output", type=Path, metavar="FILE.csv", help="write the table too")


def run(arguments: argparse.Namespace) -> None:
    """Print the table, and write it where that is asked for.

    Raises :class:`segtrace.errors.SegtraceError` for an unknown name or size, and where there is no GPU to measure on.
    """
    import torch

    from segtrace import tables
    from segtrace.config import load
    from segtrace.cost import operations, table
    from segtrace.cost.asked import asked
    from segtrace.errors import SegtraceError

    config = load.main_config({"training_threads": arguments.threads})
    wanted = asked(
        arguments.name, size=arguments.size, channels=arguments.channels, classes=arguments.classes
    )
    there = torch.cuda.is_available()
    if arguments.device == "cuda" and not there and not arguments.counts:
        raise SegtraceError("--device cuda: torch sees no GPU here; leave it out to measure on the CPU")
    device = arguments.device or ("cuda" if there else "cpu")
    made = list(
        table.rows(
            wanted,
            batches=[] if arguments.counts else arguments.batch,
            device=device,
            threads=config.training_threads,
            precision=arguments.precision,
            seconds=arguments.seconds,
        )
    )
    print("\n".join(table.text_of(made)))
    print(
        f"\nchannels and logits: {made[0]['channels']} and {made[0]['classes']} ({wanted[0].of}). GMAC: 10⁹ "
        f"multiply-accumulates of one image, by {operations.TOOL} of torch {torch.__version__}."
    )
    if not arguments.counts:
        processors = sorted({row["processor"] for row in made} - {""})
        print(
            f"Measured in {arguments.precision} on {device} ({', '.join(processors)}), {config.training_threads} threads, "
            "each batch in a process of its own: latency and peak memory differ from run to run."
        )
    if arguments.output is not None:
        tables.write("network_cost", made, arguments.output)
        print(arguments.output)
