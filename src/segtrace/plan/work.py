"""What a run has to do: how many cases, steps and multiply-accumulates, and how much memory a step holds.

Nothing runs: networks are passed through without values (:mod:`segtrace.cost.operations`). Cases are those of the split
where it is made, else the published number divided as the protocol says.
"""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrace import digests, layout, networks
from segtrace.config import load, models, runs
from segtrace.cost import operations
from segtrace.errors import SegtraceError
from segtrace.files import read_json, write_json

#: A backward pass counts as two forward ones.
PASSES = 3
#: Windows of an image of unknown size: two along each axis.
WINDOWS_AXIS = 2
#: Counts of networks, which take seconds each: kept by what they are counted from. Removing them costs time alone.
KEPT = Path(".segtrace/plan.json")


@dataclass(frozen=True)
class Counted:
    """A network, counted without running it."""

    macs: float
    """Multiply-accumulates of one forward pass of one sample; NaN where they cannot be counted."""
    parameters: int
    features_gb: float
    """What one sample's pass keeps for the backward one, in fp32 (GB of 10⁹ bytes); NaN where unknown."""


@dataclass(frozen=True)
class Work:
    """What one run does."""

    run: layout.RunName
    network: str
    framework: str
    precision: str
    gmac: float
    """10⁹ multiply-accumulates of the training, validation and prediction together; NaN where unknown."""
    parameters: int
    memory_gb: float
    """Weights, gradients, moments and the features of one part of a step; NaN where unknown."""
    test_cases: int
    minutes_named: float
    """The minutes in the name of a budget such as ``cpu_3min``; NaN for any other."""
    devices: int = 1
    """How many train the run together."""


