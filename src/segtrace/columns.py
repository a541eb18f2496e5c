"""Columns that tables have in common: their types, and what may stand in a cell."""

import json

import pandera.pandas as pa

HEX16 = pa.Check.str_matches(r"^[0-9a-f]{16}$")
HEX64 = pa.Check.str_matches(r"^[0-9a-f]{64}$")
NAME = pa.Check.str_matches(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


JSON = pa.Check(_is_json, element_wise=True, name="is JSON")


def text(*checks: pa.Check, empty: bool = False) -> pa.Column:
    """A column of words; with ``empty``, a cell may be without one."""
    return pa.Column(str, list(checks) if empty else [pa.Check.str_length(min_value=1), *checks])


def whole(least: int = 0) -> pa.Column:
    """A column of whole numbers from ``least`` on."""
    return pa.Column("int64", pa.Check.ge(least))


def number(*checks: pa.Check, unknown: bool = False) -> pa.Column:
    """A column of numbers; with ``unknown``, a cell may be NaN."""
    return pa.Column("float64", list(checks), nullable=unknown)


UNIT = pa.Check.in_range(0.0, 1.0)
POSITIVE = pa.Check.ge(0.0)
ROLE = pa.Check.isin(["train", "val", "test"])
#: What says of which run and variant a row is.
KEYS = {
    "dataset": text(NAME),
    "recipe": text(NAME),
    "protocol": text(NAME),
    "role": text(ROLE),
    "method": text(NAME),
    "budget": text(NAME),
    "fold": whole(),
    "seed": whole(),
    "checkpoint": text(pa.Check.isin(["last", "best_val"])),
    "grid": text(pa.Check.isin(["native", "prepared"])),
    "corruption": text(NAME),
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
