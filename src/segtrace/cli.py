"""The ``segtrace`` command: one subcommand a phase, those of trust, and lists of what there is.

Phases are imported only when they run, so that ``segtrace --help`` answers at once.
"""

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence

from segtrace import __version__, upkeep
from segtrace.errors import SegtraceError

#: Phase → one line of help. Each phase package has a module ``command`` with ``add_arguments(parser)``
#: and ``run(arguments)``.
PHASES = {
    "acquire": "fetch a data set from a mirror or its published address, check it, unpack it",
    "index": "list a data set's cases with their bytes, geometry and masks, and judge them",
    "prepare": "orient, resample and normalise cases into a memory-mappable store",
    "validate": "judge the prepared masks against the raw ones",
    "split": "assign cases to folds and roles, and check for leaks",
    "train": "train one run",
    "predict": "segment a run's cases",
    "score": "score predictions per case and label",
    "compare": "make an experiment's tables",
    "report": "make an experiment's page",
}
#: Command → its module, with the same two functions, and one line of help.
TRUST = {
    "explain": (
        "segtrace.trace.explain.command",
        "print the chain of a number, from the table's cell back to the raw files and the archive",
    ),
    "why": ("segtrace.trace.why.command", "say which digest would make a file be made again"),
    "status": ("segtrace.trace.status", "say of every configured output whether it still holds"),
    "diff": (
        "segtrace.trace.diff.command",
        "say what changed between two folders of results or two revisions, and whether it is more than chance",
    ),
    "reproduce": (
        "segtrace.trace.reproduce.command",
        "recompute a number from raw data in a clean folder, and compare",
    ),
    "sync": (
        "segtrace.trace.sync",
        "after git checkout, or git clone and dvc pull: make Snakemake agree with what is there",
    ),
    "pin": ("segtrace.trace.pin", "write data/raw/NAME.dvc: pin a data set's raw files with DVC"),
    "export": (
        "segtrace.trace.export.command",
        "pack an experiment as a Workflow Run RO-Crate, or a data set for nnU-Net",
    ),
    "audit": (
        "segtrace.audit.command",
        "look for duplicates, contradicting masks and leaks in data sets, and for overlaps between them",
    ),
    "doctor": (
        "segtrace.trace.doctor.command",
        "look at this machine and say what would give trouble",
    ),
}
#: Commands that put others together, in the same form.
MORE = {
    "add-dataset": (
        "segtrace.add_dataset.command",
        "make a data set of a folder of your own: recognise its layout, take it in, index it",
    ),
    "cost": (
        "segtrace.cost.command",
        "count parameters and multiply-accumulates of networks, measure latency and peak memory",
    ),
    "merge": (
        "segtrace.merge.command",
        "write a trained LV-UNet in its form for deployment, and compare the two",
    ),
    "plan": (
        "segtrace.plan.command",
        "estimate device hours, wall time, memory and disk of experiments before anything runs",
    ),
    "published": (
        "segtrace.published.command",
        "show what papers printed: tables, how they were computed, and claims recomputed from them",
    ),
}
COMMANDS = {name: (f"segtrace.{name}.command", text) for name, text in PHASES.items()} | TRUST | MORE
LISTS = {
    "datasets": "list the data sets: size, licence, open or gated, what is here",
    "networks": "list the registered networks",
    "methods": "list the methods",
    "experiments": "list the experiments",
}


def _parser(command: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segtrace",
        description="Comparison tables of segmentation methods that can be traced and recomputed.",
    )
    parser.add_argument("--version", action="version", version=f"segtrace {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, text) in COMMANDS.items():
        sub = subparsers.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name == command:
            importlib.import_module(module).add_arguments(sub)
    for name, text in LISTS.items():
        sub = subparsers.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _list(kind: str, *, as_json: bool) -> None:
    from segtrace.config import listing

    rows = listing.rows_of(kind)
    print(listing.json_of(rows) if as_json else listing.text_of(rows))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 on success, 1 with one readable message on a fault, 2 on wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in words if not word.startswith("-")), None)
    arguments = _parser(command).parse_args(words)
    try:
        if arguments.command != "doctor":
            upkeep.require_own_source()
        if arguments.command in LISTS:
            _list(arguments.command, as_json=arguments.json)
        else:
            importlib.import_module(COMMANDS[arguments.command][0]).run(arguments)
    except SegtraceError as error:
        print(f"segtrace {arguments.command}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f"segtrace {arguments.command}: interrupted; run the same command to go on", file=sys.stderr)
        return 130
    except OSError as error:
        remedies = {
            errno.ENOSPC: "the disk is full; free some space and run the same command again: nothing finished is lost",
            errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
            errno.EACCES: "permission denied; check the owner and mode of that path",
            errno.EROFS: "the file system is read-only",
            errno.ENOTDIR: "a file lies where a folder is needed; move it away",
            errno.EISDIR: "a folder lies where a file is needed; move it away",
            errno.EIO: "the disk or network file system failed to read or write; check it",
            errno.EMFILE: "too many open files; raise the limit with ulimit -n",
        }
        remedy = remedies.get(error.errno or 0)
        if remedy is None:
            raise
        place = f" {error.filename}:" if error.filename else ""
        print(f"segtrace {arguments.command}:{place} {remedy}", file=sys.stderr)
        return 1
    return 0
