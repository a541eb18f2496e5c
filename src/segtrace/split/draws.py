"""Draws that are the same everywhere and for ever: by hash, in strata, and as published code shuffles."""

import hashlib
import itertools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np


def uniform(*parts: Any) -> float:
    """A number in [0, 1) that is a hash of ``parts``: the same everywhere and for ever."""
    text = "/".join(str(part) for part in parts)
    return int(hashlib.sha256(text.encode()).hexdigest()[:13], 16) / 16**13


def shuffled(cases: Sequence[str], *, by: str, seed: int | None) -> list[str]:
    """``cases`` in the order that Python's or NumPy's shuffle gives them; as they are for seed None.

    ``numpy`` is ``RandomState(seed).permutation``, the generator behind scikit-learn's splitters; both
    streams are frozen by their makers.
    """
    if seed is None:
        return list(cases)
    if by == "numpy":
        return [cases[place] for place in np.random.RandomState(seed).permutation(len(cases))]
    found = list(cases)
    random.Random(seed).shuffle(found)
    return found


def strata(
    rows: Sequence[Mapping[str, Any]], cluster: Mapping[str, str], *, labels: Iterable[int], one: bool
) -> dict[str, list[str]]:
    """Stratum → its clusters. A cluster is in the stratum of its alphabetically first case; with ``one``,
    all are in one.

    A stratum is a class and a bin of the foreground's share of the voxels. The bins are fixed, so that no case
    changes the stratum of another: bin k holds shares in (4^-(k+1), 4^-k], and no foreground is a bin of its own.
    """
    labels = list(labels)
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    for row in sorted(rows, key=lambda row: row["case"]):
        name = cluster[row["case"]]
        if name not in seen:
            seen.add(name)
            key = "" if one else f"{row['group']} {size_bin(row['voxels'], labels=labels)}"
            found.setdefault(key, []).append(name)
    return found


def size_bin(voxels: Mapping[str, int], *, labels: Iterable[int]) -> str:
    """The bin of a case's foreground; ``voxels`` is label → voxels, background (0) included."""
    total = sum(voxels.values())
    inside = sum(voxels[str(label)] for label in labels)
    if not inside:
        return "empty"
    power = 0
    while inside * 4 ** (power + 1) <= total:
        power += 1
    return f"1/{4**power}"


def ranked(names: Iterable[str], *key: Any) -> list[str]:
    """``names`` in the order of their hashes with ``key``."""
    return sorted(names, key=lambda name: (uniform(*key, name), name))


def draw(
    members: Mapping[str, Sequence[str]],
    fraction: float,
    *key: Any,
    fixed: Iterable[str] = (),
    barred: Iterable[str] = (),
) -> set[str]:
    """Of each stratum's n clusters the first ⌊fraction · n + u⌋ by rank, u being a hash of key and stratum.

    ``fixed`` clusters are drawn in any case and count; ``barred`` ones are not drawn. So one more cluster
    changes whether it is drawn itself, and for at most one other. Where all strata are so small that none gives
    a cluster, the first by rank of all is drawn.
    """
    fixed, barred = set(fixed), set(barred)
    chosen = set(fixed)
    for stratum, names in members.items():
        wanted = min(len(names), math.floor(fraction * len(names) + uniform("rounding", *key, stratum)))
        free = [name for name in ranked(names, *key) if name not in fixed and name not in barred]
        chosen.update(free[: max(0, wanted - len(fixed.intersection(names)))])
    every = [name for names in members.values() for name in names if name not in barred]
    if fraction and not chosen and len(every) > 1:
        chosen = {ranked(every, *key)[0]}
    return chosen


def parts(
    members: Mapping[str, Sequence[str]], count: int, *key: Any, fixed: Mapping[str, int]
) -> dict[str, int]:
    """Cluster → one of ``count`` parts. The parts of a stratum are ranges of its ranks, of equal length
    to within one, so that one more cluster moves at most one other over each boundary between two parts.

    ``fixed`` clusters keep their part and count; the others fill up what is missing.
    """
    found = dict(fixed)
    for stratum, names in members.items():
        turn = uniform("rounding", *key, stratum)
        cuts = [min(len(names), math.floor(part * len(names) / count + turn)) for part in range(count + 1)]
        missing = [after - before for before, after in itertools.pairwise(cuts)]
        for name in names:
            if name in fixed:
                missing[fixed[name]] -= 1
        free = [name for name in ranked(names, *key) if name not in fixed]
        missing = [max(0, number) for number in missing]
        while sum(missing) > len(free):  # some part keeps more than its share
            missing[missing.index(max(missing))] -= 1
        places = [part for part, number in enumerate(missing) for _ in range(number)]
        found.update(zip(free, places, strict=True))
    return found
