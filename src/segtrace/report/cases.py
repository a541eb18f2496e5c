"""The cases that a page draws, as they lie on this machine: each is read once, however often it is drawn."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from segtrace import datasets, images, layout, overlays, store, tables
from segtrace.errors import SegtraceError
from segtrace.geometry import Grid
from segtrace.report.subject import Subject

#: A case → (image, reference).
Reader = Callable[[str], tuple[sitk.Image, sitk.Image]]


@dataclass(frozen=True)
class Scene:
    """A case as arrays in anatomical order: ``grey`` uint8, (D, H, W), (H, W) or (H, W, 3), and label maps.

    ``low`` and ``high`` are the values that ``grey`` shows black and white; ``spacing`` is that of the
    array's axes, millimetres where the images have a physical scale.
    """

    grey: np.ndarray
    low: float
    high: float
    spacing: tuple[float, ...]
    reference: np.ndarray
    predictions: Mapping[str, np.ndarray]

    @property
    def volume(self) -> bool:
        """Whether there are slices."""
        return self.reference.ndim == 3

    @property
    def labelled(self) -> np.ndarray:
        """Where reference or any prediction has a label."""
        found = self.reference > 0
        for prediction in self.predictions.values():
            found |= prediction > 0
        return found


@dataclass(frozen=True)
class Case:
    """A case with the predictions that are on this machine; ``problems`` says of the others why not.

    Where image or reference is absent, ``problem`` says so and there is nothing else.
    """

    name: str
    problem: str = ""
    image: sitk.Image | None = None
    reference: sitk.Image | None = None
    predictions: Mapping[str, sitk.Image] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def scene(self) -> Scene:
        """The case as arrays; predictions by method. Only for a case without ``problem``."""
        assert self.image is not None
        assert self.reference is not None
        image = overlays.oriented(self.image)
        array = images.to_array(image)
        shown = array if array.ndim == 3 and len(array) == 3 else array[0]
        low, high = overlays.grey_range(shown.astype(float))
        return Scene(
            grey=overlays.displayed(array),
            low=low,
            high=high,
            spacing=images.grid_of(image).array_spacing_mm,
            reference=_labels(self.reference),
            predictions={method: _labels(item) for method, item in self.predictions.items()},
        )


def _labels(item: sitk.Image) -> np.ndarray:
    return overlays.voxels(overlays.oriented(item)).astype(np.uint8)


def read(subject: Subject, wanted: Mapping[str, Sequence[layout.RunName]]) -> Iterator[Case]:
    """The cases of ``wanted`` in order of their ids, one at a time, with one run's prediction of each method.

    What is not on this machine is said in the case. A damaged file, or a prediction of another size than
    its image, raises :class:`segtrace.errors.SegtraceError`.
    """
    runs = {run for of_case in wanted.values() for run in of_case}
    files = {run: _prediction_files(run, subject.variant) for run in runs}
    open_case = _reader(subject)
    for name in sorted(wanted):
        try:
            image, reference = open_case(name)
        except FileNotFoundError as error:
            yield Case(name, problem=f"{error.filename or error} is not on this machine")
            continue
        predictions: dict[str, sitk.Image] = {}
        problems: dict[str, str] = {}
        for run in wanted[name]:
            path = files[run].get(name)
            if path is None or not path.is_file():
                where = path or layout.predictions(run, subject.variant)
                problems[run.method] = f"the prediction is not on this machine: {where}"
                continue
            prediction = images.read_label_file(path)
            if prediction.GetSize() != image.GetSize():
                raise SegtraceError(
                    f"{path}: size {prediction.GetSize()}, its image has {image.GetSize()}; predict it again"
                )
            predictions[run.method] = prediction
        yield Case(name, image=image, reference=reference, predictions=predictions, problems=problems)


def _prediction_files(run: layout.RunName, variant: layout.Variant) -> dict[str, Path]:
    folder = layout.predictions(run, variant)
    if not (folder / "predictions.csv").is_file():
        return {}
    table = tables.read("predictions", folder / "predictions.csv")
    return {case: folder / file for case, file in zip(table["case"], table["file"], strict=True)}


def _reader(subject: Subject) -> Reader:
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
    known: dict[str, object] = {}

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
