"""DICOM Segmentation objects: frames of any order and number, placed on the image's grid by their positions.

Binary, fractional and label-map objects are read (DICOM PS3.3 A.51); each frame may hold the part of a slice only.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from segtrace.datasets import _dicom_objects
from segtrace.errors import SegtraceError, raise_all
from segtrace.geometry import Grid

#: Two pixel spacings that differ by less than this part of a pixel over a frame are the same.
SAME_SPACING = 0.1


def names(header: Any) -> dict[int, str]:
    """Number of each segment → key of its name: its label, else its type, else ``segment N``."""
    found = {}
    for segment in header.SegmentSequence:
        number = int(segment.SegmentNumber)
        types = segment.get("SegmentedPropertyTypeCodeSequence") or [{}]
        name = segment.get("SegmentLabel") or types[0].get("CodeMeaning") or f"segment {number}"
        found[number] = _dicom_objects.key(name)
    return found


def present(header: Any) -> set[str]:
    """Keys of the segments that have a frame (all of a label map, whose frames do not say)."""
    known = names(header)
    if header.SegmentationType == "LABELMAP":
        return set(known.values()) - {known.get(0, "")}
    return {known[_number(header, frame)] for frame in range(len(header.PerFrameFunctionalGroupsSequence))}


def masks(
    path: Path,
    grid: Grid,
    *,
    frame_of_reference: str,
    threshold: float,
    skipped: Collection[str],
    notes: list[str],
) -> Iterator[tuple[str, np.ndarray]]:
    """Key and mask, bool (D, H, W) on ``grid``, of each segment with a frame, but for the ``skipped`` keys.

    A voxel of a fractional segment is in it from ``threshold`` of the greatest fraction on. ``notes`` is added to.
    Raises :class:`SegtraceError` for another frame of reference, for frames that lie between the slices or
    beyond them, are turned, or of another pixel spacing, for two frames of one segment at one place, and for
    damaged files.
    """
    with _dicom_objects.opened(path, pixels=True) as header:
        notes += _dicom_objects.check_frame_of_reference(
            path, header.get("FrameOfReferenceUID"), frame_of_reference, what="the segmentation"
        )
        frames = header.pixel_array.reshape(-1, int(header.Rows), int(header.Columns))
        kind, known = str(header.SegmentationType), names(header)
        if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
            raise SegtraceError(f"{path}: a segmentation that is neither binary, fractional nor a label map")
        groups = len(header.PerFrameFunctionalGroupsSequence)
        if len(frames) != groups:
            raise SegtraceError(
                f"{path}: {len(frames)} frames, and places for {groups}; fetch the file again"
            )
        if kind == "FRACTIONAL":
            notes.append(f"fractions from {threshold:g} on count as inside")
            frames = frames >= threshold * int(header.MaximumFractionalValue)
        starts = _starts(path, header, grid, frames.shape[1:])
        numbers = None if kind == "LABELMAP" else [_number(header, frame) for frame in range(groups)]
        for number in sorted(set(known) - {0} if numbers is None else set(numbers)):
            if number not in known:
                raise SegtraceError(f"{path}: frames of segment {number}, which the object does not list")
            chosen = [i for i in range(groups) if numbers is None or numbers[i] == number]
            if known[number] not in skipped:
                mask = np.zeros(grid.array_shape, bool)
                for frame in chosen:
                    _put(
                        mask, frames[frame] == number if numbers is None else frames[frame] > 0, starts[frame]
                    )
                _refuse_twice(path, known[number], [starts[frame] for frame in chosen])
                yield known[number], mask


def _put(mask: np.ndarray, frame: np.ndarray, start: tuple[int, int, int]) -> None:
    slice_, row, column = start
    mask[slice_, row : row + frame.shape[0], column : column + frame.shape[1]] |= frame


def _refuse_twice(path: Path, name: str, starts: list[tuple[int, int, int]]) -> None:
    twice = len(starts) - len(set(starts))
    if twice:
        raise SegtraceError(f"{path}: {name!r}: {twice} frames lie where another frame of the segment lies")


def _group(header: Any, frame: int, name: str) -> Any:
    """The functional group ``name`` of a frame: its own, or that which all frames share."""
    for part in (header.PerFrameFunctionalGroupsSequence[frame], *header.SharedFunctionalGroupsSequence):
        if part.get(name):
            return part[name].value[0]
    raise SegtraceError(f"{header.filename}: frame {frame + 1} has no {name}; save the object anew")


def _number(header: Any, frame: int) -> int:
    """The segment that a frame belongs to."""
    return int(_group(header, frame, "SegmentIdentificationSequence").ReferencedSegmentNumber)


def _starts(path: Path, header: Any, grid: Grid, shape: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """(slice, row, column) of the first pixel of each frame on the grid."""
    axes = np.asarray(grid.direction, float).reshape(3, 3)
    starts, problems = [], []
    for frame in range(len(header.PerFrameFunctionalGroupsSequence)):
        turned = _group(header, frame, "PlaneOrientationSequence").ImageOrientationPatient
        spacing = _group(header, frame, "PixelMeasuresSequence").PixelSpacing
        position = _group(header, frame, "PlanePositionSequence").ImagePositionPatient
        if np.abs(np.array(turned, float) - axes[:, :2].T.ravel()).max() > 1e-3:
            problems.append(f"frame {frame + 1} is turned against the image's slices")
            continue
        steps = np.array(spacing, float)[::-1]  # the tag holds the distance of rows first
        own = np.asarray(grid.spacing_mm[:2])
        if (np.abs(steps - own) * shape[::-1] > SAME_SPACING * own).any():
            problems.append(f"frame {frame + 1} has another pixel spacing than the image")
            continue
        place = _dicom_objects.indices(np.array([position], float), grid)[0]
        nearest = np.rint(place).astype(int)
        if np.abs(place - nearest).max() > _dicom_objects.OFF_PLANE:
            off = ", ".join(f"{value:.2f}" for value in np.abs(place - nearest))
            problems.append(
                f"frame {frame + 1} lies between the image's voxels, by {off} of them along (x, y, z)"
            )
            continue
        column, row, slice_ = map(int, nearest)
        ends = (slice_ + 1, row + shape[0], column + shape[1])
        if min(slice_, row, column) < 0 or any(e > n for e, n in zip(ends, grid.array_shape, strict=True)):
            problems.append(f"frame {frame + 1} reaches beyond the image")
            continue
        starts.append((slice_, row, column))
    raise_all(
        problems,
        heading=f"{path}: does not lie on the grid of its image",
        remedy="Save the segmentation on the grid of the series that it belongs to, or exclude the case.",
    )
    return starts
