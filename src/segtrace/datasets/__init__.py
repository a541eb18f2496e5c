"""Readers of published data sets, one module each, and the generators of the embedded ones.

A reader maps a published layout to cases and knows its traps; everything after it is common. Its module has

* ``cases(root, options) -> list[Case]``: all cases, sorted by id; every fault of the layout in one error,
* ``read_image(root, case, options) -> sitk.Image``: the image; several channels as a vector image,
* ``read_label(root, case, options) -> (sitk.Image, notes)``: whole-numbered labels 0..n on the image's
  grid, and notes on anything that had to be decided,

and an embedded one ``generate(root, options)``. Only the module that is asked for is imported.
"""

import difflib
import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from segtrace.errors import SegtraceError


@dataclass(frozen=True)
class Case:
    """One case as published: its id, its subject, and its files relative to the data set's folder."""

    case: str
    subject: str
    images: tuple[str, ...]
    labels: tuple[str, ...]
    group: str = ""


def module_name(name: str) -> str:
    """The module that reads ``name``."""
    return f"segtrace.datasets.{name}"


def names() -> list[str]:
    """All readers there are."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def reader(name: str) -> ModuleType:
    """The reader module ``name``; an unknown name is an error that names the nearest."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.5)
        advice = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names())}"
        raise SegtraceError(f"no reader {name!r} in segtrace.datasets; {advice}")
    return importlib.import_module(module_name(name))
