"""The structures of a label map: voxels, connected components and centroid of each label."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from segtrace.geometry import Grid


@dataclass(frozen=True)
class Structure:
    """One label of one case. ``centroid_mm`` is (x, y[, z]) in the patient; None without voxels."""

    voxels: int
    components: int
    centroid_mm: tuple[float, ...] | None


def structures(label: np.ndarray, grid: Grid, *, labels: Sequence[int]) -> dict[int, Structure]:
    """The structure of each of ``labels`` in ``label``, (D, H, W) or (H, W).

    Voxels that touch by a face, an edge or a corner are connected (26 neighbours, 8 in two dimensions).
    """
    boxes = ndimage.find_objects(label, max_label=max(labels, default=0)) if labels else []
    connectivity = np.ones((3,) * label.ndim, int)
    found: dict[int, Structure] = {}
    for value in sorted(labels):
        box = boxes[value - 1]
        if box is None:
            found[value] = Structure(0, 0, None)
            continue
        mask = label[box] == value
        axes = np.nonzero(mask)
        inside = [float(axis.mean()) + part.start for axis, part in zip(axes, box, strict=True)]
        # A millionth of a millimetre: below that, the last bits of a matrix product differ by processor.
        centroid = tuple(round(float(v), 6) + 0.0 for v in grid.world(inside))
        found[value] = Structure(int(axes[0].size), int(ndimage.label(mask, connectivity)[1]), centroid)
    return found
