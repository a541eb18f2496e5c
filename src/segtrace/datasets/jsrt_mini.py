"""miniJSRT: the two open teaching archives of the JSRT radiographs with lung labels (imgcom.jsrt.or.jp/minijsrtdb).

``archive: segmentation01`` is ``Segmentation01/{train,test}/{org,label}/N.png``: 60 images, lungs white (1 lungs).
``archive: segmentation02`` is ``segmentation02/segmentation/{org_train,org_test}/caseNNN.bmp`` with
``{label_train,label_test}/caseNNN_label.png``: 247 images (199 and 48); labels are 255 lung (1 lungs), 85 heart
(2 heart), 170 body and 0 outside the body (both background). Beside them lie copies (``org``, ``label``,
``org_train_s``, ``label_train_s``) and ``result``, which are not read. In the first archive the numbers of both sides
start anew, so ids hold the side. The owner states that the labels are not medically supervised.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import images
from segtrace.datasets import REFETCH, Case, check_options
from segtrace.datasets._pictures import read_grey, read_mask
from segtrace.datasets._radiographs import listing, unpaired
from segtrace.errors import SegtraceError, raise_all


@dataclass(frozen=True)
class _Layout:
    images: str
    labels: str
    image: re.Pattern[str]
    label: re.Pattern[str]
    values: Mapping[int, int]
    """Grey value → label, where masks are more than black and white."""


_LAYOUTS = {
    "segmentation01": _Layout(
        "Segmentation01/{side}/org",
        "Segmentation01/{side}/label",
        re.compile(r"(?P<id>\d+)\.png"),
        re.compile(r"(?P<id>\d+)\.png"),
        {},
    ),
    "segmentation02": _Layout(
        "segmentation02/segmentation/org_{side}",
        "segmentation02/segmentation/label_{side}",
        re.compile(r"case(?P<id>\d{3})\.bmp"),
        re.compile(r"case(?P<id>\d{3})_label\.png"),
        {0: 0, 170: 0, 255: 1, 85: 2},
    ),
}
SIDES = ("train", "test")


def _layout(options: Mapping[str, Any]) -> _Layout:
    check_options(options, known=("archive",))
    if options.get("archive") not in _LAYOUTS:
        raise SegtraceError(
            f"option archive of jsrt_mini is {options.get('archive')!r}; it can be {' or '.join(map(repr, _LAYOUTS))}"
        )
    return _LAYOUTS[options["archive"]]


def cases(root: Path, options: Mapping[str, Any]) -> list[Case]:
    """All images with their labels, ids such as ``test_003``; missing and unexpected files are one error."""
    layout = _layout(options)
    problems: list[str] = []
    found = []
    for side in SIDES:
        pictures = listing(root, layout.images.format(side=side), layout.image, problems)
        labels = listing(root, layout.labels.format(side=side), layout.label, problems)
        problems += unpaired(root, pictures, labels, "label")
        for number in sorted(pictures.keys() & labels.keys()):
            name = f"{side}_{int(number):03d}"
            found.append(Case(name, name, (pictures[number],), (labels[number],), side=side))
    raise_all(problems, heading=f"{root}: not the layout of {options['archive']}", remedy=REFETCH)
    return sorted(found, key=lambda case: case.case)


def read_image(root: Path, case: Case, options: Mapping[str, Any]) -> sitk.Image:
    """The radiograph in grey."""
    return images.picture_image(read_grey(root / case.images[0]))


def read_label(root: Path, case: Case, options: Mapping[str, Any]) -> tuple[sitk.Image, list[str]]:
    """1 lungs, and in the second archive 2 heart. Unknown grey values and sizes are errors that name the file."""
    path, image, values = root / case.labels[0], root / case.images[0], _layout(options).values
    if not values:
        mask, notes = read_mask(path, image=image)
        return images.picture_image(mask.astype(np.uint8)), notes
    pixels, size = read_grey(path), images.picture_size(image)
    if (pixels.shape[1], pixels.shape[0]) != size:
        raise SegtraceError(
            f"{path}: has {pixels.shape[1]}x{pixels.shape[0]} and its image {size[0]}x{size[1]}; fetch it again"
        )
    foreign = sorted(set(np.unique(pixels).tolist()) - set(values))
    if foreign:
        raise SegtraceError(
            f"{path}: holds {len(foreign)} grey values such as {foreign[:6]}; expected only {sorted(values)}"
        )
    label = np.zeros(pixels.shape, np.uint8)
    for grey, value in values.items():
        label[pixels == grey] = value
    return images.picture_image(label), []
