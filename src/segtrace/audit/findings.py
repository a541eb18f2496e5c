"""What one data set holds: copies, near-duplicates, contradictions, subjects, and what its splits tear apart."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from segtrace import layout, tables
from segtrace.config import load
from segtrace.errors import some
from segtrace.sides import on_two_sides


@dataclass(frozen=True)
class Split:
    """A split of the data set: its protocol, whether that is marked as published, and what lies on two sides.

    ``subjects`` and ``duplicates`` are lines such as ``fold 0: ann (train: a; test: b)``.
    """

    protocol: str
    published: bool
    subjects: tuple[str, ...]
    duplicates: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """The findings about a data set. ``rows`` are those of ``cases``, ``pairs`` those of ``duplicates``."""

    name: str
    title: str
    rows: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    splits: list[Split] = field(default_factory=list)

    def members(self, column: str) -> dict[str, list[dict[str, Any]]]:
        """Value of a column → its rows, of all values that several cases have."""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows:
            found.setdefault(row[column], []).append(row)
        return {value: rows for value, rows in found.items() if len(rows) > 1}

    def of_two_classes(self, column: str) -> list[str]:
        """Subjects or duplicate groups with cases of more than one class, sorted."""
        several = self.members(column).items()
        return sorted(value for value, rows in several if len({row["group"] for row in rows}) > 1)

    def contradicting(self) -> list[dict[str, Any]]:
        """Pairs whose labels contradict each other."""
        return [pair for pair in self.pairs if pair["contradiction"]]


def audit(name: str) -> Audit:
    """Read the index of a data set and its splits.

    Raises :class:`segtrace.errors.SegtraceError` for an unknown data set, and for one that is not indexed.
    """
    data = load.dataset(name)
    rows: list[dict[str, Any]] = tables.read("cases", layout.cases(name)).to_dict("records")  # type: ignore[assignment]
    pairs: list[dict[str, Any]] = tables.read("duplicates", layout.duplicates(name)).to_dict("records")  # type: ignore[assignment]
    splits = []
    for path in sorted(layout.split(name, "any").parent.glob("*.csv")):
        protocol = data.protocols.get(path.stem)
        listed = tables.read("split", path).to_dict("records")
        splits.append(
            Split(
                protocol=path.stem,
                published=protocol is not None and protocol.published,
                subjects=torn(listed, {row["case"]: row["subject"] for row in rows}),
                duplicates=torn(listed, {row["case"]: row["duplicate_group"] for row in rows}),
            )
        )
    return Audit(name, data.title, rows, pairs, splits)


def torn(split: Iterable[Mapping[Any, Any]], keys: Mapping[str, str]) -> tuple[str, ...]:
    """Keys whose cases lie on two sides of a fold, one line each; ``split`` are rows of ``split``, ``keys`` case → key."""
    return tuple(
        f"fold {fold}: {key} ({'; '.join(f'{role}: {some(cases)}' for role, cases in sorted(roles.items()))})"
        for fold, key, roles in on_two_sides(split, {case: (key,) for case, key in keys.items()})
    )


def sentences(found: Audit) -> list[str]:
    """The findings in a few lines."""
    kinds = {kind: sum(pair["kind"] == kind for pair in found.pairs) for kind in ("bytes", "pixels", "near")}
    groups, subjects = found.members("duplicate_group"), found.members("subject")
    lines = [
        f"{len(found.rows)} cases of {len({row['subject'] for row in found.rows})} subjects; "
        f"{len(subjects)} subjects have several cases",
        f"copies: {kinds['bytes']} pairs of the same bytes, {kinds['pixels']} more of the same pixels; "
        f"near-duplicates: {kinds['near']} pairs",
        f"groups of duplicates: {len(groups)}, with {sum(map(len, groups.values()))} cases",
        f"pairs with labels that contradict each other: {len(found.contradicting())}",
    ]
    for what, column in (("subjects", "subject"), ("groups of duplicates", "duplicate_group")):
        torn_classes = found.of_two_classes(column)
        where = f" ({some(torn_classes)})" if torn_classes else ""
        lines.append(f"{what} in two classes: {len(torn_classes)}{where}")
    for split in found.splits:
        marked = ", a published protocol" if split.published else ""
        lines.append(
            f"split {split.protocol}{marked}: on two sides lie {len(split.subjects)} subjects and "
            f"{len(split.duplicates)} groups of duplicates"
        )
    return lines
