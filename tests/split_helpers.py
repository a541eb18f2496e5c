"""Rows of ``cases`` and protocols, as the tests of splits need them."""

import hashlib
import json
from typing import Any

from segtrace.config.models import Protocol
from segtrace.split import protocols

LABELS = (1,)


def row(
    case: str,
    subject: str | None = None,
    pixels: str | None = None,
    *,
    group: str = "",
    side: str = "",
    duplicates: str | None = None,
    foreground: int = 100,
) -> dict[str, Any]:
    """A row of ``cases`` of a thousand voxels."""
    text = pixels if pixels is not None else f"pixels of {case}"
    return {
        "case": case,
        "subject": subject or case,
        "group": group,
        "side": side,
        "duplicate_group": duplicates or case,
        "pixels_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "voxels": json.dumps({"0": 1000 - foreground, "1": foreground}),
    }


def many(count: int, *, per_subject: int = 1, **options: Any) -> list[dict[str, Any]]:
    return [row(f"case_{i:03d}", f"subject_{i // per_subject:03d}", **options) for i in range(count)]


def roles(split: list[dict[str, Any]], fold: int = 0) -> dict[str, str]:
    return {entry["case"]: entry["role"] for entry in split if entry["fold"] == fold}


def cases_of(split: list[dict[str, Any]], role: str, fold: int = 0) -> list[str]:
    return [case for case, found in roles(split, fold).items() if found == role]


def assign(rows: list[dict[str, Any]], protocol: Protocol, **options: Any) -> list[dict[str, Any]]:
    return protocols.assign(rows, protocol, where="here", labels=LABELS, **options)


def last_n(**changes: Any) -> Protocol:
    defaults = {"kind": "last_n", "test_cases": 60, "validation_cases": 30, "shuffle_seed": 0}
    return Protocol(**(defaults | changes))


def k_fold(**changes: Any) -> Protocol:
    return Protocol(**({"kind": "k_fold", "folds": 3, "validation_fraction": 0.2} | changes))


def grouped(**changes: Any) -> Protocol:
    defaults = {"kind": "grouped_random", "test_fraction": 0.3, "validation_fraction": 0.2}
    return Protocol(**(defaults | changes))
