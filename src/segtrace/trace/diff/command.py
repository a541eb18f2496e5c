"""``segtrace diff A [B]``: what changed between two states of the results, and whether it is more than chance."""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segtrace.trace.diff.sides import Side

#: Exit status where ``--fail-on-change`` finds what it looks for: neither a fault (1) nor wrong usage (2).
CHANGED = 3
_SIDE = (
    "a folder of results (results/EXPERIMENT, results, or a project's root), a git revision, or 'workspace' for what "
    "is here"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("old", metavar="A", help=_SIDE)
    parser.add_argument(
        "new", metavar="B", nargs="?", default="workspace", help="the same (default: workspace)"
    )
    parser.add_argument("--experiment", help="this experiment alone (default: all that both have)")
    parser.add_argument(
        "--metrics",
        help="these metrics, joined by commas, or 'all' (default: dice, iou and the 95 %% Hausdorff distance)",
    )
    parser.add_argument(
        "--all", action="store_true", help="print every mean and every change, equal ones too"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with everything")
    parser.add_argument(
        "--fail-on-change",
        nargs="?",
        const="chance",
        choices=("worse", "chance", "any"),
        help=f"exit with {CHANGED} where a mean has become worse by more than chance (worse), has changed by more than "
        "chance (chance, the default), or where anything at all is not equal (any)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Print what changed; the exit status is 0, or :data:`CHANGED` where ``--fail-on-change`` says so.

    Raises :class:`segtrace.errors.SegtraceError` for a side that is nothing, or has no results.
    """
    from segtrace.trace.diff import show, sides

    with tempfile.TemporaryDirectory(prefix="segtrace-diff-") as scratch:
        pair = [
            sides.resolve(word, experiment=arguments.experiment, scratch=Path(scratch) / name)
            for word, name in ((arguments.old, "old"), (arguments.new, "new"))
        ]
        found = diff(pair[0], pair[1], metrics=_metrics(arguments.metrics))
    if arguments.json:
        print(json.dumps(found, indent=1, allow_nan=False))
    else:
        print("\n".join(show.lines(found, everything=arguments.all)))
    if arguments.fail_on_change and fails(found, on=arguments.fail_on_change):
        sys.exit(CHANGED)


def diff(old: "Side", new: "Side", *, metrics: tuple[str, ...] | None) -> dict[str, Any]:
    """What differs, as JSON: ``experiments`` (each with ``equal``, ``moved``, ``references``, ``origins`` and ``means``),
    ``removed`` and ``added`` (experiments of one side), and how often each verdict was given.

    ``metrics`` are those to compare: None for the main ones, empty for all.
    """
    from segtrace.trace.diff import means, origins, rows, subject

    shared = [(name, name) for name in old.folders if name in new.folders]
    if old.one and new.one:
        shared = [(next(iter(old.folders)), next(iter(new.folders)))]
    named = [set(names) for names in zip(*shared, strict=True)] or [set[str](), set[str]()]
    experiments: list[dict[str, Any]] = []
    compared: list[means.Pairs] = []
    for names in shared:
        before, after = rows.read(old.folders[names[0]]), rows.read(new.folders[names[1]])
        equal = before.sha256 == after.sha256
        own = means.compared(before, after, experiment=names[1], metrics=metrics)
        compared += own
        experiments.append(
            {
                "experiment": names[1],
                "was": names[0],
                "equal": equal,
                "moved": [asdict(moved) for moved in subject.moved(before, after)],
                "references": subject.other_references(before, after),
                "origins": [asdict(origin) for origin in origins.origins(old, new, names=names)],
            }
        )
    judged = means.judged(compared)
    for entry in experiments:
        entry["means"] = [asdict(mean) for mean in judged if mean.experiment == entry["experiment"]]
    return {
        "old": {"name": old.name, "revision": old.revision},
        "new": {"name": new.name, "revision": new.revision},
        "removed": sorted(old.folders.keys() - named[0]),
        "added": sorted(new.folders.keys() - named[1]),
        "experiments": experiments,
        "verdicts": {verdict: sum(mean.verdict == verdict for mean in judged) for verdict in means.VERDICTS},
    }


def fails(found: dict[str, Any], *, on: str) -> bool:
    """Whether a difference is one that ``--fail-on-change`` looks for."""
    every = [mean for entry in found["experiments"] for mean in entry["means"]]
    if on == "worse":
        return any(mean["verdict"] == "more than chance" and mean["better"] == "old" for mean in every)
    if on == "chance":
        return any(mean["verdict"] == "more than chance" for mean in every)
    return bool(
        found["removed"] or found["added"] or not all(entry["equal"] for entry in found["experiments"])
    )


def _metrics(asked: str | None) -> tuple[str, ...] | None:
    from segtrace.aggregation import METRICS
    from segtrace.errors import SegtraceError, advice

    if asked is None:
        return None
    if asked == "all":
        return ()
    names = tuple(name.strip() for name in asked.split(",") if name.strip())
    for name in names:
        if name not in METRICS:
            raise SegtraceError(f"--metrics: no metric {name!r}; {advice(name, METRICS)}")
    return names
