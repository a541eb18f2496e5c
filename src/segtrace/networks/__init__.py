"""Networks by name. Registering one here is enough to configure, train, score, test and count it.

Each network lives in a module of its own with a function ``build(*, in_channels, out_channels,
spatial_dims=None, **options)``; with no options it gives the published configuration. What it builds is
a :class:`segtrace.networks._network.Network`, a ``torch.nn.Module`` with

* ``forward(x) -> logits``: ``x`` is (N, C, D, H, W) or (N, C, H, W), logits are (N, K, D, H, W) or
  (N, K, H, W), with K = ``out_channels`` and the input's size;
* ``forward_features(x) -> (logits, encoder, decoder)``: the same logits, bit for bit, with the encoder's
  features from shallow to deep (the skips, without the bottleneck) and the decoder's from deep to shallow
  (bottleneck first; the last, at full size, is left out: only the logits come from it);
* ``encoder_channels``, ``encoder_scales``, ``decoder_channels``, ``decoder_scales``: the channels of these
  features and the factor by which each is smaller than the input, or the factors of all axes where they differ;
* ``divisor``: every side of the input must be a multiple of it;
* ``fixed_size``, where a network takes inputs of one size alone: its sides;
* where it has heads that only training uses (deep supervision): ``forward_auxiliary(x) -> (logits, encoder, decoder,
  auxiliary)``, what ``forward_features`` gives and a list of logits of the input's size; ``auxiliary_weights``, the
  weight of each one's loss (empty where the network's options leave these heads out), and ``main_weight``, that of the
  logits' loss. ``forward`` and ``forward_features`` leave these heads out;
* where its layers change over the training: ``set_progress(share)``, which training calls before each epoch with that
  epoch's number, from 1, by the number of epochs. What it sets is a buffer, so that a checkpoint holds it.

K counts the background, but for the network of a run whose loss wants no logit of it: :func:`of_run` gives such a
network the attribute ``background`` = False, and :mod:`segtrace.background` says what then stands for it.

Only the module of a network that is asked for is imported, so listing them is quick.
"""

import ast
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from segtrace import background, registry
from segtrace.errors import SegtraceError

if TYPE_CHECKING:
    from segtrace.networks._network import Network


def names() -> list[str]:
    """The registered names, sorted."""
    return registry.names("networks")


def module_of(name: str) -> str:
    """The dotted name of the module that holds the network ``name``; an unknown name names the nearest."""
    return registry.module_of("networks", name)


def describe(name: str) -> str:
    """The first line of the network's documentation, read without importing it."""
    text = ast.get_docstring(registry.source_of("networks", name)) or ""
    return text.split("\n")[0].rstrip(".")


def create(
    name: str, *, in_channels: int, out_channels: int, spatial_dims: int | None = None, **options: Any
) -> "Network":
    """Build the network ``name`` with random initial weights from torch's global generator.

    ``out_channels`` counts the logits; ``spatial_dims`` is 2 or 3, and may be left out where a
    network knows one only. An option that the network does not have is an error that names the nearest.
    """
    build = registry.build_of("networks", name, options)
    network: Network = build(
        in_channels=in_channels, out_channels=out_channels, spatial_dims=spatial_dims, **options
    )
    return network


def of_run(run: Mapping[str, Any]) -> "Network":
    """The network of a resolved run (the content of ``run.json``), as :func:`create` builds it.

    Its attribute ``background`` says whether the first logit is the background's (:mod:`segtrace.background`).
    """
    spec = run["network"]
    network = create(
        spec["name"],
        in_channels=spec["in_channels"],
        out_channels=spec["out_channels"],
        spatial_dims=spec["spatial_dims"],
        **spec["options"],
    )
    network.__dict__["background"] = background.has_logit(run)  # no weight and no part: a note
    return network


def check_spatial_dims(name: str, given: int | None, known: int) -> None:
    """Refuse a number of spatial dimensions that a network does not have."""
    if given not in (None, known):
        raise SegtraceError(f"network {name!r} is {known}-D; it was asked for {given}-D data")
