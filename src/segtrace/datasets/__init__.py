"""Readers of published data sets, one module each, and the generators of the embedded ones.

A reader maps a published layout to cases and knows its traps; everything after it is common. Its module has

* ``cases(root, options) -> list[Case]``: all cases, sorted by id; every fault of the layout in one error,
* ``read_image(root, case, options) -> sitk.Image``: the image; several channels as a vector image,
* ``read_label(root, case, options) -> (sitk.Image, notes)``: whole-numbered labels 0..n on the image's
  grid, and notes on anything that had to be decided,

and an embedded one ``generate(root, options)``. A reader that leaves published images out by rule, such as those
without a mask, says which: ``left_out(root, options) -> dict[str, str]``, id → reason. Only the module that is
asked for is imported.
"""

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from segtrace.errors import SegtraceError, advice, raise_all


@dataclass(frozen=True)
class Case:
    """One case as published: its id, its subject, and its files relative to the data set's folder."""

    case: str
    subject: str
    images: tuple[str, ...]
    labels: tuple[str, ...]
    group: str = ""
    """Class of the case as published, for example benign."""
    side: str = ""
    """Side of the owner's own split, for example training or fold1."""


def case_of(row: Mapping[Any, Any]) -> Case:
    """The case of a row of the index (table ``cases``)."""
    return Case(
        case=row["case"],
        subject=row["subject"],
        images=tuple(json.loads(row["images"])),
        labels=tuple(json.loads(row["labels"])),
        group=row["group"],
        side=row["side"],
    )


#: What to do about a raw folder that is not as published: it is the user's, so nothing overwrites it.
REFETCH = "Mend the folder, or move it and its receipt (data/raw/NAME.receipt.json) away and run 'segtrace acquire NAME' again."


def check_options(options: Mapping[str, Any], *, known: Sequence[str]) -> None:
    """Refuse options that a reader does not know, each with the nearest known one."""
    problems = []
    for key in sorted(set(options) - set(known)):
        hint = advice(str(key), known, otherwise="known")
        problems.append(f"unknown option {key!r}: {hint}")
    raise_all(problems, heading="options of the reader", remedy="Mend 'options' in the data set's YAML file.")


def module_name(name: str) -> str:
    """The module that reads ``name``."""
    return f"segtrace.datasets.{name}"


def names() -> list[str]:
    """All readers there are."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def reader(name: str) -> ModuleType:
    """The reader module ``name``; an unknown name is an error that names the nearest."""
    if name not in names():
        hint = advice(name, names())
        raise SegtraceError(f"no reader {name!r} in segtrace.datasets; {hint}")
    return importlib.import_module(module_name(name))
