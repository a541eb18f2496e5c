"""An indexed data set in the layout of nnU-Net v2 (Isensee et al., doi:10.1038/s41592-020-01008-z).

``imagesTr``, ``labelsTr``, ``imagesTs``, ``labelsTs``: ``CASE_0000``, one file a channel, and ``CASE``; ``dataset.json``; with a
protocol also ``splits_final.json``. Volumes are NIfTI in gzip on their own grid; pictures of whole numbers and
without a scale are PNG; other pictures are NIfTI of one slice, for PNG holds neither fractions nor a scale.
"""

import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from segtrace import datasets, files, images, layout, parallel, tables
from segtrace.config import load
from segtrace.config.models import Config, Dataset
from segtrace.datasets import Case
from segtrace.errors import SegtraceError, raise_all
from segtrace.geometry import Grid
from segtrace.trace import check, jobs

#: nnU-Net reads slices along the axis of the greatest spacing, so that of one slice is this often the others'.
ONE_SLICE = 999.0
#: Names that mean something else to nnU-Net.
_RESERVED = ("background", "ignore")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True)
class Work:
    """What one case needs to be written; plain enough to cross a process boundary."""

    reader: str
    options: Mapping[str, Any]
    root: Path
    case: Case
    image: Path
    """Without channel and ending."""
    label: Path
    ending: str


@dataclass(frozen=True)
class Plan:
    """Where the cases go."""

    works: list[Work]
    splits: list[dict[str, list[str]]] | None
    """nnU-Net's folds over its own names of the cases; None without a protocol."""
    content: dict[str, Any]
    """``dataset.json``."""
    left_out: int
    """Indexed cases that the protocol does not use."""


def target_of(name: str, output: Path, number: int) -> Path:
    """The folder to be written; :class:`SegtraceError` where it, or another data set of that number, is there."""
    if not 1 <= number <= 999:
        raise SegtraceError(f"--number {number}: nnU-Net counts data sets from 1 to 999")
    target = output / f"Dataset{number:03d}_{name}"
    taken = sorted(output.glob(f"Dataset{number:03d}_*"))
    if taken:
        raise SegtraceError(
            f"{taken[0]} is there already, and nnU-Net tells data sets by their numbers: "
            "move it away, or give another --number or --output"
        )
    return target


def refuse_broken(name: str, config: Config, *, protocol: str | None) -> None:
    """Raise :class:`SegtraceError` with every reason for which index or split does not hold, and for an unknown protocol."""
    if protocol is not None:
        load.part(name, "protocol", load.dataset(name).protocols, protocol)
    wanted = [jobs.index(name), *([jobs.split(name, protocol)] if protocol else [])]
    commands = f"segtrace index {name}" + (f"' and 'segtrace split {name} {protocol}" if protocol else "")
    raise_all(
        [str(problem) for problem in check.broken(wanted, config)],
        heading=f"{name} is not exported: its index" + (" or split" if protocol else "") + " does not hold",
        remedy=f"Run '{commands}', then export again.",
    )


def plan(name: str, folder: Path, *, protocol: str | None) -> Plan:
    """What to write below ``folder`` for the indexed cases of ``name``.

    With a protocol of one fold its test cases go to ``imagesTs``. In a protocol of several folds each case is a test
    case once, so all stay in ``imagesTr``, and nnU-Net's validation part of a fold is that fold's test part. Raises
    :class:`SegtraceError` for labels that nnU-Net cannot tell apart, and for a fold without validation part.
    """
    data = load.dataset(name)
    rows = tables.read("cases", layout.cases(name)).to_dict("records")
    names = _names([str(row["case"]) for row in rows])
    test, splits, used = set[str](), None, set(names)
    if protocol is not None:
        roles = tables.read("split", layout.split(name, protocol)).to_dict("records")
        used = {str(row["case"]) for row in roles}
        test, splits = _folds(roles, names, where=f"{name}/{protocol}")
    whole = all(row["dtype"] in ("uint8", "uint16") for row in rows)
    ending = ".png" if data.dimensions == 2 and whole and not data.spacing_known else ".nii.gz"
    works = []
    for row in rows:
        if row["case"] in used:
            side = "Ts" if row["case"] in test else "Tr"
            works.append(
                Work(
                    reader=data.reader or name,
                    options=data.options,
                    root=layout.raw(name),
                    case=datasets.case_of(row),
                    image=folder / f"images{side}" / names[str(row["case"])],
                    label=folder / f"labels{side}" / names[str(row["case"])],
                    ending=ending,
                )
            )
    content = _description(name, data, training=len(works) - len(test), ending=ending)
    content["segtrace"] = {
        "dataset": name,
        "index_sha256": files.sha256_file(layout.cases(name)),
        "protocol": protocol,
        "renamed": {new: old for old, new in names.items() if new != old},
    }
    return Plan(works, splits, content, len(rows) - len(works))


def _names(cases: Sequence[str]) -> dict[str, str]:
    """Case → a name of letters, digits, hyphens and underscores, different from all others in lower case too."""
    names = {case: _UNSAFE.sub("_", case) for case in cases}
    owners: dict[str, list[str]] = {}
    for case, new in names.items():
        owners.setdefault(new.casefold(), []).append(case)
    raise_all(
        [f"{' and '.join(own)} would both be {names[own[0]]!r}" for own in owners.values() if len(own) > 1],
        heading="cases cannot be named for nnU-Net",
        remedy="Rename them, or exclude all but one.",
    )
    return names


