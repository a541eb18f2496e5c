"""Which DICOM series and mask objects lie in a folder, and which belong together; headers only, no pixels.

Patients' identifiers are read to tell patients apart and to find them where they do not belong. They stay in the
memory of the process, but for the key that :mod:`segtrace.add_dataset.dicom` hands to the owner alone.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segtrace.add_dataset import dicom_masks
from segtrace.add_dataset.dicom_masks import Mask
from segtrace.datasets import _dicom_objects
from segtrace.errors import SegtraceError
from segtrace.files import sha256_file

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
DOSE = "1.2.840.10008.5.1.4.1.1.481.2"  # lies in the patient as an image does, and is none
DIRECTORY = "1.2.840.10008.1.3.10"  # DICOMDIR, which lists files that are found anyway
CONTOURS = "1.2.840.10008.5.1.4.1.1.481.3"
_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "PatientName",
    "PatientBirthDate", "AccessionNumber", "OtherPatientIDs", "Modality", "FrameOfReferenceUID", "NumberOfFrames",
    "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient",
)  # fmt: skip
_IDENTIFIERS = ("PatientID", "PatientName", "PatientBirthDate", "AccessionNumber", "OtherPatientIDs")
#: Steps from slice to slice may differ by this fraction, as when the volume is read.
UNEVEN = 0.1


@dataclass
class Series:
    """The slices of one series, and what is needed to tell whose they are and where they lie."""

    patient: str
    """PatientID, or the study's identifier where that is empty."""
    anonymous: bool
    modality: str
    slices: list["Slice"] = field(default_factory=list)

    def place(self) -> Path:
        """The first of its files, for messages."""
        return min(one.path for one in self.slices)


@dataclass(frozen=True)
class Slice:
    """One image file."""

    path: Path
    instance: str
    frame_of_reference: str
    size: tuple[int, int]
    orientation: tuple[float, ...]
    position: tuple[float, ...]


@dataclass
class Found:
    """All that a folder holds."""

    series: dict[str, Series] = field(default_factory=dict)
    """SeriesInstanceUID → series."""
    masks: list[Mask] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    identifiers: set[str] = field(default_factory=set)
    """Words of the patients' names, numbers and dates, in lower case."""


def looks_like(path: Path) -> bool:
    """Whether a file starts as DICOM does, with or without the preamble; the name says nothing."""
    with path.open("rb") as handle:
        start = handle.read(132)
    return start[128:] == b"DICM" or (start[:2] in (b"\x08\0", b"\x02\0") and start[3:4] == b"\0")


def _modality(value: object) -> str:
    """The defined term of a modality; anything else in its place could be a name."""
    text = str(value or "")
    return text if re.fullmatch(r"[A-Z]{2,8}", text) else "unknown"


def scan(folder: Path) -> Found:
    """Every DICOM file below ``folder``. Hidden files, DICOMDIR and what is no DICOM are passed over."""
    found, seen, others = Found(), dict[str, Path](), []
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts) or not path.is_file():
            continue
        if not looks_like(path):
            others.append(path)
            continue
        try:
            _file(path, found, seen)
        except SegtraceError as error:
            found.problems.append(f"{error}; left out")
    if others and found.series:
        found.problems.append(
            f"{len(others)} files that are no DICOM are left out, such as {others[0]}"
            if len(others) > 1
            else f"{others[0]}: no DICOM; left out"
        )
    return found


def _file(path: Path, found: Found, seen: dict[str, Path]) -> None:
    """Put one file where it belongs in ``found``."""
    with _dicom_objects.opened(path, tags=_TAGS) as header:
        found.identifiers |= set(_words(header.get(tag) for tag in _IDENTIFIERS))
        kind = str(header.get("SOPClassUID") or "")
        if not kind:
            if header.file_meta.get("MediaStorageSOPClassUID") != DIRECTORY:
                found.problems.append(f"{path}: damaged DICOM file; left out: fetch it again")
            return
        instance = str(header.get("SOPInstanceUID") or "")
        patient = str(header.get("PatientID") or "").strip()
        if kind in SEGMENTATIONS or kind == CONTOURS:
            if _first(path, instance, seen):
                drawn_as = "rtstruct" if kind == CONTOURS else "seg"
                found.masks.append(dicom_masks.read(path, drawn_as, patient=patient))
            return
        if kind == DOSE:
            return
        if "Rows" not in header or not header.get("ImagePositionPatient"):
            if int(header.get("NumberOfFrames") or 1) > 1 or "Rows" in header:
                found.problems.append(f"{path}: an image without a place in the patient; left out")
            return  # a report, plan, presentation state: nothing to segment
        if int(header.get("NumberOfFrames") or 1) > 1:
            found.problems.append(
                f"{path}: several frames in one file; left out: convert it to a file a slice"
            )
            return
        if not getattr(header, "preamble", None):
            found.problems.append(
                f"{path}: lacks the 132 bytes with which a DICOM file starts; left out: save it anew"
            )
            return
        if not _first(path, instance, seen):
            return
        series = found.series.setdefault(
            str(header.SeriesInstanceUID),
            Series(
                patient or str(header.get("StudyInstanceUID") or ""),
                not patient,
                _modality(header.get("Modality")),
            ),
        )
        series.slices.append(
            Slice(
                path=path,
                instance=instance,
                frame_of_reference=str(header.get("FrameOfReferenceUID") or ""),
                size=(int(header.Columns), int(header.Rows)),
                orientation=tuple(map(float, header.ImageOrientationPatient)),
                position=tuple(map(float, header.ImagePositionPatient)),
            )
        )


