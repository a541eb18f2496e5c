"""The gate over a split: no cluster on two sides, and sides that are alike.

Balance is judged by means over the cases of a side: how large it is, which labels its cases hold, how
large their foreground is. Each may differ from the whole by the data set's ``sides_differ``, and at
least by what chance does: three standard errors of so many clusters, of the sizes that they have.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from segtrace.config.models import Protocol
from segtrace.gates import SHOWN, Expectation, between, mean_between
from segtrace.split.clusters import shared

#: Standard errors that chance is allowed.
ERRORS = 3.0
#: Role → its name in expectations.
NAMES = {"train": "training", "val": "validation", "test": "test"}


def population(
    rows: Sequence[Mapping[str, Any]], split: Sequence[Mapping[str, Any]], *, labels: Sequence[int]
) -> list[dict[str, Any]]:
    """One row a case of the split, of plain numbers: what the gate judges.

    ``holds_L`` and ``size`` are what :func:`_of_a_case` says; for each fold K, ``sides_K`` is the number of roles
    that the case's cluster has; for each role R, ``R_K`` is 1 or 0, and ``R_K_holds_L`` and ``R_K_size`` are the
    case's values if it has the role, else unknown.
    """
    known = {row["case"]: _of_a_case(row, labels=labels) for row in rows}
    sides: dict[tuple[int, str], set[str]] = {}
    for row in split:
        sides.setdefault((row["fold"], row["cluster"]), set()).add(row["role"])
    found: dict[str, dict[str, Any]] = {}
    for row in split:
        case, fold = row["case"], row["fold"]
        entry = found.setdefault(case, {"case": case, "cluster": row["cluster"], **known[case]})
        entry[f"sides_{fold}"] = len(sides[fold, row["cluster"]])
        for role in NAMES:
            mine = row["role"] == role
            entry[f"{role}_{fold}"] = int(mine)
            entry |= {
                f"{role}_{fold}_{key}": value if mine else math.nan for key, value in known[case].items()
            }
    return list(found.values())


def _of_a_case(row: Mapping[str, Any], *, labels: Sequence[int]) -> dict[str, float]:
    """``holds_L``: 1 or 0 for each label; ``size``: the foreground's share of the voxels, unknown if empty."""
    voxels = json.loads(row["voxels"])
    share = sum(voxels[str(label)] for label in labels) / sum(voxels.values())
    return {f"holds_{label}": float(voxels[str(label)] > 0) for label in labels} | {"size": share or math.nan}


def expectations(
    cases: Sequence[Mapping[str, Any]], protocol: Protocol, *, labels: Mapping[int, str], differ: float
) -> list[Expectation]:
    """The expectations of a split; ``cases`` is its :func:`population`, ``differ`` the gate's ``sides_differ``."""
    found = []
    for fold in range(protocol.fold_count):
        found.append(between(f"fold {fold}: no cluster on two sides", f"sides_{fold}", 1, 1))
        for role in protocol.asked_roles:
            found.append(_share(cases, protocol, role=role, fold=fold, differ=differ))
            for label, name in sorted(labels.items()):
                title = f"fraction of cases with label {label} ({name})"
                found += _mean(cases, f"holds_{label}", title, role=role, fold=fold, differ=differ)
            found += _mean(
                cases,
                "size",
                "mean share of foreground, where there is some",
                role=role,
                fold=fold,
                differ=differ,
            )
    return found


def told(
    split: Sequence[Mapping[str, Any]], protocol: Protocol, *, leaks: Mapping[int, Sequence[str]]
) -> dict[str, Any]:
    """What tables and pages say of a split: the protocol in words, and for each fold its cases and leaks.

    ``shared`` counts the held-out cases of which another of their cluster trains; at most :data:`SHOWN` leaks are
    listed.
    """
    scored = "test" if "test" in protocol.asked_roles else "val"
    folds = [
        {
            **{role: sum(row["role"] == role for row in split if row["fold"] == fold) for role in NAMES},
            "leaks": len(found),
            "scored": scored,
            "shared": shared(split, scored, fold=fold),
        }
        for fold, found in sorted(leaks.items())
    ]
    return {
        "kind": protocol.kind,
        "words": protocol.words,
        "published": protocol.published,
        "folds": folds,
        "leaks": [leak for _, found in sorted(leaks.items()) for leak in found][:SHOWN],
    }


def _share(
    cases: Sequence[Mapping[str, Any]], protocol: Protocol, *, role: str, fold: int, differ: float
) -> Expectation:
    """The side's share of the cases: near what was asked for, where it was, and never nothing."""
    asked = asked_share(protocol, role, len(cases))
    low, high = 1 / len(cases), 1.0
    if asked is not None:
        error = math.sqrt(asked * (1 - asked) / _independent(cases))
        allowed = max(differ, ERRORS * error)
        low, high = max(low, asked - allowed), min(high, asked + allowed)
    return mean_between(
        f"fold {fold}, {NAMES[role]}: fraction of the cases", f"{role}_{fold}", *_outward(low, high)
    )


def asked_share(protocol: Protocol, role: str, cases: int) -> float | None:
    """The share of the cases that a protocol asks for a role; None where its owner decided."""
    if protocol.kind in ("official", "side_folds"):
        return None
    held = protocol.test_fraction or (protocol.test_cases or 0) / cases
    held = 1 / protocol.folds if protocol.folds else held
    validation = (1 - held) * (protocol.validation_fraction or 0.0)
    if protocol.kind == "last_n":
        validation = (protocol.validation_cases or 0) / cases
    shares = {protocol.held_out: held, "train": 1 - held - validation}
    return shares.get(role, validation)


def _mean(
    cases: Sequence[Mapping[str, Any]], key: str, title: str, *, role: str, fold: int, differ: float
) -> list[Expectation]:
    """The mean of ``key`` on a side: near that of all cases. Nothing where no case of the side has a value."""
    every = [case for case in cases if not math.isnan(case[key])]
    here = [case for case in every if case[f"{role}_{fold}"]]
    if not here:
        return []
    mean = sum(case[key] for case in every) / len(every)
    deviation = math.sqrt(sum((case[key] - mean) ** 2 for case in every) / len(every))
    part = differ if key != "size" else differ * mean
    allowed = max(part, ERRORS * deviation / math.sqrt(_independent(here)))
    ends = _outward(max(0.0, mean - allowed), min(1.0, mean + allowed))
    return [mean_between(f"fold {fold}, {NAMES[role]}: {title}", f"{role}_{fold}_{key}", *ends)]


def _independent(cases: Sequence[Mapping[str, Any]]) -> float:
    """How many independent cases clusters of these sizes are worth: (Σ size)² / Σ size²."""
    sizes = Counter(case["cluster"] for case in cases).values()
    return sum(sizes) ** 2 / sum(size**2 for size in sizes)


def _outward(low: float, high: float) -> tuple[float, float]:
    """Ends of six decimals, rounded outward."""
    return math.floor(low * 1e6) / 1e6, math.ceil(high * 1e6) / 1e6
