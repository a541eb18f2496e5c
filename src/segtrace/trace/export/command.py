"""``segtrace export``: ``--ro-crate EXPERIMENT`` for an archive, ``--nnunet DATASET`` for nnU-Net."""

import argparse
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from segtrace.errors import SegtraceError, advice, raise_all
from segtrace.options import add_experiment

if TYPE_CHECKING:
    from segtrace.config.models import Config
    from segtrace.trace.export.crate import Subject
    from segtrace.trace.export.parts import Part

#: Where crates go that are not told where to.
FOLDER = Path("crates")
#: The earliest time that a zip archive can hold: the same in each.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_experiment(parser)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--ro-crate", action="store_true", help="an experiment as a Workflow Run RO-Crate")
    form.add_argument(
        "--nnunet",
        action="store_true",
        help="a data set (its name instead of an experiment's) for nnU-Net v2",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="nnU-Net: the folder for Dataset501_NAME")
    parser.add_argument("--protocol", help="nnU-Net: test cases and folds as this protocol has them")
    parser.add_argument("--number", type=int, help="nnU-Net: the data set's number (default: 501)")
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER|FILE.zip",
        help=f"a new folder or zip (default: {FOLDER}/EXPERIMENT)",
    )
    parser.add_argument(
        "--with",
        dest="extras",
        default="",
        metavar="NAMES",
        help="beside the tables, joined by commas: predictions (label maps), checkpoints (weights)",
    )
    parser.add_argument(
        "--date", help="date of publication, YYYY-MM-DD (default: that of the commit, from git)"
    )
    parser.add_argument("--author", help="who ran it (default: user.name of git's configuration)")
    parser.add_argument("--orcid", help="the author's ORCID, such as 0000-0002-1825-0097")


def run(arguments: argparse.Namespace) -> None:
    """Check that the experiment holds, write the crate, and check the crate.

    Raises :class:`SegtraceError` where one of these fails; then nothing is left at the place given by ``--to``.
    """
    if arguments.nnunet:
        _run_nnunet(arguments)
        return
    refuse_foreign(arguments, ("output", "protocol", "number"), form="--ro-crate")
    from segtrace.config import load
    from segtrace.trace.export import crate
    from segtrace.trace.export.parts import parts

    name = arguments.experiment
    config = load.main_config({"experiments": name, "budget": arguments.budget, "seeds": arguments.seeds})
    extras = extras_of(arguments.extras)
    target = arguments.to or FOLDER / name
    refuse_taken(target)
    author = arguments.author or git("config", "user.name")
    if arguments.orcid and not author:
        raise SegtraceError("--orcid belongs to an author: give --author NAME")
    subject = crate.Subject(
        experiment=name,
        config=config,
        date=date_of(arguments.date),
        author=author,
        orcid=orcid_of(arguments.orcid),
    )
    refuse_broken(name, config)
    chosen = parts(name, config, extras=extras)
    pack(subject, chosen, target=target)
    data = load.dataset(load.experiment(name).dataset)
    print(f"{target}: {len(chosen)} files; checked", flush=True)
    if extras:
        print(
            f"{', '.join(sorted(extras))} of {data.title}: publish these only as far as its licence allows "
            f"({data.licence})",
            flush=True,
        )


def _run_nnunet(arguments: argparse.Namespace) -> None:
    """Write an indexed data set for nnU-Net. Nothing is left where a case fails."""
    from segtrace.config import load
    from segtrace.trace.export import nnunet

    foreign = ("to", "extras", "date", "author", "orcid", "budget", "seeds")
    refuse_foreign(arguments, foreign, form="--nnunet")
    name, protocol = arguments.experiment, arguments.protocol
    if arguments.output is None:
        raise SegtraceError("--nnunet needs --output DIR, such as the folder that nnUNet_raw names")
    data = load.dataset(name)
    number = 501 if arguments.number is None else arguments.number
    target = nnunet.target_of(name, arguments.output, number)
    nnunet.refuse_broken(name, load.main_config({}), protocol=protocol)
    with _hidden(target) as folder:
        chosen = nnunet.plan(name, folder, protocol=protocol)
        nnunet.write(folder, chosen, label=f"export {name}")
        folder.replace(target)
    left = f", {chosen.left_out} not in the protocol" if chosen.left_out else ""
    training = chosen.content["numTraining"]
    print(f"{target}: {training} training and {len(chosen.works) - training} test cases{left}", flush=True)
    if chosen.splits is not None:
        print(
            f"nnU-Net reads its folds from its folder of preprocessed data: copy {target}/splits_final.json to "
            f"$nnUNet_preprocessed/{target.name}/ once it has preprocessed",
            flush=True,
        )
    if not data.redistribution:
        print(f"{data.title}: do not hand these files on; its licence: {data.licence}", flush=True)


