"""What DICOM-SEG and RTSTRUCT objects have in common: opened so that no header reaches a message, named, placed.

Structures are compared by the key of their name (:func:`key`): people write one name in many ways. Nothing that a
library says of a file is passed on, since it may quote the header, and with it the patient.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from segtrace.errors import SegtraceError
from segtrace.geometry import Grid
from segtrace.headers import REMEDY, check_start

#: A frame or contour may lie this far from a slice's plane, in slices: positions are written with rounding.
OFF_PLANE = 0.1


@contextmanager
def opened(path: Path, *, tags: Sequence[str] | None = None, pixels: bool = False) -> Iterator[Any]:
    """The ``pydicom.Dataset`` of a file, or only its ``tags``, while the block runs; ``pixels``: PixelData too.

    Any fault of the file that shows in the block, also in a value that is decoded late, is one
    :class:`SegtraceError` that names the file and nothing of its content.
    """
    check_start(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            chosen = list(tags) if tags is not None else None
            # force: some archives leave out the 132 bytes before the first element
            yield pydicom.dcmread(path, stop_before_pixels=not pixels, specific_tags=chosen, force=True)
    except SegtraceError:
        raise
    except Exception as error:  # damaged bytes make the library raise anything
        raise SegtraceError(
            f"{path}: damaged DICOM file, or not as the standard has it ({type(error).__name__}); {REMEDY}"
        ) from None


def key(name: object) -> str:
    """A structure's name in lower case with single spaces: ``'  Left_Lung '`` and ``'left lung'`` are one."""
    return re.sub(r"[\s_]+", " ", str(name or "")).strip().casefold()


def check_frame_of_reference(path: Path, own: object, image: str, *, what: str) -> list[str]:
    """Notes if one of two frames of reference is not given; raise :class:`SegtraceError` if they differ."""
    if not own or not image:
        return [f"{what} was placed by position alone: not both it and the image name a frame of reference"]
    if str(own) != image:
        raise SegtraceError(
            f"{path}: {what} has another frame of reference than its image, so that positions mean different "
            "places; register it to the image and save it anew, or exclude the case"
        )
    return []


def indices(points_mm: np.ndarray, grid: Grid) -> np.ndarray:
    """Points (N, 3), world (x, y, z) in mm, as (N, 3) fractional voxel indices (x, y, z), rounded to a thousandth.

    Rounding keeps a point that lies on a voxel's centre there: positions are written in decimals, and the last one
    must not decide whether the voxel is inside.
    """
    moved = np.asarray(points_mm, float) - np.asarray(grid.origin_mm)
    return np.round(np.linalg.solve(grid.matrix(), moved.T).T, 3)
