"""From configuration to runs: which runs an experiment needs, and what one run is, fully resolved."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from segtrace import layout, registry
from segtrace.config import load, models
from segtrace.errors import SegtraceError, raise_all


def folds(experiment: models.Experiment) -> list[int]:
    """The folds that an experiment uses."""
    data = load.dataset(experiment.dataset)
    protocol: models.Protocol = load.part(experiment.dataset, "protocol", data.protocols, experiment.protocol)
    count = protocol.fold_count
    chosen = list(range(count)) if experiment.folds == "all" else list(experiment.folds)
    bad = [fold for fold in chosen if not 0 <= fold < count]
    if bad:
        raise SegtraceError(
            f"protocol {experiment.protocol!r} of {experiment.dataset} has folds 0 to {count - 1}; the experiment asks for {bad}"
        )
    return chosen


def runs_of(name: str, *, budget: str, seeds: list[int]) -> list[layout.RunName]:
    """All runs of the experiment ``name``, in the order method, fold, seed."""
    experiment = load.experiment(name)
    if not experiment.methods:
        raise SegtraceError(
            f"experiment {name}: no method of its table can be trained here yet; its published values: "
            f"segtrace published {name}"
        )
    data = load.dataset(experiment.dataset)
    load.part(experiment.dataset, "recipe", data.recipes, experiment.recipe)
    load.load("budgets", budget)
    for method in experiment.methods:
        load.method(method)
        load.load("training", experiment.training_of(method))
    return [
        layout.RunName(experiment.dataset, experiment.recipe, experiment.protocol, method, budget, fold, seed)
        for method in experiment.methods
        for fold in folds(experiment)
        for seed in seeds
    ]


def variant_of(experiment: models.Experiment) -> layout.Variant:
    """The variant that an experiment's table is made from."""
    return layout.Variant(role=experiment.role, checkpoint=experiment.checkpoint, grid=experiment.grid)


def corrupted_variants(experiment: models.Experiment) -> list[layout.Variant]:
    """The variants of an experiment's robustness: its own under each corruption, in the order of its file."""
    own = variant_of(experiment)
    return [
        replace(own, corruption=layout.corruption_name(kind, strength))
        for kind, strengths in experiment.corruptions.items()
        for strength in strengths
    ]


def training_of(run: layout.RunName) -> str:
    """The training recipe of a run: that of the experiments that name the run; they must agree."""
    found = _trainings().get((run.dataset, run.recipe, run.protocol, run.method), {})
    if not found and run.dataset in load.experiments() and _names(load.experiment(run.dataset), run):
        return load.experiment(run.dataset).training  # the data set's default experiment
    if not found:
        raise SegtraceError(
            f"no experiment in config/experiments trains {run.method} on {run.dataset}/{run.recipe}/{run.protocol}"
        )
    if len(found) > 1:
        listed = "; ".join(
            f"{training} in {', '.join(experiments)}" for training, experiments in found.items()
        )
        raise SegtraceError(
            f"experiments disagree on the training of {run}: {listed}; give one a recipe of its own"
        )
    return next(iter(found))


@load.once
def _trainings() -> dict[tuple[str, str, str, str], dict[str, list[str]]]:
    """(data set, recipe, protocol, method) → training recipe → experiments that name both."""
    found: dict[tuple[str, str, str, str], dict[str, list[str]]] = {}
    for name in load.names("experiments"):
        experiment = load.experiment(name)
        for method in experiment.methods:
            key = (experiment.dataset, experiment.recipe, experiment.protocol, method)
            found.setdefault(key, {}).setdefault(experiment.training_of(method), []).append(name)
    return found


