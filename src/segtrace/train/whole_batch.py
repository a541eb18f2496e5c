"""Losses that couple the samples of a batch, over the batch of all processes.

The loss of a batch is nearly always the mean of its samples' losses: then each process's share is enough. Where it is
not, as with a Dice whose sums go over the whole batch, every process gets the logits of all, makes the whole loss of
them, and passes back what belongs to its own: gradients are those of one device. Which kind a loss is, is tried
and not declared, so that it also holds for one of your own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.modules.instancenorm import _InstanceNorm

from segtrace.errors import SegtraceError
from segtrace.train import shared_norm
from segtrace.train.world import Share, World

Loss = Callable[[Tensor, Tensor], Tensor]
#: Relative difference up to which a loss counts as the mean of its samples' losses; they are float64.
TOLERANCE = 1e-9


def couples_samples(loss_of: Loss, *, out_channels: int, labels: int, spatial_dims: int) -> bool:
    """Whether a loss of a batch is another number than the mean of its samples' losses.

    Tried on made-up logits of three samples, one of them without any label and one full of one. ``labels`` are those
    that a target holds beside 0.
    """
    generator = torch.Generator().manual_seed(0)
    sides = (6,) * spatial_dims
    logits = torch.randn((3, out_channels, *sides), generator=generator, dtype=torch.float64)
    target = torch.randint(0, labels + 1, (3, *sides), generator=generator, dtype=torch.uint8)
    target[1], target[2] = 0, labels
    with torch.no_grad():
        return _differ(lambda part: loss_of(logits[part], target[part]))


def _differ(loss_of: Callable[[slice], Tensor]) -> bool:
    """Whether the loss of samples 0 to 2 is not the mean of theirs, nor that of two and one by their number."""
    whole = float(loss_of(slice(0, 3)))
    apart = sum(float(loss_of(slice(one, one + 1))) for one in range(3)) / 3
    mixed = (2 * float(loss_of(slice(0, 2))) + float(loss_of(slice(2, 3)))) / 3
    return max(abs(whole - apart), abs(whole - mixed)) > TOLERANCE * max(1.0, abs(whole))


def over_all(loss_of: Loss, share: Share) -> Loss:
    """``loss_of`` of the samples of all processes; arguments are this process's logits (N, K, …) and target (N, …).

    The value is that of the whole in each process. Weighted by each one's number of samples and summed, as separable
    losses are, values and gradients are those of one device.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        own, whole = share.own, sum(share.counts)
        wide = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
        mine = wide
        if own:  # adds nothing to the value, and makes up for the weight
            mine = wide.detach() + (wide - wide.detach()) * (whole / own)
        all_logits, all_targets = _gathered(wide.detach(), share), _gathered(target, share)
        if own:
            all_logits[share.rank] = mine
        parts = [part for part, count in zip(all_logits, share.counts, strict=True) if count]
        found = loss_of(torch.cat(parts), torch.cat(all_targets))
        return found if own else found.detach() + 0.0 * wide.sum()

    return loss


def _gathered(values: Tensor, share: Share) -> list[Tensor]:
    """The tensors (n, …) of all processes by rank; those that only stand in are empty."""
    most = max(*share.counts, 1)
    padded = values.new_zeros((most, *values.shape[1:]))
    padded[: len(values)] = values
    parts = [torch.empty_like(padded) for _ in share.counts]
    dist.all_gather(parts, padded)
    return [part[:count] for part, count in zip(parts, share.counts, strict=True)]


def over_world(
    run: Mapping[str, Any],
    network: nn.Module,
    loss_of: Loss,
    *,
    objective_by: Callable[[Loss], nn.Module | None],
    world: World,
    sides: Sequence[int] | None,
) -> tuple[nn.Module, Loss, nn.Module | None]:
    """Network, loss and framework of a run for one process of a world: what couples samples looks at those of all.

    ``objective_by`` makes the framework of a loss; ``sides`` are those of every sample where they are known. Raises
    :class:`SegtraceError` for what several devices cannot do as one does.
    """
    if world.size == 1:
        return network, loss_of, objective_by(loss_of)
    _refuse_running_instances(run, network)
    spec = run["network"]
    labels = spec["out_channels"] - int(spec.get("background", True))
    if couples_samples(
        loss_of, out_channels=spec["out_channels"], labels=labels, spatial_dims=spec["spatial_dims"]
    ):
        loss_of = over_all(loss_of, world.share)
    network = shared_norm.shared(network, world.share)
    objective = objective_by(loss_of)
    if objective is not None:
        if sides is not None:
            _refuse_coupling(run, network, objective_by(lambda logits, _: logits.square().mean()), sides)
        objective = shared_norm.shared(objective, world.share)
    return network, loss_of, objective


def _refuse_running_instances(run: Mapping[str, Any], network: nn.Module) -> None:
    names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, _InstanceNorm) and module.track_running_stats
    ]
    if names:
        raise SegtraceError(
            f"{run['run']}: {run['network']['name']} keeps running statistics of single samples ({names[0]}), which would "
            "differ from device to device; train with devices: 1, or without track_running_stats"
        )


def _refuse_coupling(
    run: Mapping[str, Any], network: nn.Module, objective: nn.Module | None, sides: Sequence[int]
) -> None:
    """Refuse a framework that couples samples in terms of its own: no process has the features of all.

    ``objective`` was made with a loss that does not couple them. Tried on made-up images (3, C, *sides).
    """
    assert objective is not None
    device, spec = next(network.parameters()).device, run["network"]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((3, spec["in_channels"], *sides), generator=generator).to(device)
    target = torch.zeros((3, *sides), dtype=torch.uint8, device=device)
    network.eval()
    objective.eval()
    with torch.no_grad():

        def loss_of(part: slice) -> float:
            return float(objective(*network.forward_features(images[part]), target[part]))

        whole, apart = loss_of(slice(0, 3)), sum(loss_of(slice(one, one + 1)) for one in range(3)) / 3
    network.train()
    if abs(whole - apart) > 1e-3 * max(1.0, abs(whole)):
        raise SegtraceError(
            f"{run['run']}: {run['framework']} gives {whole:.6g} for a batch, and {apart:.6g} as the mean of its samples: it "
            "couples them in terms of its own, which several devices cannot share; train with devices: 1"
        )
