"""Small pictures of cases with the outline of their mask, for the page."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from segtrace import datasets, images, layout, overlays
from segtrace.config import load
from segtrace.errors import SegtraceError

#: Longest side of a picture in pixels.
SIDE = 280


@dataclass(frozen=True)
class Shown:
    """A picture as a ``data:`` address with its size, or the reason why there is none."""

    address: str = ""
    width: int = 0
    height: int = 0
    problem: str = ""


def picture(row: Mapping[str, Any]) -> Shown:
    """The picture of a case, from its raw files; of a volume the slice with most foreground. ``row`` is of ``cases``."""
    name = row["dataset"]
    data, root = load.dataset(name), layout.raw(name)
    case = datasets.case_of(row)
    reader = datasets.reader(data.reader or name)
    try:
        image = reader.read_image(root, case, data.options)
        label = images.label_array(reader.read_label(root, case, data.options)[0], where=case.case)
    except FileNotFoundError as error:
        return Shown(problem=f"{error.filename} is not on this machine")
    except SegtraceError as error:
        return Shown(problem=str(error))
    spacing = images.grid_of(image).array_spacing_mm
    grey = overlays.displayed(images.to_array(image))
    if label.ndim == 3:
        place = overlays.most_labelled(label, axis=0)
        grey, label, spacing = grey[place], label[place], spacing[1:]
    return drawn(grey, label, spacing=(spacing[0], spacing[1]))


def drawn(grey: np.ndarray, label: np.ndarray, *, spacing: tuple[float, float]) -> Shown:
    """An image (H, W) or (H, W, 3), uint8, with the outline of its mask (H, W), at its physical shape."""
    extent = [n * s for n, s in zip(label.shape, spacing, strict=True)]
    height, width = (max(1, round(length / max(extent) * SIDE)) for length in extent)
    colours = Image.fromarray(grey).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    painted = np.array(colours)
    nearest = Image.fromarray((label > 0).astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
    painted[overlays.contours(np.asarray(nearest))] = overlays.REFERENCE_COLOUR
    buffer = io.BytesIO()
    Image.fromarray(painted).save(buffer, "JPEG", quality=85)
    address = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Shown(address=address, width=width, height=height)
