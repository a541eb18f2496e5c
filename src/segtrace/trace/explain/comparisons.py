"""Where the walk of a comparison starts: intervals, averages, tests, ranks, published values, missing cases.

What follows from the scores by arithmetic is computed again. What was drawn at random is not: it is said from
which values, with how many samples and which seed, and the same command draws the same.
"""

from collections.abc import Mapping
from typing import Any

from segtrace import layout, ranks
from segtrace.aggregation import PREDICTION_MISSING, mean, paired_matrix, run_values
from segtrace.config import load
from segtrace.metrics.averages import Average, averages
from segtrace.regions import enters
from segtrace.samples import SAMPLES, SEED
from segtrace.trace import jobs
from segtrace.trace.cells import Subject
from segtrace.trace.explain import arithmetic
from segtrace.trace.explain.facts import Facts
from segtrace.trace.explain.links import need
from segtrace.trace.explain.means import NOT_AGAIN, Start, case_values

DRAWN = f"{SAMPLES:,} bootstrap samples of the cases, drawn with seed {SEED}"


def _scored(begun: Start, facts: Facts, experiment: str, wanted: set[tuple[tuple[str, ...], int]]) -> None:
    """The score rows that rows of a table go through: of ``wanted`` methods, those of a label (0: of all)."""
    for job in arithmetic.scorings(experiment, facts):
        labels = {label for methods, label in wanted if jobs.run_of(job).method in methods}
        if not labels:
            continue
        need(begun.needs, job, (), "")
        for row in facts.rows(jobs.outputs(job)[0]):
            if any(enters(int(row["label"]), label) for label in labels):
                need(begun.needs, job, (row["case"],), row["label"])


def compared(
    begun: Start, subject: Subject, number: int, row: Mapping[str, str], again: Mapping[str, Any] | None
) -> None:
    """Compare the cells of a row with those computed again; ``again`` is None where no scores make the row."""
    if again is None:
        begun.differences.append((f"line {number}", "there", "no scores make such a row"))
        return
    for column in [subject.column] if subject.column else row:
        if column in again:
            begun.compare(f"line {number}, {column}", table=row[column], again=again[column])


def whole(begun: Start, subject: Subject, what: str) -> None:
    """What is said of a table of which no single row is chosen."""
    count = len(subject.lines)
    begun.how.append(f"{count} rows, {what}" if count else f"no rows: {what}")


def key_of(row: Mapping[str, str]) -> arithmetic.Key:
    """The cell of the summary that a row is about."""
    return row["method"], int(row["label"]), row["metric"]


# --- intervals and averages ---------------------------------------------------------------------------


def intervals(subject: Subject, facts: Facts, begun: Start) -> None:
    """Rows of the ``intervals`` table, or one cell: the mean is computed again, its ends are not."""
    made = arithmetic.experiment_cells(subject.job.name, facts)
    _scored(
        begun, facts, subject.job.name, {((row["method"],), int(row["label"])) for _, row in subject.lines}
    )
    for number, row in subject.lines:
        key = key_of(row)
        if made.cells:
            cell = made.cells.get(key)
            again = cell and {name: cell[name] for name in ("mean", "cases", "seeds")}
            compared(begun, subject, number, row, again)
    if not made.cells:
        begun.how.append(NOT_AGAIN)
    elif not subject.one:
        whole(begun, subject, "one a method, label, metric and kind of interval")
    elif key in made.cells:
        begun.how += arithmetic.sentences("mean", key, made, name=row["label_name"])
        begun.how += of_an_interval(row)
        begun.cases = case_values(key, made)


_KINDS = {
    "bca": "bias-corrected and accelerated (BCa)",
    "percentile": "the percentiles of the samples' means",
    "hierarchical": "the percentiles of the means when the runs of each fold are drawn as well as the cases",
}


def of_an_interval(row: Mapping[str, str]) -> list[str]:
    """In words, how an interval of this ``kind`` comes about, and its ``note``."""
    told = [f"interval: {_KINDS.get(row['kind'], row['kind'])}, from {DRAWN}; it is not drawn again here"]
    return [*told, *([f"note: {row['note']}"] if row["note"] else [])]


def experiment_averages(
    experiment: str, batch: int, facts: Facts
) -> dict[tuple[arithmetic.Key, str], Average]:
    """(cell, aggregation) → mean, from the scores files as they are now; empty if they cannot be had."""
    place = ("averages", experiment, batch)
    if place not in facts.kept:
        try:
            rows = [
                arithmetic.score(row)
                for job in arithmetic.scorings(experiment, facts)
                for row in facts.rows(jobs.outputs(job)[0])
            ]
            methods, labels = (
                list(dict.fromkeys(r["method"] for r in rows)),
                sorted({r["label"] for r in rows}),
            )
            values = run_values(rows, methods=methods, labels=labels)
            made = averages(rows, values=values, labels=labels, batch=batch)
        except (KeyError, ValueError, TypeError, ZeroDivisionError):
            made = {}
        facts.kept[place] = {
            (cell, one.aggregation): one for cell, several in made.items() for one in several
        }
    found: dict[tuple[arithmetic.Key, str], Average] = facts.kept[place]
    return found


