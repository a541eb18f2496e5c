"""New images as they are given: which files, how they are read and checked, and where their label maps go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtrace import datasets, files, images
from segtrace.config.models import Dataset
from segtrace.datasets import Case
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid
from segtrace.preparation import prepare_arrays

#: Added to a label map's name: its record.
RECORD = ".prov.json"


@dataclass(frozen=True)
class Source:
    """One image to segment: as it was given, its files in the order of the channels, and its label map."""

    text: str
    files: tuple[Path, ...]
    output: Path

    @property
    def record(self) -> Path:
        """The record beside the label map."""
        return self.output.with_name(self.output.name + RECORD)

    def sums(self) -> list[dict[str, str]]:
        """Name and checksum of each file."""
        return [{"file": path.name, "sha256": files.sha256_file(path)} for path in self.files]


@dataclass(frozen=True)
class Place:
    """Where an image's label map lies, and the checksums of the files that it was made from."""

    oriented: Grid
    native: Grid
    sums: list[dict[str, str]]


def sources_of(texts: Sequence[str], *, output: Path, data: Dataset) -> tuple[list[Source], list[str]]:
    """The images that ``texts`` name, and what is wrong with the others.

    A text is a file; where the data set has several channels, it may also be a file for each, joined by commas.
    """
    sources: dict[Path, Source] = {}
    problems = []
    count, ending = len(data.channels), ".nii.gz" if data.dimensions == 3 else ".png"
    for text in texts:
        parts = text.split(",") if count > 1 else [text]
        target = output / (_stem(Path(parts[0]).name) + ending)
        if len(parts) not in (1, count):
            problems.append(
                f"{text}: {len(parts)} files; the data set has {count} channels ({', '.join(data.channels)}): give "
                "one file that holds all, or one each in this order, joined by commas"
            )
        elif target in sources:
            problems.append(
                f"{text}: its label map would be {target}, as that of {sources[target].text}; rename one of them"
            )
        else:
            sources[target] = Source(text, tuple(Path(part) for part in parts), target)
    return list(sources.values()), problems


def _stem(name: str) -> str:
    """A file's name without its ending."""
    return name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else Path(name).stem


def read(
    source: Source, *, reader: str, data: Dataset, recipe: Mapping[str, Any]
) -> tuple[np.ndarray, Grid, Place]:
    """A prepared image (C, D, H, W) or (C, H, W), its grid, and where its label map belongs.

    Each file is read by the data set's ``reader``, as its own images are; channels of several files must lie on
    one grid. Raises :class:`SegtraceError` for a file that cannot be read or is no image of this data set: other
    dimensions or channels, a label map, values that are not finite, a grid without right angles.
    """
    before = _state(source)
    module = datasets.reader(reader)
    try:
        parts = [
            module.read_image(Path(), Case(path.name, path.name, (str(path),), ()), data.options)
            for path in source.files
        ]
        sums = source.sums()
    except OSError as error:
        raise SegtraceError(f"{error.filename}: cannot be read ({error.strerror})") from None
    grids = [images.grid_of(part) for part in parts]
    for path, grid in zip(source.files[1:], grids[1:], strict=True):
        apart = grids[0].differences(grid)
        if apart:
            raise SegtraceError(f"{source.files[0]} and {path} differ: {'; '.join(apart)}")
    image = parts[0]
    array = images.to_array(image)
    if len(parts) > 1:
        array = np.concatenate([array, *(images.to_array(part) for part in parts[1:])])
        image = images.from_array(array, grids[0])
    _check(array, data)
    del parts, array
    done = prepare_arrays(image, None, recipe, labels=())
    if _state(source) != before:
        raise SegtraceError("a file was changed while it was read; run the command again")
    return done.image, done.grid, Place(done.oriented, done.native, sums)


def _state(source: Source) -> list[tuple[int, ...]]:
    """Size, modification time and inode of each file; a missing one is left to the reader, which names it."""
    found = (path.stat() for path in source.files if path.is_file())
    return [(status.st_size, status.st_mtime_ns, status.st_ino) for status in found]


def _check(array: np.ndarray, data: Dataset) -> None:
    """Refuse an array (C, D, H, W) or (C, H, W) that is no image of the data set."""
    if array.ndim - 1 != data.dimensions:
        raise SegtraceError(
            f"the image has {array.ndim - 1} dimensions, those of the data set have {data.dimensions}"
        )
    if len(array) != len(data.channels):
        raise SegtraceError(
            f"the image has {len(array)} channels, those of the data set have {len(data.channels)} "
            f"({', '.join(data.channels)})"
        )
    low, high, most = float(array.min()), float(array.max()), max(data.labels, default=0)
    if low < 0 or not (high <= most or high == 255):
        return
    mask = ((array == 0) | (array == 255)).all() if high > most else (array == np.rint(array)).all()
    if mask:
        values = "0 and 255" if high > most else f"whole numbers from {low:g} to {high:g}"
        raise SegtraceError(f"it holds only {values}, as a label map does; give the image")
