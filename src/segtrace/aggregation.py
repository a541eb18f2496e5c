"""From scores of runs to one value a method, case, label and metric: what tables average and figures show.

The order is fixed: within a run, the mean over the foreground labels gives label 0; then the mean over
a case's runs (seeds, and folds where a case is scored in several); cases are averaged last, and the
cases of all folds are pooled. So a case weighs the same however often it was predicted.

Empty masks and distances: where one of the two masks is empty, a surface distance does not exist, and
counts as the worst there is, the image diagonal; otherwise a method that finds nothing would look
better than one that errs. Where both are empty there is nothing to measure and the case is left out.
Other undefined values (the precision of an empty prediction) are left out too. Reinke et al.,
"Understanding metric-related pitfalls in image analysis validation", Nature Methods 21 (2024), discuss
these choices. All are counted.
"""

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segtrace.regions import is_region, without

#: Metrics between 0 and 1 in which more is better.
OVERLAPS = ("dice", "iou", "precision", "recall", "accuracy", "nsd")
#: Distances, in which less is better, and the column that holds the worst value of each.
DISTANCES = {
    "hd95_mm": "worst_mm",
    "hd95_voxel": "worst_voxel",
    "hd_mm": "worst_mm",
    "hd_voxel": "worst_voxel",
    "assd_mm": "worst_mm",
    "assd_voxel": "worst_voxel",
}
METRICS = (*OVERLAPS, *DISTANCES)
#: What pages show first of a table; HD95 in millimetres where there are any. The other metrics unfold.
FIRST = ("dice", "iou", "hd95_mm")
FIRST_WITHOUT_SCALE = ("dice", "iou", "hd95_voxel")
#: The reason of rows of a case that was never segmented, as the scores state it.
#: In the ``missing`` table, instead of a case: the run is not there.
ALL_CASES = "all cases"
PREDICTION_MISSING = "prediction missing"

#: How values are aggregated, in words, for tables' readers.
POLICY = (
    "Label 0 (mean) is the mean over the foreground labels of a case, taken within each run.",
    "A case's value is the mean over its runs (seeds); cases are averaged last, those of all folds pooled.",
    "sd is the sample standard deviation over cases (n − 1).",
    "Surface distances are between border voxels. HD95 is the greater of the two directed 95th percentiles, HD the "
    "greatest distance, ASSD the mean over the border voxels of both masks. Where exactly one of the two masks is "
    "empty they have no value and count as the image diagonal; where both are empty the case is left out.",
    "NSD is the share of both borders within a tolerance of the other one, which stands in per_case.csv: 0 where "
    "one mask is empty, 1 where both are.",
    "Precision, recall and other overlap metrics without a value are left out.",
    "A case without a prediction, or scored in one run and missing in another, counts as worst there: 0, or "
    "the image diagonal.",
    "Methods are compared on the cases in which all of those compared have a value. A distance that one method lacks, "
    "because its mask and the reference are both empty, counts as 0 there if another method has one: the first is "
    "right, and leaving the case out would favour the second.",
)


@dataclass(frozen=True)
class CaseValue:
    """The value of one case; ``value`` is None where the metric is not defined in any run."""

    method: str
    case: str
    label: int
    metric: str
    value: float | None
    as_worst: bool = False
    missing: bool = False


class Entry(NamedTuple):
    """What one run gives of a case, label and metric: ``value`` is None where the metric is not defined."""

    value: float | None
    as_worst: bool = False
    missing: bool = False


#: (method, label, metric): a row of an experiment's summary.
Cell = tuple[str, int, str]
#: Cell → case → (fold, seed) → what that run gives.
RunValues = dict[Cell, dict[str, dict[tuple[int, int], Entry]]]


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean, correctly rounded, so that it is the same on every machine and in every order."""
    return math.fsum(values) / len(values)


def deviation(values: Sequence[float]) -> float | None:
    """Sample standard deviation (n − 1); None for fewer than two values."""
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle ones."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else mean(ordered[half - 1 : half + 1])


def first_metrics(valued: Container[str]) -> tuple[str, ...]:
    """The metrics that a page's tables show at once; ``valued`` are those that have a value in any row."""
    return FIRST if "hd95_mm" in valued else FIRST_WITHOUT_SCALE


def value_matrix(
    cells: Mapping[Cell, Sequence[CaseValue]], *, methods: Sequence[str], label: int, metric: str
) -> tuple[list[str], NDArray[np.float64]]:
    """(cases in sorted order, values (cases × methods)); NaN where a method has no value of a case."""
    found = [{v.case: v.value for v in cells.get((method, label, metric), ())} for method in methods]
    cases = sorted(set[str]().union(*found))
    values = [[_number(of_method.get(case)) for of_method in found] for case in cases]
    return cases, np.array(values, dtype=np.float64).reshape(len(cases), len(methods))


