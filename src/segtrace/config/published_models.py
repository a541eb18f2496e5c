"""What a paper printed: the published values of a table, how they were computed, and what its text claims.

Values stand as printed, as text, so that each can be found in the paper again. Facts and figures alone are
kept here, no sentence of a paper.
"""

import re
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from segtrace.config.types import Model

#: The metrics of the scores; a test holds that these are those of :mod:`segtrace.schemas`, which is slow to import.
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
#: Quantities of a cost column, beside the metrics of scores.
COSTS = ("parameters", "macs", "minutes_per_epoch")
#: What a cell's own unit stands for, where one column mixes units; others stand in the column.
#: KB and MB are binary, of parameters: so SC-UNeXt's table 1 is exact for the one size that is known (UNeXt-S).
FACTORS = {"": 1.0, "K": 1e3, "KB": 2.0**10, "M": 1e6, "MB": 2.0**20, "G": 1e9, "GFLOPs": 1e9}
_PRINTED = re.compile(
    r"^(?P<value>[+-]?\d+(?:\.\d+)?)(?: ± (?P<spread>\d+(?:\.\d+)?))?(?: (?P<unit>KB|MB|K|M|GFLOPs|G))?$"
)


def _is_printed(text: str) -> str:
    if text and not _PRINTED.match(text):
        raise ValueError(
            "a cell is a number as printed, such as '86.49', '86.49 ± 5.27' or '243.63 KB', or empty"
        )
    return text


Printed = Annotated[str, AfterValidator(_is_printed)]


def parts(printed: str) -> tuple[str, str, float]:
    """A printed cell's value and spread as text, each empty where it is not given, and the factor of its own unit."""
    match = _PRINTED.match(printed)
    if match is None:
        return "", "", 1.0
    return match["value"], match["spread"] or "", FACTORS[match["unit"] or ""]


#: The costs that are counted: in trained weights, and in the network for an image of the column's size.
COUNTED = "parameters"
MACS = "macs"


class Column(Model):
    """One column of a published table."""

    name: str
    """As printed: with its group, where columns are grouped ('Anterior Dice')."""
    metric: str
    """A metric of the scores, one of :data:`COSTS`, or ``none`` for what this project does not measure."""
    label: Annotated[int, Field(ge=0)] = 0
    """The label that the column is of; 0 is the mean of all (of a data set with one label: that label)."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Printed number × factor of the cell's own unit, if it has one, × scale = this project's unit: 0.01 for percent."""
    unit: str = ""
    """The printed unit, for headings: '%', 'mm', 'million'."""
    size: list[Annotated[int, Field(ge=1)]] | None = None
    """Of ``macs``: the sides of the image, (D, H, W) or (H, W); without them nothing is counted."""
    line: str = ""
    """Where a printed line holds a column of this table (``lines: columns``): the line's first words, as printed."""

    @model_validator(mode="after")
    def _known(self) -> "Column":
        known = (*METRICS, *COSTS, "none")
        if self.metric not in known:
            raise ValueError(f"metric {self.metric!r} is none of {', '.join(known)}")
        if self.size is not None and self.metric != MACS:
            raise ValueError(f"size is of a column of {MACS}, this one is of {self.metric}")
        return self


class Row(Model):
    """One row of a published table: a method as the paper names it, and its cells in the order of the columns."""

    name: str
    method: str | None = None
    """The method of this project that answers to it; None while there is none."""
    cells: list[Printed]
    line: str = ""
    """Words of the printed line that holds the cells, where ``name`` is not among them: '✓ × ×'. Rows may share a line."""
    notes: list[str] = []
    """Why the row is not comparable whatever is recomputed: taken from another paper, from another protocol."""

    def value(self, index: int, column: Column) -> tuple[float | None, float | None]:
        """Value and spread of the cell at ``index``, which is of ``column``, in this project's units."""
        value, spread, factor = parts(self.cells[index])
        scale = Fraction(factor) * Fraction(str(column.scale))  # exact: 83.68 % are 0.8368
        return (
            float(Fraction(value) * scale) if value else None,
            float(Fraction(spread) * scale) if spread else None,
        )


class Convention(Model):
    """How the published numbers were computed, as far as is known: what a recomputed one must share."""

    aggregation: Literal["per_case", "per_batch", "pooled", "per_fold", "unknown"] = "per_case"
    batch: Annotated[int, Field(ge=1)] | None = None
    """Images of a batch, where values are averaged by batch."""
    grid: Literal["native", "prepared", "unknown"] = "native"
    role: Literal["test", "val", "unknown"] = "test"
    checkpoint: Literal["last", "best_val", "unknown"] = "last"
    hd95: Literal["mm", "voxel", "unknown"] = "mm"
    """The unit that distances were computed in, whatever the heading says."""
    spread: Literal["sd over cases", "sd over folds", "sd over cases and labels", "none", "unknown"] = "none"
    seeds: Annotated[int, Field(ge=1)] | None = 1
    """Trainings behind a number; None where the paper does not say."""
    cases: Annotated[int, Field(ge=1)] | None = None
    """Cases that a number is over, all folds together; None where the paper does not say."""
    notes: list[str] = []


