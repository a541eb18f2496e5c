"""Networks, losses and frameworks by name: each is a module of its package with a function ``build``.

Only the module that is asked for is imported, so listing them is quick. A module whose name begins with an
underscore is registered nowhere.
"""

import importlib
import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

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
    package: str, name: str, options: Mapping[str, Any], *, given: Collection[str] = ()
) -> Callable[..., Any]:
    """The function ``build`` of ``name``, which takes all of ``options``; one that it does not have names the nearest.

    Their values are of the kinds that ``build`` declares: true or false, whole numbers from 1 on, numbers from 0 on,
    lists of whole numbers, words. ``given`` are its parameters that a configuration may not set.
    """
    build: Callable[..., Any] = importlib.import_module(module_of(package, name)).build
    parameters = inspect.signature(build).parameters
    known = [parameter for parameter in parameters if parameter not in given]
    for option, value in options.items():
        if option not in known:
            hint = advice(option, known, otherwise="it has")
            raise SegtraceError(f"{KINDS[package]} {name!r} has no option {option!r}; {hint}")
        expected = _refusal(value, parameters[option].annotation)
        if expected:
            raise SegtraceError(f"{KINDS[package]} {name!r}: {option} {value!r}; it takes {expected}")
    return build


def _refusal(value: Any, kind: Any) -> str:
    """What an option of this kind takes, where it does not take ``value``; else nothing.

    YAML has 1e-4 for a word, "no" in quotes is true, and yes without them is no word.
    """
    kinds = get_args(kind) if NoneType in get_args(kind) else (kind,)
    if NoneType in kinds and value is None:
        return ""
    otherwise = ", or null" if NoneType in kinds else ""
    if bool in kinds and not isinstance(value, bool):
        return f"true or false, without quotes{otherwise}"
    if int in kinds and not _whole(value):
        return f"a whole number from 1 on{otherwise}"
    if str in kinds and not isinstance(value, str):
        return f"a word{otherwise}"
    if any(get_origin(one) is Sequence for one in kinds) and not (
        isinstance(value, Sequence) and not isinstance(value, str) and all(map(_whole, value))
    ):
        return f"a list of whole numbers from 1 on{otherwise}"
    if float in kinds and not (_number(value) and math.isfinite(value) and value >= 0):
        point = isinstance(value, str) and "e" in value.lower()
        return "a number from 0 on" + (
            "; YAML takes such a number only with a point: 1.0e-4" if point else otherwise
        )
    return ""


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
