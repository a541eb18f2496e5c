"""DICOM series with DICOM-SEG or RTSTRUCT objects: a user's own data, as ``segtrace add-dataset`` lays it out.

Layout: ``SUBJECT/SERIES/*.dcm``, one file a slice under any name, and beside the folder its masks, ``SERIES_seg.dcm`` or
``SERIES_rtstruct.dcm``; further ones ``SERIES_seg_2.dcm`` and so on. Slices are ordered by their positions.

Options: ``structures``: name of a segment or region → label, 0 for one that is left out; ``precedence``: of
structures that overlap, the one named first keeps the voxel, and without it an overlap is an error;
``fractional_threshold``: from which fraction on a voxel of a fractional segmentation is inside (0.5).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import images
from segtrace.datasets import Case, _dicom, _dicom_objects, _dicom_rtstruct, _dicom_seg, check_options
from segtrace.errors import SegtraceError, advice, raise_all

_MASK = re.compile(r"(?P<series>.+)_(?P<kind>seg|rtstruct)(?:_\d+)?\.dcm")
_READERS = {"seg": _dicom_seg, "rtstruct": _dicom_rtstruct}
#: Labels are kept in one byte.
_MOST = 255


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """All series, ids such as ``subj_001_series_01``; files that do not fit the layout are one error."""
    _options(options)
    found, problems = [], []
    for subject in _visible(root):
        if not subject.is_dir():
            problems.append(f"{subject}: a file where a subject's folder is expected")
            continue
        series = {path.name: path for path in _visible(subject) if path.is_dir()}
        masks: dict[str, list[str]] = {}
        for path in _visible(subject):
            match = _MASK.fullmatch(path.name)
            if path.is_dir():
                continue
            if match is None or match["series"] not in series:
                problems.append(
                    f"{path}: neither SERIES_seg.dcm nor SERIES_rtstruct.dcm of a folder SERIES beside it"
                )
            else:
                masks.setdefault(match["series"], []).append(f"{subject.name}/{path.name}")
        for name, folder in series.items():
            slices = [f"{subject.name}/{name}/{path.name}" for path in _visible(folder)]
            if not slices:
                problems.append(f"{folder}: holds no slices")
            found.append(
                Case(
                    case=f"{subject.name}_{name}",
                    subject=subject.name,
                    images=tuple(slices),
                    labels=tuple(masks.get(name, ())),
                )
            )
    if not found and not problems:
        problems.append("holds no series")
    raise_all(
        problems,
        heading=f"{root}: not SUBJECT/SERIES/*.dcm with masks beside",
        remedy="Mend the folder, or add the data set again with 'segtrace add-dataset'.",
    )
    return sorted(found, key=lambda case: case.case)


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _options(options: Mapping[str, Any]) -> tuple[dict[str, int], list[int], float]:
    """Key of a structure → its label; labels in order of precedence; the threshold of fractions."""
    check_options(options, known=("structures", "precedence", "fractional_threshold"))
    given, problems = options.get("structures"), []
    structures: dict[str, int] = {}
    if not isinstance(given, Mapping) or not given:
        raise SegtraceError(
            f"options.structures of dicom_series is {given!r}; it maps each structure's name to a label"
        )
    for name, value in given.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
            problems.append(
                f"options.structures: {name!r} is {value!r}; a label is a whole number from 0 to {_MOST}"
            )
        elif structures.setdefault(_dicom_objects.key(name), value) != value:
            problems.append(f"options.structures: {name!r} has two labels")
    ranks: list[int] = []
    for name in options.get("precedence") or []:
        label = structures.get(_dicom_objects.key(name))
        if not label:
            problems.append(
                f"options.precedence: {name!r} is no structure with a label; {advice(str(name), list(structures))}"
            )
        elif label not in ranks:
            ranks.append(label)
    threshold = options.get("fractional_threshold", 0.5)
    if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not 0 < threshold <= 1:
        problems.append(f"options.fractional_threshold is {threshold!r}; it lies above 0 and up to 1")
    raise_all(
        problems, heading="options of dicom_series", remedy="Mend 'options' in the data set's YAML file."
    )
    return structures, ranks, float(threshold)


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The volume, its slices in the order of their positions, rescaled by slope and intercept."""
    return _dicom.read_slices([root / name for name in case.images], order="position")


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """The structures as labels of ``options.structures``, uint8, on the image's grid.

    Raises :class:`SegtraceError` for structures that the options do not name, that two files draw, or that overlap
    without a precedence, and for what the readers of SEG and RTSTRUCT refuse.
    """
    structures, ranks, threshold = _options(options)
    grid = images.grid_of(read_image(root, case, options))
    with _dicom_objects.opened(root / case.images[0], tags=["FrameOfReferenceUID"]) as header:
        frame_of_reference = str(header.get("FrameOfReferenceUID") or "")
    label = np.zeros(grid.array_shape, np.uint8)
    notes: list[str] = []
    problems: list[str] = []
    drawn: dict[str, str] = {}
    for file in case.labels:
        match = _MASK.fullmatch(Path(file).name)
        if match is None:
            raise SegtraceError(f"{root / file}: neither SERIES_seg.dcm nor SERIES_rtstruct.dcm")
        parts = _READERS[match["kind"]].masks(
            root / file,
            grid,
            frame_of_reference=frame_of_reference,
            threshold=threshold,
            skipped=[name for name, value in structures.items() if value == 0],
            notes=notes,
        )
        for name, mask in parts:
            if drawn.setdefault(name, file) != file:
                problems.append(
                    f"{root / file}: draws {name!r}, as {root / drawn[name]} does; keep one of them"
                )
            elif name not in structures:
                problems.append(f"{root / file}: {name!r} has no label; {advice(name, list(structures))}")
            else:
                _add(label, mask, structures[name], _Order(structures, ranks), notes, problems)
    raise_all(
        problems,
        heading=f"{case.case}: its structures make no label map",
        remedy="In the data set's YAML file, 'options.structures' maps names to labels (0 leaves one out), and "
        "'options.precedence' lists the structures that overlap, the one that keeps the voxels first.",
    )
    return images.from_array(label, grid), notes


class _Order:
    """Which of two labels keeps a voxel, and what the labels are called."""

    def __init__(self, structures: Mapping[str, int], ranks: Sequence[int]) -> None:
        self.ranks = ranks
        self.names = {
            value: "/".join(name for name, other in structures.items() if other == value)
            for value in structures.values()
        }

    def keeps(self, first: int, second: int) -> int | None:
        """The label of the two that keeps the voxel; None where that is not written down."""
        if first not in self.ranks or second not in self.ranks:
            return None
        return min(first, second, key=self.ranks.index)


def _add(
    label: np.ndarray, mask: np.ndarray, value: int, order: _Order, notes: list[str], problems: list[str]
) -> None:
    """Write ``value`` into ``label`` where ``mask`` is, by ``order`` where another label stands there."""
    standing = label[mask]
    result = np.full_like(standing, value)
    for other in np.unique(standing[(standing != 0) & (standing != value)]).tolist():
        shared = standing == other
        pair = f"{int(shared.sum())} voxels are of both {order.names[other]!r} and {order.names[value]!r}"
        kept = order.keeps(other, value)
        if kept is None:
            problems.append(pair)
        else:
            result[shared] = kept
            notes.append(f"{pair}: given to {order.names[kept]!r}")
    label[mask] = result
