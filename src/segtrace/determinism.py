"""Operations that have no deterministic form on a GPU, and what to use instead.

In the mode ``strict`` torch raises where such an operation is called on a GPU. On a CPU it says nothing, so a
network that was written and tried there fails at its first step elsewhere. :func:`nondeterministic_operations`
looks at what a step really dispatches, forward and backward, on any device: the operations are the same.

The list is that of ``torch.use_deterministic_algorithms`` in torch 2.13, with AdaptiveMaxPool3d and kthvalue, which
it leaves out. Apart are those that work and cost time: bilinear and trilinear interpolation, which torch
replaces by a decomposition, and sums at given places, which it makes in sorted order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Operation:
    """One kind of operation: its name for readers, what torch dispatches, and what to use instead."""

    name: str
    dispatched: tuple[str, ...]
    """Names below ``aten``, of any overload unless one is given (``median.dim``)."""
    kernels: tuple[str, ...]
    """How torch's own error names it."""
    instead: str
    when: Callable[[Arguments], bool] = lambda _: True
    """Of the arguments by name, whether this call is meant."""


def _given(name: str) -> Callable[[Arguments], bool]:
    return lambda arguments: arguments.get(name) is not None


def _equals(name: str, value: Any) -> Callable[[Arguments], bool]:
    return lambda arguments: arguments.get(name) == value


def _is_fractional(arguments: Arguments) -> bool:
    given = arguments["self"]
    return bool(given.is_floating_point() or given.is_complex())


MEAN = "x.mean(dim) over the spatial axes for a global pool, else a strided convolution or MaxPool"
FORBIDDEN = (
    Operation("AvgPool3d", ("avg_pool3d_backward",), ("avg_pool3d_backward",), MEAN),
    Operation(
        "AdaptiveAvgPool2d", ("_adaptive_avg_pool2d_backward",), ("adaptive_avg_pool2d_backward",), MEAN
    ),
    Operation(
        "AdaptiveAvgPool3d", ("_adaptive_avg_pool3d_backward",), ("adaptive_avg_pool3d_backward",), MEAN
    ),
    Operation(
        "AdaptiveMaxPool",
        ("adaptive_max_pool2d_backward", "adaptive_max_pool3d_backward"),
        ("adaptive_max_pool2d_backward", "adaptive_max_pool3d_backward"),
        "x.amax(dim) over the spatial axes for a global pool, else MaxPool",
    ),
    Operation(
        "FractionalMaxPool",
        ("fractional_max_pool2d_backward", "fractional_max_pool3d_backward"),
        ("fractional_max_pool2d_backward", "fractional_max_pool3d_backward"),
        "MaxPool or a strided convolution",
    ),
    Operation(
        "MaxUnpool",
        ("max_unpool2d", "max_unpool3d"),
        ("max_unpooling2d_forward", "max_unpooling3d_forward"),
        "a transposed convolution, or nearest interpolation and a convolution",
    ),
    Operation(
        "interpolate of mode linear or bicubic",
        ("upsample_linear1d_backward", "upsample_bicubic2d_backward"),
        ("upsample_linear1d_backward", "upsample_bicubic2d_backward"),
        "a transposed convolution, or nearest interpolation and a convolution",
    ),
    Operation(
        "ReflectionPad",
        ("reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward"),
        ("reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward"),
        "zero or replication padding",
    ),
    Operation(
        "NLLLoss or cross_entropy",
        ("nll_loss_forward", "nll_loss2d_forward", "nll_loss_backward", "nll_loss2d_backward"),
        ("nll_loss",),
        "-(log_softmax(logits, 1) * one_hot).sum(1), with target == arange(classes) as one_hot",
    ),
    Operation("CTCLoss", ("_ctc_loss_backward",), ("ctc_loss_backward",), "a loss over labels of each voxel"),
    Operation(
        "EmbeddingBag of mode max",
        ("_embedding_bag_backward", "_embedding_bag_dense_backward"),
        ("_embedding_bag_dense_backward",),
        "Embedding and amax",
        when=_equals("mode", 2),
    ),
    Operation(
        "cumsum of fractions",
        ("cumsum", "cumsum_"),
        ("cumsum_cuda",),
        "a product with a triangular matrix of ones, block by block for long axes; whole numbers may be summed",
        when=_is_fractional,
    ),
    Operation(
        "grid_sample",
        ("grid_sampler_2d_backward", "grid_sampler_3d_backward"),
        ("grid_sampler_2d_backward", "grid_sampler_3d_backward"),
        "it only where no gradient is needed (augmentation); else gather with weights",
    ),
    Operation("put_", ("put", "put_"), ("put_",), "index_put or scatter"),
    Operation("histc", ("histc",), ("_histc_cuda",), "bincount of whole numbers"),
    Operation(
        "bincount with weights",
        ("bincount",),
        ("_bincount_cuda",),
        "index_add, or one bincount a weight",
        when=_given("weights"),
    ),
    Operation(
        "median with indices", ("median.dim", "nanmedian.dim"), ("median CUDA",), "sort and take the middle"
    ),
    Operation("kthvalue", ("kthvalue",), ("kthvalue CUDA",), "sort and take the k-th"),
    Operation(
        "scatter_reduce of a product",
        ("scatter_reduce", "scatter_reduce_"),
        ("scatter_reduce",),
        "logarithms and a sum",
        when=_equals("reduce", "prod"),
    ),
)
SLOW = (
    Operation(
        "interpolate of mode bilinear or trilinear",
        ("upsample_bilinear2d_backward", "upsample_trilinear3d_backward"),
        ("upsample_bilinear2d_backward", "upsample_trilinear3d_backward"),
        "a transposed convolution, or nearest interpolation and a convolution, where time matters",
    ),
    Operation(
        "gather (its backward) or scatter_add",
        ("scatter_add", "scatter_add_"),
        ("scatter_add_cuda",),
        "a product with the one-hot target where classes are few",
    ),
)


