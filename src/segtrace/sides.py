"""What lies on two sides of a split: subjects, images, groups of duplicates."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def on_two_sides(
    split: Iterable[Mapping[Any, Any]], keys: Mapping[str, Iterable[str]]
) -> Iterator[tuple[int, str, dict[str, list[str]]]]:
    """(fold, key, role → cases) of each key whose cases have several roles in a fold, sorted.

    ``split`` are rows of ``split``; ``keys`` says of a case what must not be parted. A case that it does not know
    is passed over.
    """
    found: dict[tuple[int, str], dict[str, list[str]]] = {}
    for row in split:
        for key in keys.get(row["case"], ()):
            found.setdefault((int(row["fold"]), key), {}).setdefault(row["role"], []).append(row["case"])
    for (fold, key), roles in sorted(found.items()):
        if len(roles) > 1:
            yield fold, key, roles
