"""Cases that belong together, and those of them that lie on two sides of a split."""

from collections.abc import Mapping, Sequence
from typing import Any

ROLES = ("train", "val", "test")


def clusters(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Case → name of its cluster: the component over ``subject``, ``pixels_sha256`` and ``duplicate_group``.

    A cluster is named by the first of its subjects in alphabetical order, so that another case of a
    known subject, or another copy of a known image, changes no name but its own.
    """
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for row in rows:
        nodes = [
            f"subject {row['subject']}",
            f"pixels {row['pixels_sha256']}",
            f"duplicates {row['duplicate_group']}",
        ]
        for node in nodes:
            parent.setdefault(node, node)
        for node in nodes[1:]:
            first, second = sorted((root(nodes[0]), root(node)))
            parent[second] = first
    names: dict[str, str] = {}
    for row in rows:
        key = root(f"subject {row['subject']}")
        names[key] = min(names.get(key, row["subject"]), row["subject"])
    return {row["case"]: names[root(f"subject {row['subject']}")] for row in rows}


def leaks(rows: Sequence[Mapping[str, Any]], split: Sequence[Mapping[str, Any]]) -> dict[int, list[str]]:
    """Fold → subjects, identical images and near-duplicates that lie on two of its sides, one line each.

    ``rows`` are the rows of ``cases``, ``split`` those of ``split``. Near-duplicates that are all one
    identical image are told once, as such. Every fold is there, also without a leak.
    """
    known = {row["case"]: row for row in rows}
    sides: dict[tuple[int, str], dict[str, list[str]]] = {}
    for row in split:
        case = known[row["case"]]
        for what in (
            f"subject {case['subject']}",
            f"identical image {case['pixels_sha256'][:16]}",
            f"near-duplicates {case['duplicate_group']}",
        ):
            sides.setdefault((row["fold"], what), {}).setdefault(row["role"], []).append(row["case"])
    found: dict[int, list[str]] = {row["fold"]: [] for row in split}
    for (fold, what), roles in sorted(sides.items()):
        cases = [case for of_role in roles.values() for case in of_role]
        images = {known[case]["pixels_sha256"] for case in cases}
        if len(roles) > 1 and not (what.startswith("near-duplicates") and len(images) == 1):
            shown = "; ".join(f"{role}: {some(roles[role])}" for role in ROLES if role in roles)
            verb = "lie" if what.startswith("near-duplicates") else "lies"
            found[fold].append(f"fold {fold}: {what} {verb} in {shown}")
    return found


def shared(split: Sequence[Mapping[str, Any]], role: str, *, fold: int) -> int:
    """Number of cases of ``role`` whose cluster also has a training case, in a fold."""
    of_fold = [row for row in split if row["fold"] == fold]
    training = {row["cluster"] for row in of_fold if row["role"] == "train"}
    return sum(row["role"] == role and row["cluster"] in training for row in of_fold)


def some(names: Sequence[str], limit: int = 5) -> str:
    """The first of ``names`` in alphabetical order, and how many more there are."""
    listed = ", ".join(sorted(names)[:limit])
    return listed + (f" and {len(names) - limit} more" if len(names) > limit else "")
