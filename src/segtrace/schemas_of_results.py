"""Tables of experiments: joined scores, intervals, tests, ranks, published values, cost."""

import pandera.pandas as pa

from segtrace.columns import JSON, NAME, POSITIVE, UNIT, number, text, whole
from segtrace.schemas_of_cases import CHAIN

RESULTS: dict[str, pa.DataFrameSchema] = {}

#: The scores of all runs of an experiment, joined.
RESULTS["per_case"] = pa.DataFrameSchema(
    dict(CHAIN["scores"].columns), strict=True, unique=["method", "fold", "seed", "case", "label"]
)

#: The histories of all runs of all experiments, joined.
RESULTS["histories"] = pa.DataFrameSchema(
    {
        "experiment": text(NAME),
        "run": text(),
        "method": text(NAME),
        "fold": whole(),
        "seed": whole(),
        **CHAIN["history"].columns,
    },
    strict=True,
    unique=["experiment", "run", "epoch"],
)

#: One row a run of an experiment: in which epoch it reached 95 % of its final validation Dice.
RESULTS["convergence"] = pa.DataFrameSchema(
    {
        "experiment": text(NAME),
        "run": text(),
        "method": text(NAME),
        "fold": whole(),
        "seed": whole(),
        "epochs": whole(1),
        "validated": whole(),  # epochs that have a validation Dice
        "best": number(UNIT, unknown=True),  # validation Dice
        "final": number(UNIT, unknown=True),
        "target": number(UNIT, unknown=True),
        "epoch": number(pa.Check.ge(1.0), unknown=True),  # the first that reaches the target
        "stays": number(pa.Check.ge(1.0), unknown=True),  # from here on none is below it
        "note": text(empty=True),
    },
    strict=True,
    unique=["experiment", "run"],
)

#: Methods, labels and metrics that a row of an experiment's tables is about.
_CELL = {
    "method": text(NAME),
    "label": whole(),
    "label_name": text(),
    "metric": text(),
}

