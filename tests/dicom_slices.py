"""DICOM files as scanners write them, with a patient whose data must not reach any table."""

import io
import tempfile
from collections.abc import Sequence

import numpy as np
import pydicom
import SimpleITK as sitk
from PIL import Image as Picture
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, RLELossless, generate_uid

#: Planted in every header.
PATIENT = {
    "PatientName": "Secretname^Hidden",
    "PatientID": "ID-4711-SECRET",
    "PatientBirthDate": "19340229",
    "PatientAddress": "Secret Street 5",
    "AccessionNumber": "ACC90210",
}


def _packed(values: np.ndarray, syntax: str) -> bytes:
    """The encapsulated pixel data of uint16 ``values``."""
    if syntax == JPEG2000Lossless:
        buffer = io.BytesIO()
        Picture.fromarray(values).save(buffer, "JPEG2000", no_jp2=True, num_resolutions=1)
        return pydicom.encaps.encapsulate([buffer.getvalue()])
    with tempfile.TemporaryDirectory() as folder:
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.SetFileName(f"{folder}/a.dcm")
        writer.Execute(sitk.GetImageFromArray(values[None]))
        return bytes(pydicom.dcmread(f"{folder}/a.dcm").PixelData)


def dicom(
    values: np.ndarray,
    *,
    position: Sequence[float],
    spacing_mm: tuple[float, float] = (1.0, 1.0),
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    slope: float = 1.0,
    intercept: float = 0.0,
    modality: str = "CT",
    syntax: str = ExplicitVRLittleEndian,
    **tags: object,
) -> bytes:
    """One slice of stored ``values`` (H, W), uint16 or int16; ``spacing_mm`` is (x, y). Each has a series of its own.

    ``tags`` replace tags; None removes one.
    """
    header = pydicom.Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2" if modality == "CT" else "1.2.840.10008.5.1.4.1.1.4"
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    key = [str(tuple(position)), modality, str(values.sum())]
    header.SOPInstanceUID = generate_uid(entropy_srcs=["instance", *key])
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.StudyInstanceUID = generate_uid(entropy_srcs=["study", *key])
    header.SeriesInstanceUID = generate_uid(entropy_srcs=["series", *key])
    for tag, value in PATIENT.items():
        setattr(header, tag, value)
    header.Modality = modality
    header.SliceThickness = 3.2  # not the distance of the slices
    header.ImagePositionPatient = list(position)
    header.ImageOrientationPatient = list(orientation)
    header.PixelSpacing = [spacing_mm[1], spacing_mm[0]]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Rows, header.Columns = values.shape
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, int(values.dtype.kind == "i")
    header.RescaleSlope, header.RescaleIntercept = slope, intercept
    for tag, value in tags.items():
        if value is None:
            delattr(header, tag)
        else:
            setattr(header, tag, value)
    header.PixelData = values.astype(values.dtype.newbyteorder("<")).tobytes()
    header["PixelData"].VR = "OW"
    if syntax == RLELossless:
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.compress(syntax)
    elif syntax in (JPEG2000Lossless, JPEGLosslessSV1):
        header.PixelData = _packed(values, syntax)
        header["PixelData"].VR, header["PixelData"].is_undefined_length = "OB", True
    buffer = io.BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
