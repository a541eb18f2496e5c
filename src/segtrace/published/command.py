"""``segtrace published [EXPERIMENT|PAPER]``: a published table as printed, and what its paper claims of it."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "name",
        nargs="?",
        help="an experiment, or a paper; without one, all papers and their tables are listed",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with everything")


def run(arguments: argparse.Namespace) -> None:
    """Print it.

    Raises :class:`segtrace.errors.SegtraceError` for a name that is no paper's and no experiment's with published
    values, and for a claim whose terms name no printed cell.
    """
    import json

    from segtrace.published import contents, text

    found = contents.overview() if arguments.name is None else contents.named(arguments.name)
    if arguments.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print("\n".join(text.lines_of(found)))
