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

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from segtrace import registry
from segtrace.background import given_by

if TYPE_CHECKING:
    from torch import Tensor, nn


def names() -> list[str]:
    """The registered names, sorted."""
    return registry.names("distill")


def module_of(name: str) -> str:
    """The dotted name of the module that holds the framework ``name``; an unknown name names the nearest."""
    return registry.module_of("distill", name)


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
    names the nearest, a value that it does not take one that says what it takes.
    """
    build = registry.build_of("distill", name, options)
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