def aggregates(subject: Subject, facts: Facts, begun: Start) -> None:
    """Rows of the ``aggregates`` table, or one cell, computed again whole."""
    name = subject.job.name
    batch = int(next((row["batch"] for _, row in subject.lines if row["batch"] != "0"), "1"))
    made = experiment_averages(name, batch, facts)
    _scored(begun, facts, name, {((row["method"],), int(row["label"])) for _, row in subject.lines})
    for number, row in subject.lines:
        key = key_of(row)
        one = made.get((key, row["aggregation"]))
        if made:
            again = {k: getattr(one, k) for k in ("mean", "sd", "units")} if one else None
            compared(begun, subject, number, row, again)
    if not made:
        begun.how.append(NOT_AGAIN)
    elif not subject.one:
        whole(begun, subject, "one a method, label, metric and way of averaging")
    elif one:
        begun.how.append(_AVERAGED[row["aggregation"]].format(**row))
        begun.how += [f"note: {row['note']}"] if row["note"] else []


_AVERAGED = {
    "per_case": "mean over {units} cases, as in the summary",
    "per_fold": "mean over {units} folds of the mean over the cases of each",
    "per_seed": "mean over {units} seeds of the mean over the cases of each seed's runs",
    "pooled": "mean over {units} runs of the {metric} of one confusion matrix, to which the counts (tp, fp, fn, tn) of "
    "all cases of the run are added; of label 0 the mean over labels",
    "per_batch": "{units} batches of up to {batch} images in the order of the case ids, IoU from the batch's counts "
    "together with 1e-5 added to both parts, Dice = 2 IoU / (1 + IoU); averaged by number of images, then over runs",
}


# --- tests and ranks ----------------------------------------------------------------------------------


def tests(subject: Subject, facts: Facts, begun: Start) -> None:
    """Rows of the ``tests`` table, or one cell: the mean difference is computed again, the rest is told."""
    made = arithmetic.experiment_cells(subject.job.name, facts)
    pairs: set[tuple[tuple[str, ...], int]] = {
        ((row["first"], row["second"]), int(row["label"])) for _, row in subject.lines
    }
    _scored(begun, facts, subject.job.name, pairs)
    for number, row in subject.lines:
        pair, label = [row["first"], row["second"]], int(row["label"])
        if made.cells:
            cases, values, dropped = paired_matrix(
                made.values, methods=pair, label=label, metric=row["metric"]
            )
            differences = (values[:, 0] - values[:, 1]).tolist()
            compared(begun, subject, number, row, {
                "cases": len(cases), "dropped": dropped, "difference": mean(differences) if cases else None,
            })  # fmt: skip
    if not made.cells:
        begun.how.append(NOT_AGAIN)
    elif not subject.one:
        whole(begun, subject, "one a label, metric and pair of methods")
    else:
        begun.how.append(
            f"mean of {row['first']} − {row['second']} over {len(cases)} cases of which both have a value"
        )
        begun.how += [_TESTED[subject.column]] if subject.column in _TESTED else list(_TESTED.values())
        begun.how += [f"note: {row['note']}"] if row["note"] else []
        begun.cases = [
            {"case": case, "value": value, "as_worst": False, "missing": False}
            for case, value in zip(cases, differences, strict=True)
        ]


_INTERVAL = f"low, high: BCa interval of the difference, from {DRAWN}; it is not drawn again here"
_PERMUTATION = "permutation_p: paired permutation test, the signs of the differences turned around; two-sided"
_WILCOXON = "wilcoxon_p: Wilcoxon's signed-rank test of the differences; two-sided"
_HOLM = "{}_holm: the same, adjusted by Holm's method over the pairs of this label and metric"
_TESTED = {
    "low": _INTERVAL,
    "high": _INTERVAL,
    "permutation_p": _PERMUTATION,
    "permutation_holm": _HOLM.format("permutation"),
    "wilcoxon_p": _WILCOXON,
    "wilcoxon_holm": _HOLM.format("wilcoxon"),
    "cohens_dz": "cohens_dz: mean of the differences over their sample standard deviation",
    "rank_biserial": "rank_biserial: (rank sum of positive − of negative differences) / rank sum of all",
}


