"""Tables of the phases up to the scores, and the means of an experiment."""

import pandera.pandas as pa

from segtrace.columns import HEX16, HEX64, JSON, KEYS, NAME, POSITIVE, ROLE, UNIT, number, text, whole

CHAIN: dict[str, pa.DataFrameSchema] = {
    # One row a case as published: its files, their bytes, its grid and its mask.
    "cases": pa.DataFrameSchema(
        {
            "dataset": text(NAME),
            "case": text(NAME),
            "subject": text(),
            "group": text(empty=True),
            "side": text(empty=True),
            "images": text(JSON),  # list of files relative to the data set's folder
            "labels": text(JSON),
            "image_sha256": text(HEX64),  # of the files' bytes, in order
            "label_sha256": text(empty=True),
            "pixels_sha256": text(HEX64),  # of the decoded image: equal in any container
            "fingerprint": text(HEX16),  # perceptual hash of the image: near ones are alike
            "duplicate_group": text(NAME),  # first case of all that show the same image; often itself
            "digest": text(HEX16),  # of the whole case: this decides what reruns
            "dimensions": pa.Column("int64", pa.Check.isin([2, 3])),
            "channels": whole(1),
            "dtype": text(),
            "size": text(),  # x, y[, z] joined by x, as the next three
            "spacing_mm": text(),
            "origin_mm": text(),
            "direction": text(),
            "intensity_min": number(),
            "intensity_max": number(),
            "voxels": text(JSON),  # label value → voxels, background included
            "components": text(JSON),  # label value → connected components
            "centroids_mm": text(JSON),  # label value → world position (x, y[, z])
            "notes": text(empty=True),
        },
        strict=True,
        unique=["case"],
    ),
    # One row a pair of cases that show the same image.
    "duplicates": pa.DataFrameSchema(
        {
            "first": text(NAME),
            "second": text(NAME),
            "kind": text(pa.Check.isin(["bytes", "pixels", "near"])),
            "hamming": whole(),  # bits of 64 that differ between the fingerprints, after the transform
            "correlation": number(pa.Check.in_range(-1.0, 1.0)),  # of the thumbnails' detail
            "transform": text(),  # of the first image, which then shows the second
            "mask_dice": number(UNIT, unknown=True),  # after the transform; unknown: both masks are empty
            "contradiction": text(empty=True),  # how the labels contradict each other
        },
        strict=True,
        unique=["first", "second"],
    ),
    # One row a prepared case: what it was made from and what its arrays are.
    "prepared": pa.DataFrameSchema(
        {
            "case": text(NAME),
            "batch": whole(),
            "digest": text(HEX16),
            "image_sha256": text(HEX64),
            "label_sha256": text(empty=True),
            "size": text(),
            "spacing_mm": text(),
            "volumes_before_mm3": text(JSON),
            "volumes_after_mm3": text(JSON),
        },
        strict=True,
        unique=["case"],
    ),
    # One row a prepared case and label: what preparation did to the mask.
    "mask_checks": pa.DataFrameSchema(
        {
            "case": text(NAME),
            "label": whole(1),
            "voxels_before": whole(),
            "voxels_after": whole(),
            "volume_before_mm3": number(POSITIVE),
            "volume_after_mm3": number(POSITIVE),
            "volume_change": number(unknown=True),
            "components_before": whole(),
            "components_after": whole(),
            "centroid_shift_voxels": number(POSITIVE, unknown=True),
            "problem": text(empty=True),
        },
        strict=True,
        unique=["case", "label"],
    ),
    "split": pa.DataFrameSchema(
        {
            "case": text(NAME),
            "subject": text(),
            "cluster": text(),  # subjects joined by duplicates: never divided between sides
            "fold": whole(),
            "role": text(ROLE),
        },
        strict=True,
        unique=["case", "fold"],
    ),
    "history": pa.DataFrameSchema(
        {
            "epoch": whole(1),
            "step": whole(1),
            "learning_rate": number(POSITIVE),
            "loss": number(),
            "val_dice": number(UNIT, unknown=True),
        },
        strict=True,
        unique=["epoch"],
    ),
    # One row a predicted case.
    "predictions": pa.DataFrameSchema(
        {
            "case": text(NAME),
            "file": text(),
            "sha256": text(HEX64),
            "digest": text(HEX16),
        },
        strict=True,
        unique=["case"],
    ),
    # One row a case and label.
    "scores": pa.DataFrameSchema(
        KEYS
        | {
            "case": text(NAME),
            "label": whole(1),
            "tp": whole(),
            "fp": whole(),
            "fn": whole(),
            "tn": whole(),
            "dice": number(UNIT, unknown=True),
            "iou": number(UNIT, unknown=True),
            "precision": number(UNIT, unknown=True),
            "recall": number(UNIT, unknown=True),
            "accuracy": number(UNIT),
            "nsd": number(UNIT),  # at the tolerance beside it, of which one is known
            "nsd_tolerance_mm": number(POSITIVE, unknown=True),
            "nsd_tolerance_voxel": number(POSITIVE, unknown=True),
            "hd95_mm": number(POSITIVE, unknown=True),
            "hd95_voxel": number(POSITIVE, unknown=True),
            "hd_mm": number(POSITIVE, unknown=True),
            "hd_voxel": number(POSITIVE, unknown=True),
            "assd_mm": number(POSITIVE, unknown=True),
            "assd_voxel": number(POSITIVE, unknown=True),
            "worst_mm": number(
                POSITIVE, unknown=True
            ),  # image diagonal: what an undefined distance counts as
            "worst_voxel": number(POSITIVE),
            "reason": text(empty=True),
        },
        strict=True,
        unique=["case", "label"],
    ),
    # One row a method, label and metric; label 0 is the mean of the foreground labels.
    "summary": pa.DataFrameSchema(
        {
            "experiment": text(NAME),
            "method": text(NAME),
            "budget": text(NAME),
            "label": whole(),
            "label_name": text(),
            "metric": text(),
            "cases": whole(),  # cases that the mean is over
            "undefined": whole(),  # cases left out: the metric has no value in any run
            "as_worst": whole(),  # cases in which an undefined distance counts as the image diagonal
            "missing": whole(),  # cases without a score in at least one run, counted as worst
            "mean": number(unknown=True),
            "sd": number(POSITIVE, unknown=True),
            "low": number(unknown=True),  # ends of the 95 % interval of the mean (BCa over cases)
            "high": number(unknown=True),
            "median": number(unknown=True),
            "minimum": number(unknown=True),
            "maximum": number(unknown=True),
            "constant": number(unknown=True),  # the best constant prediction's mean
            "seeds": whole(1),
            "folds": whole(1),
            "protocol": text(NAME),
            "published": text(pa.Check.isin(["yes", "no"])),  # whether the protocol is
            "leaks": whole(),  # subjects and duplicates that lie on two sides, in the folds used
            "recipe": text(NAME),  # by which images became arrays
            "input": text(
                pa.Check.isin(["clean", "as_published"])
            ),  # as_published: with faults of the original
        },
        strict=True,
        unique=["method", "label", "metric"],
    ),
}
