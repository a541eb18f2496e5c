"""``segtrace sync``: make Snakemake agree with files that git and DVC have brought.

After ``git checkout`` and ``dvc checkout``, or ``git clone`` and ``dvc pull``, the files are those of the
commit, but Snakemake does not know them, or knows others. Nothing is blessed that does not hold: DVC must
be clean, and every configured output must be the bytes that its record names, made from what is there.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from segtrace.options import add_asked, asked, words_of

if TYPE_CHECKING:
    from segtrace.config.models import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--remake",
        action="store_true",
        help="bless nothing that does not hold, and have the next run make that anew",
    )
    add_asked(parser)


def run(arguments: argparse.Namespace) -> None:
    """Check, tell Snakemake, and make the pages, which are not versioned.

    Raises :class:`SegtraceError` where DVC is not clean or an output does not hold.
    """
    from segtrace import upkeep
    from segtrace.config import load
    from segtrace.errors import raise_all
    from segtrace.trace import aside, check, jobs, tools

    given = asked(arguments)
    config = load.main_config(given)
    upkeep.be_present()
    made = jobs.configured(config, until="overview")
    if arguments.remake:
        remake(config, given)
        return
    if tools.has_dvc() and Path("dvc.lock").is_file():
        tools.refuse_links()
        raise_all(
            tools.unclean(),
            heading="DVC is not clean, and nothing is blessed that it does not know",
            remedy="Run 'dvc checkout' (or 'dvc pull') for the files of this commit, or 'dvc repro' to make new ones "
            "(dvc checkout --force, where it says that it would lose files that you do not need). Raw "
            "data that no data/raw/NAME.dvc pins cannot be pulled: 'snakemake' fetches or generates it.",
        )
    raise_all(
        [str(problem) for problem in check.broken(made, config)],
        heading="these outputs do not hold",
        remedy="Bring back the files of this commit (dvc checkout), or have them made anew: "
        f"'{' '.join(['segtrace sync --remake', *words_of(given, dashes='--')])}', then 'snakemake'.",
    )
    aside.drop_pages(config)
    _touch(given)
    tools.call("snakemake", "--cores", "1", *_configuration(given))
    print(f"{len(made)} jobs hold; Snakemake and DVC agree", flush=True)


def _configuration(given: Mapping[str, str | None]) -> list[str]:
    words = words_of(given)
    return ["--config", *words] if words else []


def _touch(given: Mapping[str, str | None]) -> None:
    """Have Snakemake record all jobs up to the tables as they are. One that does not hold it records as such
    (:func:`segtrace.trace.check.held`), and runs it.
    """
    from segtrace.trace import tools

    command = ("--touch", "--forceall", "--cores", "1", *_configuration(given))
    tools.call("snakemake", *command, "--", "compare_all", extra={"SEGTRACE_SYNC": "1"})


def remake(config: "Config", given: Mapping[str, str | None] = MappingProxyType({})) -> None:
    """Leave Snakemake in a state in which the next run makes all that does not hold, and only that.

    ``given`` are the overrides of ``config/config.yaml`` that ``config`` has.
    """
    from segtrace.trace import aside, check, jobs

    aside.drop_pages(config)
    made = jobs.configured(config, until="overview")
    if all(output.is_file() for job in made for output in jobs.outputs(job)):
        _touch(given)
        broken = {problem.job for problem in check.broken(made, config)}
        for job in sorted(broken, key=lambda job: (jobs.PHASES.index(job.phase), job.name)):
            print(f"{job}: does not hold")
        print(
            f"the next run of snakemake makes {len(broken)} jobs anew, and what follows from them", flush=True
        )
        return
    # Some outputs are missing, so what builds on them cannot be judged: it is made anew too.
    while True:
        there = [job for job in made if any(output.is_file() for output in jobs.outputs(job))]
        broken = {problem.job for problem in check.broken(there, config)}
        if not broken:
            break
        outputs = [path for job in sorted(broken, key=str) for path in jobs.outputs(job)]
        files = [path for output in outputs for path in (output, jobs.record_of(output))]
        for path in aside.put_aside(path for path in files if path.is_file()):
            print(f"put aside as {path}", flush=True)
    print("the next run of snakemake makes the rest", flush=True)
