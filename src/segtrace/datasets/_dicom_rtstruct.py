"""RTSTRUCT objects: closed planar contours, filled slice by slice (DICOM PS3.3 C.8.8.6).

A voxel is inside where its centre is, by the even-odd rule over all contours of a structure on a slice: a
contour within another is a hole, whether it is drawn apart or joined by a keyhole. A centre on an outline
is inside at its first rows and columns and outside at its last ones, so that structures side by side
share no voxel.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from segtrace.datasets import _dicom_objects
from segtrace.errors import raise_all
from segtrace.geometry import Grid

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "INTERPOLATED_PLANAR")


def names(header: Any) -> dict[int, str]:
    """Number of each region of interest → key of its name, else ``region N``."""
    return {
        int(region.ROINumber): _dicom_objects.key(region.get("ROIName") or f"region {region.ROINumber}")
        for region in header.StructureSetROISequence
    }


def present(header: Any) -> set[str]:
    """Keys of the regions that have a closed contour: points and open lines enclose nothing."""
    known = names(header)
    return {
        known[int(region.ReferencedROINumber)]
        for region in header.get("ROIContourSequence") or []
        if any(c.get("ContourGeometricType") in _CLOSED for c in region.get("ContourSequence") or [])
    }


def masks(
    path: Path,
    grid: Grid,
    *,
    frame_of_reference: str,
    threshold: float,
    skipped: Collection[str],
    notes: list[str],
) -> Iterator[tuple[str, np.ndarray]]:
    """Key and mask, bool (D, H, W) on ``grid``, of each region with a closed contour, but for the ``skipped`` keys.

    ``threshold`` is of no meaning here; ``notes`` is added to. Raises :class:`SegtraceError` for another frame of
    reference, for contours off the slices' planes or beyond them, and for damaged files.
    """
    with _dicom_objects.opened(path) as header:
        known = names(header)
        frames = {
            int(r.ROINumber): r.get("ReferencedFrameOfReferenceUID") for r in header.StructureSetROISequence
        }
        for region in header.get("ROIContourSequence") or []:
            number = int(region.ReferencedROINumber)
            contours = [
                np.array(contour.ContourData, float).reshape(-1, 3)
                for contour in region.get("ContourSequence") or []
                if contour.get("ContourGeometricType") in _CLOSED
            ]
            if not contours or known[number] in skipped:
                continue
            said = _dicom_objects.check_frame_of_reference(
                path, frames[number], frame_of_reference, what=f"the structure {known[number]!r}"
            )
            notes += [note for note in said if note not in notes]
            yield known[number], _filled(path, known[number], contours, grid)


def _filled(path: Path, name: str, contours: list[np.ndarray], grid: Grid) -> np.ndarray:
    """The mask (D, H, W) of a structure's contours, each (N, 3) points in mm."""
    depth, height, width = grid.array_shape
    crossings = np.zeros((depth, height, width + 1), np.uint8)
    off, beyond, worst = 0, 0, 0.0
    for contour in contours:
        points = _dicom_objects.indices(contour, grid)
        slice_ = int(np.rint(points[:, 2].mean()))
        distance = float(np.abs(points[:, 2] - slice_).max())
        if distance > _dicom_objects.OFF_PLANE:
            off, worst = off + 1, max(worst, distance)
        elif not 0 <= slice_ < depth:
            beyond += 1
        else:
            _cross(crossings[slice_], points[:, :2])
    problems = []
    if off:
        problems.append(
            f"{name!r}: {off} of {len(contours)} contours lie off the planes of the image's slices, "
            f"by up to {worst:.2f} slices ({_dicom_objects.OFF_PLANE} is allowed)"
        )
    if beyond:
        problems.append(f"{name!r}: {beyond} of {len(contours)} contours lie beyond the first or last slice")
    raise_all(
        problems,
        heading=f"{path}: does not lie on the slices of its image",
        remedy="Draw or interpolate the contours on the slices of the series that they belong to, or exclude the case.",
    )
    return np.bitwise_xor.accumulate(crossings[..., :width], axis=-1).astype(bool)


def _cross(crossings: np.ndarray, points: np.ndarray) -> None:
    """Flip, in ``crossings`` (H, W + 1), the first voxel centre at or after each crossing of a row by the outline.

    ``points`` (N, 2) are (x, y) in voxels. The running exclusive or along a row is then 1 inside.
    """
    height, width = crossings.shape[0], crossings.shape[1] - 1
    (x0, y0), (x1, y1) = points.T, np.roll(points, -1, axis=0).T
    first = np.clip(np.ceil(np.minimum(y0, y1)), 0, height).astype(int)
    last = np.clip(np.ceil(np.maximum(y0, y1)), 0, height).astype(int)  # past the end
    counts = last - first
    edge = np.repeat(np.arange(len(points)), counts)
    rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    x = x0[edge] + (rows - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    columns = np.clip(np.ceil(np.round(x, 6)), 0, width).astype(int)
    np.bitwise_xor.at(crossings, (rows, columns), 1)
