"""What two tables of scores are of: methods, labels, metrics, cases, budget, seeds and protocol that came or went."""

from dataclasses import dataclass

from segtrace.trace.diff.rows import Scores

#: Column → how it is called where several are named.
WORDS = {
    "dataset": "data set",
    "recipe": "recipe",
    "protocol": "protocol",
    "role": "role",
    "checkpoint": "checkpoint",
    "grid": "grid",
    "corruption": "corruption",
    "budget": "budget",
    "method": "methods",
    "fold": "folds",
    "seed": "seeds",
    "label": "labels",
    "metric": "metrics",
    "case": "cases",
}


@dataclass(frozen=True)
class Moved:
    """Values of one kind that only one of the two sides has."""

    what: str
    removed: tuple[str, ...]
    added: tuple[str, ...]


def moved(old: Scores, new: Scores) -> list[Moved]:
    """What only one of two tables is of, in the order of :data:`WORDS`; nothing where they are of the same."""
    before, after = old.subject(), new.subject()
    return [
        Moved(words, tuple(_sorted(before[key] - after[key])), tuple(_sorted(after[key] - before[key])))
        for key, words in WORDS.items()
        if before[key] != after[key]
    ]


def other_references(old: Scores, new: Scores) -> list[str]:
    """The cases of both tables whose reference, or image size, is not the same: their labels were edited."""
    before, after = old.references(), new.references()
    return sorted({key[0] for key in before.keys() & after.keys() if before[key] != after[key]})


def _sorted(values: set[str]) -> list[str]:
    return sorted(
        values, key=lambda value: (not value.isdecimal(), int(value) if value.isdecimal() else 0, value)
    )
