"""One optimisation step: forward, loss, backward, clipping, update, and the running average of weights.

Nothing here waits for a GPU: losses and gradient norms stay tensors on the device.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from segtrace import device as devices
from segtrace.errors import SegtraceError
from segtrace.train.world import Piece, World

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Learner:
    """What a step changes, and how it is taken. ``forward`` is the network, perhaps compiled or recorded."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    average: AveragedModel | None
    loss_of: Loss
    training: Mapping[str, Any]
    parts: int
    """Into how many parts a step's crops are divided."""
    forward: Callable[[Tensor], Any]
    manner: str = "eager"
    """How ``forward`` runs: eager, compiled or graphs."""
    objective: nn.Module | None = None
    """The framework, in training alone: then ``forward`` gives features too, and it turns them into the loss."""
    first_weights: dict[str, Any] | None = None
    """What was taken of the files that weights start from, and what was left; None where all were drawn."""
    world: World = field(default_factory=World)
    """The processes that take a step together."""
    together: DistributedDataParallel | None = None
    """Network, framework and loss as one module, whose gradients are summed over the world; None where it is one."""

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.network.parameters()).device

    @property
    def trained(self) -> nn.Module:
        """The network that is validated and saved: with averaged weights, where they are averaged."""
        return self.network if self.average is None else self.average.module

    def loss(self, image: Tensor, label: Tensor) -> Tensor:
        """What a step minimises, of images (N, C, …) and labels (N, …)."""
        return _loss(self, self.forward(image), label)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that is trained: the network's parameters, then those of the framework's heads."""
        return trained_parameters(self.network, self.objective)


def auxiliary_weights(network: nn.Module) -> tuple[float, ...]:
    """The weights of the outputs that a network is trained through beside its logits (:mod:`segtrace.networks`)."""
    return tuple(getattr(network, "auxiliary_weights", ()))


def trained_parameters(network: nn.Module, objective: nn.Module | None) -> list[nn.Parameter]:
    """The parameters of a network, and after them those of a framework's heads."""
    return [*network.parameters(), *(objective.parameters() if objective is not None else ())]


def learner(
    network: nn.Module,
    loss_of: Loss,
    *,
    training: Mapping[str, Any],
    parts: int,
    objective: nn.Module | None = None,
    world: World | None = None,
) -> Learner:
    """A learner for ``network``, which lies on its device, by a training recipe (as a mapping).

    ``objective`` is a framework of :mod:`segtrace.distill`, on the same device.
    """
    decay = training["ema_decay"]
    average = None if decay is None else AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
    return Learner(
        network,
        optimiser(network, training, objective=objective),
        average,
        loss_of,
        training,
        parts,
        _forward_of(network, objective),
        objective=objective,
        world=world or World(),
    )


def _forward_of(network: nn.Module, objective: nn.Module | None) -> Callable[[Tensor], Any]:
    """What a step calls: the network, or that which gives features and further outputs where they are needed."""
    if auxiliary_weights(network):
        return network.forward_auxiliary
    return network if objective is None else network.forward_features


def optimiser(
    network: nn.Module, training: Mapping[str, Any], *, objective: nn.Module | None = None
) -> torch.optim.Optimizer:
    """The recipe's optimiser over all parameters, those of a framework's heads included."""
    kind, rate, decay = training["optimiser"], training["learning_rate"], training["weight_decay"]
    parameters = trained_parameters(network, objective)
    if kind == "sgd":
        momentum, nesterov = training["momentum"], training["nesterov"]
        return torch.optim.SGD(
            parameters, rate, momentum=momentum, nesterov=nesterov, weight_decay=decay, fused=True
        )
    betas = (training["betas"][0], training["betas"][1])
    if kind == "nadam":
        on_gpu = next(
            network.parameters()
        ).is_cuda  # then its own counters stay there, and nothing waits for them
        return torch.optim.NAdam(parameters, rate, betas=betas, weight_decay=decay, capturable=on_gpu)
    adam = torch.optim.AdamW if kind == "adamw" else torch.optim.Adam
    return adam(parameters, rate, betas=betas, weight_decay=decay, amsgrad=training["amsgrad"], fused=True)


def take(
    learner: Learner, images: Tensor, labels: Tensor, *, rate: float, pieces: Sequence[Piece] | None = None
) -> tuple[Tensor, Tensor]:
    """Take one step; gives (loss, gradient norm before clipping), both on the device.

    ``images`` are (N, C, D, H, W) or (N, C, H, W) and ``labels`` (N, D, H, W) or (N, H, W): this process's share of the
    step, ``pieces`` one behind the other (by default all of it, in the learner's parts). Each piece's loss counts by its
    share of the samples: equal, but for rounding, to the whole where loss and network treat every sample for itself.
    """
    training, device, world = learner.training, images.device, learner.world
    layout = devices.memory_format(device, precision=training["precision"], axes=images.dim() - 2)
    for group in learner.optimiser.param_groups:
        group["lr"] = rate
    learner.optimiser.zero_grad(set_to_none=True)
    total = torch.zeros((), device=device)
    pieces = world.pieces(len(images), learner.parts) if pieces is None else pieces
    sizes = [len(piece.samples) for piece in pieces]
    for piece, image, label in zip(pieces, images.split(sizes), labels.split(sizes), strict=True):
        world.share.counts = piece.counts
        # gradients are sent once, with the last piece
        waits = learner.together is not None and piece is not pieces[-1]
        with learner.together.no_sync() if learner.together and waits else nullcontext():
            with autocast(device, training, recorded=learner.manner == "graphs"):
                image = image.contiguous(memory_format=layout)
                loss = (
                    learner.loss(image, label) if learner.together is None else learner.together(image, label)
                )
            if piece.weight != 1:
                loss = loss * piece.weight
            # the mean over processes, which is what is sent, shall be the sum
            (loss * world.size if world.size > 1 else loss).backward()
        total = total + loss.detach()
    norm = _gradient_norm(learner.parameters, training["clip_norm"])
    learner.optimiser.step()
    if learner.average is not None:
        learner.average.update_parameters(learner.network)
    return world.total(total), norm


