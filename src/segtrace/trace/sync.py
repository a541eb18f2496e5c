"""``segtrace sync``: make Snakemake agree with files that git and DVC have brought.

After ``git checkout`` and ``dvc checkout``, or ``git clone`` and ``dvc pull``, the files are those of the
commit, but Snakemake does not know them, or knows others. Nothing is blessed that does not hold: DVC must
be clean, and every configured output must be the bytes that its record names, made from what is there.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segtrace.trace.check import Problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--set-aside",
        action="store_true",
        help="move outputs that do not hold to .segtrace/aside, for the next run to make anew",
    )


def run(arguments: argparse.Namespace) -> None:
    """Check, tell Snakemake, and make the pages, which are not versioned.

    Raises :class:`SegtraceError` where DVC is not clean or an output does not hold.
    """
    from segtrace import upkeep
    from segtrace.config import load
    from segtrace.errors import raise_all
    from segtrace.trace import check, jobs, tools

    upkeep.be_present()
    config = load.main_config()
    if tools.has_dvc() and Path("dvc.lock").is_file() and not arguments.set_aside:
        tools.refuse_links()
        raise_all(
            tools.unclean(),
            heading="DVC is not clean, and nothing is blessed that it does not know",
            remedy="Run 'dvc checkout' (or 'dvc pull') for the files of this commit, or 'dvc repro' to make new ones.",
        )
    made = jobs.configured(config, until="overview")
    problems = check.broken(made, config)
    if arguments.set_aside:
        _set_aside(problems)
        problems = []
    raise_all(
        [str(problem) for problem in problems],
        heading="these outputs do not hold",
        remedy="Bring back the files of this commit (dvc checkout), or run 'segtrace sync --set-aside' and then "
        "'snakemake', which makes them anew.",
    )
    there = [job for job in made if all(output.is_file() for output in jobs.outputs(job))]
    if len(there) == len(made):
        tools.call(
            "snakemake", "--touch", "--forceall", "--cores", "1", "--quiet", "all", "--", "compare_all"
        )
        tools.call("snakemake", "--cores", "1", "--quiet", "all")
        print(f"{len(made)} jobs hold; Snakemake and DVC agree", flush=True)
    else:
        print("the next run of snakemake makes the rest", flush=True)


def _set_aside(problems: "Sequence[Problem]") -> None:
    """Move the outputs of jobs with problems away, so that they are made anew."""
    from segtrace.trace import aside, jobs

    broken = sorted({problem.job for problem in problems}, key=str)
    for job in broken:
        outputs = [*jobs.outputs(job), *map(jobs.record_of, jobs.outputs(job))]
        for path in aside.put_aside(output for output in outputs if output.is_file()):
            print(f"{path.relative_to(aside.ASIDE)}: put aside as {path}", flush=True)