def rankings(subject: Subject, facts: Facts, begun: Start) -> None:
    """Rows of the ``ranks`` table, or one cell: ranks of all cases are computed again, bootstrap ones are told."""
    made = arithmetic.experiment_cells(subject.job.name, facts)
    methods = list(made.runs)
    _scored(begun, facts, subject.job.name, {(tuple(methods), int(row["label"])) for _, row in subject.lines})
    known: dict[tuple[str, int, str], dict[str, dict[str, Any]]] = {}
    for number, row in subject.lines:
        label, place = int(row["label"]), (row["scheme"], int(row["label"]), row["metric"])
        if made.cells and place not in known:
            cases, values, _ = paired_matrix(made.values, methods=methods, label=label, metric=row["metric"])
            by, rank = ranks.SCHEMES[row["scheme"]](values, row["metric"])
            known[place] = {
                method: {"rank": int(rank[m]), "statistic": float(by[m]), "cases": len(cases)}
                for m, method in enumerate(methods)
            }
        if made.cells:
            compared(begun, subject, number, row, known[place].get(row["method"]))
    if not made.cells:
        begun.how.append(NOT_AGAIN)
    elif not subject.one:
        whole(begun, subject, "one a scheme, label, metric and method")
    else:
        begun.how.append(_RANKED[row["scheme"]].format(**row))
        others = ", ".join(
            f"{method} {of['rank']} ({of['statistic']:g})"
            for method, of in sorted(known[place].items(), key=lambda item: item[1]["rank"])
        )
        begun.how.append(f"ranks, with what they are by: {others}")
        if subject.column not in ("rank", "statistic", "cases"):
            begun.how.append(
                f"mean_rank to tau_high: from {int(row['samples']):,} bootstrap samples of the cases, drawn with seed "
                f"{SEED} and ranked alike; they are not drawn again here"
            )
        begun.how += [f"note: {row['note']}"] if row["note"] else []


_RANKED = {
    "aggregate_then_rank": "rank of the mean over {cases} cases that all methods have a value of",
    "rank_then_aggregate": "rank of the mean of the ranks within each of {cases} cases",
    "test_then_rank": "rank by the number of methods that it is significantly better than, by one-sided Wilcoxon "
    "signed-rank tests over {cases} cases of all ordered pairs, adjusted by Holm's method at 0.05",
}


# --- published values and missing cases ---------------------------------------------------------------


def published(subject: Subject, facts: Facts, begun: Start) -> None:
    """Rows of the ``published`` table, or one cell: the print is the configuration's, what was recomputed ours."""
    name = subject.job.name
    table = load.experiment(name).published
    printed = {
        (row.name, column.name): cell
        for row in (table.rows if table else ())
        for column, cell in zip(table.columns if table else (), row.cells, strict=True)
    }
    need(begun.needs, subject.job, (), "")
    batch = load.experiment(name).batch
    for number, row in subject.lines:
        cell = printed.get((row["row"], row["column"]))
        again: dict[str, Any] | None = None if cell is None else {"printed": cell}
        if again is not None and row["method"] and row["metric"] == "parameters":
            for job in arithmetic.scorings(name, facts):
                if jobs.run_of(job).method == row["method"]:
                    run = jobs.train(jobs.run_of(job))
                    need(begun.needs, run, (layout.WEIGHTS["last"], "run.json"), "counted in")
        elif again is not None and row["recomputed"]:
            _scored(begun, facts, name, {((row["method"],), int(row["label"]))})
            one = experiment_averages(name, batch, facts).get((key_of(row), row["aggregation"]))
            again["recomputed"] = one.mean if one else None
        compared(begun, subject, number, row, again)
    if not subject.one:
        whole(begun, subject, "one a cell of the published table in the experiment's file")
        return
    begun.how.append(
        f"printed as {row['printed']} in {row['table']} of {row['paper']}: typed into config/experiments/{name}.yaml"
    )
    if row["recomputed"] and row["metric"] == "parameters":
        begun.how.append(f"recomputed: the trained parameters of {row['method']}, counted in its weights")
    elif row["recomputed"]:
        begun.how.append(
            f"recomputed: {row['metric']} of {row['method']}, label {row['label']}, as aggregates.csv has it by "
            f"{row['aggregation']}"
        )
    begun.how += [f"comparable: {row['comparable']}" + (f", for {row['reason']}" if row["reason"] else "")]


def missing(subject: Subject, facts: Facts, begun: Start) -> None:
    """Rows of the ``missing`` table: each is looked up in the scores of the run again."""
    need(begun.needs, subject.job, (), "")
    for number, row in subject.lines:
        for job in arithmetic.scorings(subject.job.name, facts):
            run = jobs.run_of(job)
            if (run.method, str(run.fold), str(run.seed)) != (row["method"], row["fold"], row["seed"]):
                continue
            need(begun.needs, job, (), "")
            own = [r for r in facts.rows(jobs.outputs(job)[0]) if r["case"] == row["case"]]
            for found in own:
                need(begun.needs, job, (row["case"],), found["label"])
            there = bool(own) and not all(PREDICTION_MISSING in found.get("reason", "") for found in own)
            begun.compare(f"line {number}, case", table=row["case"], again=None if there else row["case"])
    if subject.one:
        begun.how.append("the run has no prediction of the case, which counts as worst in every table")
    else:
        whole(begun, subject, "one a case without a prediction in a run; they count as worst in every table")


START = {
    "intervals": intervals,
    "aggregates": aggregates,
    "tests": tests,
    "ranks": rankings,
    "published": published,
    "missing": missing,
}
