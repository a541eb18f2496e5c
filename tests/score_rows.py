"""Rows of scores, made from counts by hand."""

import math

from segtrace import tables

KEYS = {
    "dataset": "toy",
    "recipe": "r",
    "protocol": "p",
    "role": "test",
    "budget": "smoke",
    "fold": 0,
    "checkpoint": "last",
    "grid": "native",
    "corruption": "none",
}
DIAGONAL_MM = 50.0


def row(method, case, label, *, tp, fp, fn, n=100, hd=None, seed=0, **changes):
    """One score; overlaps follow from the counts, as the scoring phase defines them."""
    empty = tp + fp + fn == 0
    return {
        **KEYS,
        "method": method,
        "seed": seed,
        "case": case,
        "label": label,
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": n - tp - fp - fn,
        "dice": 1.0 if empty else 2 * tp / (2 * tp + fp + fn),
        "iou": 1.0 if empty else tp / (tp + fp + fn),
        "precision": tp / (tp + fp) if tp + fp else math.nan,
        "recall": tp / (tp + fn) if tp + fn else math.nan,
        "accuracy": (n - fp - fn) / n,
        "nsd": float(empty) if hd is None else 0.5,
        "nsd_tolerance_mm": 1.0,
        "nsd_tolerance_voxel": math.nan,
        "hd95_mm": math.nan if hd is None else hd,
        "hd95_voxel": math.nan if hd is None else hd / 2,
        "hd_mm": math.nan if hd is None else 2 * hd,
        "hd_voxel": math.nan if hd is None else hd,
        "assd_mm": math.nan if hd is None else hd / 4,
        "assd_voxel": math.nan if hd is None else hd / 8,
        "worst_mm": DIAGONAL_MM,
        "worst_voxel": DIAGONAL_MM / 2,
        "reason": "",
        **changes,
    }


# Two methods, three cases, one label. c2's reference is empty; b finds nothing in c1 and c2.
SCORES = [
    row("a", "c0", 1, tp=8, fp=2, fn=2, hd=3.0),  # dice 0.8
    row("a", "c1", 1, tp=10, fp=0, fn=10, hd=6.0),  # dice 2/3
    row("a", "c2", 1, tp=0, fp=5, fn=0),  # dice 0, distance undefined: worst
    row("b", "c0", 1, tp=10, fp=0, fn=0, hd=0.0),  # dice 1
    row("b", "c1", 1, tp=0, fp=0, fn=20),  # dice 0, worst, precision undefined
    row("b", "c2", 1, tp=0, fp=0, fn=0),  # both empty: dice 1, no distance
]


def table(rows):
    return tables.check("per_case", tables.frame("per_case", rows), where="test")
