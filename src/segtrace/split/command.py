"""``segtrace split DATASET PROTOCOL``."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segtrace.config.models import Protocol


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("dataset", help="name of a file in config/datasets")
    parser.add_argument("protocol", help="one of the data set's protocols")


def run(arguments: argparse.Namespace) -> None:
    """Assign the indexed cases to folds and roles, check for leaks, and write the split."""
    from segtrace import files, layout, tables
    from segtrace.config import load, models
    from segtrace.split import protocols
    from segtrace.split.clusters import ROLES, leaks
    from segtrace.trace import jobs, record

    name, chosen = arguments.dataset, arguments.protocol
    data = load.dataset(name)
    protocol: models.Protocol = load.part(name, "protocol", data.protocols, chosen)
    where = f"config/datasets/{name}.yaml, protocol {chosen!r}"
    output, job = layout.split(name, chosen), jobs.split(name, chosen)
    with files.hold(output, what="split"):
        made = record.begin(job)
        rows: list[dict[str, Any]] = tables.read("cases", layout.cases(name)).to_dict("records")  # type: ignore[assignment]
        kept = _kept(protocol, where=where)
        result = protocols.assign(rows, protocol, where=where, labels=sorted(data.labels), kept=kept)
        found = leaks(rows, result)
        _judge_leaks(found, protocol, where=where)
        tables.write("split", result, output)
        record.write(job, made, notes={"leaks": found} if found else None)
    print(f"{name}/{chosen}: {protocol.words}")
    for fold in sorted({row["fold"] for row in result}):
        roles = [row["role"] for row in result if row["fold"] == fold]
        print(f"{name}/{chosen} fold {fold}: " + ", ".join(f"{roles.count(r)} {r}" for r in ROLES))


def _kept(protocol: "Protocol", *, where: str) -> list[dict[str, Any]]:
    """The rows of the table that the protocol keeps. Raises where it is missing or has folds that are not there."""
    from segtrace import layout, tables
    from segtrace.errors import raise_all

    if protocol.keep is None:
        return []
    path = layout.kept_split(protocol.keep)
    rows: list[dict[str, Any]] = tables.read("split", path).to_dict("records")  # type: ignore[assignment]
    foreign = sorted({row["fold"] for row in rows if row["fold"] >= protocol.fold_count})
    raise_all(
        [
            f"{path} has fold {fold}; the protocol has folds 0 to {protocol.fold_count - 1}"
            for fold in foreign
        ],
        heading=f"{where}: the key 'keep' names a table of another protocol",
        remedy="Keep the table that this protocol made before, or give as many folds.",
    )
    return rows


def _judge_leaks(leaks: list[str], protocol: "Protocol", *, where: str) -> None:
    """A leak is an error that lists all, and a warning where the protocol is marked as published."""
    from segtrace.errors import raise_all

    if leaks and protocol.published:
        print(f"warning: {where} is followed as published although {len(leaks)} leaks were found:")
        for leak in leaks:
            print(f"  - {leak}")
        return
    raise_all(
        leaks,
        heading=f"{where}: the same patient or image lies on two sides",
        remedy="Choose a protocol that keeps clusters together (grouped_random, k_fold), or exclude the cases. "
        "A split that was published so is followed with 'published: true' and its 'source'.",
    )
