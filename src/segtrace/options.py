"""Types of command-line options."""

import argparse
import math
from collections.abc import Mapping


def at_least_one(text: str) -> int:
    """A whole number from 1 on."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return value


def above_zero(text: str) -> float:
    """A number above 0; neither nan nor inf."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0, such as 16")
    return value


def add_gpus(parser: argparse.ArgumentParser) -> None:
    """How many GPUs a scheduler gave the job."""
    parser.add_argument(
        "--gpus",
        type=int,
        metavar="N",
        help="GPUs that a scheduler gave this job; with 0 it runs on the CPU (default: one where there is one)",
    )


def seconds(text: str) -> float:
    """A number of seconds from 0 on; neither nan nor inf, which would never be over."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 on, such as 2")
    return value


def add_experiment(parser: argparse.ArgumentParser, *, optional: str = "") -> None:
    """The experiment, and which of its runs: budget and seeds. ``optional`` says what happens without one."""
    text = "name of a file in config/experiments" + (f"; {optional}" if optional else "")
    parser.add_argument("experiment", nargs="?" if optional else None, help=text)
    if optional:
        add_experiments(parser)
    _add_runs(parser)


def add_asked(parser: argparse.ArgumentParser) -> None:
    """What is asked of the workflow: experiments, budget, seeds; see :func:`asked`."""
    add_experiments(parser)
    _add_runs(parser)


def asked(arguments: argparse.Namespace) -> dict[str, str | None]:
    """The values of :func:`add_asked`, as overrides of ``config/config.yaml``."""
    return {key: getattr(arguments, key) for key in ("experiments", "budget", "seeds")}


def words_of(given: Mapping[str, object], *, dashes: str = "") -> list[str]:
    """Overrides of ``config/config.yaml`` as words: ``seeds=0,1``, or ``--seeds 0,1`` where ``dashes`` are given."""
    made = []
    for key in ("experiments", "budget", "seeds"):
        value = given.get(key)
        if value is not None:
            text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            made += [f"{dashes}{key}", text] if dashes else [f"{key}={text}"]
    return made


def add_experiments(parser: argparse.ArgumentParser) -> None:
    """Several experiments."""
    parser.add_argument("--experiments", help="which, joined by commas (default: config/config.yaml)")


def _add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--budget", help="budget of the runs (default: config/config.yaml)")
    parser.add_argument("--seeds", help="seeds of the runs, joined by commas (default: config/config.yaml)")
