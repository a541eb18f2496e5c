"""DICOM series with segmentations and structure sets as other programs write them, for tests."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import highdicom
import numpy as np
import pydicom
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dicom_slices import dicom


def uid(*words: object) -> str:
    """A valid identifier that is a hash of the words."""
    return str(generate_uid(entropy_srcs=[str(word) for word in words]))


def series(
    folder: Path,
    *,
    name: str = "s",
    patient: str = "P1",
    count: int = 6,
    shape: tuple[int, int] = (10, 12),
    axes: np.ndarray | None = None,
    spacing_mm: tuple[float, float, float] = (0.5, 0.75, 2.0),
    without: Sequence[int] = (),
    names: str = "IM{k:03d}",
    **tags: object,
) -> list[Path]:
    """Slices 0 to ``count`` - 1 along the third of ``axes`` (columns), named in reverse; paths in spatial order.

    Slice k holds 10 * k everywhere but for noise of the series' name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    turned = np.eye(3) if axes is None else axes
    noise = np.random.default_rng(list(f"{name}{patient}".encode())).integers(0, 10, (count, *shape))
    paths = []
    for k in range(count):
        if k in without:
            continue
        position = np.array([-20.0, 7.0, 30.0]) + k * spacing_mm[2] * turned[:, 2]
        path = folder / names.format(k=count - k)
        written: dict[str, object] = {
            "StudyInstanceUID": uid("study", patient),
            "SeriesInstanceUID": uid("series", patient, name),
            "FrameOfReferenceUID": uid("frame", patient),
            "PatientID": patient,
            "PatientBirthDate": "19340228",  # one that there was: the library checks
            "PatientSex": "O",
            "StudyID": "1",
            "StudyDate": "19990131",
            "StudyTime": "101112",
            "ReferringPhysicianName": "Refername^Secret",
            "SeriesNumber": 1,
            "InstanceNumber": k + 1,
            **tags,
        }
        path.write_bytes(
            dicom(
                (10 * k + noise[k]).astype(np.uint16),
                position=[f"{value:.6f}" for value in position],  # type: ignore[misc]
                spacing_mm=spacing_mm[:2],
                orientation=[f"{value:.9f}" for value in turned[:, :2].T.ravel()],  # type: ignore[misc]
                **written,  # type: ignore[arg-type]
            )
        )
        paths.append(path)
    return paths


def segmentation(
    path: Path,
    slices: Sequence[Path],
    masks: np.ndarray,
    names: Sequence[str],
    *,
    kind: str = "BINARY",
    only: Sequence[int] | None = None,
    syntax: str = ExplicitVRLittleEndian,
) -> pydicom.Dataset:
    """A segmentation of ``masks`` (D, H, W, S) on ``slices``, in spatial order; ``only``: those slices, in that order."""
    chosen = list(range(len(slices))) if only is None else list(only)
    segments = [
        SegmentDescription(
            number, name, codes.SCT.Tissue, codes.SCT.Liver, highdicom.seg.SegmentAlgorithmTypeValues.MANUAL
        )
        for number, name in enumerate(names, start=1)
    ]
    written = Segmentation(
        source_images=[pydicom.dcmread(slices[k]) for k in chosen],
        pixel_array=masks[chosen],
        segmentation_type=kind,
        segment_descriptions=segments,
        series_instance_uid=uid("seg series", path.name),
        series_number=9,
        sop_instance_uid=uid("seg", path),
        instance_number=1,
        manufacturer="m",
        manufacturer_model_name="m",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=syntax,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    written.save_as(path)
    return written


def structure_set(
    path: Path,
    slices: Sequence[Path],
    contours: Mapping[str, Sequence[np.ndarray]],
    *,
    references: str = "series",
    kind: str = "CLOSED_PLANAR",
    **tags: object,
) -> None:
    """A structure set; ``contours``: name → points (N, 3) in mm. ``references``: series, instances or frame."""
    first = pydicom.dcmread(slices[0])
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = uid("rtstruct", path)
    for tag in (
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "AccessionNumber",
        "StudyInstanceUID",
        "FrameOfReferenceUID",
    ):
        setattr(header, tag, first[tag].value)
    header.Modality, header.SeriesInstanceUID = "RTSTRUCT", uid("rtstruct series", path)
    place = header.FrameOfReferenceUID
    of_series = Dataset()
    of_series.SeriesInstanceUID = first.SeriesInstanceUID
    of_study = Dataset()
    of_study.RTReferencedSeriesSequence = [of_series]
    of_frame = Dataset()
    of_frame.FrameOfReferenceUID = place
    if references == "series":
        of_frame.RTReferencedStudySequence = [of_study]
    header.ReferencedFrameOfReferenceSequence = [of_frame]
    header.StructureSetROISequence, header.ROIContourSequence = [], []
    for number, (name, drawn) in enumerate(contours.items(), start=3):
        region, lines = Dataset(), Dataset()
        region.ROINumber, region.ROIName, region.ReferencedFrameOfReferenceUID = number, name, place
        lines.ReferencedROINumber, lines.ContourSequence = number, []
        for points in drawn:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
            contour.ContourData = [f"{value:.6f}" for value in points.ravel()]
            if references == "instances":
                source = Dataset()
                source.ReferencedSOPInstanceUID = first.SOPInstanceUID
                contour.ContourImageSequence = [source]
            lines.ContourSequence.append(contour)
        header.StructureSetROISequence.append(region)
        header.ROIContourSequence.append(lines)
    for tag, value in tags.items():
        setattr(header, tag, value)
    buffer = io.BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())


def outline(
    rectangle: tuple[float, float, float, float],
    slice_: float,
    *,
    axes: np.ndarray | None = None,
    spacing_mm: tuple[float, float, float] = (0.5, 0.75, 2.0),
) -> np.ndarray:
    """Points in mm of a rectangle (x from, y from, x to, y to) in voxels on a slice of :func:`series`."""
    x0, y0, x1, y1 = rectangle
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    turned = np.eye(3) if axes is None else axes
    index = np.column_stack([corners, np.full(4, slice_)]) * spacing_mm
    return np.array([-20.0, 7.0, 30.0]) + index @ turned.T
