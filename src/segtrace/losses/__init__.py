"""Losses by name. Each lives in a module of its own with a function ``build(**options)``.

What it builds is a function ``loss(logits, target) -> scalar``: logits are (N, K, D, H, W) or (N, K, H, W),
the target holds class numbers 0..K-1, (N, D, H, W) or (N, H, W), of any integer type.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from segtrace import registry

if TYPE_CHECKING:
    from torch import Tensor


def names() -> list[str]:
    """The registered names, sorted."""
    return registry.names("losses")


def module_of(name: str) -> str:
    """The dotted name of the module that holds the loss ``name``; an unknown name names the nearest."""
    return registry.module_of("losses", name)


def create(name: str, **options: Any) -> "Callable[[Tensor, Tensor], Tensor]":
    """Build the loss ``name``; an option that it does not have is an error that names the nearest."""
    function: Callable[[Tensor, Tensor], Tensor] = registry.build_of("losses", name, options)(**options)
    return function
