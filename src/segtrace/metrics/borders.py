"""Where the surfaces of a label map are: its border voxels, and the box that holds them.

A border voxel is a voxel of a mask with a face neighbour outside it; outside the image is outside the mask.
"""

from dataclasses import dataclass

import numpy as np

#: How far a search tries neighbours along each axis, in voxels, by number of axes: the padding of a border.
REACH = {2: 7, 3: 4}


@dataclass(frozen=True, eq=False)
class Border:
    """The surface elements of all labels of a map, padded by the reach on every side."""

    labels: np.ndarray
    """The padded map, 0 where there is no border."""
    places: np.ndarray
    """Flat indices into ``labels`` of its border voxels, ascending."""
    values: np.ndarray
    """The label of each place."""


def bounding_box(mask: np.ndarray) -> tuple[slice, ...] | None:
    """The smallest box that holds all voxels of ``mask``, (D, H, W) or (H, W), that are not 0; None without any."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        # narrowing the mask axis by axis lets each pass read less than the one before
        rest = tuple(other for other in range(mask.ndim) if other != axis)
        held = np.flatnonzero(mask[tuple(box)].any(axis=rest))
        if not held.size:
            return None
        box.append(slice(int(held[0]), int(held[-1]) + 1))
    return tuple(box)


def border(labels: np.ndarray) -> Border:
    """The borders of a label map or mask, (D, H, W) or (H, W): each label without its face-connected erosion."""
    padded = np.pad(labels, REACH[labels.ndim])
    edge = np.zeros(padded.shape, bool)
    for axis in range(padded.ndim):
        after = (slice(None),) * axis + (slice(1, None),)
        before = (slice(None),) * axis + (slice(None, -1),)
        differs = padded[after] != padded[before]
        edge[after] |= differs
        edge[before] |= differs
    padded *= edge
    return of_padded(padded)


def of_padded(padded: np.ndarray) -> Border:
    """The border whose padded map this is: a label where there is a surface element, 0 elsewhere."""
    places = np.flatnonzero(padded)
    return Border(padded, places, padded.ravel()[places])
