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


def add_experiment(parser: argparse.ArgumentParser, *, optional: str = "") -> None:
    """The experiment, and which of its runs: budget and seeds. ``optional`` says what happens without one."""
    text = "name of a file in config/experiments" + (f"; {optional}" if optional else "")
    parser.add_argument("experiment", nargs="?" if optional else None, help=text)
    if optional:
        parser.add_argument("--experiments", help="which to join, by commas (default: config/config.yaml)")
    parser.add_argument("--budget", help="budget of the runs (default: config/config.yaml)")
    parser.add_argument("--seeds", help="seeds of the runs, joined by commas (default: config/config.yaml)")
