"""Networks, losses and frameworks by name: each is a module of its package with a function ``build``.

Only the module that is asked for is imported, so listing them is quick. A module whose name begins with an
underscore is registered nowhere.
"""

import importlib
import inspect
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from segtrace.errors import SegtraceError, advice

#: What the things of a package are called.
KINDS = {"networks": "network", "losses": "loss", "distill": "framework"}


def names(package: str) -> list[str]:
    """The names registered in ``package``, sorted."""
    return sorted(path.stem for path in (Path(__file__).parent / package).glob("[!_]*.py"))


def module_of(package: str, name: str) -> str:
    """The dotted name of the module that holds ``name``; an unknown name names the nearest."""
    known = names(package)
    if name not in known:
        raise SegtraceError(f"no {KINDS[package]} {name!r}; {advice(name, known)}")
    return f"segtrace.{package}.{name}"


def build_of(
    package: str, name: str, options: Iterable[str], *, given: Collection[str] = ()
) -> Callable[..., Any]:
    """The function ``build`` of ``name``, which takes all of ``options``; one that it does not have names the nearest.

    ``given`` are its parameters that a configuration may not set.
    """
    build: Callable[..., Any] = importlib.import_module(module_of(package, name)).build
    known = [parameter for parameter in inspect.signature(build).parameters if parameter not in given]
    for option in options:
        if option not in known:
            hint = advice(option, known, otherwise="it has")
            raise SegtraceError(f"{KINDS[package]} {name!r} has no option {option!r}; {hint}")
    return build
