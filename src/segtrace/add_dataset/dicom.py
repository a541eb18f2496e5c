"""A folder of DICOM series with DICOM-SEG or RTSTRUCT objects, proposed as a data set of the reader ``dicom_series``.

Patients become ``subj_001``, ... in the order of their PatientID, series ``series_01``, ... in the order of their
paths: below ``data/raw/NAME`` no name, date or identifier of a header or folder is left in a path. The bytes of
the files stay as they are, headers and all.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segtrace.add_dataset import dicom_headers
from segtrace.add_dataset.dicom_headers import Found, Slice
from segtrace.add_dataset.dicom_masks import Mask
from segtrace.add_dataset.proposal import Proposal
from segtrace.errors import SegtraceError, raise_all

LAYOUT = "DICOM series with DICOM-SEG or RTSTRUCT objects"


@dataclass
class _Chosen:
    """A series that becomes a case."""

    slices: list[Slice]
    masks: list[Mask] = field(default_factory=list)


def recognise(folder: Path) -> Proposal | None:
    """The data set that the DICOM files below ``folder`` make; None if none of them is a series or a mask object.

    A series without a mask, a mask without its series and a series that is no volume are left out, each with a line
    in ``problems``. Raises :class:`SegtraceError` with these lines where no case is left.
    """
    found = dicom_headers.scan(folder)
    if not found.series or not found.masks:
        return None
    problems = list(found.problems)
    linked = _linked(found, problems)
    chosen: dict[str, _Chosen] = {}
    for name, series in sorted(found.series.items(), key=lambda item: item[1].place()):
        where = f"{series.place()} and {len(series.slices) - 1} more files"
        if name not in linked:
            problems.append(f"{where}: a series that no mask belongs to; left out")
            continue
        slices, fault = dicom_headers.in_order(series)
        masks = _one_drawing_each(linked[name], problems)
        if fault or not masks:
            reason = fault or "its masks draw the same structures: keep the right one"
            problems.append(f"{where}: {reason}; left out")
        else:
            chosen[name] = _Chosen(slices, masks)
    if not chosen:
        raise_all(
            problems,
            heading=f"{folder}: DICOM files, but no series with a usable mask",
            remedy="Add what is missing to the folder, and run the command again.",
        )
    return _proposal(folder, found, chosen, problems)


def _linked(found: Found, problems: list[str]) -> dict[str, list[Mask]]:
    """Series → its masks. Masks that belong to none, draw nothing, or name a patient come to ``problems``."""
    linked: dict[str, list[Mask]] = {}
    patients: dict[str, set[str]] = {}
    for mask in found.masks:
        for name in mask.structures:
            patients.setdefault(name, set()).add(mask.patient)
    for mask in found.masks:
        # what is drawn for several patients names none, as 'pancreas' where patients are Pancreas_1, Pancreas_2
        named = [
            name
            for name in mask.structures
            if len(patients[name]) == 1 and dicom_headers.names_a_patient(name, found.identifiers)
        ]
        if not mask.structures:
            problems.append(f"{mask.path}: draws no structure; left out")
        elif named:
            problems.append(
                f"{mask.path}: the names of {len(named)} of {len(mask.structures)} structures hold a word or number "
                "that identifies a patient; left out: rename them"
            )
        else:
            try:
                linked.setdefault(dicom_headers.series_of(mask, found), []).append(mask)
            except SegtraceError as error:
                problems.append(f"{error}; left out")
    return linked


def _one_drawing_each(masks: list[Mask], problems: list[str]) -> list[Mask]:
    """The masks of a series, without structure sets that a segmentation repeats; none if two still draw the same."""
    drawn = {name for mask in masks if mask.kind == "seg" for name in mask.structures}
    kept = []
    for mask in masks:
        if mask.kind == "rtstruct" and drawn and drawn & set(mask.structures):
            problems.append(f"{mask.path}: draws what a segmentation of the series draws too; left out")
        else:
            kept.append(mask)
    names = [name for mask in kept for name in mask.structures]
    return kept if len(names) == len(set(names)) else []


def _proposal(folder: Path, found: Found, chosen: dict[str, _Chosen], problems: list[str]) -> Proposal:
    """The proposal for the series that become cases."""
    patients = sorted({found.series[name].patient for name in chosen})
    files: dict[str, Path] = {}
    private: dict[str, str] = {}
    for number, patient in enumerate(patients, start=1):
        subject = f"subj_{number:03d}"
        own = [name for name in chosen if found.series[name].patient == patient]
        what = "StudyInstanceUID" if found.series[own[0]].anonymous else "PatientID"
        private[subject] = f"{what} {patient}"
        for count, name in enumerate(own, start=1):
            place = f"{subject}/series_{count:02d}"
            private[f"{subject}_series_{count:02d}"] = str(found.series[name].place().parent)
            for i, one in enumerate(chosen[name].slices, start=1):
                files[f"{place}/{i:04d}.dcm"] = one.path
            _place_masks(chosen[name].masks, place, files)
    problems += _warnings(found, chosen)
    masks = [mask for one in chosen.values() for mask in one.masks]
    structures = sorted({name for mask in masks for name in mask.structures})
    options: dict[str, Any] = {"structures": {name: value for value, name in enumerate(structures, start=1)}}
    if any(mask.fractional for mask in masks):
        options["fractional_threshold"] = 0.5
    modality = "/".join(sorted({found.series[name].modality for name in chosen}))
    return Proposal(
        layout=LAYOUT,
        reader="dicom_series",
        options=options,
        dimensions=3,
        modality=modality,
        labels={value: name for name, value in options["structures"].items()},
        channels=[modality],
        files=files,
        private=private,
        problems=problems,
    )


def _place_masks(masks: list[Mask], place: str, files: dict[str, Path]) -> None:
    """Lay out the masks of the series at ``place``."""
    counts: dict[str, int] = {}
    for mask in sorted(masks, key=lambda mask: mask.path):
        counts[mask.kind] = counts.get(mask.kind, 0) + 1
        more = f"_{counts[mask.kind]}" if counts[mask.kind] > 1 else ""
        files[f"{place}_{mask.kind}{more}.dcm"] = mask.path


def _warnings(found: Found, chosen: dict[str, _Chosen]) -> list[str]:
    """What the owner must know of the series that become cases."""
    series = [found.series[name] for name in chosen]
    lines = ["the DICOM headers are copied as they are, names and dates too: do not hand data/raw on"]
    if any(one.anonymous for one in series):
        lines.append(
            "some series have no PatientID: each study counts as a subject, so that one patient may be on two sides"
        )
    if len({one.patient for one in series}) == 1 and len(series) > 1:
        lines.append("all series bear one PatientID, so they count as one subject, which no split can divide")
    modalities = sorted({one.modality for one in series})
    if len(modalities) > 1:
        lines.append(
            f"series of {len(modalities)} modalities ({', '.join(modalities)}) would be one data set: "
            "put each in a folder of its own"
        )
    return lines