def comparable(values: NDArray[np.float64], metric: str) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which cases of ``values`` (cases × methods, NaN: none) all methods can be compared on, and their values.

    An undefined distance counts as 0 where another method has one. A case with a physical scale has no
    distance only if its reference and the prediction are both empty, and one without has none of any method.
    """
    undefined = np.isnan(values)
    if metric in DISTANCES:
        kept: NDArray[np.bool_] = np.logical_not(undefined.all(axis=1))
        return kept, np.where(undefined, 0.0, values)[kept]
    kept = np.logical_not(undefined.any(axis=1))
    return kept, values[kept]


def paired_matrix(
    cells: Mapping[Cell, Sequence[CaseValue]], *, methods: Sequence[str], label: int, metric: str
) -> tuple[list[str], NDArray[np.float64], int]:
    """(cases, values (cases × methods), cases left out): what ``methods`` are compared on, case by case.

    ``cells`` is what :func:`values_of_cells` returns. Every value is a number: see :func:`comparable`.
    """
    cases, values = value_matrix(cells, methods=methods, label=label, metric=metric)
    kept, filled = comparable(values, metric)
    return [case for case, keep in zip(cases, kept, strict=True) if keep], filled, int((~kept).sum())


def statistics(values: Sequence[CaseValue]) -> dict[str, Any]:
    """What a summary says of the cases' values: columns of the ``summary`` table, ``cases`` to ``maximum``."""
    known = [value.value for value in values if value.value is not None]
    return {
        "cases": len(known),
        "undefined": len(values) - len(known),
        "as_worst": sum(value.as_worst for value in values),
        "missing": sum(value.missing for value in values),
        "mean": mean(known) if known else None,
        "sd": deviation(known),
        "median": median(known) if known else None,
        "minimum": min(known, default=None),
        "maximum": max(known, default=None),
    }


