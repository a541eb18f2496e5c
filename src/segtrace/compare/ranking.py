"""The ``ranks`` table: methods ranked in three ways, and how the ranks vary over bootstrap samples of the cases.

How ranks follow from values is in :mod:`segtrace.ranks`. Wiesenfarth et al. (Scientific Reports 11 (2021)) judge a
ranking by resampling its cases: a method that is first in most samples is first for a reason, and Kendall's tau
says how alike the rankings of the samples are to that of all cases.

All schemes, labels and metrics share the draws of :mod:`segtrace.resampling`. Everything that is compared
or summed is a whole number, or exact, so ranks do not depend on the machine.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segtrace import ranks, resampling
from segtrace.aggregation import CaseValue, Cell, paired_matrix
from segtrace.compare import signed_ranks
from segtrace.ranks import ALPHA, Array
from segtrace.samples import FEWEST, SAMPLES, SEED

Ranks = NDArray[np.int64]
#: Metrics that are ranked; of distances those in voxels where no image has a physical scale.
RANKED = ("dice", "iou", "nsd", "hd95_mm", "assd_mm")
RANKED_WITHOUT_SCALE = ("dice", "iou", "nsd", "hd95_voxel", "assd_voxel")
#: Ends of the interval of the bootstrap ranks, and the median.
LOW, MIDDLE, HIGH = 0.025, 0.5, 0.975
#: From this share of the samples on, what Kendall's tau is over need not be said.
MOST = 0.95


class Resampled:
    """The draws of ``cases`` cases, made when they are first asked for: all metrics of as many cases share them."""

    def __init__(self, cases: int, *, samples: int = SAMPLES) -> None:
        self.cases, self.samples = cases, samples

    @cached_property
    def counts(self) -> Array:
        """How often each case is drawn, (samples, cases)."""
        return resampling.draws(self.cases, self.samples, seed=SEED)

    @cached_property
    def columns(self) -> NDArray[np.floating[Any]]:
        """The same as (cases, samples), in the shortest floating type in which rank sums are exact."""
        return np.ascontiguousarray(self.counts.T, dtype=signed_ranks.exact_type(self.cases))


def rows(
    cells: Mapping[Cell, Sequence[CaseValue]],
    *,
    methods: Sequence[str],
    labels: Mapping[int, str],
    samples: int = SAMPLES,
) -> list[dict[str, Any]]:
    """Rows of the ``ranks`` table: every scheme, label of ``labels`` (with 0, their mean), metric and method.

    ``cells`` is what :func:`segtrace.aggregation.values_of_cells` returns. A label and metric without a case
    that all methods have a value of has no rows.
    """
    with_scale = any(
        v.value is not None for key, values in cells.items() if key[2] == "hd95_mm" for v in values
    )
    drawn: dict[int, Resampled] = {}
    known: dict[tuple[str, str, bytes], list[dict[str, Any]]] = {}
    found = []
    for scheme in ranks.SCHEMES:
        for label, name in labels.items():
            for metric in RANKED if with_scale else RANKED_WITHOUT_SCALE:
                cases, values, dropped = paired_matrix(cells, methods=methods, label=label, metric=metric)
                if not cases:
                    continue
                if len(cases) not in drawn:
                    drawn[len(cases)] = Resampled(len(cases), samples=samples)
                key = (scheme, metric, values.tobytes())  # label 0 of a single label has that one's values
                if key not in known:
                    known[key] = ranked(scheme, values, metric, drawn[len(cases)])
                told = notes(scheme, methods=len(methods), cases=len(cases), dropped=dropped)
                found += [
                    {
                        "scheme": scheme,
                        "label": label,
                        "label_name": name,
                        "metric": metric,
                        "method": method,
                        **row,
                        "cases": len(cases),
                        "note": "; ".join(filter(None, [*told, row["note"]])),
                    }
                    for method, row in zip(methods, known[key], strict=True)
                ]
    return found


def notes(scheme: str, *, methods: int, cases: int, dropped: int) -> list[str]:
    """What a reader of a ranking has to know of it, in words."""
    told = []
    if methods == 1:
        return ["one method: there is nothing to rank"]
    if scheme == "test_then_rank" and not can_win(methods, cases):
        told.append(f"with {cases} cases and {methods} methods no win can be significant, so all are first")
    elif cases < FEWEST:
        told.append(f"the sample is small ({cases} cases): other cases may well rank otherwise")
    if dropped:
        told.append(f"{dropped} cases in which a method has no value are left out")
    return told


def can_win(methods: int, cases: int) -> bool:
    """Whether a method that is better in every case would be significantly so, by the exact test."""
    return 2.0**-cases <= ALPHA / (methods * (methods - 1))


def ranked(scheme: str, values: Array, metric: str, drawn: Resampled) -> list[dict[str, Any]]:
    """Columns ``rank`` to ``samples`` of each method, from ``values`` (cases, methods) without a missing one.

    ``note`` says in how many samples Kendall's tau exists, where that is not nearly all: it does not where all
    methods share a rank.
    """
    methods = values.shape[1]
    by, own = ranks.SCHEMES[scheme](values, metric)
    if methods == 1:
        return [_alone(float(by[0]))]
    sampled = of_samples(scheme, values, metric, drawn)
    ends = np.quantile(sampled, (LOW, HIGH), axis=0, method="inverted_cdf")
    taus = ranks.tau(own, sampled)
    taus = taus[~np.isnan(taus)]
    untied = f"Kendall's tau is over the {len(taus)} of {drawn.samples} samples in which not all methods share a rank"
    low, middle, high = (
        np.quantile(taus, (LOW, MIDDLE, HIGH), method="inverted_cdf").tolist() if len(taus) else [None] * 3
    )
    shares = [
        (np.bincount(sampled[:, m], minlength=methods + 1)[1:] / drawn.samples).tolist()
        for m in range(methods)
    ]
    return [
        {
            "rank": int(own[m]),
            "statistic": float(by[m]),
            "mean_rank": int(sampled[:, m].sum()) / drawn.samples,
            "low": int(ends[0, m]),
            "high": int(ends[1, m]),
            "first": shares[m][0],
            "frequencies": json.dumps({str(r): share for r, share in enumerate(shares[m], 1) if share}),
            "tau": middle,
            "tau_low": low,
            "tau_high": high,
            "samples": drawn.samples,
            "note": untied if len(taus) < MOST * drawn.samples else "",
        }
        for m in range(methods)
    ]


def _alone(statistic: float) -> dict[str, Any]:
    """The row of a method without a rival: nothing is drawn."""
    return {
        "rank": 1,
        "statistic": statistic,
        "mean_rank": 1,
        "low": 1,
        "high": 1,
        "first": 1.0,
        "frequencies": json.dumps({"1": 1.0}),
        **dict.fromkeys(("tau", "tau_low", "tau_high")),
        "samples": 0,
        "note": "",
    }


def of_samples(scheme: str, values: Array, metric: str, drawn: Resampled) -> Ranks:
    """The rank of each method in every bootstrap sample, (samples, methods)."""
    merits = ranks.better(values, metric)
    if scheme == "aggregate_then_rank":
        return ranks.competition(resampling.means(drawn.counts, merits))
    if scheme == "rank_then_aggregate":
        return ranks.competition(-(drawn.counts @ ranks.competition(merits).astype(np.float64)))
    if not can_win(values.shape[1], len(values)):
        return np.ones((drawn.samples, values.shape[1]), dtype=np.int64)
    return ranks.competition(_wins(merits, drawn))


def _wins(merits: Array, drawn: Resampled) -> Ranks:
    """How many methods each is significantly better than in every sample, (samples, methods).

    The tests are those of :func:`segtrace.ranks.wins` with the normal approximation, corrected for ties, since
    a sample has ties: the cases that are drawn twice. Of the two directions of a pair the likelier is tested;
    the other one has a p-value above 0.5 and is never significant, but counts in Holm's method.
    """
    methods = merits.shape[1]
    first, second = np.triu_indices(methods, 1)
    scores = signed_ranks.scores(ranks.apart(merits[:, first], merits[:, second]), drawn.columns)
    order = np.argsort(-np.abs(scores), axis=1, kind="stable")
    sorted_scores = np.take_along_axis(np.abs(scores), order, axis=1)
    below = sorted_scores >= _thresholds(methods * (methods - 1))[: len(first)]
    won = np.zeros(scores.shape, dtype=np.bool_)
    np.put_along_axis(won, order, np.logical_and.accumulate(below, axis=1), axis=1)
    found = np.zeros((len(scores), methods), dtype=np.int64)
    for pair, (a, b) in enumerate(zip(first, second, strict=True)):
        found[:, a] += won[:, pair] & (scores[:, pair] > 0)
        found[:, b] += won[:, pair] & (scores[:, pair] < 0)
    return found


def _thresholds(hypotheses: int) -> Array:
    """Least standard scores at which the first, second … hypothesis is rejected by Holm's method."""

    normal = NormalDist()
    return np.array([-normal.inv_cdf(ALPHA / (hypotheses - k)) for k in range(hypotheses)])
