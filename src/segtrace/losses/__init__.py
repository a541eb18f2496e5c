"""Losses by name. Each lives in a module of its own with a function ``build(**options)``.

What it builds is a function ``loss(logits, target) -> scalar``: logits are (N, K, D, H, W) or (N, K, H, W),
the target holds class numbers 0..K-1, (N, D, H, W) or (N, H, W), of any integer type.

A module whose loss wants no logit of the background says ``BACKGROUND = False``: then the network of a run has a
logit for each label alone, K of them for class numbers 0..K, and the background's is zero wherever classes are
compared (:mod:`segtrace.background`).
"""

import ast
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


def has_background(name: str) -> bool:
    """Whether the loss ``name`` wants a logit of the background: its ``BACKGROUND``, read without importing it."""
    for node in registry.source_of("losses", name).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "BACKGROUND":
            return bool(ast.literal_eval(node.value))
    return True


def create(name: str, **options: Any) -> "Callable[[Tensor, Tensor], Tensor]":
    """Build the loss ``name``; an option that it does not have is an error that names the nearest."""
    function: Callable[[Tensor, Tensor], Tensor] = registry.build_of("losses", name, options)(**options)
    return function
