"""Which layout a folder has: each is a module with ``recognise``; the first that knows the folder proposes."""

import importlib
import importlib.util
import inspect
from pathlib import Path

from segtrace.add_dataset import inventory
from segtrace.add_dataset.proposal import Proposal
from segtrace.errors import SegtraceError

#: Layouts in the order in which they are tried: those with marks of their own first. Module → in words.
LAYOUTS = {
    "nnunet": "nnU-Net's layout: dataset.json, imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz",
    "bids": "a BIDS derivative: sub-01/[ses-1/]anat/sub-01_T1w.nii.gz, derivatives/NAME/sub-01/.../sub-01_dseg.nii.gz",
    "dicom": "DICOM series with DICOM-SEG or RTSTRUCT",
    "two_folders": "images and masks in two folders, with matching names",
    "side_by_side": "images and masks side by side: x.png and x_mask.png, or any other suffix",
}


def recognise(folder: Path, *, keep_names: bool = False) -> Proposal:
    """The proposal for a folder. One that no layout knows is an error that says what lies there."""
    inventory.of.cache_clear()
    found = inventory.of(folder)
    if not found.images and not found.others:
        hidden = f" ({found.left_behind} hidden or system files)" if found.left_behind else ""
        lines = [f"  - {problem}" for problem in found.problems]
        raise SegtraceError("\n".join([f"{folder}: holds no files{hidden}", *lines]))
    known = {
        name: text for name, text in LAYOUTS.items() if importlib.util.find_spec(f"{__package__}.{name}")
    }
    for name in known:
        function = importlib.import_module(f"{__package__}.{name}").recognise
        options = {"keep_names": keep_names} if "keep_names" in inspect.signature(function).parameters else {}
        proposal: Proposal | None = function(folder, **options)
        if proposal is not None:
            return proposal
    raise SegtraceError(
        "\n".join(
            [
                f"{folder}: no layout is recognised in it; there are",
                *(f"  - {line}" for line in [*found.counted(), *found.problems]),
                "Layouts that are known:",
                *(f"  - {text}" for text in known.values()),
                "Bring the files into one of these, or see docs/add-dataset.md for how to write the YAML by hand.",
            ]
        )
    )
