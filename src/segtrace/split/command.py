"""``segtrace split DATASET PROTOCOL``."""

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("dataset", help="name of a file in config/datasets")
    parser.add_argument("protocol", help="one of the data set's protocols")


def run(arguments: argparse.Namespace) -> None:
    """Assign the indexed cases to folds and roles, check for leaks, and write the split."""
    from segtrace import files, layout, tables
    from segtrace.config import load
    from segtrace.errors import raise_all
    from segtrace.split import protocols
    from segtrace.trace import jobs, record

    name, chosen = arguments.dataset, arguments.protocol
    data = load.dataset(name)
    protocol = load.part(name, "protocol", data.protocols, chosen).model_dump(mode="json", exclude={"source"})
    where = f"config/datasets/{name}.yaml, protocol {chosen!r}"
    output, job = layout.split(name, chosen), jobs.split(name, chosen)
    with files.hold(output, what="split"):
        made = record.begin(job)
        rows: list[dict[str, Any]] = tables.read("cases", layout.cases(name)).to_dict("records")  # type: ignore[assignment]
        result = protocols.assign(rows, protocol, where=where)
        leaks = protocols.leaks(rows, result)
        if leaks and protocol["published"]:
            print(f"warning: {where} is followed as published although {len(leaks)} leaks were found:")
            for leak in leaks:
                print(f"  - {leak}")
        else:
            raise_all(
                leaks,
                heading=f"{where}: the same patient or image lies on two sides",
                remedy="Choose a protocol that keeps clusters together (grouped_random, k_fold), or exclude the cases.",
            )
        tables.write("split", result, output)
        record.write(job, made, notes={"leaks": leaks} if leaks else None)
    for fold in sorted({row["fold"] for row in result}):
        roles = [row["role"] for row in result if row["fold"] == fold]
        print(f"{name}/{chosen} fold {fold}: " + ", ".join(f"{roles.count(r)} {r}" for r in protocols.ROLES))