class Counter:
    """Counts networks once each, and remembers the counts between commands."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        with suppress(SegtraceError, TypeError, ValueError):
            self._known = dict(read_json(KEPT))
        self._changed = False

    def counted(self, spec: Mapping[str, Any], size: tuple[int, ...]) -> Counted:
        """The counts of a ``network`` entry of ``run.json`` for an image of ``size``, (D, H, W) or (H, W)."""
        code = digests.code_digest("train", extra=[networks.module_of(spec["name"])])
        key = digests.digest([dict(spec), list(size), code])
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _count(spec, size)
            self._changed = True
        nan = math.nan
        macs, features = found["macs"], found["features_gb"]
        return Counted(
            nan if macs is None else macs, found["parameters"], nan if features is None else features
        )

    def save(self) -> None:
        """Keep the counts; where that is not possible the next command counts again."""
        if self._changed:
            try:
                write_json(KEPT, self._known)
            except OSError:
                return


def _count(spec: Mapping[str, Any], size: tuple[int, ...]) -> dict[str, Any]:
    network = operations.build(spec)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    shape = (1, spec["in_channels"], *operations.fitting(network, size))
    features = _features(network, shape)
    try:
        macs: float | None = float(operations.of_network(network, shape))
    except SegtraceError:
        macs = None
    return {"macs": macs, "parameters": parameters, "features_gb": features}


def _features(network: Any, shape: tuple[int, ...]) -> float | None:
    """GB that a forward pass in training keeps for the backward one, each storage once, parameters aside."""
    import torch

    own = {id(parameter) for parameter in network.parameters()}
    held: dict[int, Any] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in own:
            held[tensor.untyped_storage()._cdata] = tensor
        return tensor

    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network.to("meta").train()(torch.empty(shape, device="meta"))
    except (RuntimeError, ValueError, TypeError):
        return None
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values()) / 1e9


def of_run(run: layout.RunName, *, threads: int, counter: Counter, variants: int) -> Work:
    """The work of a run whose test cases are predicted in ``variants`` ways."""
    resolved = json.loads(json.dumps(runs.resolve(run, threads=threads)))
    training = resolved["training"]
    recipe = resolved["preparation"]
    seen = tuple(training["crop"]["size"]) if training["crop"] else tuple(reversed(recipe["size"] or ()))
    shown = operations.image_size(training, recipe)
    spec = resolved["network"]
    unknown = Counted(math.nan, 0, math.nan)
    sample = counter.counted(spec, seen) if seen else unknown
    image = counter.counted(spec, shown) if shown else unknown
    cases = roles(run)
    per_case = training["crop"]["per_case"] if training["crop"] else 1
    windows = _windows(training, recipe, spec["spatial_dims"])
    validations = math.ceil(training["epochs"] / training["validate_every"])
    gmac = (
        PASSES * sample.macs * per_case * cases["train"] * training["epochs"]
        + image.macs * windows * (cases["val"] * validations + cases["test"] * variants)
    ) / 1e9
    part = math.ceil(training["cases_per_step"] * per_case / training["accumulate"])
    # weights, gradients and two moments, and the weights of the best epoch
    held = 5 * 4 * sample.parameters / 1e9
    return Work(
        run=run,
        network=spec["name"],
        framework=resolved["framework"] or "",
        precision=training["precision"],
        gmac=gmac,
        parameters=sample.parameters,
        memory_gb=held + part * sample.features_gb,
        test_cases=cases["test"] * variants,
        minutes_named=minutes_named(run.budget, resolved["training_name"]),
        devices=resolved.get("devices", 1),
    )


def _windows(training: Mapping[str, Any], recipe: Mapping[str, Any], dimensions: int) -> int:
    """Windows of an image: one where the network sees it whole, else as its size says, or :data:`WINDOWS_AXIS` an axis."""
    inference = training["inference"]
    window = inference["window"] or (training["crop"] or {}).get("size")
    if window is None:
        return 1
    if recipe["size"]:
        sides = zip(reversed(recipe["size"]), window, strict=True)
        step = 1 - inference["overlap"]
        return math.prod(max(1, math.ceil((side - w) / (w * step)) + 1) for side, w in sides)
    return int(WINDOWS_AXIS**dimensions)


def minutes_named(budget: str, training: str) -> float:
    """The minutes that a budget's name promises of a training recipe on a CPU: 3 of ``cpu_3min``.

    NaN where the name has none, or the budget leaves that recipe as it is.
    """
    limits: models.Budget = load.load("budgets", budget)
    if not limits.training and training not in limits.by_training:
        return math.nan
    last = budget.rpartition("_")[2]
    number = last.removesuffix("min")
    return float(number) if last != number and number.isdecimal() else math.nan


def roles(run: layout.RunName) -> dict[str, int]:
    """How many cases train, validate and test in a run's fold: counted, or divided as the protocol says."""
    table = layout.split(run.dataset, run.protocol)
    if table.is_file():
        from segtrace.trace.identity import members

        return {role: len(members(run, (role,))) for role in ("train", "val", "test")}
    data = load.dataset(run.dataset)
    protocol: models.Protocol = load.part(run.dataset, "protocol", data.protocols, run.protocol)
    return divided(protocol, cases_of(data))


def cases_of(data: models.Dataset) -> int:
    """How many cases a data set has: as published, or the fewest that its gate admits; 0 where neither is known."""
    return data.published_cases or int((data.gate.cases or [0])[0])


def divided(protocol: models.Protocol, cases: int) -> dict[str, int]:
    """``cases`` as a protocol divides them, where no table says it: shares, not the rule's own draw."""
    cases = min(cases, protocol.subset or cases)
    if protocol.test_cases is not None:
        held = protocol.test_cases
    elif protocol.test_fraction is not None:
        held = round(cases * protocol.test_fraction)
    else:
        held = round(cases / max(2, protocol.folds or protocol.fold_count))
    left = max(0, cases - held)
    val = protocol.validation_cases
    val = round(left * (protocol.validation_fraction or 0)) if val is None else val
    # what is held out as 'val' is scored too
    return {
        "train": protocol.train_cases or left - val,
        "val": max(val, held * (protocol.held_out == "val")),
        "test": held,
    }
