"""What a training starts from: the run's network with its first weights, its loss and its optimiser.

Whatever of a run cannot be trained (a crop that its network does not take, whole images of such a size) is refused here,
before the first step.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from segtrace import device as devices
from segtrace import distill, losses, networks
from segtrace.errors import SegtraceError, raise_all, within
from segtrace.train import data, pretrained, step, whole_batch
from segtrace.train.randomness import torch_seed
from segtrace.train.world import World


def prepare_learner(
    run: Mapping[str, Any],
    device: torch.device,
    *,
    parts: int = 1,
    sides: Sequence[int] | None = None,
    world: World | None = None,
) -> step.Learner:
    """The run's network with its first weights on the device, its loss and its optimiser.

    ``sides`` are those of every sample, (D, H, W) or (H, W), where they are known: only then is the network
    compiled or recorded.
    """
    training, spec = run["training"], run["network"]
    # a stream of its own: equal weights in any framework
    torch.manual_seed(torch_seed("network", run["seed"]))
    layout = devices.memory_format(device, precision=training["precision"], axes=spec["spatial_dims"])
    with within(f"config/methods/{run['method']}.yaml"):
        network = networks.of_run(run)
    taken = pretrained.put(network, run["pretrained"]) if run.get("pretrained") else None
    network = network.to(device, memory_format=layout)
    check_sizes(run, network)
    if training["when_out_of_memory"] == "halve":
        step.refuse_parts(network, run=run["run"])
    with within(f"config/training/{run['training_name']}.yaml"):
        loss_of = losses.create(training["loss"], **training["loss_options"])
    world = world or World()
    network, loss_of, objective = whole_batch.over_world(
        run,
        network,
        loss_of,
        objective_by=lambda loss: _objective(run, network, loss, device),
        world=world,
        sides=sides,
    )
    learner = step.learner(network, loss_of, training=training, parts=parts, objective=objective, world=world)
    learner.first_weights = taken
    if sides is not None:
        samples = training["cases_per_step"] * (training["crop"]["per_case"] if training["crop"] else 1)
        step.accelerate(learner, (samples, spec["in_channels"], *sides))
    elif training["compile"] or training["cuda_graphs"]:
        print("compile or cuda_graphs: whole images of several sizes; training without", flush=True)
    return learner


def _objective(
    run: Mapping[str, Any], network: nn.Module, loss_of: step.Loss, device: torch.device
) -> nn.Module | None:
    """The run's framework on the device; its heads are drawn from a stream of their own."""
    if run["framework"] is None:
        return None
    torch.manual_seed(torch_seed("framework", run["seed"]))
    spec = run["network"]
    with within(f"config/methods/{run['method']}.yaml"):
        objective = distill.attach(
            run["framework"],
            network,
            out_channels=spec["out_channels"],
            spatial_dims=spec["spatial_dims"],
            loss_of=loss_of,
            **run["framework_options"],
        )
    return objective.to(device)


def sides_of(run: Mapping[str, Any], cases: data.Cases) -> Sequence[int] | None:
    """The sides of every training sample; None where whole images differ."""
    if run["training"]["crop"] is not None:
        size: Sequence[int] = run["training"]["crop"]["size"]
        return size
    shapes = {cases.by_name[name].label.shape for name in run["cases"]["train"]}
    return shapes.pop() if len(shapes) == 1 else None


def check_sizes(run: Mapping[str, Any], network: nn.Module) -> None:
    """Refuse a crop or a window that the network cannot take, before the first step."""
    training, divisor = run["training"], int(getattr(network, "divisor", 1))
    axes = run["network"]["spatial_dims"]
    fixed = getattr(network, "fixed_size", None)
    beyond = [axis for axis in training["inference"]["mirror"] if axis >= axes]
    sides = {
        "crop.size": (training["crop"] or {}).get("size"),
        "inference.window": training["inference"]["window"],
    }
    raise_all(
        [
            f"training.{key} is {size}: {run['network']['name']} takes {run['network']['spatial_dims']} sides, "
            f"each a multiple of {divisor}"
            for key, size in sides.items()
            if size is not None and (len(size) != axes or any(n % divisor for n in size))
        ]
        + [
            f"training.{key} is {size}: {run['network']['name']} takes images of {list(fixed)} alone, as its options say"
            for key, size in sides.items()
            if fixed is not None and size is not None and list(size) != list(fixed)
        ]
        + [f"training.inference.mirror names axis {axis}: there are 0 to {axes - 1}" for axis in beyond],
        heading=f"{run['run']}: cannot train",
        remedy=f"Mend config/training/{run['training_name']}.yaml or the budget.",
    )


def check_whole_images(run: Mapping[str, Any], cases: data.Cases, network: nn.Module) -> None:
    """Refuse whole images that the network cannot take."""
    divisor, fixed = int(getattr(network, "divisor", 1)), getattr(network, "fixed_size", None)
    shapes = {cases.by_name[name].label.shape for name in run["cases"]["train"]}
    bad = sorted(
        shape
        for shape in shapes
        if any(side % divisor for side in shape) or (fixed is not None and tuple(shape) != tuple(fixed))
    )
    if run["training"]["crop"] is None and bad:
        takes = f"images of {list(fixed)}" if fixed else f"sides that are multiples of {divisor}"
        raise SegtraceError(
            f"{run['run']}: whole images of {', '.join(' x '.join(map(str, shape)) for shape in bad[:5])}: "
            f"{run['network']['name']} takes {takes}; give the data set's recipe such a "
            f"size, or config/training/{run['training_name']}.yaml a crop"
        )