def _names(experiment: models.Experiment, run: layout.RunName) -> bool:
    asked = (experiment.dataset, experiment.recipe, experiment.protocol)
    return asked == (run.dataset, run.recipe, run.protocol) and run.method in experiment.methods


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` put in, mappings merged key by key."""
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


@load.once
def training_under(training: str, budget: str) -> models.Training:
    """A training recipe with a budget's changes."""
    recipe: models.Training = load.load("training", training)
    limits: models.Budget = load.load("budgets", budget)
    for name in limits.by_training:
        load.load("training", name)  # a misspelt recipe would be trained unchanged under the budget's name
    changes = merged(limits.training, limits.by_training.get(training, {}))
    where = f"config/training/{training}.yaml with config/budgets/{budget}.yaml"
    found = load.validate(models.Training, merged(recipe.model_dump(), changes), where=where)
    _check_parts(where, losses=(found.loss, found.loss_options))
    return found


@load.once
def method_of(name: str) -> models.Method:
    """The method ``name``; its network and framework are there and take its options.

    Raises :class:`SegtraceError` with all that they do not take, before anything is downloaded or prepared.
    """
    found = load.method(name)
    where = f"config/methods/{name}.yaml"
    if found.framework is None and found.framework_options:
        raise SegtraceError(f"{where}: framework_options without a framework")
    parts = {"networks": (found.network, found.options)}
    if found.framework is not None:
        parts["distill"] = (found.framework, found.framework_options)
    _check_parts(where, **parts)
    return found


def _check_parts(where: str, **parts: tuple[str, Mapping[str, Any]]) -> None:
    """Refuse names and options that the registries of ``parts`` (networks, losses, distill) do not know."""
    problems = []
    for package, (name, options) in parts.items():
        try:
            problems += registry.faults(package, name, options)
        except SegtraceError as error:
            problems.append(str(error))
    raise_all(
        problems,
        heading=where,
        remedy="'segtrace networks' lists the networks; each one's module says what it takes.",
    )


def preparation_of(data: models.Dataset, recipe: models.Recipe) -> dict[str, Any]:
    """How images are read and prepared, as plain JSON: what a new image must have in common with those of a run."""
    return {
        "reader": data.reader,
        "options": data.options,
        **recipe.model_dump(mode="json", exclude={"source", "faults"}),
    }


def network_of(
    data: models.Dataset, method: models.Method, training: models.Training, *, channels: int | None = None
) -> dict[str, Any]:
    """The network of a run as plain JSON; its loss decides whether the background has a logit.

    ``channels`` are those of a prepared image, by default the data set's.
    """
    from segtrace import losses

    background = losses.has_background(training.loss)
    return {
        "name": method.network,
        "options": method.options,
        "in_channels": channels or len(data.channels),
        "out_channels": len(data.labels) + background,
        "background": background,
        "spatial_dims": data.dimensions,
    }


def pretrained_of(method: models.Method) -> dict[str, Any]:
    """``pretrained`` of a run, with the mappings' rules; nothing for a method whose weights are drawn."""
    found = []
    for given in method.pretrained:
        mapping: models.Mapping = load.load("mappings", given.mapping)
        rules = mapping.model_dump(mode="json", exclude={"title", "source"})
        found.append(given.model_dump(mode="json") | {"mapping": {"name": given.mapping} | rules})
    return {"pretrained": found} if found else {}


def resolve(run: layout.RunName, *, threads: int, determinism: str = "strict") -> dict[str, Any]:
    """A run as plain JSON: everything that decides its outcome but data, code and environment.

    ``threads`` and ``determinism`` are those of ``config/config.yaml``.

    This, with the cases and digests that the command adds, is ``run.json``: all that ``train`` reads.
    """
    data = load.dataset(run.dataset)
    protocol: models.Protocol = load.part(run.dataset, "protocol", data.protocols, run.protocol)
    if run.fold >= protocol.fold_count:
        raise SegtraceError(
            f"{run}: protocol {run.protocol!r} of {run.dataset} has folds 0 to {protocol.fold_count - 1}"
        )
    method = method_of(run.method)
    training = training_of(run)
    recipe = training_under(training, run.budget)
    prepared: models.Recipe = load.part(run.dataset, "recipe", data.recipes, run.recipe)
    return {
        "run": str(run),
        "dataset": run.dataset,
        "recipe": run.recipe,
        "protocol": run.protocol,
        "method": run.method,
        "budget": run.budget,
        "fold": run.fold,
        "seed": run.seed,
        "threads": recipe.threads or threads,
        "determinism": determinism,
        # only of a run that has several: that of one device stays what it was
        **({"devices": recipe.devices} if recipe.devices > 1 else {}),
        "labels": {str(value): name for value, name in data.labels.items()},
        "network": network_of(data, method, recipe, channels=prepared.channel_count(len(data.channels))),
        "framework": method.framework,
        "framework_options": method.framework_options,
        "training_name": training,
        # Where a recipe comes from is no part of what it does: a note costs no training.
        "training": recipe.model_dump(exclude={"source", "notes", "threads", "devices"}),
        **pretrained_of(method),
        "prepared": str(layout.prepared(run.dataset, run.recipe)),
        "preparation": preparation_of(data, prepared),
    }


def modules_of(run: dict[str, Any]) -> list[str]:
    """Modules that a resolved run reaches by name: its network's, its loss's and its framework's."""
    from segtrace import distill, losses, networks

    found = [networks.module_of(run["network"]["name"]), losses.module_of(run["training"]["loss"])]
    return [*found, *([distill.module_of(run["framework"])] if run["framework"] else [])]
