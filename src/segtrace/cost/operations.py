"""How many multiply-accumulates a network takes for an input: what papers print as "GFLOPs".

Counted with ``torch.utils.flop_counter`` (part of PyTorch; two of its floating-point operations are one
multiply-accumulate) on tensors without values, so that a count takes no memory, and is the same on every machine.
Convolutions count by their output's positions, transposed ones by their input's; matrix products and attention count
whole. As there, additions of biases, normalisations, activations, poolings and interpolations count nothing.

What torch has no formula for states its own count:

* an operation of its own (``torch.library.custom_op`` with ``register_fake``) by torch's
  ``torch.utils.flop_counter.register_flop_formula``, in floating-point operations;
* a module by a method ``multiply_accumulates(*inputs) -> int``, which then stands for all that runs within it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from segtrace import networks
from segtrace.errors import SegtraceError

if TYPE_CHECKING:
    from torch import nn

#: What counts, as tables name it; its version is torch's.
TOOL = "torch.utils.flop_counter"
#: The method by which a module states its own count.
STATED = "multiply_accumulates"


def of_network(network: "nn.Module", shape: Sequence[int]) -> int:
    """Multiply-accumulates of one pass of ``network``, in evaluation mode, for an input (N, C, D, H, W) or (N, C, H, W).

    The network is changed: its weights are replaced by tensors without values. Raises :class:`SegtraceError` for a
    network that cannot run without values.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    network = network.to("meta").eval()
    counter = FlopCounterMode(display=False)
    stated, begun = (
        [0],
        list[int](),
    )  # what modules' own counts add to torch's; totals when such modules began

    def total() -> int:
        return int(counter.get_total_flops()) // 2 + stated[0]

    def before(_: "nn.Module", __: Any) -> None:
        begun.append(total())

    def after(module: "nn.Module", inputs: Any, _: Any) -> None:
        stated[0] += int(getattr(module, STATED)(*inputs)) - (total() - begun.pop())

    hooks = [
        hook
        for module in network.modules()
        if hasattr(module, STATED)
        for hook in (module.register_forward_pre_hook(before), module.register_forward_hook(after))
    ]
    try:
        # attention as the matrix products that it is, whatever kernels this machine has
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            network(torch.empty(tuple(shape), device="meta"))
    except (RuntimeError, ValueError) as error:
        raise SegtraceError(
            f"multiply-accumulates of {type(network).__name__} for {list(shape)} cannot be counted: "
            f"{(str(error).strip() or type(error).__name__).splitlines()[0]}"
        ) from None
    finally:
        for hook in hooks:
            hook.remove()
    return total()


def build(spec: Mapping[str, Any]) -> "nn.Module":
    """The network of a ``network`` entry of ``run.json``, without values: it takes no memory.

    torch's random numbers are as before.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return networks.of_run({"network": spec})
        except RuntimeError:  # some read values while they are built
            return networks.of_run({"network": spec}).to("meta")


def fitting(network: "nn.Module", size: Sequence[int]) -> tuple[int, ...]:
    """The size that the engine gives the network for an image of ``size``, (D, H, W) or (H, W).

    That is the network's own, where it takes one alone, or each side rounded up to what it can divide.
    """
    fixed = getattr(network, "fixed_size", None)
    if fixed is not None:
        return tuple(fixed)
    divisor = int(getattr(network, "divisor", 1))
    return tuple(-(-side // divisor) * divisor for side in size)


def image_size(training: Mapping[str, Any], preparation: Mapping[str, Any]) -> tuple[int, ...]:
    """What a network sees at once in prediction, (D, H, W) or (H, W); empty where images differ in size.

    That is the window, by default the crop's size, or the whole prepared image. ``training`` and ``preparation`` are
    entries of ``run.json``.
    """
    window = training["inference"]["window"] or (training["crop"] or {}).get("size")
    # a recipe gives (x, y), a network takes (H, W)
    return tuple(window if window is not None else reversed(preparation["size"] or ()))


def of_spec(spec: Mapping[str, Any], size: Sequence[int]) -> int:
    """Multiply-accumulates of one image of ``size``, (D, H, W) or (H, W), by a ``network`` entry of ``run.json``.

    A network that cannot take that size is counted at the one that it is padded to.
    """
    network = build(spec)
    return of_network(network, (1, spec["in_channels"], *fitting(network, size)))
