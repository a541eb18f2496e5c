"""``segtrace audit DATASET [DATASET ...]``."""

import argparse

from segtrace.options import at_least_one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("datasets", nargs="+", metavar="dataset", help="name of a file in config/datasets")
    parser.add_argument(
        "--pairs",
        type=at_least_one,
        default=60,
        help="pairs shown on the page at most (60); all are in the CSV",
    )


def run(arguments: argparse.Namespace) -> None:
    """Print what was found and write the page. It is a look and no gate: what it finds is no failure."""
    from segtrace import files, layout
    from segtrace.audit import findings, overlaps, page

    names = list(dict.fromkeys(arguments.datasets))
    audits = [findings.audit(name) for name in names]
    shared = overlaps.overlaps(audits)
    for one in audits:
        print("\n".join([f"{one.name}:", *(f"  {line}" for line in findings.sentences(one))]))
    for overlap in shared:
        print(f"{overlap.one} and {overlap.other}: {overlap.sentence}")
    target = layout.audit(names)
    text = page.build(audits, shared, limit=arguments.pairs)
    files.write_text(target, text)
    print(f"{target}: {len(text.encode()) / 1e6:.1f} MB; open it in a browser", flush=True)
