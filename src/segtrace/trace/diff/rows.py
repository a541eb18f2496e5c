"""An experiment's scores as one side has them: rows of ``per_case.csv``, whatever version of the project wrote them."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrace import files
from segtrace.aggregation import DISTANCES, METRICS, CaseValue, Cell, values_of_cells
from segtrace.errors import SegtraceError

WHOLE = ("fold", "seed", "label", "tp", "fp", "fn", "tn")
KEYS = ("method", "fold", "seed", "case", "label", "tp", "fp", "fn", "tn")
NUMBERS = (*METRICS, *sorted(set(DISTANCES.values())))
#: What a table of scores is of: values that should be the same on both sides, by the names that readers know.
SUBJECT = (
    "dataset",
    "recipe",
    "protocol",
    "role",
    "checkpoint",
    "grid",
    "corruption",
    "budget",
    "method",
    "fold",
    "seed",
    "label",
    "case",
)


@dataclass(frozen=True)
class Scores:
    """The scores of an experiment: rows with numbers, names of the labels, and the table's checksum."""

    rows: list[dict[str, Any]]
    names: dict[int, str]
    sha256: str

    @property
    def labels(self) -> list[int]:
        """The labels that are scored, sorted."""
        return sorted({row["label"] for row in self.rows})

    @property
    def methods(self) -> list[str]:
        """The methods, in the order of the table."""
        return list(dict.fromkeys(row["method"] for row in self.rows))

    def cells(self) -> dict[Cell, list[CaseValue]]:
        """The values of every method, label (0: their mean) and metric."""
        return values_of_cells(self.rows, methods=self.methods, labels=self.labels)

    def subject(self) -> dict[str, set[str]]:
        """Column of :data:`SUBJECT` → the values it holds; ``metric`` → the metrics that have any value."""
        found = {name: {str(row[name]) for row in self.rows if name in row} for name in SUBJECT}
        valued = {name for name in METRICS if any(not math.isnan(row[name]) for row in self.rows)}
        return {**found, "metric": valued}

    def references(self) -> dict[tuple[str, int], tuple[int, int]]:
        """(case, label) → voxels of the reference, and of the image."""
        return {
            (row["case"], row["label"]): (
                row["tp"] + row["fn"],
                row["tp"] + row["fp"] + row["fn"] + row["tn"],
            )
            for row in self.rows
        }


def read(folder: Path) -> Scores:
    """The scores in a folder of an experiment's results.

    Raises :class:`SegtraceError` for a table that is damaged or lacks a column without which nothing can be compared;
    a metric that it does not have has no values.
    """
    path = folder / "per_case.csv"
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            found = [_row(row) for row in csv.DictReader(handle)]
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise SegtraceError(
            f"{path}: not a table of scores as 'segtrace compare' writes it ({type(error).__name__}: {error}); "
            "make it anew there"
        ) from None
    if not found:
        raise SegtraceError(f"{path}: no rows; make it anew with: segtrace compare {folder.name}")
    return Scores(found, {0: "mean", **_names(folder / "summary.csv")}, files.sha256_file(path))


def _row(row: Mapping[str, str]) -> dict[str, Any]:
    missing = [name for name in KEYS if row.get(name) is None]
    if missing:
        raise KeyError(f"no column {', '.join(missing)}")
    numbers = {name: float(row.get(name) or "nan") for name in NUMBERS}
    return {**row, **{name: int(row[name]) for name in WHOLE}, **numbers}


def _names(path: Path) -> dict[int, str]:
    """Label → name, by a summary; nothing where there is none."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    return {
        int(row["label"]): row["label_name"] for row in rows if row.get("label") and row.get("label_name")
    }
