"""DICOM-SEG and RTSTRUCT objects as a folder holds them: what they draw, and which series they name."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrace.datasets import _dicom_objects, _dicom_rtstruct, _dicom_seg


@dataclass(frozen=True)
class Mask:
    """A segmentation (``seg``) or structure set (``rtstruct``) and what it says it belongs to."""

    path: Path
    kind: str
    patient: str
    series: frozenset[str]
    instances: frozenset[str]
    frames_of_reference: frozenset[str]
    structures: tuple[str, ...]
    fractional: bool


def read(path: Path, kind: str, *, patient: str) -> Mask:
    """What a mask object says of itself; :class:`SegtraceError` where it is damaged."""
    with _dicom_objects.opened(path) as header:
        module = _dicom_rtstruct if kind == "rtstruct" else _dicom_seg
        series, instances, frames = _of_contours(header) if kind == "rtstruct" else _of_segments(header)
        return Mask(
            path=path,
            kind=kind,
            patient=patient,
            series=_texts(series),
            instances=_texts(instances),
            frames_of_reference=_texts(frames),
            structures=tuple(sorted(module.present(header))),
            fractional=header.get("SegmentationType") == "FRACTIONAL",
        )


def _texts(values: Iterable[Any]) -> frozenset[str]:
    return frozenset(str(value) for value in values if value)


def _items(header: Any, *names: str) -> list[Any]:
    """The items at the end of a path of sequences."""
    level = [header]
    for name in names:
        level = [item for one in level for item in one.get(name) or []]
    return level


def _of_segments(header: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """Series, instances and frame of reference that a segmentation names."""
    series = _items(header, "ReferencedSeriesSequence")
    per_frame = _items(header, "PerFrameFunctionalGroupsSequence") + _items(
        header, "SharedFunctionalGroupsSequence"
    )
    sources = [i for one in per_frame for i in _items(one, "DerivationImageSequence", "SourceImageSequence")]
    sources += _items(header, "SourceImageSequence")
    sources += _items(header, "ReferencedSeriesSequence", "ReferencedInstanceSequence")
    return (
        [one.get("SeriesInstanceUID") for one in series],
        [one.get("ReferencedSOPInstanceUID") for one in sources],
        [header.get("FrameOfReferenceUID")],
    )


def _of_contours(header: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """Series, instances and frames of reference that a structure set names."""
    frames = _items(header, "ReferencedFrameOfReferenceSequence")
    series = _items(
        header,
        "ReferencedFrameOfReferenceSequence",
        "RTReferencedStudySequence",
        "RTReferencedSeriesSequence",
    )
    sources = [item for one in series for item in _items(one, "ContourImageSequence")]
    sources += _items(header, "ROIContourSequence", "ContourSequence", "ContourImageSequence")
    regions = _items(header, "StructureSetROISequence")
    return (
        [one.get("SeriesInstanceUID") for one in series],
        [one.get("ReferencedSOPInstanceUID") for one in sources],
        [one.get("FrameOfReferenceUID") for one in frames]
        + [one.get("ReferencedFrameOfReferenceUID") for one in regions],
    )
