"""Segmenting new images with a trained run, or with several as an ensemble.

An image is read, checked and prepared as the cases that the runs were trained on; its label map lies on its own
native grid, and a record beside it says what it was made from.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segtrace import datasets, device, digests, files, networks
from segtrace.config import load, models, runs
from segtrace.errors import SegtraceError, raise_all
from segtrace.geometry import Grid
from segtrace.predict import export, inference, pipeline
from segtrace.predict.ensemble import Trained
from segtrace.predict.sources import Place, Source, read
from segtrace.progress import progress
from segtrace.sliding import inference_of


@dataclass(frozen=True)
class Settings:
    """What all images share: the runs, their data set and its recipe, and how images are segmented."""

    trained: Sequence[Trained]
    data: models.Dataset
    recipe: Mapping[str, Any]
    inference: Mapping[str, Any]

    @property
    def run(self) -> Mapping[str, Any]:
        """The first run: in what matters here, all are alike."""
        return self.trained[0].run

    @property
    def reader(self) -> str:
        """The module of :mod:`segtrace.datasets` that reads the data set's images."""
        return self.data.reader or str(self.run["dataset"])

    @property
    def threads(self) -> int:
        """CPU threads that images are segmented with: the most that a run was trained with."""
        return max(int(one.run["threads"]) for one in self.trained)


def settings_of(trained: Sequence[Trained], *, mirror: Sequence[int] | None = None) -> Settings:
    """The settings of runs that fit together; ``mirror`` replaces that of their training recipe.

    Raises :class:`SegtraceError` if the data set's configuration is not that of the runs, or has not these axes.
    """
    run = trained[0].run
    data = load.dataset(run["dataset"])
    recipe: models.Recipe = load.part(run["dataset"], "recipe", data.recipes, run["recipe"])
    spec, labels = run["network"], {str(value): name for value, name in data.labels.items()}
    pairs: dict[str, tuple[Any, Any]] = {
        "channels": (recipe.channel_count(len(data.channels)), spec["in_channels"]),
        "dimensions": (data.dimensions, spec["spatial_dims"]),
        "labels": (labels, run["labels"]),
    }
    shown = recipe.model_dump(mode="json")
    now, then = runs.preparation_of(data, recipe), run.get("preparation", {})
    for key in sorted({*now, *then}):
        pairs[f"preparation, {key}"] = now.get(key), then.get(key)
    raise_all(
        [
            f"{key}: {now}, and {then} when it was trained"
            for key, (now, then) in pairs.items()
            if now != then
        ],
        heading=f"config/datasets/{run['dataset']}.yaml is not what {run['run']} was trained with",
        remedy="Take the changes back, or train the run again.",
    )
    settings = inference_of(run)
    axes = list(settings["mirror"] if mirror is None else mirror)
    if len(set(axes)) < len(axes) or not set(axes) <= set(range(data.dimensions)):
        raise SegtraceError(
            f"mirror {axes}: the axes of these images are 0 to {data.dimensions - 1}, each at most once"
        )
    return Settings(trained, data, shown, settings | {"mirror": axes})


def segment(sources: Sequence[Source], settings: Settings, *, threaded: bool = True) -> list[str]:
    """Write the label map and the record of each image; the problems of those that cannot be segmented.

    A label map that stands there already is left as it is if these runs made it of these bytes, with the same
    settings, code and environment; any other file under its name or its record's is a problem, never overwritten.
    Unless ``threaded``, reading and writing wait for each other.
    """
    about = _about(settings)
    waiting, problems = [], []
    for source in sources:
        try:
            if _stands(source, about):
                print(f"{source.output}: is there already", flush=True)
            else:
                waiting.append(source)
        except SegtraceError as error:
            problems.append(f"{source.text}: {error}")
    return problems + (_run(waiting, settings, about, threaded=threaded) if waiting else [])


def _about(settings: Settings) -> dict[str, Any]:
    """What the record of each image says of everything but the image."""
    used = {networks.module_of(one.run["network"]["name"]) for one in settings.trained}
    return {
        "runs": [
            {"run": one.run["run"], "checkpoint": one.checkpoint, "weights_sha256": one.sha256}
            for one in settings.trained
        ],
        "recipe": {key: value for key, value in settings.recipe.items() if key not in ("source", "faults")},
        "options": dict(settings.data.options),
        "labels": settings.run["labels"],
        "inference": dict(settings.inference),
        "threads": settings.threads,
        "code": digests.code_digest("predict", extra=[*sorted(used), datasets.module_name(settings.reader)]),
        "environment": digests.environment_digest(),
    }


def _stands(source: Source, about: Mapping[str, Any]) -> bool:
    """Whether the label map is there and holds; anything else under its names is an error."""
    there = [path for path in (source.output, source.record) if os.path.lexists(path)]
    if not there:
        return False
    try:
        known = files.read_json(source.record)
        same = {key: known[key] for key in known if key not in ("label_map", "machine")} == {
            **about,
            "image": source.sums(),
        }
        if same and source.output not in there:  # a job was killed before it came to write it
            return False
        if same and files.sha256_file(source.output) == known["label_map"]["sha256"]:
            return True
    except (SegtraceError, OSError, KeyError, TypeError):  # no such record, or no such image
        pass
    raise SegtraceError(
        f"{there[0]} exists already, and is not what these runs make of this image; move it away or choose "
        "another --output"
    )


def _run(
    sources: Sequence[Source], settings: Settings, about: Mapping[str, Any], *, threaded: bool
) -> list[str]:
    """Segment ``sources``; the problems of those that cannot be."""
    device.be_deterministic(threads=settings.threads)
    with (
        device.lease(threads=settings.threads, what="predicting") as on,
        progress("predict new images", len(sources)) as bar,
    ):
        nets = [inference.load_network(one.run, one.weights, on=on) for one in settings.trained]
        machine = device.kind(on)

        def compute(source: Source, image: tuple[np.ndarray, Grid, Place]) -> tuple[np.ndarray, Place]:
            array, grid, place = image
            with inference.memory_told(source.text, run=settings.run, on=on):
                labels = inference.labels_of(
                    nets, array, inference=settings.inference, on=on, prepared=grid, target=place.oriented
                )
            return labels, place

        return pipeline.run(
            sources,
            read=lambda source: read(
                source, reader=settings.reader, data=settings.data, recipe=settings.recipe
            ),
            compute=compute,
            write=lambda source, made: _write(source, *made, {**about, "machine": machine}),
            name=lambda source: source.text,
            advance=bar.advance,
            threaded=threaded,
        )[1]


def _write(source: Source, labels: np.ndarray, place: Place, about: Mapping[str, Any]) -> None:
    """Write the record, then the label map: what a kill leaves is made again, and no map is without a record."""
    data = export.label_bytes(
        source.output.name, export.reorder(labels, place.oriented, place.native), place.native
    )
    sha256 = hashlib.sha256(data).hexdigest()
    label_map = {"file": source.output.name, "sha256": sha256, "grid": place.native.to_json()}
    files.write_json(source.record, {**about, "image": place.sums, "label_map": label_map})
    with files.atomic(source.output, "wb") as handle:
        handle.write(data)
