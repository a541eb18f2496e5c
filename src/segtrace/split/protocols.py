"""Assigning cases to folds and roles.

Cases that belong together form a cluster (:mod:`segtrace.split.clusters`). ``grouped_random`` and
``k_fold`` place whole clusters, stratified by class and lesion size; the other kinds follow a published
list, shuffle or side and know no clusters: the leak check judges them afterwards.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from segtrace.config.models import Protocol
from segtrace.errors import SegtraceError, raise_all
from segtrace.split import draws
from segtrace.split.clusters import ROLES, clusters
from segtrace.split.kinds import KINDS, Task


def choose(rows: Sequence[Mapping[str, Any]], protocol: Protocol, *, where: str) -> list[Mapping[str, Any]]:
    """The rows of the groups and sides that the protocol is about, and of its subset, sorted by case.

    A subset of n is the first n of :func:`segtrace.split.draws.ranked` by ``subset``: the same cases whatever the
    order of the rows, and whatever else the protocol asks for. Raises :class:`SegtraceError` where there are fewer.
    """
    wanted = {"group": protocol.groups, "side": protocol.sides or (list(protocol.roles) or None)}
    for column, names in wanted.items():
        if names is None:
            continue
        known = sorted({row[column] for row in rows})
        missing = [name for name in names if name not in known]
        if missing:
            raise SegtraceError(
                f"{where}: no case has the {column} {', '.join(map(repr, missing))}; "
                f"{column}s of this data set: {', '.join(map(repr, known))}"
            )
        rows = [row for row in rows if row[column] in names]
    if not rows:
        raise SegtraceError(f"{where}: there are no cases to split")
    if protocol.subset is not None:
        if len(rows) < protocol.subset:
            raise SegtraceError(
                f"{where}: {len(rows)} cases, the protocol takes a subset of {protocol.subset}; get the missing cases, "
                "or give a smaller subset"
            )
        wanted_cases = set(draws.ranked((row["case"] for row in rows), "subset")[: protocol.subset])
        rows = [row for row in rows if row["case"] in wanted_cases]
    return sorted(rows, key=lambda row: row["case"])


def assign(
    rows: Sequence[Mapping[str, Any]],
    protocol: Protocol,
    *,
    where: str,
    labels: Sequence[int],
    kept: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Rows of the ``split`` table: each chosen case once a fold, sorted by fold and case.

    ``rows`` are those of ``cases``, ``labels`` the data set's; ``kept`` are rows of a split that the
    protocol keeps. ``where`` names the protocol in messages. Raises :class:`SegtraceError` if there
    are too few cases, or if a role that the protocol asks for stays empty.
    """
    chosen = choose(rows, protocol, where=where)
    cluster = clusters(chosen)
    task = Task(
        rows=[{**row, "voxels": json.loads(row["voxels"])} for row in chosen],
        cluster=cluster,
        protocol=protocol.model_dump(mode="json"),
        labels=labels,
        kept=kept,
        where=where,
    )
    roles = KINDS[protocol.kind](task)
    _require_roles(roles, cluster, protocol, where=where)
    _require_training_cases(roles, protocol, where=where)
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


def _require_roles(
    roles: Sequence[Mapping[str, str]], cluster: Mapping[str, str], protocol: Protocol, *, where: str
) -> None:
    """Raise if a role that the protocol asks for has no case in some fold."""
    problems = []
    for fold, fold_roles in enumerate(roles):
        counts = {role: sum(value == role for value in fold_roles.values()) for role in ROLES}
        empty = [role for role in protocol.asked_roles if not counts[role]]
        if empty:
            have = ", ".join(f"{counts[role]} {role}" for role in ROLES)
            problems.append(f"fold {fold}: no case for {', '.join(empty)} ({have})")
    raise_all(
        problems,
        heading=f"{where}: {len(cluster)} cases in {len(set(cluster.values()))} clusters leave a role empty",
        remedy=f"Choose another seed (now {protocol.seed}), larger fractions or fewer folds, or add cases.",
    )


def _require_training_cases(roles: Sequence[Mapping[str, str]], protocol: Protocol, *, where: str) -> None:
    """Raise if the protocol says how many cases train and there are others."""
    wanted = protocol.train_cases
    counts = [list(fold_roles.values()).count("train") for fold_roles in roles]
    raise_all(
        [
            f"fold {fold}: {count} cases train, the protocol has {wanted}"
            for fold, count in enumerate(counts)
            if wanted is not None and count != wanted
        ],
        heading=f"{where}: this is not the published split, which needs the whole data set",
        remedy="Get the missing cases (excluded ones count as missing), or choose a protocol that takes fractions.",
    )
