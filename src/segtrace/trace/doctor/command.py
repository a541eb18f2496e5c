"""``segtrace doctor``: look at this machine and project, and say what would give trouble, with its remedy.

It imports the standard library alone, starts at most three short commands, and needs no configuration.
"""

import argparse
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from segtrace.trace.doctor import probes_dvc, probes_storage, probes_system
from segtrace.trace.doctor.machine import LEVELS, Finding, Machine

Probe = Callable[[Machine], list[Finding]]
#: Name → probe, in the order of what is printed.
PROBES: dict[str, Probe] = {
    "python": probes_system.python,
    "packages": probes_system.packages,
    "cores": probes_system.cores,
    "memory": probes_system.memory,
    "gpus": probes_system.gpus,
    "file system": probes_storage.file_system,
    "locks, times": probes_storage.trial,
    "clock": probes_system.clock,
    "disks": probes_storage.room,
    "open files": probes_system.limits,
    "text": probes_system.text,
    "git": probes_system.git,
    "dvc": probes_dvc.dvc,
    "snakemake": probes_system.snakemake_lock,
    "state": probes_storage.state,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> None:
    """Print all findings; ends with 1 where one is an error."""
    found = examine(Machine())
    text = as_json(found) if arguments.json else as_text(found)
    # The machine may be one whose output cannot show every name.
    print(
        text.encode(sys.stdout.encoding or "utf-8", "backslashreplace").decode(sys.stdout.encoding or "utf-8")
    )
    if any(finding.level == "error" for _, finding in found):
        raise SystemExit(1)


def examine(machine: Machine) -> list[tuple[str, Finding]]:
    """(probe, finding) of all probes, in their order. A probe that fails is a finding itself."""
    with ThreadPoolExecutor(len(PROBES)) as pool:
        waiting = {name: pool.submit(_probe, probe, machine) for name, probe in PROBES.items()}
        return [(name, finding) for name, made in waiting.items() for finding in made.result()]


def _probe(probe: Probe, machine: Machine) -> list[Finding]:
    try:
        return probe(machine)
    except Exception as error:  # whatever it is, the other findings are wanted all the same
        what = f"could not be looked at: {type(error).__name__}: {error}"
        return [Finding("warning", what, "mend what the message names, and look again")]


def as_json(found: list[tuple[str, Finding]]) -> str:
    """The findings as a JSON list of ``probe``, ``level``, ``what`` and ``remedy``."""
    rows = [
        {"probe": name, "level": finding.level, "what": finding.what, "remedy": finding.remedy}
        for name, finding in found
    ]
    return json.dumps(rows, indent=1)


def as_text(found: list[tuple[str, Finding]]) -> str:
    """The findings as lines, each remedy below its finding, and a line of counts."""
    lines = []
    for name, finding in found:
        lines.append(f"{finding.level:8} {name:12} {finding.what}")
        if finding.remedy:
            lines.append(f"{'':21} do: {finding.remedy}")
    counts = {level: sum(1 for _, finding in found if finding.level == level) for level in LEVELS}
    lines.append(", ".join(f"{level}: {counts[level]}" for level in reversed(LEVELS)))
    return "\n".join(lines)
