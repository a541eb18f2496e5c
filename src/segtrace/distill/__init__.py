"""Frameworks by name: objectives over a network's features, with heads of their own, for training only.

Each lives in a module of its own with a function ``build(*, encoder_channels, encoder_scales, decoder_channels,
decoder_scales, out_channels, background, spatial_dims, loss_of, **options)``. What it builds is a ``torch.nn.Module`` with
``forward(logits, encoder, decoder, target) -> scalar``: logits, encoder and decoder are what a network's
``forward_features`` gives (:mod:`segtrace.networks`), the target holds class numbers, (N, D, H, W) or (N, H, W).
Its parameters are those of the heads; the network knows nothing of it, so that inference pays nothing and any
framework fits any network.

A framework that draws random numbers has an attribute ``key``, 128 bits that the training sets anew before each step and
that alone decide them.

Heads give as many logits as the network (``out_channels``), the background's first or, where ``background`` is False,
none of it: then :mod:`segtrace.background` says what stands for it among probabilities.
"""

import importlib
import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtrace.background import given_by
from segtrace.errors import SegtraceError, advice

if TYPE_CHECKING:
    from torch import Tensor, nn

#: What a framework is told of the network and the data, and a configuration may not set.
GIVEN = (
    "encoder_channels",
    "encoder_scales",
    "decoder_channels",
    "decoder_scales",
    "out_channels",
    "background",
    "spatial_dims",
    "loss_of",
)


def names() -> list[str]:
    """The registered names, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def module_of(name: str) -> str:
    """The dotted name of the module that holds the framework ``name``; an unknown name names the nearest."""
    if name not in names():
        raise SegtraceError(f"no framework {name!r}; {advice(name, names())}")
    return f"segtrace.distill.{name}"


def attach(
    name: str,
    network: "nn.Module",
    *,
    out_channels: int,
    spatial_dims: int,
    loss_of: "Callable[[Tensor, Tensor], Tensor]",
    **options: Any,
) -> "nn.Module":
    """Build the framework ``name`` for ``network``, its heads drawn from torch's global generator.

    ``loss_of`` is the loss of the training recipe. An option that the framework does not have is an error that
    names the nearest.
    """
    build = importlib.import_module(module_of(name)).build
    parameters = inspect.signature(build).parameters
    known = [parameter for parameter in parameters if parameter not in GIVEN]
    for option, value in options.items():
        if option not in known:
            hint = advice(option, known, otherwise="it has")
            raise SegtraceError(f"framework {name!r} has no option {option!r}; {hint}")
        _check(name, option, value, parameters[option].annotation)
    built: nn.Module = build(
        encoder_channels=network.encoder_channels,
        encoder_scales=network.encoder_scales,
        decoder_channels=network.decoder_channels,
        decoder_scales=network.decoder_scales,
        out_channels=out_channels,
        background=given_by(network),
        spatial_dims=spatial_dims,
        loss_of=loss_of,
        **options,
    )
    return built


def _check(name: str, option: str, value: Any, kind: Any) -> None:
    """Refuse a value that an option of this kind does not take: YAML has 1e-4 for a word, and "no" in quotes is true."""
    if kind is bool and not isinstance(value, bool):
        raise SegtraceError(f"{name}: {option} {value!r}; it takes true or false, without quotes")
    if kind is float and (
        isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0
    ):
        hint = ""
        if isinstance(value, str) and "e" in value.lower():
            hint = "; YAML takes such a number only with a point: 1.0e-4"
        raise SegtraceError(f"{name}: {option} {value!r}; it takes a number from 0 on{hint}")
