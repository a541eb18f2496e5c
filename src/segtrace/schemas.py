"""The form of every table: columns in order, types, and what may stand in a cell."""

import json

import pandera.pandas as pa

_HEX16 = pa.Check.str_matches(r"^[0-9a-f]{16}$")
_HEX64 = pa.Check.str_matches(r"^[0-9a-f]{64}$")
_NAME = pa.Check.str_matches(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


_JSON = pa.Check(_is_json, element_wise=True, name="is JSON")


def _text(*checks: pa.Check, empty: bool = False) -> pa.Column:
    return pa.Column(str, list(checks) if empty else [pa.Check.str_length(min_value=1), *checks])


def _whole(least: int = 0) -> pa.Column:
    return pa.Column("int64", pa.Check.ge(least))


def _number(*checks: pa.Check, unknown: bool = False) -> pa.Column:
    return pa.Column("float64", list(checks), nullable=unknown)


_UNIT = pa.Check.in_range(0.0, 1.0)
_POSITIVE = pa.Check.ge(0.0)
_ROLE = pa.Check.isin(["train", "val", "test"])
_KEYS = {
    "dataset": _text(_NAME),
    "recipe": _text(_NAME),
    "protocol": _text(_NAME),
    "role": _text(_ROLE),
    "method": _text(_NAME),
    "budget": _text(_NAME),
    "fold": _whole(),
    "seed": _whole(),
    "checkpoint": _text(pa.Check.isin(["last", "best_val"])),
    "grid": _text(pa.Check.isin(["native", "prepared"])),
    "corruption": _text(_NAME),
}

#: The metrics of ``scores``, in column order.
METRICS = (
    "dice",
    "iou",
    "precision",
    "recall",
    "accuracy",
    "nsd",
    "hd95_mm",
    "hd95_voxel",
    "hd_mm",
    "hd_voxel",
    "assd_mm",
    "assd_voxel",
)

SCHEMAS: dict[str, pa.DataFrameSchema] = {
    # One row a case as published: its files, their bytes, its grid and its mask.
    "cases": pa.DataFrameSchema(
        {
            "dataset": _text(_NAME),
            "case": _text(_NAME),
            "subject": _text(),
            "group": _text(empty=True),
            "side": _text(empty=True),
            "images": _text(_JSON),  # list of files relative to the data set's folder
            "labels": _text(_JSON),
            "image_sha256": _text(_HEX64),  # of the files' bytes, in order
            "label_sha256": _text(empty=True),
            "pixels_sha256": _text(_HEX64),  # of the decoded image: equal in any container
            "fingerprint": _text(_HEX16),  # perceptual hash of the image: near ones are alike
            "duplicate_group": _text(_NAME),  # first case of all that show the same image; often itself
            "digest": _text(_HEX16),  # of the whole case: this decides what reruns
            "dimensions": pa.Column("int64", pa.Check.isin([2, 3])),
            "channels": _whole(1),
            "dtype": _text(),
            "size": _text(),  # x, y[, z] joined by x, as the next three
            "spacing_mm": _text(),
            "origin_mm": _text(),
            "direction": _text(),
            "intensity_min": _number(),
            "intensity_max": _number(),
            "voxels": _text(_JSON),  # label value → voxels, background included
            "components": _text(_JSON),  # label value → connected components
            "centroids_mm": _text(_JSON),  # label value → world position (x, y[, z])
            "notes": _text(empty=True),
        },
        strict=True,
        unique=["case"],
    ),
    # One row a pair of cases that show the same image.
    "duplicates": pa.DataFrameSchema(
        {
            "first": _text(_NAME),
            "second": _text(_NAME),
            "kind": _text(pa.Check.isin(["bytes", "pixels", "near"])),
            "hamming": _whole(),  # bits of 64 that differ between the fingerprints, after the transform
            "correlation": _number(pa.Check.in_range(-1.0, 1.0)),  # of the thumbnails' detail
            "transform": _text(),  # of the first image, which then shows the second
            "mask_dice": _number(_UNIT, unknown=True),  # after the transform; unknown: both masks are empty
            "contradiction": _text(empty=True),  # how the labels contradict each other
        },
        strict=True,
        unique=["first", "second"],
    ),
    # One row a prepared case: what it was made from and what its arrays are.
    "prepared": pa.DataFrameSchema(
        {
            "case": _text(_NAME),
            "batch": _whole(),
            "digest": _text(_HEX16),
            "image_sha256": _text(_HEX64),
            "label_sha256": _text(empty=True),
            "size": _text(),
            "spacing_mm": _text(),
            "volumes_before_mm3": _text(_JSON),
            "volumes_after_mm3": _text(_JSON),
        },
        strict=True,
        unique=["case"],
    ),
    # One row a prepared case and label: what preparation did to the mask.
    "mask_checks": pa.DataFrameSchema(
        {
            "case": _text(_NAME),
            "label": _whole(1),
            "voxels_before": _whole(),
            "voxels_after": _whole(),
            "volume_before_mm3": _number(_POSITIVE),
            "volume_after_mm3": _number(_POSITIVE),
            "volume_change": _number(unknown=True),
            "components_before": _whole(),
            "components_after": _whole(),
            "centroid_shift_voxels": _number(_POSITIVE, unknown=True),
            "problem": _text(empty=True),
        },
        strict=True,
        unique=["case", "label"],
    ),
    "split": pa.DataFrameSchema(
        {
            "case": _text(_NAME),
            "subject": _text(),
            "cluster": _text(),  # subjects joined by duplicates: never divided between sides
            "fold": _whole(),
            "role": _text(_ROLE),
        },
        strict=True,
        unique=["case", "fold"],
    ),
    "history": pa.DataFrameSchema(
        {
            "epoch": _whole(1),
            "step": _whole(1),
            "learning_rate": _number(_POSITIVE),
            "loss": _number(),
            "val_dice": _number(_UNIT, unknown=True),
        },
        strict=True,
        unique=["epoch"],
    ),
    # One row a predicted case.
    "predictions": pa.DataFrameSchema(
        {
            "case": _text(_NAME),
            "file": _text(),
            "sha256": _text(_HEX64),
            "digest": _text(_HEX16),
        },
        strict=True,
        unique=["case"],
    ),
    # One row a case and label.
    "scores": pa.DataFrameSchema(
        _KEYS
        | {
            "case": _text(_NAME),
            "label": _whole(1),
            "tp": _whole(),
            "fp": _whole(),
            "fn": _whole(),
            "tn": _whole(),
            "dice": _number(_UNIT, unknown=True),
            "iou": _number(_UNIT, unknown=True),
            "precision": _number(_UNIT, unknown=True),
            "recall": _number(_UNIT, unknown=True),
            "accuracy": _number(_UNIT),
            "nsd": _number(_UNIT),  # at the tolerance beside it, of which one is known
            "nsd_tolerance_mm": _number(_POSITIVE, unknown=True),
            "nsd_tolerance_voxel": _number(_POSITIVE, unknown=True),
            "hd95_mm": _number(_POSITIVE, unknown=True),
            "hd95_voxel": _number(_POSITIVE, unknown=True),
            "hd_mm": _number(_POSITIVE, unknown=True),
            "hd_voxel": _number(_POSITIVE, unknown=True),
            "assd_mm": _number(_POSITIVE, unknown=True),
            "assd_voxel": _number(_POSITIVE, unknown=True),
            "worst_mm": _number(
                _POSITIVE, unknown=True
            ),  # image diagonal: what an undefined distance counts as
            "worst_voxel": _number(_POSITIVE),
            "reason": _text(empty=True),
        },
        strict=True,
        unique=["case", "label"],
    ),
    # One row a method, label and metric; label 0 is the mean of the foreground labels.
    "summary": pa.DataFrameSchema(
        {
            "experiment": _text(_NAME),
            "method": _text(_NAME),
            "budget": _text(_NAME),
            "label": _whole(),
            "label_name": _text(),
            "metric": _text(),
            "cases": _whole(),  # cases that the mean is over
            "undefined": _whole(),  # cases left out: the metric has no value in any run
            "as_worst": _whole(),  # cases in which an undefined distance counts as the image diagonal
            "missing": _whole(),  # cases without a score in at least one run, counted as worst
            "mean": _number(unknown=True),
            "sd": _number(_POSITIVE, unknown=True),
            "low": _number(unknown=True),  # ends of the 95 % interval of the mean (BCa over cases)
            "high": _number(unknown=True),
            "median": _number(unknown=True),
            "minimum": _number(unknown=True),
            "maximum": _number(unknown=True),
            "constant": _number(unknown=True),  # the best constant prediction's mean
            "seeds": _whole(1),
            "folds": _whole(1),
            "protocol": _text(_NAME),
            "published": _text(pa.Check.isin(["yes", "no"])),  # whether the protocol is
            "leaks": _whole(),  # subjects and duplicates that lie on two sides, in the folds used
            "recipe": _text(_NAME),  # by which images became arrays
            "input": _text(
                pa.Check.isin(["clean", "as_published"])
            ),  # as_published: with faults of the original
        },
        strict=True,
        unique=["method", "label", "metric"],
    ),
}

#: The scores of all runs of an experiment, joined.
SCHEMAS["per_case"] = pa.DataFrameSchema(
    dict(SCHEMAS["scores"].columns), strict=True, unique=["method", "fold", "seed", "case", "label"]
)

#: The histories of all runs of all experiments, joined.
SCHEMAS["histories"] = pa.DataFrameSchema(
    {
        "experiment": _text(_NAME),
        "run": _text(),
        "method": _text(_NAME),
        "fold": _whole(),
        "seed": _whole(),
        **SCHEMAS["history"].columns,
    },
    strict=True,
    unique=["experiment", "run", "epoch"],
)

#: One row a run of an experiment: in which epoch it reached 95 % of its final validation Dice.
SCHEMAS["convergence"] = pa.DataFrameSchema(
    {
        "experiment": _text(_NAME),
        "run": _text(),
        "method": _text(_NAME),
        "fold": _whole(),
        "seed": _whole(),
        "epochs": _whole(1),
        "validated": _whole(),  # epochs that have a validation Dice
        "best": _number(_UNIT, unknown=True),  # validation Dice
        "final": _number(_UNIT, unknown=True),
        "target": _number(_UNIT, unknown=True),
        "epoch": _number(pa.Check.ge(1.0), unknown=True),  # the first that reaches the target
        "stays": _number(pa.Check.ge(1.0), unknown=True),  # from here on none is below it
        "note": _text(empty=True),
    },
    strict=True,
    unique=["experiment", "run"],
)

#: Methods, labels and metrics that a row of an experiment's tables is about.
_CELL = {
    "method": _text(_NAME),
    "label": _whole(),
    "label_name": _text(),
    "metric": _text(),
}

#: One row a mean and kind of interval.
SCHEMAS["intervals"] = pa.DataFrameSchema(
    _CELL
    | {
        "kind": _text(pa.Check.isin(["bca", "percentile", "hierarchical"])),
        "level": _number(_UNIT),
        "cases": _whole(),
        "seeds": _whole(1),
        "mean": _number(unknown=True),
        "low": _number(unknown=True),
        "high": _number(unknown=True),
        "note": _text(empty=True),  # why it is missing, or is not to be trusted
    },
    strict=True,
    unique=["method", "label", "metric", "kind"],
)
#: One row a mean and way of averaging; of overlaps alone, where counts are pooled.
SCHEMAS["aggregates"] = pa.DataFrameSchema(
    _CELL
    | {
        "aggregation": _text(pa.Check.isin(["per_case", "per_batch", "pooled", "per_fold", "per_seed"])),
        "batch": _whole(),  # images a batch; 0 where there are none
        "units": _whole(),  # cases, batches, folds or seeds that the mean is over
        "mean": _number(unknown=True),
        "sd": _number(_POSITIVE, unknown=True),  # over those units (n − 1)
        "note": _text(empty=True),
    },
    strict=True,
    unique=["method", "label", "metric", "aggregation"],
)
#: One row a mean over the cases of one published class; none where the cases are not of several.
SCHEMAS["subgroups"] = pa.DataFrameSchema(
    _CELL
    | {
        "subgroup": _text(),
        **{name: SCHEMAS["summary"].columns[name] for name in ("cases", "undefined", "as_worst", "missing")},
        **{name: SCHEMAS["summary"].columns[name] for name in ("mean", "sd", "low", "high")},
        "note": _text(empty=True),
    },
    strict=True,
    unique=["method", "label", "metric", "subgroup"],
)
#: One row a method, corruption, strength and label: what corrupted images cost; none where no corruption is asked for.
SCHEMAS["robustness"] = pa.DataFrameSchema(
    {
        "method": _text(_NAME),
        "corruption": _text(pa.Check.isin(["noise", "blur", "contrast", "scale"])),
        "strength": _number(_POSITIVE),
        "label": _whole(),
        "label_name": _text(),
        "metric": _text(),
        "cases": _whole(),  # with a value on clean and on corrupted images
        "missing": _whole(),  # of these, without a prediction in some run of either: counted as worst
        "clean": _number(unknown=True),  # mean on the clean images
        "mean": _number(unknown=True),  # on the corrupted ones
        "drop": _number(unknown=True),  # clean − corrupted, mean over cases
        "low": _number(unknown=True),  # its 95 % interval (BCa)
        "high": _number(unknown=True),
        "note": _text(empty=True),
    },
    strict=True,
    unique=["method", "corruption", "strength", "label", "metric"],
)
#: One row a pair of methods, label and metric; differences are first − second.
SCHEMAS["tests"] = pa.DataFrameSchema(
    {
        "label": _whole(),
        "label_name": _text(),
        "metric": _text(),
        "first": _text(_NAME),
        "second": _text(_NAME),
        "cases": _whole(),  # with a value of both
        "dropped": _whole(),  # without
        "difference": _number(unknown=True),  # mean of the paired differences
        "low": _number(unknown=True),  # its 95 % interval (BCa)
        "high": _number(unknown=True),
        "permutation": _text(pa.Check.isin(["exact", "drawn", "none"])),
        "permutation_p": _number(_UNIT, unknown=True),
        "permutation_holm": _number(_UNIT, unknown=True),  # over the pairs of this label and metric
        "wilcoxon": _text(pa.Check.isin(["exact", "approximate", "none"])),
        "wilcoxon_p": _number(_UNIT, unknown=True),
        "wilcoxon_holm": _number(_UNIT, unknown=True),
        "cohens_dz": _number(unknown=True),
        "rank_biserial": _number(pa.Check.in_range(-1.0, 1.0), unknown=True),
        "wins": _whole(),  # cases in which the first is better
        "losses": _whole(),
        "ties": _whole(),
        "note": _text(empty=True),
    },
    strict=True,
    unique=["label", "metric", "first", "second"],
)
#: One row a way of ranking, label, metric and method.
SCHEMAS["ranks"] = pa.DataFrameSchema(
    {
        "scheme": _text(pa.Check.isin(["aggregate_then_rank", "rank_then_aggregate", "test_then_rank"])),
        "label": _whole(),
        "label_name": _text(),
        "metric": _text(),
        "method": _text(_NAME),
        "rank": _number(pa.Check.ge(1.0)),  # ties share the least rank
        "statistic": _number(unknown=True),  # mean value, mean rank, or number of significant wins
        "mean_rank": _number(pa.Check.ge(1.0)),  # over bootstrap samples of the cases
        "low": _number(pa.Check.ge(1.0)),  # 2.5 and 97.5 % of the bootstrap ranks
        "high": _number(pa.Check.ge(1.0)),
        "first": _number(_UNIT),  # share of the samples in which it is first
        "frequencies": _text(_JSON),  # rank → share of the samples
        "tau": _number(pa.Check.in_range(-1.0, 1.0), unknown=True),  # Kendall's, median over the samples
        "tau_low": _number(pa.Check.in_range(-1.0, 1.0), unknown=True),
        "tau_high": _number(pa.Check.in_range(-1.0, 1.0), unknown=True),
        "cases": _whole(),
        "samples": _whole(),
        "note": _text(empty=True),
    },
    strict=True,
    unique=["scheme", "label", "metric", "method"],
)
#: One row a cell of the published table, in this project's units.
SCHEMAS["published"] = pa.DataFrameSchema(
    {
        "paper": _text(_NAME),
        "table": _text(),
        "row": _text(),
        "column": _text(),
        "printed": _text(),
        "method": _text(empty=True),
        "label": _whole(),
        "metric": _text(),
        "aggregation": _text(),
        "published": _number(),
        "published_spread": _number(_POSITIVE, unknown=True),
        "recomputed": _number(unknown=True),
        "low": _number(unknown=True),
        "high": _number(unknown=True),
        "difference": _number(unknown=True),  # recomputed − published
        "budget": _text(empty=True),
        "seeds": _whole(),
        "comparable": _text(pa.Check.isin(["yes", "no"])),
        "reason": _text(empty=True),  # why it is not, all reasons joined by '; '
    },
    strict=True,
    unique=["row", "column"],
)
#: One row a case that a run lacks: counted as worst.
SCHEMAS["missing"] = pa.DataFrameSchema(
    {
        "method": _text(_NAME),
        "fold": _whole(),
        "seed": _whole(),
        # 'all cases': the run is not there, and its method in no other table of the experiment
        "case": _text(pa.Check.str_matches(r"^([A-Za-z0-9][A-Za-z0-9._-]*|all cases)$")),
        "what": _text(),
    },
    strict=True,
    unique=["method", "fold", "seed", "case"],
)
#: One row a run: what it took, which differs from run to run. It lies beside the page and is never compared.
SCHEMAS["cost"] = pa.DataFrameSchema(
    {
        "method": _text(_NAME),
        "fold": _whole(),
        "seed": _whole(),
        "parameters": _number(_POSITIVE, unknown=True),
        "multiply_accumulates": _number(_POSITIVE, unknown=True),  # of one image of the size beside it
        "size": _text(empty=True),  # (D, H, W) or (H, W) that the network sees at once in prediction: 256x256
        "minutes": _number(_POSITIVE, unknown=True),  # of the training
        "memory_gb": _number(_POSITIVE, unknown=True),  # greatest resident memory, in 10⁹ bytes
        "cores_used": _number(_POSITIVE, unknown=True),  # on average
        "seconds_to_95": _number(_POSITIVE, unknown=True),  # of the final validation Dice, by share of epochs
        "epochs": _number(_POSITIVE, unknown=True),
        "threads": _number(_POSITIVE, unknown=True),
        "device": _text(empty=True),
        "processor": _text(empty=True),
    },
    strict=True,
    unique=["method", "fold", "seed"],
)
#: One row a method and batch: what its network costs to predict with. Measured in part, so never compared.
SCHEMAS["network_cost"] = pa.DataFrameSchema(
    {
        "method": _text(_NAME),
        "network": _text(_NAME),
        "size": _text(),  # (D, H, W) or (H, W) of an image as the network takes it
        "channels": _whole(1),
        "classes": _whole(1),  # logits of a voxel
        "parameters": _whole(),
        "multiply_accumulates": _number(_POSITIVE, unknown=True),  # of one image
        "batch": _whole(),  # 0 where nothing is measured
        "latency_ms": _number(_POSITIVE, unknown=True),  # median
        "fastest_ms": _number(_POSITIVE, unknown=True),
        "slowest_ms": _number(_POSITIVE, unknown=True),
        "passes": _whole(),
        "memory_mb": _number(_POSITIVE, unknown=True),  # greatest, in 10⁶ bytes
        "threads": _whole(1),
        "precision": _text(),
        "device": _text(empty=True),
        "processor": _text(empty=True),
        "reason": _text(empty=True),  # why something is not known
    },
    strict=True,
    unique=["method", "batch"],
)