def best_constants(
    scores: Iterable[Mapping[str, Any]], *, labels: Sequence[int]
) -> dict[tuple[int, str], float]:
    """(label, metric) → mean of the best constant prediction, for dice and iou; exact, from the counts.

    A constant prediction gives every voxel of every case the same value. With P reference voxels of N,
    predicting the label everywhere scores Dice 2P/(P+N) and IoU P/N; not predicting it scores 0, or 1
    where the reference is empty too. The better of the two means is what a method has to beat. For
    label 0 (the mean over ``labels``) the candidates are nothing, and each label everywhere. A region, wherever
    ``labels`` names one, is predicted everywhere by any label of its own; it is no part of label 0.
    """
    counts: dict[str, dict[int, tuple[int, int]]] = {}
    for row in scores:
        reference, total = row["tp"] + row["fn"], row["tp"] + row["fp"] + row["fn"] + row["tn"]
        counts.setdefault(row["case"], {})[row["label"]] = (reference, total)
    everywhere = {"dice": lambda p, n: 2 * p / (p + n), "iou": lambda p, n: p / n}
    alone = without(labels)
    best: dict[tuple[int, str], float] = {}
    for metric, covered in everywhere.items():
        candidates: dict[int, list[float]] = {label: [] for label in (0, *labels)}
        for painted in (None, *labels):
            of_mean = []
            of_label: dict[int, list[float]] = {label: [] for label in labels}
            for case in sorted(counts):
                for label in labels:
                    reference, total = counts[case][label]
                    value = covered(reference, total) if label == painted else float(reference == 0)
                    of_label[label].append(value)
                of_mean.append(mean([of_label[label][-1] for label in alone]))
            if painted is None or not is_region(painted):
                candidates[0].append(mean(of_mean))
            for label in labels:
                candidates[label].append(mean(of_label[label]))
        for label, means in candidates.items():
            best[label, metric] = max(means)
    return best


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _known(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _row_values(row: Mapping[str, Any]) -> list[Entry]:
    """What a row of scores gives of each of METRICS."""
    if PREDICTION_MISSING in str(row.get("reason", "")):
        return _absent(row)
    # A distance of exactly one empty mask counts as worst; of two, there is none.
    one_empty = (row["tp"] + row["fn"] == 0) != (row["tp"] + row["fp"] == 0)
    found = []
    for metric in METRICS:
        value = _known(row[metric])
        as_worst = value is None and one_empty and metric in DISTANCES
        if as_worst:
            value = _worst(row, metric)
        found.append(Entry(value, as_worst=as_worst and value is not None))
    return found


def _absent(row: Mapping[str, Any]) -> list[Entry]:
    """What a missing prediction of the row's case gives of each of METRICS."""
    return [Entry(_worst(row, metric), missing=True) for metric in METRICS]


def _worst(row: Mapping[str, Any], metric: str) -> float | None:
    """What a missing prediction of the row's case counts as."""
    return _known(row[DISTANCES[metric]]) if metric in DISTANCES else 0.0


def _together(entries: Sequence[Entry]) -> Entry:
    """The mean of what is known of ``entries``, and whether any stands for something unknown."""
    if len(entries) == 1:
        return entries[0]
    known, as_worst, missing = [], False, False
    for entry in entries:
        if entry.value is not None:
            known.append(entry.value)
        as_worst, missing = as_worst or entry.as_worst, missing or entry.missing
    return Entry(mean(known) if known else None, as_worst, missing)


def _found(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[
    dict[tuple[str, int, int, str, int], Mapping[str, Any]], list[tuple[str, int, int]], dict[int, set[str]]
]:
    """(rows by method, fold, seed, case and label; runs, in order; fold → cases that any of its runs scored)."""
    found = {(r["method"], r["fold"], r["seed"], r["case"], r["label"]): r for r in rows}
    folds: dict[int, set[str]] = {}
    for _, fold, _, case, _ in found:
        folds.setdefault(fold, set()).add(case)
    return found, sorted({key[:3] for key in found}), folds


def missing_cases(
    scores: Iterable[Mapping[str, Any]], *, methods: Sequence[str], labels: Sequence[int]
) -> list[dict[str, Any]]:
    """Rows of the ``missing`` table: each case that a run has no prediction or no score of, and so counts as worst.

    The order is that of ``methods``, then fold, seed and case.
    """
    found, runs, folds = _found(list(scores))
    missing = []
    for method, fold, seed in sorted(runs, key=lambda run: (methods.index(run[0]), *run[1:])):
        for case in sorted(folds[fold]):
            of_case = [found.get((method, fold, seed, case, label)) for label in labels]
            if any(row is None for row in of_case):
                what = "not in this run's scores"
            elif any(PREDICTION_MISSING in str(row.get("reason", "")) for row in of_case if row is not None):
                what = "no prediction"
            else:
                continue
            missing.append({"method": method, "fold": fold, "seed": seed, "case": case, "what": what})
    return missing


def run_values(
    scores: Iterable[Mapping[str, Any]], *, methods: Sequence[str], labels: Sequence[int]
) -> RunValues:
    """(method, label, metric) → case → (fold, seed) → value; label 0 is the mean of ``labels`` within the run.

    ``labels`` may hold regions too, which have cells of their own and are no part of label 0.

    The order is that of ``methods``, then label, metric, case and run. ``scores`` are rows of the ``per_case``
    table. The cases of a fold are those that any of its runs scored; a run without one of them, or without a
    prediction of it, is given the worst value, and is marked ``missing``.
    """
    rows = list(scores)
    found, runs, folds = _found(rows)
    any_row = {(r["case"], r["label"]): r for r in rows}
    cells: RunValues = {
        (method, label, metric): {}
        for method in methods
        if any(run[0] == method for run in runs)
        for label in sorted({0, *labels})
        for metric in METRICS
    }
    for method in methods:
        own = [run[1:] for run in runs if run[0] == method]
        for case in sorted(set[str]().union(*(folds[fold] for fold, _ in own))):
            for fold, seed in own:
                if case not in folds[fold]:
                    continue
                of_labels = []
                for label in labels:
                    row = found.get((method, fold, seed, case, label))
                    of_labels.append(_absent(any_row[case, label]) if row is None else _row_values(row))
                alone = [of for label, of in zip(labels, of_labels, strict=True) if not is_region(label)]
                of_mean = [_together(entries) for entries in zip(*alone, strict=True)]
                for label, entries in zip((0, *labels), (of_mean, *of_labels), strict=True):
                    for metric, entry in zip(METRICS, entries, strict=True):
                        cells[method, label, metric].setdefault(case, {})[fold, seed] = entry
    return cells


def cells_of(values: RunValues) -> dict[Cell, list[CaseValue]]:
    """One value a case of each cell of :func:`run_values`, in its order: the mean over the case's runs."""
    result: dict[Cell, list[CaseValue]] = {}
    for (method, label, metric), cases in values.items():
        found = result[method, label, metric] = []
        for case, runs in cases.items():
            entry = _together(list(runs.values()))
            found.append(CaseValue(method, case, label, metric, entry.value, entry.as_worst, entry.missing))
    return result


def values_of_cells(
    scores: Iterable[Mapping[str, Any]], *, methods: Sequence[str], labels: Sequence[int]
) -> dict[Cell, list[CaseValue]]:
    """One value a case by method, label (0: mean of ``labels``) and metric; see :func:`run_values`."""
    return cells_of(run_values(scores, methods=methods, labels=labels))


def case_values(
    scores: Iterable[Mapping[str, Any]], *, methods: Sequence[str], labels: Sequence[int]
) -> list[CaseValue]:
    """The values of :func:`values_of_cells` as one list, in its order."""
    cells = values_of_cells(scores, methods=methods, labels=labels)
    return [value for values in cells.values() for value in values]


def split_summary(gate: Mapping[str, Any], *, folds: Container[int]) -> dict[str, Any]:
    """What an experiment's tables say of its split: its name, in words, whether published, leaks in ``folds``.

    ``gate`` is the content of the split's ``gate.json``. ``shared`` counts the scored cases of which a copy or
    another image of the subject trains. Empty where the content is none of a split.
    """
    told = gate.get("split")
    if not isinstance(told, Mapping):
        return {}
    chosen = [entry for fold, entry in enumerate(told["folds"]) if fold in folds]
    return {
        "protocol": told["protocol"],
        "words": told["words"],
        "published": "yes" if told["published"] else "no",
        "leaks": sum(entry["leaks"] for entry in chosen),
        "shared": sum(entry["shared"] for entry in chosen),
    }
