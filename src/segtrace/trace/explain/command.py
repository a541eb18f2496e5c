"""``segtrace explain TABLE``: the chain of a number, from the cell back to the raw files and the archive."""

import argparse
import json

#: Links that an error names one by one.
SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("table", help="a CSV or JSON table that the workflow makes, or an experiment's page")
    parser.add_argument(
        "--row",
        metavar="KEY=VALUE,…",
        help="the row: KEY=VALUE,KEY=VALUE, or the line of the file (the header is line 1); of a JSON file the path "
        "of the value (method.label.metric); of a page the name of a figure or table",
    )
    parser.add_argument("--column", metavar="NAME", help="the column; without one, the whole row")
    parser.add_argument("--json", action="store_true", help="print JSON, with everything")
    parser.add_argument("--all", action="store_true", help="print every case, not the first few")


def run(arguments: argparse.Namespace) -> None:
    """Print the chain.

    Raises :class:`segtrace.errors.SegtraceError` for a table, row or column that there is none of, and, after
    printing, where a link does not hold.
    """
    from segtrace.config import load
    from segtrace.errors import raise_all
    from segtrace.trace import cells
    from segtrace.trace.changes import told
    from segtrace.trace.explain import chain, pages, show
    from segtrace.trace.explain.facts import Facts

    subject = cells.select(arguments.table, row=arguments.row, column=arguments.column)
    facts = Facts(load.main_config())
    page = subject.kind == "page"
    found = pages.explain(subject, facts) if page else chain.explain(subject, facts)
    if arguments.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        for line in (
            pages.lines(found, every=arguments.all) if page else show.lines(found, every=arguments.all)
        ):
            print(line)
    broken = [f"{link['step']}: {told(link)}" for link in found["broken"]]
    more = [f"and {len(broken) - SHOWN} more"] if len(broken) > SHOWN else []
    raise_all(
        broken[:SHOWN] + more,
        heading="the chain does not hold",
        remedy="'segtrace why FILE' says what would be made again, and 'snakemake' makes it; a table that was edited "
        "together with its record has to be deleted first.",
    )
