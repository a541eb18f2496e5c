"""Losses by name. Each lives in a module of its own with a function ``build(**options)``.

What it builds is a function ``loss(logits, target) -> scalar``: logits are (N, K, D, H, W) or (N, K, H, W),
the target holds class numbers 0..K-1, (N, D, H, W) or (N, H, W), of any integer type.
"""

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtrace.errors import SegtraceError, advice

if TYPE_CHECKING:
    from torch import Tensor


def names() -> list[str]:
    """The registered names, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def module_of(name: str) -> str:
    """The dotted name of the module that holds the loss ``name``; an unknown name names the nearest."""
    if name not in names():
        hint = advice(name, names())
        raise SegtraceError(f"no loss {name!r}; {hint}")
    return f"segtrace.losses.{name}"


def create(name: str, **options: Any) -> "Callable[[Tensor, Tensor], Tensor]":
    """Build the loss ``name``; an option that it does not have is an error that lists those it has."""
    build = importlib.import_module(module_of(name)).build
    known = list(inspect.signature(build).parameters)
    unknown = [option for option in options if option not in known]
    if unknown:
        raise SegtraceError(f"loss {name!r} has no option {unknown[0]!r}; it has: {', '.join(known)}")
    function: Callable[[Tensor, Tensor], Tensor] = build(**options)
    return function
