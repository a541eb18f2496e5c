"""``segtrace add-dataset DIR``."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from segtrace.add_dataset.examine import Examined
    from segtrace.add_dataset.proposal import Proposal
    from segtrace.add_dataset.take import Places

#: Files shown of a proposal.
SHOWN = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("folder", metavar="DIR", help="folder with images and masks; it is only read")
    parser.add_argument(
        "--name", help="name of the data set (default: the folder's; own_1 where names are not kept)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what was recognised and would be done; write nothing"
    )
    parser.add_argument(
        "--keep-names",
        action="store_true",
        help="keep the names of files and folders in ids whatever they hold (default: only where they cannot name a person)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Recognise, propose, copy, configure, index, show."""
    from pathlib import Path

    from segtrace import files
    from segtrace.add_dataset import describe, examine, page, recognise, take
    from segtrace.config import load

    load.names("datasets")  # refuses to run outside of a project
    folder = take.check_folder(Path(arguments.folder))
    if arguments.name:
        take.check_free(take.places_of(arguments.name))
    proposal = recognise.recognise(folder, keep_names=arguments.keep_names)
    places = take.places_of(arguments.name or _name(folder, proposal))
    _show(folder, proposal, places)
    if arguments.dry_run:
        take.check_free(places)
        print("dry run: nothing was written")
        return
    with files.hold(places.tree, what="add-dataset"):
        take.check_free(places)
        with take.copied(places, proposal.files) as tree:
            examined = examine.examine(tree, places.name, proposal)
            _require_one(folder, examined)
            config = describe.yaml_text(places.name, proposal, examined)
            html = page.build(tree, places.name, proposal, examined)
            if proposal.private:
                take.write_private(places, proposal.private, proposal.problems)
            take.publish(places, config)
        files.write_text(places.page, html)
    _show_faults(places, examined)
    print(f"wrote {places.config}:\n" + "".join(f"    {line}\n" for line in config.splitlines()), end="")
    for phase in ("acquire", "index"):
        _phase(phase, places.name)
    print(f"look at {places.page}, then run:  snakemake --cores 2 --config experiments={places.name}")


def _name(folder: "Path", proposal: "Proposal") -> str:
    """The folder's name, if names are kept and it can be one; else the first free ``own_N``."""
    from segtrace import layout
    from segtrace.config import load
    from segtrace.datasets import _names

    own = _names.plain(folder.name)
    if own and not proposal.private and not _names.identifying([folder.name]):
        return own
    taken = set(load.experiments())
    return next(
        name for n in range(1, 10_000) if (name := f"own_{n}") not in taken and not layout.raw(name).exists()
    )


def _show(folder: "Path", proposal: "Proposal", places: "Places") -> None:
    from segtrace.add_dataset import inventory

    found = inventory.of(folder)
    print(f"{folder}: {proposal.layout}")
    print(f"  name of the data set: {places.name} (--name changes it)")
    labels = ", ".join(f"{value} {name}" for value, name in proposal.labels.items())
    print(
        f"  {proposal.dimensions}-D, channels: {', '.join(proposal.channels)}; labels: {labels}; reader: {proposal.reader}"
    )
    for note in proposal.notes:
        print(f"  {note}")
    if proposal.private:
        print(f"  the key to made-up names: {places.private}, for your eyes alone; git and DVC leave it out")
    aside = [f"{found.left_behind} hidden or system files"] if found.left_behind else []
    taken = set(proposal.files.values())
    others = sum(folder / name not in taken for name in found.others)
    aside += [f"{others} files that are no images"] if others else []
    if aside:
        print(f"  left aside: {', '.join(aside)}")
    listed = list(proposal.files.items())
    print(f"  {len(listed)} files to copy to {places.tree}, such as")
    for place, source in listed[:SHOWN]:
        print(f"    {inventory.printable(source.relative_to(folder).as_posix())} -> {place}")
    if proposal.problems:
        print(f"  {len(proposal.problems)} problems:")
        for problem in proposal.problems:
            print(f"    - {problem}")


def _show_faults(places: "Places", examined: "Examined") -> None:
    from segtrace.add_dataset import examine

    faults = examined.faults
    if faults:
        print(
            f"{len(faults)} faulty cases, excluded in {places.config}; mend the files in {places.tree} and take out the lines:"
        )
        for case, reason in sorted(faults.items()):
            print(f"  - {case}: {reason}")
    problem = examine.protocol(examined.rows)[1]
    if problem:
        print(f"  - {problem}")


def _require_one(folder: "Path", examined: "Examined") -> None:
    from segtrace.errors import raise_all

    if not examined.rows:
        raise_all(
            [f"{case}: {reason}" for case, reason in sorted(examined.faults.items())],
            heading=f"{folder}: no case can be used; nothing was taken in",
            remedy="Mend the files and run the same command again.",
        )


def _phase(phase: str, name: str) -> None:
    """Run a phase as a user would: phases are processes of their own."""
    import subprocess
    import sys

    from segtrace.errors import SegtraceError

    sys.stdout.flush()
    done = subprocess.run([sys.executable, "-m", "segtrace", phase, name], check=False)
    if done.returncode:
        raise SegtraceError(
            f"the files are in their place, but 'segtrace {phase} {name}' failed: mend config/datasets/{name}.yaml "
            f"and run 'segtrace acquire {name}', then 'segtrace index {name}'"
        )