class _Whole(nn.Module):
    """A learner's network, framework and loss as one module: what DistributedDataParallel looks after."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.network, self.objective, self._loss = learner.network, learner.objective, learner.loss

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        return self._loss(image, label)


def join(learner: Learner) -> None:
    """Let the gradients of ``learner`` be summed over its world, from the first process's weights on.

    Buffers are not sent: those of batch normalisation are the same everywhere already. Parameters that a step does not
    reach are found anew each step, which also keeps the order of sums as it is: a resumed training makes the same ones.
    """
    if learner.world.size == 1:
        return
    on_gpu = learner.device.type == "cuda"
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # the newer name of broadcast_buffers is not in every torch
        learner.together = DistributedDataParallel(
            _Whole(learner),
            device_ids=[learner.device] if on_gpu else None,
            broadcast_buffers=False,
            find_unused_parameters=True,
        )


def _loss(learner: Learner, output: Any, label: Tensor) -> Tensor:
    """What a step minimises, from what ``forward`` gave.

    The loss of the logits or, under a framework, its objective, which holds that loss as one of its terms. Of a network
    with further outputs: main_weight times this, plus the sum of each one's weight times its loss, so that a
    framework's terms keep their proportion to the loss of the logits.
    """
    objective, weights = learner.objective, auxiliary_weights(learner.network)
    parts = [output] if objective is None and not weights else list(output)
    auxiliary = parts.pop() if weights else []
    total: Tensor = learner.loss_of(parts[0], label) if objective is None else objective(*parts, label)
    if weights:
        total = total * getattr(learner.network, "main_weight", 1.0)
    for weight, logits in zip(weights, auxiliary, strict=True):
        total = total + weight * learner.loss_of(logits, label)
    return total


def autocast(device: torch.device, training: Mapping[str, Any], *, recorded: bool = False) -> torch.autocast:
    """bfloat16 where the recipe asks for it; no loss scaling, since its range is that of float32."""
    return torch.autocast(
        device.type, torch.bfloat16, enabled=training["precision"] == "bf16", cache_enabled=not recorded
    )


def _gradient_norm(trained: Iterable[nn.Parameter], limit: float | None) -> Tensor:
    """The norm of all gradients together; where there is a ``limit``, they are scaled down to it."""
    parameters = [p for p in trained if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in parameters])
    if limit is not None:
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm


def accelerate(learner: Learner, batch: tuple[int, ...]) -> None:
    """Compile the network, or record it for replay, as the recipe asks; ``batch`` is the images' shape.

    A pass forward and backward tries it. Where that fails, or there is no GPU to record on, one line says so and
    the network runs as it is. Weights and running statistics stay as they were.
    """
    training, network, device = learner.training, learner.network, learner.device
    mode = training["compile"]
    if learner.world.size > 1 and (mode or training["cuda_graphs"]):
        print("compile or cuda_graphs: not on several devices; training without", flush=True)
        return
    if (learner.objective is not None or auxiliary_weights(network)) and (mode or training["cuda_graphs"]):
        print("compile or cuda_graphs: not with a framework or further outputs; training without", flush=True)
        return
    if mode is None and not training["cuda_graphs"]:
        return
    if mode is None and device.type != "cuda":
        print("cuda_graphs: there is no GPU here; training without", flush=True)
        return
    shape = (-(-batch[0] // min(learner.parts, batch[0])), *batch[1:])
    example = torch.zeros(shape, device=device)
    example = example.contiguous(
        memory_format=devices.memory_format(device, precision=training["precision"], axes=len(batch) - 2)
    )
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    plain = network.forward
    network.train()
    try:
        with autocast(device, training, recorded=mode is None):
            forward = _recorded(network, example) if mode is None else torch.compile(network, mode=mode)
            forward(example).float().square().mean().backward()
    except torch.OutOfMemoryError:
        raise
    # whatever compilers and drivers raise: it costs speed alone
    except Exception as error:
        network.forward = plain
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        print(
            f"{'cuda_graphs' if mode is None else f'compile: {mode}'} failed ({reason}); training without",
            flush=True,
        )
    else:
        learner.forward, learner.manner = forward, "graphs" if mode is None else "compiled"
    network.load_state_dict(kept)
    network.zero_grad(set_to_none=True)


def _recorded(network: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
    """The network's passes as CUDA graphs for inputs like ``example``; other shapes run as they are."""
    plain = network.forward
    torch.cuda.make_graphed_callables(network, (example,))
    replay, network.forward = network.forward, plain

    def forward(images: Tensor) -> Tensor:
        logits: Tensor = replay(images) if images.shape == example.shape else plain(images)
        return logits

    return forward


def refuse_parts(network: nn.Module, *, run: str) -> None:
    """Refuse to halve parts where batch normalisation would see other batches than configured."""
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
        raise SegtraceError(
            f"{run}: when_out_of_memory: halve would change what batch normalisation sees; set "
            "when_out_of_memory: stop, or accumulate to the number of parts that you mean"
        )
