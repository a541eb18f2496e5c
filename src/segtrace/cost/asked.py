"""Whose cost is asked for: the networks of methods or of an experiment, and the size of their images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from segtrace.config import load, models, runs
from segtrace.cost import operations
from segtrace.errors import SegtraceError, advice, raise_all

#: Channels and classes of a method that no experiment trains: a colour picture, one label and the background.
CHANNELS, CLASSES = 3, 2


@dataclass(frozen=True)
class Asked:
    """A method, its network as in ``run.json``, and the size of its images, (D, H, W) or (H, W)."""

    method: str
    network: dict[str, Any]
    size: tuple[int, ...]
    of: str
    """Where channels, classes and size come from, in words."""


def asked(
    name: str,
    *,
    size: Sequence[int] | None = None,
    channels: int | None = None,
    classes: int | None = None,
) -> list[Asked]:
    """What is asked for by ``name``, an experiment or a method; what is given wins over what is configured.

    A method by itself is asked for as the first experiment that trains it does; one that none trains has
    :data:`CHANNELS` and :data:`CLASSES`. Raises :class:`SegtraceError` for an unknown name and an unknown size.
    """
    if name in load.experiments():
        experiment = load.experiment(name)
        if not experiment.methods:
            raise SegtraceError(f"experiment {name}: no method of its table can be trained here yet")
        found = [_of_experiment(method, name, experiment) for method in experiment.methods]
    elif name in load.names("methods"):
        found = [_of_method(name, size)]
    else:
        hint = advice(name, [*load.experiments(), *load.names("methods")])
        raise SegtraceError(f"no experiment and no method {name!r}; {hint}")
    changes = {"in_channels": channels, "out_channels": classes}
    made = [
        Asked(
            one.method,
            one.network | {key: value for key, value in changes.items() if value is not None},
            tuple(size) if size else one.size,
            "as given" if channels and classes else one.of,
        )
        for one in found
    ]
    raise_all(
        [f"{one.method}: {_fault(one)}" for one in made if _fault(one)],
        heading=f"cost of {name}",
        remedy="Give the sides of an image: --size 256 256.",
    )
    return made


def _fault(one: Asked) -> str:
    dims = one.network["spatial_dims"]
    if not one.size:
        return f"its images have no one size ({one.of})"
    return "" if len(one.size) == dims else f"its images have {dims} sides, not {len(one.size)}"


def _of_experiment(method: str, name: str, experiment: models.Experiment) -> Asked:
    data = load.dataset(experiment.dataset)
    recipe: models.Recipe = load.part(experiment.dataset, "recipe", data.recipes, experiment.recipe)
    training: models.Training = load.load("training", experiment.training_of(method))
    network = runs.network_of(data, load.method(method), training)
    size = operations.image_size(training.model_dump(), recipe.model_dump())
    return Asked(method, network, size, f"experiment {name}")


def _of_method(name: str, size: Sequence[int] | None) -> Asked:
    trained = [e for e in load.names("experiments") if name in load.experiment(e).methods]
    if trained:
        return _of_experiment(name, trained[0], load.experiment(trained[0]))
    method = load.method(name)
    network = {
        "name": method.network,
        "options": method.options,
        "in_channels": CHANNELS,
        "out_channels": CLASSES,
        "background": True,
        "spatial_dims": len(size) if size else 2,
    }
    return Asked(name, network, (), f"{CHANNELS} channels, {CLASSES} classes; no experiment trains it")
