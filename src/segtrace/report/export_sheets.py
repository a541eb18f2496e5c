"""The tables that are exported, laid out: every number from the experiment's tables, every caption from configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

from segtrace import aggregation
from segtrace.report import published as printed
from segtrace.report import sheets
from segtrace.report.methods_training import differences
from segtrace.report.scores import HEADINGS, Results, heading, number
from segtrace.report.sheets import Cell, Sheet, cells
from segtrace.report.subject import Subject

SCHEMES = {
    "aggregate_then_rank": "aggregate then rank",
    "rank_then_aggregate": "rank then aggregate",
    "test_then_rank": "test then rank",
}


def shown_metrics(results: Results) -> list[str]:
    """The metrics that the page shows first, of those that have values."""
    valued = {row["metric"] for row in results.summary if row["cases"]}
    return [metric for metric in aggregation.first_metrics(valued) if metric in valued]


def context(subject: Subject, results: Results) -> str:
    """What every caption says: data, protocol, budget, seeds, cases and conventions."""
    counted = len({row["case"] for row in results.scores})
    variant, budget, split = subject.variant, subject.budget, results.split
    less = "reduced, " if differences(subject) else ""
    trained = "as published" if budget.published else f"{less}not as published: {budget.title}"
    return (
        f"{subject.dataset.title}; protocol {split['protocol']}"
        f"{' (published)' if split['published'] == 'yes' else ''}: {split['words']}; "
        f"{split['leaks'] or 'no'} {'leak' if split['leaks'] == 1 else 'leaks'}. "
        f"{'Input as published, with its faults, by' if subject.recipe.faults else 'Input by'} the recipe "
        f"{subject.experiment.recipe}. "
        f"Budget {subject.budget_name} ({trained}), {_listed('seed', subject.seeds)}, {_listed('fold', subject.folds)}. "
        f"{counted} {variant.role} {'case' if counted == 1 else 'cases'}, {variant.grid} grid, "
        f"{variant.checkpoint.replace('_', ' ')} checkpoint."
    )


def distance_note(metrics: Sequence[str]) -> str:
    """The convention of the distances among ``metrics``; empty where there are none."""
    if not any(metric.startswith("hd95") for metric in metrics):
        return ""
    return (
        " HD95: the greater of the two directed 95th percentiles between border voxels; where one of the two masks "
        "is empty it counts as the image diagonal."
    )


def _listed(word: str, values: Sequence[int]) -> str:
    return f"{word}{'' if len(values) == 1 else 's'} {', '.join(map(str, values))}"


def _name(subject: Subject, label: int) -> str:
    return subject.labels.get(label, "mean of labels").replace("_", " ")


def _heading(subject: Subject, metric: str) -> str:
    return f"{heading(subject, metric)} {HEADINGS[metric][1]}"


def _side(metric: str) -> str:
    return "more" if HEADINGS[metric][1] == "↑" else "less"


def interval(low: float | None, high: float | None, decimals: int) -> str:
    """An interval for reading; empty where an end is not known."""
    texts = number(low, decimals), number(high, decimals)
    return "" if "–" in texts else f"[{signed(texts[0])}, {signed(texts[1])}]"


def signed(text: str) -> str:
    """A number with a minus sign in place of a hyphen."""
    return text.replace("-", "−")


def summary(subject: Subject, results: Results, label: int) -> Sheet:
    """Mean ± standard deviation of each method, with the 95 % interval of the mean where there is one."""
    found = {(row["method"], row["metric"]): row for row in results.summary if row["label"] == label}
    metrics = shown_metrics(results)
    rows = []
    for method in subject.methods:
        texts = [method.replace("_", " ")]
        for metric in metrics:
            row, decimals = found[method, metric], HEADINGS[metric][2]
            mean, between = number(row["mean"], decimals), interval(row["low"], row["high"], decimals)
            spread = f" ± {number(row['sd'], decimals)}" if mean != "–" and row["sd"] == row["sd"] else ""
            texts.append(f"{signed(mean)}{spread} {between}".strip())
        rows.append(texts)
    better = {column: _side(metric) for column, metric in enumerate(metrics, 1)}
    intervals = any("[" in text for row in rows for text in row[1:])
    brackets = ", 95 % interval of the mean over cases (BCa bootstrap) in brackets" if intervals else ""
    caption = (
        f"{subject.experiment.title}: {_name(subject, label)}, mean ± standard deviation over cases{brackets}; "
        f"the best mean of a column in bold. {context(subject, results)}{distance_note(metrics)}"
    )
    return Sheet(
        name=f"summary-{label}",
        title=f"Summary, {_name(subject, label)}",
        caption=caption,
        label=f"{subject.name}-summary-{label}",
        headings=["Method", *(_heading(subject, metric) for metric in metrics)],
        groups=[("", sheets.marked(rows, better=better, shown={}))],
        csv="summary.csv",
    )


def _of(rows: Sequence[Mapping[str, Any]], label: int, metric: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if (row["label"], row["metric"]) == (label, metric)]


def tests(subject: Subject, results: Results, label: int, metric: str) -> Sheet:
    """Paired tests of all pairs of methods."""
    decimals = HEADINGS[metric][2]
    rows = [
        cells(
            row["first"].replace("_", " "),
            row["second"].replace("_", " "),
            str(row["cases"]),
            f"{signed(number(row['difference'], decimals))} {interval(row['low'], row['high'], decimals)}".strip(),
            probability(row["permutation_holm"]),
            probability(row["wilcoxon_holm"]),
            signed(number(row["cohens_dz"], 2)),
        )
        for row in _of(results.more["tests"], label, metric)
    ]
    caption = (
        f"{subject.experiment.title}: paired differences (first − second) of {heading(subject, metric)}, "
        f"{_name(subject, label)}, with the 95 % interval of their mean; p-values of the permutation test and of "
        f"Wilcoxon's signed-rank test after Holm's correction over these pairs. {context(subject, results)}"
        f"{distance_note([metric])}"
    )
    return Sheet(
        name=f"tests-{label}-{metric}",
        title=f"Paired tests, {_name(subject, label)}, {heading(subject, metric)}",
        caption=caption,
        label=f"{subject.name}-tests-{label}-{metric}".replace("_", "-"),
        headings=[
            "First",
            "Second",
            "Cases",
            "Difference",
            "p, permutation",
            "p, Wilcoxon",
            "Cohen's d (paired)",
        ],
        groups=[("", rows)],
        texts=frozenset({0, 1}),
        csv="tests.csv",
    )


def probability(value: float | None) -> str:
    """A p-value for reading: small ones as a bound."""
    if value is None or value != value:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def ranks(subject: Subject, results: Results, label: int, metric: str) -> Sheet:
    """Ranks of the methods, one column a way of ranking."""
    of_metric = _of(results.more["ranks"], label, metric)
    found = {(row["scheme"], row["method"]): row for row in of_metric}
    schemes = [scheme for scheme in SCHEMES if any(scheme == known for known, _ in found)]
    rows = []
    for method in subject.methods if schemes else ():
        texts = [method.replace("_", " ")]
        for scheme in schemes:
            row = found.get((scheme, method))
            texts.append(f"{row['rank']:g} [{row['low']:g}, {row['high']:g}]" if row else "–")
        rows.append(texts)
    samples = max((row["samples"] for row in of_metric), default=0)
    caption = (
        f"{subject.experiment.title}: ranks by {heading(subject, metric)}, {_name(subject, label)}; in brackets between which "
        f"ranks a method lies in 95 % of {samples} bootstrap samples of the cases. {context(subject, results)}"
        f"{distance_note([metric])}"
    )
    better = dict.fromkeys(range(1, len(schemes) + 1), "less")
    return Sheet(
        name=f"ranks-{label}-{metric}",
        title=f"Ranks, {_name(subject, label)}, {heading(subject, metric)}",
        caption=caption,
        label=f"{subject.name}-ranks-{label}-{metric}".replace("_", "-"),
        headings=["Method", *(SCHEMES[scheme] for scheme in schemes)],
        groups=[("", sheets.marked(rows, better=better, shown={}))],
        csv="ranks.csv",
    )


def aggregates(subject: Subject, results: Results, label: int) -> Sheet:
    """The same scores averaged in each way: over cases, batches, folds, seeds, and from pooled counts."""
    rows = [row for row in results.more["aggregates"] if row["label"] == label]
    metrics = [metric for metric in shown_metrics(results) if any(row["metric"] == metric for row in rows)]
    groups = []
    for way in dict.fromkeys(row["aggregation"] for row in rows):
        found = {(row["method"], row["metric"]): row for row in rows if row["aggregation"] == way}
        texts = [
            [method.replace("_", " "), *(_aggregate(found.get((method, m)), HEADINGS[m][2]) for m in metrics)]
            for method in subject.methods
        ]
        batch = next((row["batch"] for row in found.values() if row["batch"]), 0)
        heading = way.replace("_", " ") + (f" of {batch} images" if batch else "")
        better = {column: _side(metric) for column, metric in enumerate(metrics, 1)}
        groups.append((heading, sheets.marked(texts, better=better, shown={})))
    caption = (
        f"{subject.experiment.title}: {_name(subject, label)}, the same scores averaged in different ways; mean ± standard "
        f"deviation over the units that are averaged, their number in parentheses. {context(subject, results)}"
        f"{distance_note(metrics)}"
    )
    return Sheet(
        name=f"aggregates-{label}",
        title=f"Ways of averaging, {_name(subject, label)}",
        caption=caption,
        label=f"{subject.name}-aggregates-{label}",
        headings=["Method", *(_heading(subject, metric) for metric in metrics)],
        groups=groups if metrics else [],
        csv="aggregates.csv",
    )


def _aggregate(row: Mapping[str, Any] | None, decimals: int) -> str:
    if row is None or row["mean"] != row["mean"]:
        return "–"
    spread = f" ± {number(row['sd'], decimals)}" if row["sd"] == row["sd"] else ""
    return f"{signed(number(row['mean'], decimals))}{spread} ({row['units']})"


def published(subject: Subject, results: Results) -> Sheet:
    """Published values beside recomputed ones, grouped by the rows of the paper's table."""
    grouped: dict[str, list[list[Cell]]] = {}
    for cell in printed.compared(subject, results):
        grouped.setdefault(cell["row"], []).append(
            cells(
                cell["heading"],
                cell["printed"],
                cell["recomputed"],
                cell["interval"],
                cell["difference"],
                cell["seeds"],
                "yes" if cell["comparable"] else "no",
            )
        )
    given = subject.experiment.published
    where = f"{given.table} of {printed.paper_words(given.paper)}" if given else ""
    caption = (
        f"{subject.experiment.title}: values published in {where} beside those recomputed here, with the 95 % interval "
        f"of the recomputed mean, in the paper's units. {context(subject, results)}"
    )
    return Sheet(
        name="published",
        title="Published and recomputed",
        caption=caption,
        label=f"{subject.name}-published",
        headings=["Column", "Published", "Recomputed", "95 % interval", "Difference", "Seeds", "Comparable"],
        groups=list(grouped.items()),
        csv="published.csv",
    )