class Published(Model):
    """A published table: where it stands, its columns and rows, its convention and its known errata."""

    paper: str
    """The paper: a file in ``config/papers``."""
    table: str
    """'Table 3', 'Figure 2'."""
    convention: Convention = Convention()
    lines: Literal["rows", "columns"] = "rows"
    """What a printed line holds: rows of this table, or columns where the paper prints methods side by side."""
    columns: list[Column] = []
    rows: list[Row] = []
    errata: list[str] = []
    """What is wrong or contradictory in the print, with the figures."""
    notes: list[str] = []

    @property
    def counts_parameters(self) -> bool:
        """Whether a count of parameters is printed for a method that this project has."""
        return bool(self._printed(COUNTED))

    @property
    def counts_macs(self) -> dict[str, list[tuple[int, ...]]]:
        """Method → the sizes of images at which its multiply-accumulates are printed, where they can be counted here."""
        found: dict[str, list[tuple[int, ...]]] = {}
        for method, column in self._printed(MACS):
            if column.size and tuple(column.size) not in found.setdefault(method, []):
                found[method].append(tuple(column.size))
        return {method: sizes for method, sizes in found.items() if sizes}

    def _printed(self, metric: str) -> list[tuple[str, Column]]:
        """(method, column) of each cell of a metric that is printed for a method that this project has."""
        return [
            (row.method, column)
            for row in self.rows
            for column, cell in zip(self.columns, row.cells, strict=True)
            if row.method and cell and column.metric == metric
        ]

    @model_validator(mode="after")
    def _rectangular(self) -> "Published":
        names = [column.name for column in self.columns]
        rows = [row.name for row in self.rows]
        for kind, found in (("column", names), ("row", rows)):
            twice = sorted({name for name in found if found.count(name) > 1})
            if twice:
                raise ValueError(f"{kind} {twice[0]!r} is given twice")
        for row in self.rows:
            if len(row.cells) != len(names):
                raise ValueError(
                    f"row {row.name!r} has {len(row.cells)} cells, the table {len(names)} columns"
                )
        return self


class Term(Model):
    """One number of a claim: a cell of a published table, or a number given with its source."""

    experiment: str | None = None
    row: str | None = None
    column: str | None = None
    part: Literal["value", "spread"] = "value"
    number: float | None = None
    source: str = ""
    """Where ``number`` comes from."""

    @model_validator(mode="after")
    def _one_of(self) -> "Term":
        cell = (self.experiment, self.row, self.column)
        if self.number is None and None in cell:
            raise ValueError("a term is a cell (experiment, row, column), or a number with its source")
        if self.number is not None and (any(cell) or not self.source):
            raise ValueError("a number needs its source, and names no cell")
        return self


class Claim(Model):
    """A figure that a paper's text states, and the terms from which it can be recomputed."""

    claim: str
    """What is claimed, in this project's own words."""
    printed: Printed
    """The figure as printed."""
    where: Annotated[str, Field(pattern=r"^(abstract|section \d+(\.\d+)*)$")]
    """'abstract', 'section 3.4'."""
    relation: Literal["equal", "less_than", "more_than"] = "equal"
    """How ``printed`` relates to what is recomputed: 'less than 0.05 %' is ``less_than``."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """What is recomputed from printed numbers × scale is in the claim's printed unit."""
    operation: Literal[
        "difference",
        "percent_more",
        "percent_less",
        "ratio",
        "mean_difference",
        "mean",
        "sample_variance",
        "value",
    ]
    """``difference``: first − second; ``percent_more``: 100 (first / second − 1); ``percent_less``: 100 (1 − first / second);
    ``ratio``: first / second; ``mean_difference``: mean over pairs (first, second, first, second …); ``mean`` and
    ``sample_variance``: of all terms; ``value``: the term itself."""
    terms: Annotated[list[Term], Field(min_length=1)]
    note: str = ""
    """Why printed and recomputed differ, where that is known."""

    @model_validator(mode="after")
    def _as_many(self) -> "Claim":
        pairs = {"difference": 2, "percent_more": 2, "percent_less": 2, "ratio": 2, "value": 1}
        wanted = pairs.get(self.operation)
        if wanted is not None and len(self.terms) != wanted:
            raise ValueError(f"{self.operation} has {wanted} terms, here are {len(self.terms)}")
        if self.operation == "mean_difference" and len(self.terms) % 2:
            raise ValueError("mean_difference has pairs of terms")
        return self


class Paper(Model):
    """A paper whose tables are experiments: ``config/papers/NAME.yaml``."""

    title: str
    authors: list[str]
    year: int | None = None
    venue: str = ""
    url: str = ""
    claims: list[Claim] = []
    notes: list[str] = []
