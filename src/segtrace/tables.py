"""Every table's schema, checked on write and on read.

Tables are CSV with a fixed column order and one form for each number, so that equal content is equal
bytes. Cells that hold a mapping are JSON. An unknown number is an empty cell, and where a number can
be unknown a ``reason`` column says why.
"""

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandera.pandas as pa
from pandera.errors import SchemaErrors

from segtrace.errors import SegtraceError, raise_all
from segtrace.files import write_text

if TYPE_CHECKING:
    import pandas as pd

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
METRICS = ("dice", "iou", "precision", "recall", "accuracy", "hd95_mm", "hd95_voxel")

SCHEMAS: dict[str, pa.DataFrameSchema] = {
    # One row a case as published: its files, their bytes, its grid and its mask.
    "cases": pa.DataFrameSchema(
        {
            "dataset": _text(_NAME),
            "case": _text(_NAME),
            "subject": _text(),
            "group": _text(empty=True),
            "images": _text(_JSON),  # list of files relative to the data set's folder
            "labels": _text(_JSON),
            "image_sha256": _text(_HEX64),  # of the files' bytes, in order
            "label_sha256": _text(empty=True),
            "pixels_sha256": _text(_HEX64),  # of the decoded image: equal in any container
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
            "cluster": _text(),  # subjects joined by identical images: never divided between sides
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
            "hd95_mm": _number(_POSITIVE, unknown=True),
            "hd95_voxel": _number(_POSITIVE, unknown=True),
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
            "median": _number(unknown=True),
            "minimum": _number(unknown=True),
            "maximum": _number(unknown=True),
            "constant": _number(unknown=True),  # the best constant prediction's mean
            "seeds": _whole(1),
            "folds": _whole(1),
        },
        strict=True,
        unique=["method", "label", "metric"],
    ),
}

#: The scores of all runs of an experiment, joined.
SCHEMAS["per_case"] = pa.DataFrameSchema(
    dict(SCHEMAS["scores"].columns), strict=True, unique=["method", "fold", "seed", "case", "label"]
)


#: Table → the phase that makes it.
_MADE_BY = {
    "cases": "index",
    "prepared": "validate",
    "mask_checks": "validate",
    "split": "split",
    "history": "train",
    "predictions": "predict",
    "scores": "score",
    "per_case": "compare",
    "summary": "compare",
}


def columns(table: str) -> list[str]:
    """The columns of a table, in order."""
    return list(SCHEMAS[table].columns)


def frame(table: str, rows: Iterable[Mapping[str, Any]]) -> "pd.DataFrame":
    """Rows as a data frame with the table's columns and types, not yet checked."""
    import pandas as pd

    result = pd.DataFrame(list(rows), columns=columns(table))
    for name, column in SCHEMAS[table].columns.items():
        if str(column.dtype) in ("int64", "float64") and len(result):
            result[name] = result[name].astype(str(column.dtype))
    return (
        result if len(result) else result.astype({n: str(c.dtype) for n, c in SCHEMAS[table].columns.items()})
    )


def check(table: str, data: "pd.DataFrame", *, where: str) -> "pd.DataFrame":
    """The table, if it obeys its schema; otherwise one error that lists every fault by row and column."""
    try:
        checked: pd.DataFrame = SCHEMAS[table].validate(data, lazy=True)
    except SchemaErrors as error:
        problems = []
        for row in error.failure_cases.itertuples():
            place = f"row {int(row.index) + 2}, " if row.index == row.index and row.index is not None else ""
            key = data["case"].get(row.index, "") if "case" in data and place else ""
            named = f"case {key}, " if key else ""
            problems.append(f"{place}{named}column {row.column}: {row.failure_case!r} fails {row.check}")
        raise_all(sorted(set(problems)), heading=f"{where}: not a valid {table!r} table")
        raise
    return checked


def write(table: str, rows: "Iterable[Mapping[str, Any]] | pd.DataFrame", path: Path) -> "pd.DataFrame":
    """Check and write a table in one step; returns it. Column order and number form are fixed."""
    import pandas as pd

    data = rows[columns(table)] if isinstance(rows, pd.DataFrame) else frame(table, rows)
    checked = check(table, data, where=str(path))
    buffer = io.StringIO()
    checked.to_csv(buffer, index=False, lineterminator="\n")
    write_text(path, buffer.getvalue())
    return checked


def read(table: str, path: Path) -> "pd.DataFrame":
    """Read and check a table; a missing, damaged or foreign file is an error that names it."""
    import pandas as pd

    kinds = {name: str(column.dtype) for name, column in SCHEMAS[table].columns.items()}
    texts = {name: "str" for name, kind in kinds.items() if kind not in ("int64", "float64")}
    try:
        data = pd.read_csv(
            path, dtype=texts, keep_default_na=False, na_values={n: [""] for n in kinds if n not in texts}
        )
    except FileNotFoundError:
        raise SegtraceError(f"{path}: no such file; 'segtrace {_MADE_BY[table]}' makes it") from None
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise SegtraceError(f"{path}: not a {table!r} table ({error})") from None
    for name, kind in kinds.items():
        if kind == "float64" and name in data and str(data[name].dtype) == "int64":
            data[name] = data[name].astype("float64")
    return check(table, data, where=str(path))