def refuse_foreign(arguments: argparse.Namespace, keys: tuple[str, ...], *, form: str) -> None:
    """Raise :class:`SegtraceError` for options that belong to the other form of export."""
    given = ["--with" if key == "extras" else f"--{key}" for key in keys if getattr(arguments, key)]
    if given:
        raise SegtraceError(f"{', '.join(given)} does not go with {form}; leave it out")


def extras_of(text: str) -> set[str]:
    """The names given to ``--with``; an unknown one is an error."""
    from segtrace.trace.export.parts import EXTRAS

    names = {part.strip() for part in text.split(",") if part.strip()}
    unknown = [f"{name!r}: {advice(name, EXTRAS)}" for name in sorted(names - set(EXTRAS))]
    raise_all(unknown, heading="--with: unknown names")
    return names


def refuse_taken(target: Path) -> None:
    """Raise :class:`SegtraceError` where something lies already: an export overwrites nothing."""
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise SegtraceError(f"{target} is there already; remove it, or give another place with --to")


def refuse_broken(name: str, config: "Config") -> None:
    """Raise :class:`SegtraceError` with every reason for which the experiment's outputs do not hold."""
    from segtrace.trace import check, jobs

    wanted = jobs.above([jobs.Job("report", name), jobs.Job("compare", name)], config)
    raise_all(
        [str(problem) for problem in check.broken(wanted, config)],
        heading=f"experiment {name} with budget {config.budget} and seeds "
        f"{','.join(str(seed) for seed in config.seeds)} is not exported: it does not hold",
        remedy="Run snakemake, which makes anew what does not hold, then export again.",
    )


# --- date and author ----------------------------------------------------------------------------------


def git(*words: str) -> str | None:
    """The one line that a git command prints; None where git, the repository or the value is missing."""
    from segtrace.trace import tools

    try:
        return tools.call("git", *words).strip() or None
    except SegtraceError:
        return None


def date_of(given: str | None) -> str:
    """The date of publication, YYYY-MM-DD: the one given, or that of the present commit.

    Raises :class:`SegtraceError` where there is none: the day of the export would make each export differ.
    """
    import datetime

    date = given or git("log", "-1", "--format=%cs")
    if date is None:
        raise SegtraceError("no commit here to take the date of publication from: give --date YYYY-MM-DD")
    try:
        return datetime.datetime.strptime(date, "%Y-%m-%d").date().isoformat()
    except ValueError:
        raise SegtraceError(f"--date {date!r} is no date: give it as YYYY-MM-DD") from None


def orcid_of(given: str | None) -> str | None:
    """An ORCID in its four groups, its check digit (ISO 7064, modulus 11-2) verified."""
    if given is None:
        return None
    text = given.removeprefix("https://orcid.org/")
    if re.fullmatch(r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]", text):
        total = 0
        for digit in text.replace("-", "")[:-1]:
            total = (total + int(digit)) * 2
        if "0123456789X"[(12 - total % 11) % 11] == text[-1]:
            return text
    raise SegtraceError(f"--orcid {given!r} is no ORCID: four groups of four, the last digit a check digit")


# --- writing ------------------------------------------------------------------------------------------


def pack(subject: "Subject", parts: "list[Part]", *, target: Path) -> None:
    """Write a crate as a folder, or as a zip if ``target`` ends in ``.zip``, once it passes the check.

    It is made in a hidden folder beside ``target`` and moved in one step. Raises :class:`SegtraceError` with
    every fault that the check finds.
    """
    from segtrace import files
    from segtrace.trace.export import crate, verify

    with _hidden(target) as folder:
        crate.write(folder, subject, parts=parts)
        raise_all(
            verify.check_crate(folder),
            heading=f"the crate of {subject.experiment} is not what it should be, so it is not kept",
        )
        if target.suffix != ".zip":
            folder.replace(target)
            return
        with (
            files.atomic(target, "wb") as handle,
            zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                _add_to_zip(archive, path, path.relative_to(folder).as_posix())


def _add_to_zip(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    entry = zipfile.ZipInfo(name, _ZIP_TIME)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix, wherever it is written
    entry.external_attr = 0o100644 << 16
    entry.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(entry, "w") as handle:
        shutil.copyfileobj(source, handle)


@contextmanager
def _hidden(target: Path) -> Iterator[Path]:
    """A name for a new folder beside ``target``; what lies there at the end is removed."""
    folder = target.with_name(f".{target.name}.new")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
