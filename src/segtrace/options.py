"""Types of command-line options."""

import argparse


def at_least_one(text: str) -> int:
    """A whole number from 1 on."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return value


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """The experiment, and which of its runs: budget and seeds."""
    parser.add_argument("experiment", help="name of a file in config/experiments")
    parser.add_argument("--budget", help="budget of the runs (default: config/config.yaml)")
    parser.add_argument("--seeds", help="seeds of the runs, joined by commas (default: config/config.yaml)")