def _first(path: Path, instance: str, seen: dict[str, Path]) -> bool:
    """Whether an object is met for the first time; a copy is passed over, another file of its identifier an error."""
    if not instance:
        return True
    earlier = seen.setdefault(instance, path)
    if earlier != path and sha256_file(earlier) != sha256_file(path):
        raise SegtraceError(f"{path}: bears the identifier of {earlier} and differs from it")
    return earlier == path


def _words(values: Iterable[Any]) -> list[str]:
    """Words of at least three letters or digits, in lower case."""
    return [word for value in values if value for word in re.findall(r"[^\W_]{3,}", str(value).casefold())]


def names_a_patient(structure: str, identifiers: set[str]) -> bool:
    """Whether a structure's name holds a word of a patient's name, or a number or longer word within another."""
    return any(
        word in identifiers or any(len(other) > 4 and other in word for other in identifiers)
        for word in _words([structure])
    )


def series_of(mask: Mask, found: Found) -> str:
    """The series that a mask belongs to: that which it names, or whose slices it names; by frame of reference if it names none.

    Raises :class:`SegtraceError` where there is none or more than one, or where patients differ.
    """
    chosen = mask.series & found.series.keys()
    if not chosen:
        chosen = frozenset(
            name
            for name, series in found.series.items()
            if mask.instances & {s.instance for s in series.slices}
        )
    by_place = not mask.series and not mask.instances
    if by_place:
        chosen = frozenset(
            name
            for name, series in found.series.items()
            if mask.frames_of_reference & {s.frame_of_reference for s in series.slices}
        )
    if not chosen:
        what = "in its frame of reference" if by_place else "that it names"
        raise SegtraceError(f"{mask.path}: the series {what} is not in the folder")
    if len(chosen) > 1:
        places = ", ".join(sorted(str(found.series[name].place()) for name in chosen))
        raise SegtraceError(
            f"{mask.path}: fits {len(chosen)} series (of {places}); keep the one that it was drawn on"
        )
    name = next(iter(chosen))
    if mask.patient and not found.series[name].anonymous and mask.patient != found.series[name].patient:
        raise SegtraceError(
            f"{mask.path}: is of another patient than its series (of {found.series[name].place()})"
        )
    return name


def in_order(series: Series) -> tuple[list[Slice], str]:
    """The slices along their normal, and what keeps them from being a volume, in words ("" if nothing does)."""
    slices = series.slices
    first = slices[0]
    if len(slices) < 2:
        return slices, "one slice; a volume has at least two"
    for what, same in (
        ("size", all(one.size == first.size for one in slices)),
        ("frame of reference", all(one.frame_of_reference == first.frame_of_reference for one in slices)),
        ("orientation", all(_near(one.orientation, first.orientation) for one in slices)),
    ):
        if not same:
            return slices, f"its slices differ in {what}"
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    along = {one.path: float(np.dot(one.position, normal)) for one in slices}
    ordered = sorted(slices, key=lambda one: (along[one.path], one.path))
    steps = np.diff([along[one.path] for one in ordered])
    step = float(np.median(steps))
    for i, own in enumerate(steps):
        pair = f"{ordered[i].path.name} and {ordered[i + 1].path.name}"
        if own < 1e-3:
            return ordered, f"two slices lie at one position ({pair})"
        if own > (1 + UNEVEN) * step and own / step > 1.5:
            return (
                ordered,
                f"a slice is missing between {pair} ({own:g} mm; most others are {step:g} mm apart)",
            )
        if abs(own - step) > UNEVEN * step:
            return ordered, f"its slices are not evenly spaced ({pair}: {own:g} mm, most others {step:g} mm)"
    return ordered, ""


def _near(first: Sequence[float], second: Sequence[float]) -> bool:
    return float(np.abs(np.subtract(first, second)).max()) <= 1e-3
