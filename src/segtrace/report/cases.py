"""The pictures of an experiment's cases: read once each, drawn by :mod:`segtrace.overlays`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from segtrace import datasets, images, layout, store, tables
from segtrace.geometry import Grid
from segtrace.overlays import Picture, pictures_of
from segtrace.report.subject import Subject


@dataclass(frozen=True)
class Shown:
    """The pictures of one case and method, or the reason why there are none."""

    pictures: tuple[Picture, ...] = ()
    problem: str = ""


def overlays(subject: Subject, wanted: Sequence[tuple[layout.RunName, str]]) -> dict[tuple[str, str], Shown]:
    """(run, case) → pictures. Each case is read once, however many runs show it.

    A file that is not on this machine gives a :class:`Shown` that says which; a damaged one raises
    :class:`segtrace.errors.SegtraceError`.
    """
    made: dict[tuple[str, str], Shown] = {}
    files = {str(run): _prediction_files(run, subject.variant) for run, _ in wanted}
    by_case: dict[str, list[layout.RunName]] = {}
    for run, case in wanted:
        by_case.setdefault(case, []).append(run)
    read = _reader(subject)
    for case in sorted(by_case):
        try:
            image, reference = read(case)
        except FileNotFoundError as error:
            for run in by_case[case]:
                made[str(run), case] = Shown(problem=f"{error.filename or error} is not on this machine")
            continue
        for run in by_case[case]:
            path = files[str(run)].get(case)
            if path is None or not path.is_file():
                where = path or layout.predictions(run, subject.variant)
                made[str(run), case] = Shown(problem=f"the prediction is not on this machine: {where}")
                continue
            prediction = images.read_label_file(path)
            made[str(run), case] = Shown(pictures=tuple(pictures_of(image, reference, prediction)))
    return made


def _prediction_files(run: layout.RunName, variant: layout.Variant) -> dict[str, Path]:
    folder = layout.predictions(run, variant)
    if not (folder / "predictions.csv").is_file():
        return {}
    table = tables.read("predictions", folder / "predictions.csv")
    return {case: folder / file for case, file in zip(table["case"], table["file"], strict=True)}


def _reader(subject: Subject) -> Any:
    """A function from a case to (image, reference), both on the grid that the variant is scored on."""
    experiment = subject.experiment
    if subject.variant.grid == "prepared":
        folder = layout.prepared(experiment.dataset, experiment.recipe)

        def prepared(case: str) -> tuple[sitk.Image, sitk.Image]:
            if store.read_record(folder, case) is None:
                raise FileNotFoundError(2, "no such case", f"{folder}/{case}.json")
            opened = store.open_case(folder, case)
            if opened.label is None:
                raise FileNotFoundError(2, "no reference", f"{folder}/{case}.label.npy")
            grid = Grid.from_json(opened.record["prepared_grid"])
            return (
                images.from_array(np.asarray(opened.image), grid),
                images.from_array(np.asarray(opened.label), grid),
            )

        return prepared

    root = layout.raw(experiment.dataset)
    module = datasets.reader(subject.dataset.reader or experiment.dataset)
    known: dict[str, Any] = {}

    def native(case: str) -> tuple[sitk.Image, sitk.Image]:
        if not root.is_dir():
            raise FileNotFoundError(2, "no such folder", str(root))
        if not known:
            known.update({entry.case: entry for entry in module.cases(root, subject.dataset.options)})
        if case not in known:
            raise FileNotFoundError(2, "no such case", f"{root}: case {case}")
        image = module.read_image(root, known[case], subject.dataset.options)
        return image, module.read_label(root, known[case], subject.dataset.options)[0]

    return native