#: One row a mean and kind of interval.
RESULTS["intervals"] = pa.DataFrameSchema(
    _CELL
    | {
        "kind": text(pa.Check.isin(["bca", "percentile", "hierarchical"])),
        "level": number(UNIT),
        "cases": whole(),
        "seeds": whole(1),
        "mean": number(unknown=True),
        "low": number(unknown=True),
        "high": number(unknown=True),
        "note": text(empty=True),  # why it is missing, or is not to be trusted
    },
    strict=True,
    unique=["method", "label", "metric", "kind"],
)
#: One row a mean and way of averaging; of overlaps alone, where counts are pooled.
RESULTS["aggregates"] = pa.DataFrameSchema(
    _CELL
    | {
        "aggregation": text(pa.Check.isin(["per_case", "per_batch", "pooled", "per_fold", "per_seed"])),
        "batch": whole(),  # images a batch; 0 where there are none
        "units": whole(),  # cases, batches, folds or seeds that the mean is over
        "mean": number(unknown=True),
        "sd": number(POSITIVE, unknown=True),  # over those units (n − 1)
        "note": text(empty=True),
    },
    strict=True,
    unique=["method", "label", "metric", "aggregation"],
)
#: One row a mean over the cases of one published class; none where the cases are not of several.
RESULTS["subgroups"] = pa.DataFrameSchema(
    _CELL
    | {
        "subgroup": text(),
        **{name: CHAIN["summary"].columns[name] for name in ("cases", "undefined", "as_worst", "missing")},
        **{name: CHAIN["summary"].columns[name] for name in ("mean", "sd", "low", "high")},
        "note": text(empty=True),
    },
    strict=True,
    unique=["method", "label", "metric", "subgroup"],
)
#: One row a method, corruption, strength and label: what corrupted images cost; none where no corruption is asked for.
RESULTS["robustness"] = pa.DataFrameSchema(
    {
        "method": text(NAME),
        "corruption": text(pa.Check.isin(["noise", "blur", "contrast", "scale"])),
        "strength": number(POSITIVE),
        "label": whole(),
        "label_name": text(),
        "metric": text(),
        "cases": whole(),  # with a value on clean and on corrupted images
        "missing": whole(),  # of these, without a prediction in some run of either: counted as worst
        "clean": number(unknown=True),  # mean on the clean images
        "mean": number(unknown=True),  # on the corrupted ones
        "drop": number(unknown=True),  # clean − corrupted, mean over cases
        "low": number(unknown=True),  # its 95 % interval (BCa)
        "high": number(unknown=True),
        "note": text(empty=True),
    },
    strict=True,
    unique=["method", "corruption", "strength", "label", "metric"],
)
#: One row a pair of methods, label and metric; differences are first − second.
RESULTS["tests"] = pa.DataFrameSchema(
    {
        "label": whole(),
        "label_name": text(),
        "metric": text(),
        "first": text(NAME),
        "second": text(NAME),
        "cases": whole(),  # with a value of both
        "dropped": whole(),  # without
        "difference": number(unknown=True),  # mean of the paired differences
        "low": number(unknown=True),  # its 95 % interval (BCa)
        "high": number(unknown=True),
        "permutation": text(pa.Check.isin(["exact", "drawn", "none"])),
        "permutation_p": number(UNIT, unknown=True),
        "permutation_holm": number(UNIT, unknown=True),  # over the pairs of this label and metric
        "wilcoxon": text(pa.Check.isin(["exact", "approximate", "none"])),
        "wilcoxon_p": number(UNIT, unknown=True),
        "wilcoxon_holm": number(UNIT, unknown=True),
        "cohens_dz": number(unknown=True),
        "rank_biserial": number(pa.Check.in_range(-1.0, 1.0), unknown=True),
        "wins": whole(),  # cases in which the first is better
        "losses": whole(),
        "ties": whole(),
        "note": text(empty=True),
    },
    strict=True,
    unique=["label", "metric", "first", "second"],
)
#: One row a way of ranking, label, metric and method.
RESULTS["ranks"] = pa.DataFrameSchema(
    {
        "scheme": text(pa.Check.isin(["aggregate_then_rank", "rank_then_aggregate", "test_then_rank"])),
        "label": whole(),
        "label_name": text(),
        "metric": text(),
        "method": text(NAME),
        "rank": number(pa.Check.ge(1.0)),  # ties share the least rank
        "statistic": number(unknown=True),  # mean value, mean rank, or number of significant wins
        "mean_rank": number(pa.Check.ge(1.0)),  # over bootstrap samples of the cases
        "low": number(pa.Check.ge(1.0)),  # 2.5 and 97.5 % of the bootstrap ranks
        "high": number(pa.Check.ge(1.0)),
        "first": number(UNIT),  # share of the samples in which it is first
        "frequencies": text(JSON),  # rank → share of the samples
        "tau": number(pa.Check.in_range(-1.0, 1.0), unknown=True),  # Kendall's, median over the samples
        "tau_low": number(pa.Check.in_range(-1.0, 1.0), unknown=True),
        "tau_high": number(pa.Check.in_range(-1.0, 1.0), unknown=True),
        "cases": whole(),
        "samples": whole(),
        "note": text(empty=True),
    },
    strict=True,
    unique=["scheme", "label", "metric", "method"],
)
#: One row a cell of the published table, in this project's units.
RESULTS["published"] = pa.DataFrameSchema(
    {
        "paper": text(NAME),
        "table": text(),
        "row": text(),
        "column": text(),
        "printed": text(),
        "method": text(empty=True),
        "label": whole(),
        "metric": text(),
        "aggregation": text(),
        "published": number(),
        "published_spread": number(POSITIVE, unknown=True),
        "recomputed": number(unknown=True),
        "low": number(unknown=True),
        "high": number(unknown=True),
        "difference": number(unknown=True),  # recomputed − published
        "budget": text(empty=True),
        "seeds": whole(),
        "comparable": text(pa.Check.isin(["yes", "no"])),
        "reason": text(empty=True),  # why it is not, all reasons joined by '; '
    },
    strict=True,
    unique=["row", "column"],
)
#: One row a case that a run lacks: counted as worst.
RESULTS["missing"] = pa.DataFrameSchema(
    {
        "method": text(NAME),
        "fold": whole(),
        "seed": whole(),
        # 'all cases': the run is not there, and its method in no other table of the experiment
        "case": text(pa.Check.str_matches(r"^([A-Za-z0-9][A-Za-z0-9._-]*|all cases)$")),
        "what": text(),
    },
    strict=True,
    unique=["method", "fold", "seed", "case"],
)
#: One row a run: what it took, which differs from run to run. It lies beside the page and is never compared.
RESULTS["cost"] = pa.DataFrameSchema(
    {
        "method": text(NAME),
        "fold": whole(),
        "seed": whole(),
        "parameters": number(POSITIVE, unknown=True),
        "multiply_accumulates": number(POSITIVE, unknown=True),  # of one image of the size beside it
        "size": text(empty=True),  # (D, H, W) or (H, W) that the network sees at once in prediction: 256x256
        "minutes": number(POSITIVE, unknown=True),  # of the training
        "memory_gb": number(POSITIVE, unknown=True),  # greatest resident memory, in 10⁹ bytes
        "cores_used": number(POSITIVE, unknown=True),  # on average
        "seconds_to_95": number(POSITIVE, unknown=True),  # of the final validation Dice, by share of epochs
        "epochs": number(POSITIVE, unknown=True),
        "threads": number(POSITIVE, unknown=True),
        "device": text(empty=True),
        "processor": text(empty=True),
    },
    strict=True,
    unique=["method", "fold", "seed"],
)
#: One row a method and batch: what its network costs to predict with. Measured in part, so never compared.
RESULTS["network_cost"] = pa.DataFrameSchema(
    {
        "method": text(NAME),
        "network": text(NAME),
        "size": text(),  # (D, H, W) or (H, W) of an image as the network takes it
        "channels": whole(1),
        "classes": whole(1),  # logits of a voxel
        "parameters": whole(),
        "multiply_accumulates": number(POSITIVE, unknown=True),  # of one image
        "batch": whole(),  # 0 where nothing is measured
        "latency_ms": number(POSITIVE, unknown=True),  # median
        "fastest_ms": number(POSITIVE, unknown=True),
        "slowest_ms": number(POSITIVE, unknown=True),
        "passes": whole(),
        "memory_mb": number(POSITIVE, unknown=True),  # greatest, in 10⁶ bytes
        "threads": whole(1),
        "precision": text(),
        "device": text(empty=True),
        "processor": text(empty=True),
        "reason": text(empty=True),  # why something is not known
    },
    strict=True,
    unique=["method", "batch"],
)
