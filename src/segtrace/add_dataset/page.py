"""The page that shows what was taken in: labels outlined on a sample of the images, all faulty cases first."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from segtrace import datasets, images, overlays, pages
from segtrace.add_dataset.examine import Examined, empty_masks
from segtrace.add_dataset.proposal import Proposal
from segtrace.datasets import Case
from segtrace.errors import SegtraceError

TEMPLATES = Path(__file__).parent / "templates"
#: Cases whose pictures are drawn: of the faulty ones, which are all listed, and of the others.
FAULTY, SAMPLE = 40, 24


def build(root: Path, name: str, proposal: Proposal, examined: Examined) -> str:
    """The page as HTML, for the new tree ``root``. It loads nothing, and equal data gives equal bytes."""
    good = [case for case in examined.cases if case.case not in examined.faults]
    bad = [case for case in examined.cases if case.case in examined.faults]
    chosen = [good[i * len(good) // SAMPLE] for i in range(SAMPLE)] if len(good) > SAMPLE else good
    voxels = {row["case"]: json.loads(row["voxels"]) for row in examined.rows}
    environment = pages.environment(TEMPLATES)
    return environment.get_template("page.html.j2").render(
        name=name,
        layout=proposal.layout if not proposal.private else proposal.layout.partition(",")[0],
        cases=len(examined.cases),
        usable=len(good),
        labels=proposal.labels,
        prevalence={
            value: sum(found[str(value)] > 0 for found in voxels.values()) for value in proposal.labels
        },
        empty=empty_masks(examined.rows),
        channels=proposal.channels,
        notes=proposal.notes,
        unfit=len(proposal.problems),
        faulty=[
            {
                "case": case.case,
                "words": "",
                "fault": examined.faults[case.case],
                "pictures": _pictures(root, proposal, case) if number < FAULTY else [],
            }
            for number, case in enumerate(bad)
        ],
        sample=[
            {
                "case": case.case,
                "words": _words(proposal, voxels[case.case]),
                "fault": "",
                "pictures": _pictures(root, proposal, case),
            }
            for case in chosen
        ],
    )


def _words(proposal: Proposal, voxels: dict[str, int]) -> str:
    unit = "pixels" if proposal.dimensions == 2 else "voxels"
    return ", ".join(f"{label}: {voxels[str(value)]} {unit}" for value, label in proposal.labels.items())


def _pictures(root: Path, proposal: Proposal, case: Case) -> list[overlays.Picture]:
    """The image with its label outlined, as far as both can be read and lie on one grid."""
    reader: Any = datasets.reader(proposal.reader)
    try:
        image = reader.read_image(root, case, proposal.options)
    except SegtraceError:
        return []
    grid = images.grid_of(image)
    nothing = images.from_array(np.zeros(grid.array_shape, np.uint8), grid)
    try:
        label = reader.read_label(root, case, proposal.options)[0]
        if images.grid_of(label).size != grid.size:
            label = nothing
    except SegtraceError:
        label = nothing
    return list(overlays.pictures_of(image, label, nothing))