class _Watch(TorchDispatchMode):
    """Notes which of ``operations`` are dispatched."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        super().__init__()
        self.found: list[Operation] = []
        self._by_name: dict[str, list[Operation]] = {}
        for operation in operations:
            for name in operation.dispatched:
                self._by_name.setdefault(name, []).append(operation)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func._schema.name.removeprefix("aten::")
        candidates = self._by_name.get(name, []) + self._by_name.get(f"{name}.{func._overloadname}", [])
        for operation in candidates:
            parameters = [parameter.name for parameter in func._schema.arguments]
            if operation not in self.found and operation.when(
                dict(zip(parameters, args, strict=False)) | (kwargs or {})
            ):
                self.found.append(operation)
        return func(*args, **(kwargs or {}))


def _dispatched(step: Callable[[], Any], operations: Sequence[Operation]) -> list[str]:
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(False)  # on a GPU the step would end at the first
    try:
        with _Watch(operations) as watch:
            step()
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    return [f"{operation.name}: use {operation.instead}" for operation in watch.found]


def nondeterministic_operations(step: Callable[[], Any]) -> list[str]:
    """What ``step`` (forward, loss and backward) calls that ``strict`` would refuse on a GPU, and what to use instead.

    One line a kind of operation, in the order of their first call; the list is empty for a step that may be strict.
    """
    return _dispatched(step, FORBIDDEN)


def slow_operations(step: Callable[[], Any]) -> list[str]:
    """What ``step`` calls that ``strict`` replaces by a slow equivalent on a GPU, and what to use instead."""
    return _dispatched(step, SLOW)


def advice(error: BaseException) -> str | None:
    """What to use instead of the operation that torch refused with ``error``; None for any other error."""
    text = str(error)
    if "does not have a deterministic implementation" not in text:
        return None
    for operation in (*FORBIDDEN, *SLOW):
        if any(text.startswith(kernel) for kernel in operation.kernels):
            return (
                f"{operation.name} has no deterministic form on a GPU; use {operation.instead}, "
                "or set determinism: fast in config/config.yaml"
            )
    name = text.split(" does not have")[0]
    return f"{name} has no deterministic form on a GPU; replace it, or set determinism: fast in config/config.yaml"
