"""Assigning cases to folds and roles.

Cases that belong together form a cluster: cases of one subject, cases whose images are pixel for pixel
the same, and whatever these two relations join. ``k_fold`` and ``grouped_random`` place whole clusters
by a hash of the seed and the cluster's name, so that a new case moves no old one (unless it joins two
clusters that were apart). ``last_n`` follows a published list order and knows no clusters; the leak
check judges it afterwards.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from typing import Any

from segtrace.errors import SegtraceError, raise_all

ROLES = ("train", "val", "test")


def clusters(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Case → name of its cluster: the connected component over ``subject`` and ``pixels_sha256``.

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
        nodes = [f"subject {row['subject']}", f"pixels {row['pixels_sha256']}"]
        for node in nodes:
            parent.setdefault(node, node)
        first, second = sorted(root(node) for node in nodes)
        parent[second] = first
    names: dict[str, str] = {}
    for row in rows:
        key = root(f"subject {row['subject']}")
        names[key] = min(names.get(key, row["subject"]), row["subject"])
    return {row["case"]: names[root(f"subject {row['subject']}")] for row in rows}


def uniform(*parts: Any) -> float:
    """A number in [0, 1) that is a hash of ``parts``: the same everywhere and for ever."""
    text = "/".join(str(part) for part in parts)
    return int(hashlib.sha256(text.encode()).hexdigest()[:13], 16) / 16**13


def choose(
    rows: Sequence[Mapping[str, Any]], groups: Sequence[str] | None, *, where: str
) -> list[Mapping[str, Any]]:
    """The rows of the wanted groups (all of them for None), sorted by case."""
    if groups is not None:
        known = sorted({row["group"] for row in rows})
        missing = [group for group in groups if group not in known]
        if missing:
            raise SegtraceError(
                f"{where}: no case has the group {', '.join(map(repr, missing))}; "
                f"groups of this data set: {', '.join(map(repr, known))}"
            )
        rows = [row for row in rows if row["group"] in groups]
    if not rows:
        raise SegtraceError(f"{where}: there are no cases to split")
    return sorted(rows, key=lambda row: row["case"])


def assign(
    rows: Sequence[Mapping[str, Any]], protocol: Mapping[str, Any], *, where: str
) -> list[dict[str, Any]]:
    """Rows of the ``split`` table: each chosen case once a fold, sorted by fold and case.

    ``rows`` hold ``case``, ``subject``, ``group`` and ``pixels_sha256``; ``protocol`` is a
    :class:`segtrace.config.models.Protocol` as a mapping. ``where`` names the protocol in messages.
    Raises :class:`SegtraceError` if there are too few cases, or if a role that the protocol asks for
    stays empty.
    """
    chosen = choose(rows, protocol["groups"], where=where)
    cluster = clusters(chosen)
    kind = {"last_n": _last_n, "k_fold": _k_fold, "grouped_random": _grouped_random}[protocol["kind"]]
    roles = kind(chosen, cluster, protocol, where)
    _require_roles(roles, cluster, protocol, where=where)
    return [
        {
            "case": row["case"],
            "subject": row["subject"],
            "cluster": cluster[row["case"]],
            "fold": fold,
            "role": fold_roles[row["case"]],
        }
        for fold, fold_roles in enumerate(roles)
        for row in chosen
    ]


def _last_n(
    rows: Sequence[Mapping[str, Any]], cluster: Mapping[str, str], protocol: Mapping[str, Any], where: str
) -> list[dict[str, str]]:
    """The last cases of the sorted list are the test set; the others are shuffled, the last of them validate.

    Source: dual self-distillation (Banerjee et al. 2024) and its published code, hippocampus data.
    """
    tests, validations = protocol["test_cases"], protocol["validation_cases"]
    if len(rows) <= tests + validations:
        raise SegtraceError(
            f"{where}: {len(rows)} cases are too few for {tests} test and {validations} validation cases and one "
            "training case; get the whole data set, or choose a protocol that takes fractions"
        )
    cases = [row["case"] for row in rows]
    rest = cases[: len(cases) - tests]
    random.Random(protocol["shuffle_seed"]).shuffle(rest)
    split = len(rest) - validations
    roles = dict.fromkeys(cases[len(cases) - tests :], "test")
    roles.update(dict.fromkeys(rest[:split], "train"))
    roles.update(dict.fromkeys(rest[split:], "val"))
    return [roles]


def _k_fold(
    rows: Sequence[Mapping[str, Any]], cluster: Mapping[str, str], protocol: Mapping[str, Any], where: str
) -> list[dict[str, str]]:
    """Fold k tests on part k; of the rest, ``validation_fraction`` of the clusters validates."""
    seed, folds = protocol["seed"], protocol["folds"]
    result = []
    for fold in range(folds):
        roles = {}
        for case, name in cluster.items():
            if int(uniform("part", seed, name) * folds) == fold:
                roles[case] = "test"
            else:
                inner = uniform("validation", seed, fold, name)
                roles[case] = "val" if inner < protocol["validation_fraction"] else "train"
        result.append(roles)
    return result


def _grouped_random(
    rows: Sequence[Mapping[str, Any]], cluster: Mapping[str, str], protocol: Mapping[str, Any], where: str
) -> list[dict[str, str]]:
    """``test_fraction`` of the clusters tests; of the rest, ``validation_fraction`` validates."""
    seed = protocol["seed"]
    roles = {}
    for case, name in cluster.items():
        if uniform("test", seed, name) < protocol["test_fraction"]:
            roles[case] = "test"
        else:
            inner = uniform("validation", seed, name)
            roles[case] = "val" if inner < protocol["validation_fraction"] else "train"
    return [roles]


def _require_roles(
    roles: Sequence[Mapping[str, str]], cluster: Mapping[str, str], protocol: Mapping[str, Any], *, where: str
) -> None:
    """Raise if a role that the protocol asks for has no case in some fold."""
    asked = {
        "train": True,
        "val": protocol["validation_fraction"] != 0.0 and protocol["validation_cases"] != 0,
        "test": protocol["test_fraction"] != 0.0 and protocol["test_cases"] != 0,
    }
    problems = []
    for fold, fold_roles in enumerate(roles):
        counts = {role: sum(value == role for value in fold_roles.values()) for role in ROLES}
        empty = [role for role in ROLES if asked[role] and not counts[role]]
        if empty:
            have = ", ".join(f"{counts[role]} {role}" for role in ROLES)
            problems.append(f"fold {fold}: no case for {', '.join(empty)} ({have})")
    raise_all(
        problems,
        heading=f"{where}: {len(cluster)} cases in {len(set(cluster.values()))} clusters leave a role empty",
        remedy=f"Choose another seed (now {protocol['seed']}), larger fractions or fewer folds, or add cases.",
    )


def leaks(rows: Sequence[Mapping[str, Any]], split: Sequence[Mapping[str, Any]]) -> list[str]:
    """Subjects and identical images that lie on two sides of a fold, one line each; empty if none.

    ``rows`` are the rows of ``cases``, ``split`` those of ``split``.
    """
    pixels = {row["case"]: row["pixels_sha256"] for row in rows}
    sides: dict[tuple[int, str, str], dict[str, list[str]]] = {}
    for row in split:
        for what, key in (("subject", row["subject"]), ("identical image", pixels[row["case"]])):
            place = sides.setdefault((row["fold"], what, key), {})
            place.setdefault(row["role"], []).append(row["case"])
    found = []
    for (fold, what, key), roles in sorted(sides.items()):
        if len(roles) > 1:
            shown = "; ".join(f"{role}: {_some(roles[role])}" for role in ROLES if role in roles)
            name = f"subject {key}" if what == "subject" else what
            found.append(f"fold {fold}: {name} lies in {shown}")
    return found


def _some(names: Sequence[str], limit: int = 5) -> str:
    listed = ", ".join(sorted(names)[:limit])
    return listed + (f" and {len(names) - limit} more" if len(names) > limit else "")