def _folds(
    roles: Sequence[Mapping[Any, Any]], names: Mapping[str, str], *, where: str
) -> tuple[set[str], list[dict[str, list[str]]]]:
    """The test cases that no fold trains on, and nnU-Net's folds."""
    folds = sorted({row["fold"] for row in roles})
    part = {
        (fold, role): [names[row["case"]] for row in roles if (row["fold"], row["role"]) == (fold, role)]
        for fold in folds
        for role in ("train", "val", "test")
    }
    judged = "test" if len(folds) > 1 else "val"
    empty = [f"fold {fold} has no {judged} cases" for fold in folds if not part[fold, judged]]
    raise_all(
        empty,
        heading=f"{where}: nnU-Net needs cases to validate on",
        remedy="Choose a protocol with a validation part, or export without --protocol: nnU-Net then draws its own folds.",
    )
    splits = [{"train": sorted(part[f, "train"]), "val": sorted(part[f, judged])} for f in folds]
    if len(folds) > 1:
        return set(), splits
    return {str(row["case"]) for row in roles if row["role"] == "test"}, splits


def _description(name: str, data: Dataset, *, training: int, ending: str) -> dict[str, Any]:
    """The keys of ``dataset.json`` that nnU-Net reads, then those for people."""
    labels = {"background": 0} | {text: value for value, text in sorted(data.labels.items())}
    reserved = [text for text in data.labels.values() if text in _RESERVED]
    if reserved or len(labels) != len(data.labels) + 1:
        raise SegtraceError(
            f"config/datasets/{name}.yaml: labels {list(data.labels.values())}: nnU-Net needs names that differ and "
            f"are not {' or '.join(_RESERVED)}; rename them"
        )
    channels = list(data.channels)
    if len(channels) == 1 and data.modality.upper() == "CT":
        channels = ["CT"]  # the name by which nnU-Net knows Hounsfield units
    reader = {"overwrite_image_reader_writer": "NaturalImage2DIO"} if ending == ".png" else {}
    return {
        "channel_names": {str(i): text for i, text in enumerate(channels)},
        "labels": labels,
        "numTraining": training,
        "file_ending": ending,
        **reader,
        "name": name,
        "description": data.title,
        "licence": " ".join(text for text in (data.licence, data.licence_url) if text),
        "redistribution": "allowed" if data.redistribution else "not allowed, or not known to be",
        "reference": data.reference,
        "source": data.homepage,
    }


# --- writing ------------------------------------------------------------------------------------------


def write(folder: Path, chosen: Plan, *, label: str) -> None:
    """Write the whole data set into the new ``folder``; faults of cases are collected into one error."""
    for part in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        (folder / part).mkdir(parents=True)
    workers = len(os.sched_getaffinity(0))
    parallel.map_cases(
        write_case, chosen.works, label=label, workers=workers, name=lambda work: work.case.case
    )
    _write_json(folder / "dataset.json", chosen.content)
    if chosen.splits is not None:
        _write_json(folder / "splits_final.json", chosen.splits)


def _write_json(path: Path, value: Any) -> None:
    """JSON in the given order, which for channels and labels is that of their numbers."""
    files.write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_case(work: Work) -> None:
    """Write one case: a file a channel, and the label map."""
    reader = datasets.reader(work.reader)
    image = reader.read_image(work.root, work.case, work.options)
    grid = images.grid_of(image)
    label_image, _ = reader.read_label(work.root, work.case, work.options)
    label = images.label_array(label_image, where=work.case.case).astype(np.uint8)
    for number, channel in enumerate(images.to_array(image)):
        target = work.image.with_name(f"{work.image.name}_{number:04d}{work.ending}")
        target.write_bytes(_bytes(channel, grid, ending=work.ending, where=work.case.case))
    target = work.label.with_name(work.label.name + work.ending)
    target.write_bytes(_bytes(label, grid, ending=work.ending, where=work.case.case))


def _bytes(array: np.ndarray, grid: Grid, *, ending: str, where: str) -> bytes:
    """A file of one channel, (D, H, W) or (H, W)."""
    if ending == ".png":
        if array.dtype == np.uint8:
            return images.png_bytes(array)
        buffer = io.BytesIO()
        Picture.fromarray(array).save(buffer, "PNG")  # 16 bits a pixel
        return buffer.getvalue()
    if grid.dimensions == 2:
        array, grid = array[None], _one_slice(grid)
    return images.nifti_bytes(_storable(array, where=where), grid)


def _one_slice(grid: Grid) -> Grid:
    """A picture's grid as a volume of one slice."""
    direction = np.eye(3)
    direction[:2, :2] = np.reshape(grid.direction, (2, 2))
    return Grid(
        (*grid.size, 1),
        (*grid.spacing_mm, ONE_SLICE * max(grid.spacing_mm)),
        (*grid.origin_mm, 0.0),
        tuple(map(float, direction.ravel())),
    )


def _storable(array: np.ndarray, *, where: str) -> np.ndarray:
    """The array in a type of NIfTI files here that holds all its values; doubles become single."""
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    for kind in (np.uint8, np.int16, np.int32):
        limits = np.iinfo(kind)
        if limits.min <= int(array.min()) and int(array.max()) <= limits.max:
            return array.astype(kind)
    raise SegtraceError(f"{where}: values from {array.min()} to {array.max()} do not fit 32 bits")
