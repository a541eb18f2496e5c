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
    """Assign the indexed cases to folds and roles, check for leaks and balance, and write split and gate."""
    from segtrace import files, gates, layout, tables
    from segtrace.config import load, models
    from segtrace.split import gate, protocols
    from segtrace.split.clusters import ROLES, leaks
    from segtrace.trace import jobs, record

    name, chosen = arguments.dataset, arguments.protocol
    data = load.dataset(name)
    protocol: models.Protocol = load.part(name, "protocol", data.protocols, chosen)
    where = f"config/datasets/{name}.yaml, protocol {chosen!r}"
    output, job, labels = layout.split(name, chosen), jobs.split(name, chosen), sorted(data.labels)
    with files.hold(output, what="split"):
        made = record.begin(job)
        rows: list[dict[str, Any]] = tables.read("cases", layout.cases(name)).to_dict("records")  # type: ignore[assignment]
        result = protocols.assign(
            rows, protocol, where=where, labels=labels, kept=_kept(protocol, where=where)
        )
        found = leaks(rows, result)
        listed = [leak for of_fold in found.values() for leak in of_fold]
        _judge(
            listed,
            protocol,
            heading=f"{where}: the same patient or image lies on two sides",
            remedy="Choose a protocol that keeps clusters together (grouped_random, k_fold), or exclude the cases. "
            "A split that was published so is followed with 'published: true' and its 'source'.",
        )
        docs, title = layout.data_docs(name, f"split-{chosen}"), f"split {name}/{chosen}"
        cases = gate.population(rows, result, labels=labels)
        wanted = gate.expectations(cases, protocol, labels=data.labels, differ=data.gate.sides_differ)
        results = gates.judge(cases, wanted, title=title, docs=docs)
        _judge(
            [gates.describe(result) for result in results if not result.passed],
            protocol,
            heading=f"{where}: the sides of the split are not alike",
            remedy=f"See {docs}/index.html. Choose another seed, or widen 'sides_differ' under the key 'gate'.",
        )
        tables.write("split", result, output)
        told = {"protocol": chosen, **gate.told(result, protocol, leaks=found)}
        files.write_json(
            layout.split_gate(name, chosen), {**gates.to_json(results, title=title), "split": told}
        )
        record.write(job, made, notes={"leaks": listed} if listed else None)
    print(f"{name}/{chosen}: {protocol.words}")
    for fold, counts in enumerate(told["folds"]):
        print(f"{name}/{chosen} fold {fold}: " + ", ".join(f"{counts[role]} {role}" for role in ROLES))
    met = sum(result.passed for result in results)
    print(f"{name}/{chosen}: {met} of {len(results)} expectations met; pages: {docs}/index.html")


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


def _judge(faults: list[str], protocol: "Protocol", *, heading: str, remedy: str) -> None:
    """Faults are an error that lists all, and a warning where the protocol is marked as published."""
    from segtrace.errors import raise_all

    if not protocol.published:
        raise_all(faults, heading=heading, remedy=remedy)
    elif faults:
        print(f"warning: {heading}: {len(faults)} found; the protocol is followed as published")
        for fault in faults:
            print(f"  - {fault}")
