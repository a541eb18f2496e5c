"""Paired comparisons of all methods of an experiment: differences, tests of significance and sizes of effects."""

import gc
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from segtrace import signs
from segtrace.aggregation import (
    DISTANCES,
    METRICS,
    CaseValue,
    Cell,
    comparable,
    deviation,
    mean,
    value_matrix,
)
from segtrace.bootstrap import bounds, grouped
from segtrace.resampling import Array
from segtrace.samples import too_small

#: A p-value up to this counts as significant.
ALPHA = 0.05
#: What identifies a row of the ``tests`` table: (label, metric, first, second).
Pair = tuple[int, str, str, str]


def rows(
    cells: Mapping[Cell, Sequence[CaseValue]], *, methods: Sequence[str], labels: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Rows of the ``tests`` table: every pair of ``methods``, in their order, by label and metric.

    ``cells`` is from :func:`segtrace.aggregation.cells_of`; ``labels`` names labels, 0 among them. Differences are
    first − second on the cases that :func:`segtrace.aggregation.comparable` keeps. Permutation test and Wilcoxon's
    are in :mod:`segtrace.signs`; p-values are corrected over the pairs of a label and metric by Holm's
    method (Scandinavian Journal of Statistics 6 (1979)).
    """
    differences: dict[Pair, Array] = {}
    dropped: dict[Pair, int] = {}
    for label in sorted(labels):
        for metric in METRICS:
            _, values = value_matrix(cells, methods=methods, label=label, metric=metric)
            for i, j in combinations(range(len(methods)), 2):
                kept, both = comparable(values[:, [i, j]], metric)
                pair = label, metric, methods[i], methods[j]
                differences[pair] = both[:, 0] - both[:, 1]
                dropped[pair] = int((~kept).sum())
    found: dict[Pair, dict[str, Any]] = {}
    for cases, chosen in grouped({pair: len(d) for pair, d in differences.items()}).items():
        columns = np.array([differences[pair] for pair in chosen]).reshape(len(chosen), cases).T
        found.update(zip(chosen, compared(columns, better=[better(pair[1]) for pair in chosen]), strict=True))
    corrected = {
        name: _holm({pair: row[f"{name}_p"] for pair, row in found.items()})
        for name in ("permutation", "wilcoxon")
    }
    pairs = len(methods) * (len(methods) - 1) // 2
    return [
        {
            "label": pair[0],
            "label_name": labels[pair[0]],
            "metric": pair[1],
            "first": pair[2],
            "second": pair[3],
            "cases": len(differences[pair]),
            "dropped": dropped[pair],
            **found[pair],
            **{f"{name}_holm": values[pair] for name, values in corrected.items()},
            "note": note(differences[pair], pairs=pairs),
        }
        for pair in differences
    ]


def better(metric: str) -> int:
    """1 where more of ``metric`` is better, −1 where less is."""
    return -1 if metric in DISTANCES else 1


def compared(columns: Array, *, better: Sequence[int]) -> list[dict[str, Any]]:
    """What the ``tests`` table says of each column of differences (cases, columns), its corrected p-values aside.

    ``better`` is 1 for a column in which a positive difference is the first method's win, −1 where it is its loss.
    """
    cases, count = columns.shape
    if not cases:
        unknown = ("difference", "low", "high", "permutation_p", "wilcoxon_p", "cohens_dz", "rank_biserial")
        none = dict.fromkeys(unknown, None) | {"permutation": "none", "wilcoxon": "none"}
        return [none | {"wins": 0, "losses": 0, "ties": 0} for _ in range(count)]
    rounded = signs.steady(columns)
    ends = bounds(columns) if cases > 1 else None
    permuted, permutation = signs.permutation(rounded)
    signed, wilcoxon = signs.wilcoxon(rounded)
    ranks = signs.ranked(rounded)
    above, below = (rounded > 0).sum(axis=0), (rounded < 0).sum(axis=0)
    found = []
    for column in range(count):
        values = columns[:, column].tolist()
        centre, spread = mean(values), deviation(values)
        varied = bool(np.ptp(rounded[:, column]) > 0.0)
        apart = int(above[column] + below[column])
        wins, losses = (above, below) if better[column] > 0 else (below, above)
        found.append(
            {
                "difference": centre,
                "low": None if ends is None else float(ends.bca_low[column]),
                "high": None if ends is None else float(ends.bca_high[column]),
                "permutation": permutation[column],
                "permutation_p": float(permuted[column]),
                "wilcoxon": wilcoxon[column],
                "wilcoxon_p": float(signed[column]),
                "cohens_dz": centre / spread if spread and varied else None,
                "rank_biserial": float(ranks[:, column].sum()) / (apart * (apart + 1) / 2) if apart else None,
                "wins": int(wins[column]),
                "losses": int(losses[column]),
                "ties": cases - apart,
            }
        )
    return found


def _holm(known: Mapping[Pair, float | None]) -> dict[Pair, float | None]:
    """p-values corrected by Holm over the pairs of each label and metric; a pair without one counts for nothing."""
    corrected: dict[Pair, float | None] = dict.fromkeys(known)
    family = {pair: pair[:2] for pair, p in known.items() if p is not None}
    gc.freeze()  # statsmodels collects garbage in every call, which takes half a second among many objects
    try:
        for chosen in grouped(family).values():
            values = signs.holm([p for pair in chosen if (p := known[pair]) is not None])
            corrected.update(zip(chosen, values, strict=True))
    finally:
        gc.unfreeze()
    return corrected


def note(differences: Array, *, pairs: int) -> str:
    """What keeps a comparison from being significant or trusted, in words; empty where nothing does.

    ``pairs`` is how many comparisons a p-value is corrected for.
    """
    values = differences.tolist()
    if not values:
        return "No case has a value of both."
    return " ".join(sentence for sentence in (_reachable(differences, pairs), too_small(values)) if sentence)


def _reachable(differences: Array, pairs: int) -> str:
    """That no p-value can be small enough, where it cannot: n differences have no smaller one than 2/2ⁿ."""
    cases = len(differences)
    apart = int(np.count_nonzero(signs.steady(differences[:, None])))
    if not apart:
        return "Both methods have the same value in every case."
    smallest = 2.0 / 2.0**apart
    if pairs * smallest <= ALPHA:
        return ""
    those = f"With {cases} cases" if apart == cases else f"With {apart} of {cases} cases in which they differ"
    if cases == 1 or apart == 1:
        those = those.replace("With 1 cases", "With 1 case")
    told = f"{those} no difference can be significant: the smallest possible two-sided p is 2/2^{apart} = {smallest:.3g}"
    if smallest > ALPHA:
        return f"{told}."
    return f"{told}, corrected for {pairs} pairs {min(1.0, pairs * smallest):.3g}."
