"""Cases that belong together, and those of them that lie on two sides of a split."""

from collections.abc import Mapping, Sequence
from typing import Any

from segtrace.components import groups
from segtrace.errors import some
from segtrace.sides import on_two_sides

ROLES = ("train", "val", "test")


def clusters(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Case → name of its cluster: the component over ``subject``, ``pixels_sha256`` and ``duplicate_group``.

    A cluster is named by the first of its subjects in alphabetical order, so that another case of a
    known subject, or another copy of a known image, changes no name but its own.
    """
    first: dict[tuple[str, str], str] = {}
    joined = [
        (first.setdefault((key, row[key]), row["case"]), row["case"])
        for row in rows
        for key in ("subject", "pixels_sha256", "duplicate_group")
    ]
    components = groups([row["case"] for row in rows], joined)
    names: dict[str, str] = {}
    for row, component in zip(rows, components, strict=True):
        names[component] = min(names.get(component, row["subject"]), row["subject"])
    return {row["case"]: names[component] for row, component in zip(rows, components, strict=True)}


def leaks(rows: Sequence[Mapping[str, Any]], split: Sequence[Mapping[str, Any]]) -> dict[int, list[str]]:
    """Fold → subjects, identical images and near-duplicates that lie on two of its sides, one line each.

    ``rows`` are the rows of ``cases``, ``split`` those of ``split``. Near-duplicates that are all one
    identical image are told once, as such. Every fold is there, also without a leak.
    """
    known = {row["case"]: row for row in rows}
    keys = {
        case: (
            f"subject {row['subject']}",
            f"identical image {row['pixels_sha256'][:16]}",
            f"near-duplicates {row['duplicate_group']}",
        )
        for case, row in known.items()
    }
    found: dict[int, list[str]] = {row["fold"]: [] for row in split}
    for fold, what, roles in on_two_sides(split, keys):
        near = what.startswith("near-duplicates")
        images = {known[case]["pixels_sha256"] for of_role in roles.values() for case in of_role}
        if not (near and len(images) == 1):
            shown = "; ".join(f"{role}: {some(sorted(roles[role]))}" for role in ROLES if role in roles)
            found[fold].append(f"fold {fold}: {what} {'lie' if near else 'lies'} in {shown}")
    return found


def shared(split: Sequence[Mapping[str, Any]], role: str, *, fold: int) -> int:
    """Number of cases of ``role`` whose cluster also has a training case, in a fold."""
    of_fold = [row for row in split if row["fold"] == fold]
    training = {row["cluster"] for row in of_fold if row["role"] == "train"}
    return sum(row["role"] == role and row["cluster"] in training for row in of_fold)
